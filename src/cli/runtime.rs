//! The runtime of a command. Knows: how one is made, and that what is left on it is not waited for. Must not
//! know: what runs.

use std::future::Future;
use std::io;

use tokio::runtime::{Builder, Runtime};

use super::failure::Failure;

/// A runtime with all processors.
pub(super) fn runtime() -> io::Result<Runtime> {
    Builder::new_multi_thread().enable_all().build()
}

/// Runs a future on a runtime of its own. What is left on it is not waited for: a command that is done, or got two
/// signals, ends.
pub(super) fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = runtime()?;
    let outcome = runtime.block_on(work);
    runtime.shutdown_background();
    outcome
}
