//! What every store must do, and stores with the faults of real ones.

pub(crate) mod contract;
pub(crate) mod lagging;
pub(crate) mod lying;
