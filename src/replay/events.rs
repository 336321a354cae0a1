//! The second look of a verification: whether each event follows from those before it, as the fold says, and whether the
//! state that is compared with others is the same. Knows: the fold. Must not know: digests and links of records.
//!
//! The fold forgets a grant once no decision can depend on it any more, and does not know the grants of other
//! installations; nor does it know tokens that are gone. So the ids of all grants and tokens are kept here.

use grantbook_events::{Event, InstallationEvent, Position, Recorded, TokenRefreshed};
use grantbook_projections::live::{Live, State as _};
use grantbook_projections::{Family, Installation};

use super::ReplayError;
use super::compare::Comparisons;
use super::findings::{Finding, Verified};
use super::ids::Ids;
use crate::ledger::fold;
use crate::store::Record;

#[derive(Debug)]
pub(super) struct Events {
    /// Of grants and tokens.
    named: Ids,
    comparisons: Comparisons,
}

impl Events {
    pub(super) fn new(mut comparisons: Comparisons, verified: &mut Verified) -> rusqlite::Result<Self> {
        comparisons.reached(Position::START, verified);
        Ok(Self { named: Ids::new()?, comparisons })
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
        let tokens = event.issued_tokens();
        self.named.add(tokens.iter().map(|(token_id, _)| (token_id.as_uuid(), position)))?;
        match event {
            InstallationEvent::AccessGranted(event) => {
                self.named.add([(event.grant_id.as_uuid(), position)])?;
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
                let wrong =
                    |state: &Installation| wrong_refresh(event, state.grant(event.grant_id)?.family()?);
                return Ok(Installation::look(live, &stream, |state| state.and_then(wrong)));
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

    /// Grants that were granted and tokens that were issued twice, and then what differs from what is compared; that last, because it may differ only
    /// where the ledger itself is damaged.
    ///
    /// # Errors
    /// If the temporary file cannot be read.
    pub(super) fn end(self, is_whole: bool) -> rusqlite::Result<(Vec<Finding>, Vec<Finding>)> {
        let twice = |id, first| format!("a grant or token {id} was recorded at position {first} already");
        Ok((self.named.repeated(twice)?, self.comparisons.end(is_whole)))
    }
}

/// What is wrong with a refresh after the fold took it: no decision uses a refresh token that has expired, nor issues one
/// that outlives the time for which the grant can be refreshed.
fn wrong_refresh(event: &TokenRefreshed, family: &Family) -> Option<String> {
    let grant_id = event.grant_id;
    if let Some(late) = family.spent.filter(|spent| spent.at >= spent.expires_at) {
        return Some(format!(
            "grant {grant_id}: its refresh token is used after its end at {}",
            late.expires_at
        ));
    }
    let end = family.ends_at()?;
    let outlives = event.refresh.expires_at.is_none_or(|expires_at| expires_at > end);
    let what = "it gets a refresh token that outlives the end of refreshing at";
    outlives.then(|| format!("grant {grant_id}: {what} {end}"))
}
