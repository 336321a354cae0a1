//! Reads of one stream. Knows: the store, and what is folded here. Must not know: who asks, or what is decided.

use std::sync::Arc;

use grantbook_events::{Recorded, Revision, StreamName};
use grantbook_projections::StreamState;

use super::states::Loaded;
use super::{Ledger, LedgerError, aside, read};
use crate::store::{Record, StoreError};

impl Ledger {
    /// The events of one stream, oldest first.
    pub async fn events_of(&self, stream: &StreamName) -> Result<Vec<Recorded>, LedgerError> {
        let records = self.records_of(stream, Revision::FIRST).await?;
        // What cannot be read has put its stream in quarantine, which says why, and what to do.
        let quarantine = self.live().quarantine_of(stream);
        let unreadable = move |error| match &quarantine {
            Some(poison) => LedgerError::Quarantined(Arc::clone(poison)),
            None => LedgerError::from(error),
        };
        let count = records.len();
        let decode = move || records.iter().map(|record| read(record).map_err(&unreadable)).collect();
        aside(count, decode).await?
    }

    /// The records of one stream from a revision on, in order. That there are none is not believed of a stream
    /// that this node has folded: what a store finds streams by may be damaged.
    ///
    /// # Errors
    /// If the store cannot be read, or does not have what is folded here.
    pub async fn records_of(&self, stream: &StreamName, from: Revision) -> Result<Vec<Record>, StoreError> {
        let records = self.store.read_stream(stream, from).await?;
        if !records.is_empty() || from != Revision::FIRST || !self.live().has_stream(stream) {
            return Ok(records);
        }
        if self.store.look_again(stream).await? {
            return self.store.read_stream(stream, from).await;
        }
        Err(StoreError::Unavailable(format!(
            "it does not have stream {stream}, which was read from it before"
        )))
    }

    /// Folds what the store has beyond what is remembered of a stream.
    pub(super) async fn catch_up<S: StreamState>(
        &self,
        stream: &StreamName,
        loaded: Arc<Loaded<S>>,
    ) -> Result<Arc<Loaded<S>>, LedgerError> {
        let from = loaded.revision.map_or(Revision::FIRST, Revision::next);
        let records = self.records_of(stream, from).await?;
        if records.is_empty() {
            return Ok(loaded);
        }
        let count = records.len();
        let fold = move || {
            let mut next = Loaded::clone(&loaded);
            for record in &records {
                next.apply(&read(record)?)?;
            }
            Ok::<_, LedgerError>(Arc::new(next))
        };
        let next = aside(count, fold).await??;
        self.states.put(stream.clone(), Arc::clone(&next));
        Ok(next)
    }
}
