//! Work on many records, which would keep the thread of a request from all its other requests. Knows: threads that
//! may block. Must not know: what the work is.

use super::LedgerError;
use crate::store::StoreError;

/// How many records are worked on by the task that asks for it; for more, going to another thread is worth it.
pub(super) const FEW: usize = 128;

/// Works on so many records: here if they are few, else on a thread that may block.
///
/// # Errors
/// `Unavailable` if the work broke off.
pub async fn aside<T: Send + 'static>(
    records: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, LedgerError> {
    if records <= FEW {
        return Ok(work());
    }
    let broke_off = |error| StoreError::Unavailable(format!("what was read could not be folded: {error}"));
    Ok(tokio::task::spawn_blocking(work).await.map_err(broke_off)?)
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[tokio::test]
    async fn only_few_records_are_worked_on_by_the_thread_that_asks() {
        let here = thread::current().id();
        let of = async |records| aside(records, || thread::current().id()).await.unwrap();
        assert_eq!(of(FEW).await, here);
        assert_ne!(of(FEW + 1).await, here);
        let error = aside(FEW + 1, || panic!("on purpose")).await.unwrap_err();
        assert!(error.may_pass(), "{error}");
    }
}
