//! The second look of a verification: whether each event follows from those before it, as the fold says, and whether the
//! state that is compared with others is the same. Knows: the fold. Must not know: digests and links of records.
//!
//! The fold forgets a grant once no decision can depend on it any more, and does not know the grants of other
//! installations. So the ids of all grants are kept here.

use grantbook_events::{Event, GrantId, InstallationEvent, Position, Recorded};
use grantbook_projections::Installation;
use grantbook_projections::live::{Live, State as _};

use super::ReplayError;
use super::compare::Comparisons;
use super::findings::{Compared, Finding, Verified};
use super::ids::Ids;
use crate::ledger::fold;
use crate::store::{IndexCheck, Record, Store, StoreError};

#[derive(Debug)]
pub(super) struct Events {
    granted: Ids,
    exchanged: Ids,
    comparisons: Comparisons,
    /// What the store finds streams by.
    index: Option<IndexCheck>,
}

impl Events {
    pub(super) async fn new(
        store: &dyn Store,
        mut comparisons: Comparisons,
        verified: &mut Verified,
    ) -> Result<Self, ReplayError> {
        comparisons.reached(Position::START, verified);
        let index = match store.index().await {
            Err(StoreError::Damaged { detail, .. }) => {
                let what = format!("the index of streams: {detail}");
                verified.find(Finding { position: None, what });
                None
            }
            index => index?,
        };
        let (granted, exchanged) = (Ids::new()?, Ids::new()?);
        Ok(Self { granted, exchanged, comparisons, index })
    }

    /// What is wrong with the events of the next records.
    pub(super) fn check(
        &mut self,
        records: &[Record],
        verified: &mut Verified,
    ) -> Result<Vec<Finding>, ReplayError> {
        let mut findings = Vec::new();
        for record in records {
            verified.events += 1;
            let wrong_in_index = self.index.as_mut().and_then(|index| index.see(record));
            findings.extend(wrong_in_index.map(|what| Finding::at(record.position, what)));
            let folded = fold(&verified.live, record);
            // After an event that could not be folded, no other in its stream can be.
            let quarantined = verified.live.quarantine_of(&record.stream);
            match folded {
                Ok(recorded) if quarantined.is_none() => {
                    let wrong = self.check_code(&recorded, &verified.live)?;
                    findings.extend(wrong.map(|what| Finding::at(record.position, what)));
                }
                Err(poison) if quarantined.is_none_or(|first| first.position == record.position) => {
                    findings.push(Finding::at(record.position, poison.reason));
                }
                Ok(_) | Err(_) => {}
            }
            self.comparisons.reached(record.position, verified);
        }
        Ok(findings)
    }

    /// What is wrong with an event about a code, although the fold took it.
    fn check_code(&self, recorded: &Recorded, live: &Live) -> rusqlite::Result<Option<String>> {
        let (Event::Installation(event), Ok(stream)) = (&recorded.event, recorded.envelope.stream.kind())
        else {
            return Ok(None);
        };
        let (position, at) = (recorded.envelope.position, recorded.envelope.recorded_at);
        let span = |id| {
            let span =
                |state: &Installation| Some((state.grant(id)?.granted_at, state.grant(id)?.code_expires_at));
            Installation::look(live, &stream, |state| state.and_then(span))
        };
        match event {
            InstallationEvent::AccessGranted(event) => {
                self.granted.add([(event.grant_id.as_uuid(), position)])?;
            }
            InstallationEvent::CodeExchanged(event) => {
                self.exchanged.add([(event.grant_id.as_uuid(), position)])?;
                // Where recorded time waits for a clock that was ahead, a code may end before its approval.
                let late = span(event.grant_id).filter(|(granted_at, end)| at >= *end && end > granted_at);
                return Ok(late.map(|(_, end)| {
                    format!("grant {}: its code is exchanged after its end at {end}", event.grant_id)
                }));
            }
            InstallationEvent::CodeReplayed(event) => {
                let id = event.grant_id;
                if span(id).is_none() && !self.exchanged.has(id.as_uuid())? {
                    let what = "a code is presented again that was never exchanged";
                    return Ok(Some(format!("grant {id}: {what}")));
                }
            }
            InstallationEvent::TokenRevoked(_) | InstallationEvent::Uninstalled(_) => {}
        }
        Ok(None)
    }

    /// What is wrong when the ledger has ended: with what is compared last, because it may differ only where the ledger
    /// itself is damaged.
    pub(super) fn end(self, head: Position, verified: &mut Verified) -> Result<Vec<Finding>, ReplayError> {
        let position = verified.live.position();
        if position != head {
            let what = format!("the ledger ends here, but says that it goes on to {head}");
            verified.find(Finding::at(position, what));
        } else if let Some(index) = self.index {
            match index.end(position) {
                Ok(()) if index.up_to() == Position::START => {}
                Ok(()) => {
                    let what = "the index of streams".to_owned();
                    verified.compared.push(Compared { what, position: index.up_to() });
                }
                Err(what) => verified.find(Finding::at(position, what)),
            }
        }
        let twice =
            |id, first| format!("grant {}: it was granted at position {first} already", GrantId::new(id));
        self.granted.repeated(twice)?.into_iter().for_each(|finding| verified.find(finding));
        Ok(self.comparisons.end(position == head))
    }
}
