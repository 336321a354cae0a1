//! The management API as operators meet it.

mod apps;
mod installations;
mod keys;
mod shape;
