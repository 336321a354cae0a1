//! Reads of one stream. Knows: the store, and what is folded here. Must not know: who asks, or what is decided.

use std::sync::Arc;

use grantbook_events::{Event, Recorded, Revision, StreamKind, StreamName};
use grantbook_projections::live::Live;

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
    /// that this node has folded.
    ///
    /// # Errors
    /// If the store cannot be read, or does not have what is folded here.
    pub async fn records_of(&self, stream: &StreamName, from: Revision) -> Result<Vec<Record>, StoreError> {
        let records = self.store.read_stream(stream, from).await?;
        if !records.is_empty() || from != Revision::FIRST || !self.live().has_stream(stream) {
            return Ok(records);
        }
        Err(does_not_have(&format!("stream {stream}")))
    }

    /// The state of a stream as the store has it now, if that has more than what is folded here.
    ///
    /// # Errors
    /// Also if the store does not have the last record that is folded here: then nothing here counts.
    pub(super) async fn beyond(
        &self,
        stream: &StreamName,
        kind: &StreamKind,
    ) -> Result<Option<Live>, LedgerError> {
        let head = self.live().head_of(kind);
        let from = head.map_or(Revision::FIRST, |head| head.revision);
        let mut records = self.records_of(stream, from).await?;
        if let Some(head) = head {
            let is_it =
                |first: &Record| (first.revision, first.recorded_at) == (head.revision, head.recorded_at);
            if !records.first().is_some_and(is_it) {
                return Err(does_not_have(&format!("revision {} of stream {stream}", head.revision)).into());
            }
            records.remove(0);
        }
        let Some(first) = records.first() else { return Ok(None) };
        let app = match read(first)?.event {
            Event::Installation(event) => Box::pin(self.app(&event.installation().0)).await?,
            Event::App(_) | Event::OperatorKey(_) | Event::Ledger(_) => None,
        };
        let copy = self.live().copy_of(kind, app.as_deref());
        // Some may have been folded here since.
        records.retain(|record| copy.head_of(kind).is_none_or(|head| head.revision < record.revision));
        let count = records.len();
        let fold = move || {
            for record in &records {
                copy.apply(&read(record)?)?;
            }
            Ok::<_, LedgerError>(copy)
        };
        aside(count, fold).await?.map(Some)
    }
}

fn does_not_have(what: &str) -> StoreError {
    StoreError::Unavailable(format!("it does not have {what}, which was read from it before"))
}
