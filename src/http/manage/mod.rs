//! The management API for operators: apps, installations, tokens and operator keys, as JSON.
