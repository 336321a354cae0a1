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
use super::findings::{Finding, Verified};
use super::ids::Ids;
use crate::ledger::fold;
use crate::store::Record;

#[derive(Debug)]
pub(super) struct Events {
    granted: Ids,
    comparisons: Comparisons,
}

impl Events {
    pub(super) fn new(mut comparisons: Comparisons, verified: &mut Verified) -> rusqlite::Result<Self> {
        comparisons.reached(Position::START, verified);
        Ok(Self { granted: Ids::new()?, comparisons })
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
                // Where recorded time waits for a clock that was ahead, a code may end before its approval.
                let late = span(event.grant_id).filter(|(granted_at, end)| at >= *end && end > granted_at);
                return Ok(late.map(|(_, end)| {
                    format!("grant {}: its code is exchanged after its end at {end}", event.grant_id)
                }));
            }
            InstallationEvent::CodeReplayed(event) => {
                // A decision says so only while the grant is known, and the fold refuses one whose code was not exchanged.
                let id = event.grant_id;
                let what =
                    "a code is presented again that was never exchanged, or whose tokens had all ended";
                return Ok(span(id).is_none().then(|| format!("grant {id}: {what}")));
            }
            InstallationEvent::TokenRefreshed(event) => {
                // A decision refuses one that has expired, and the fold takes it.
                let now = |state: &Installation| {
                    let refreshed = state.grant(event.grant_id)?.family()?;
                    refreshed.spent.filter(|spent| spent.at >= spent.expires_at).map(|spent| spent.expires_at)
                };
                let late = Installation::look(live, &stream, |state| state.and_then(now));
                return Ok(late.map(|end| {
                    format!("grant {}: its refresh token is used after its end at {end}", event.grant_id)
                }));
            }
            InstallationEvent::RefreshReplayed(event) => {
                let what = "a refresh token is presented again of a grant that has no token any more";
                return Ok(event.tokens.is_empty().then(|| format!("grant {}: {what}", event.grant_id)));
            }
            InstallationEvent::TokenRevoked(_)
            | InstallationEvent::GrantRevoked(_)
            | InstallationEvent::Uninstalled(_) => {}
        }
        Ok(None)
    }

    /// Grants that were granted twice, and then what differs from what is compared; that last, because it may differ only
    /// where the ledger itself is damaged.
    ///
    /// # Errors
    /// If the temporary file cannot be read.
    pub(super) fn end(self, is_whole: bool) -> rusqlite::Result<(Vec<Finding>, Vec<Finding>)> {
        let twice =
            |id, first| format!("grant {}: it was granted at position {first} already", GrantId::new(id));
        Ok((self.granted.repeated(twice)?, self.comparisons.end(is_whole)))
    }
}
