//! The runtime of a command. Knows: how one is made, and that nobody waits for what is left on it. Must not
//! know: what runs.

use std::future::Future;
use std::io;

use tokio::runtime::{Builder, Runtime};

use super::failure::Failure;

/// A runtime with all processors.
pub(super) fn runtime() -> io::Result<Runtime> {
    Builder::new_multi_thread().enable_all().build()
}

/// Does something on a runtime of its own. What it leaves behind is not waited for: a command that is done, or
/// was told twice to stop, ends.
pub(super) fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = runtime().map_err(Failure::of)?;
    let outcome = runtime.block_on(work);
    runtime.shutdown_background();
    outcome
}
