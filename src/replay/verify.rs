//! Looks for everything that may be wrong with a ledger, and repairs nothing. Knows: which looks there are. Must not know:
//! what each of them looks for.
//!
//! Each page is looked at three times at once: as records, as events that are folded, and as rows of the history.

use std::path::PathBuf;
use std::thread::{self, ScopedJoinHandle};

use grantbook_events::Position;

use super::compare::{Against, Comparisons, first_difference};
use super::events::Events;
use super::findings::{Finding, Verified};
use super::reading::Pages;
use super::records::Records;
use super::rows::Rows;
use super::run::run;
use super::{ReplayError, Step, Until};
use crate::ledger::Snapshots;
use crate::store::{Record, Store, StoreError};

/// How often reading goes on after something damaged.
const MAX_GAPS: usize = 10_000;

/// Reads a ledger from its first record to its last and checks order, revisions, digests, event ids, and that every
/// record is an event that follows from those before it; and compares its fold with a running server, the snapshots
/// and the history. `progress` is called after every few records.
///
/// # Errors
/// If the store cannot be reached, so that nothing is known of it. What is damaged is a finding.
pub async fn verify(
    store: &dyn Store,
    against: Against,
    mut progress: impl FnMut(Step),
) -> Result<Verified, ReplayError> {
    let Against { live, snapshots, history } = against;
    let identity = match store.head().await {
        Ok(head) => head.identity,
        Err(StoreError::Damaged { position, detail }) => return Ok(Verified::damaged(position, &detail)),
        Err(error) => return Err(error.into()),
    };
    let mut verified = Verified::default();
    let comparisons = Comparisons::new(live, snapshots, identity, &mut verified);
    let rows = history.and_then(|dir| Rows::open(dir, identity, &mut verified));
    let events = Events::new(comparisons.map_err(ReplayError::Snapshots)?, &mut verified)?;
    let records = Records::new(store, &mut verified).await?;
    let mut verifier = Verifier { records, events, rows, verified };
    let head = verifier.read(store, &mut progress).await?;
    verifier.end(head)
}

/// The first difference between a snapshot and the ledger's fold; `None` if they agree.
///
/// # Errors
/// If the store cannot be read.
pub async fn difference_from(
    store: &dyn Store,
    position: Position,
    snapshots: &Snapshots,
    progress: impl FnMut(Step),
) -> Result<Option<Finding>, ReplayError> {
    let replayed = run(store, Until::Position(position), progress).await?;
    let found = |what| Ok(Some(Finding::at(position, what)));
    let paths = snapshots.paths().map_err(ReplayError::Snapshots)?;
    let is_it =
        |path: &&PathBuf| Snapshots::header(path).is_ok_and(|header| header.mark.position == position);
    let Some(path) = paths.iter().find(is_it) else {
        return found("the server wrote no snapshot that could be compared".to_owned());
    };
    match Snapshots::load(path, store.head().await?.identity) {
        Err(why) => found(format!("the state that the server wrote cannot be compared: {why}")),
        Ok(live) if live.digest() == replayed.live.digest() => Ok(None),
        Ok(live) => found(first_difference(&live, &replayed.live, "live")),
    }
}

#[derive(Debug)]
struct Verifier {
    records: Records,
    events: Events,
    rows: Option<Rows>,
    verified: Verified,
}

impl Verifier {
    /// Reads everything that can be read, and gives the head. What is damaged is found and skipped.
    async fn read(
        &mut self,
        store: &dyn Store,
        progress: &mut impl FnMut(Step),
    ) -> Result<Position, ReplayError> {
        let (mut from, mut read_before) = (Position::START, None);
        for _ in 0..MAX_GAPS {
            let (position, detail) = match self.read_after(store, from, progress).await {
                Err(ReplayError::Store(StoreError::Damaged { position, detail })) => (position, detail),
                ended => return ended,
            };
            // What is damaged spoils the page that it is on: what is before it there is read one by one.
            from = from.max(self.verified.live.position());
            while from < position
                && let Ok(next) = store.read_all(from, 1).await
                && let Some(record) = next.first().filter(|record| record.position <= position)
            {
                from = record.position;
                self.take(&next)?;
            }
            // A hole is found once, however wide it is.
            if position > from || read_before != Some(self.verified.events) {
                self.verified.find(Finding::damage(position, &detail));
            }
            read_before = Some(self.verified.events);
            from = position.max(Position::new(from.as_u64().saturating_add(u64::from(position <= from))));
            let head = store.head().await?.position;
            if let Some(next) = store.next_after(from).await {
                // A hole is skipped at once.
                from = from.max(Position::new(next.as_u64().saturating_sub(1)));
            }
            if from >= head {
                break;
            }
        }
        let head = store.head().await?.position;
        if from < head {
            let what = "too much is damaged from here on, and the rest was not read";
            self.verified.find(Finding::at(from, what));
        }
        Ok(head)
    }

    async fn read_after(
        &mut self,
        store: &dyn Store,
        from: Position,
        progress: &mut impl FnMut(Step),
    ) -> Result<Position, ReplayError> {
        let mut pages = Pages::after(store, from).await?;
        let head = pages.head;
        while let Some(page) = pages.next().await? {
            self.take(page)?;
            let Verified { live, events, .. } = &self.verified;
            progress(Step { events: *events, position: live.position(), head });
        }
        Ok(head)
    }

    fn take(&mut self, page: &[Record]) -> Result<(), ReplayError> {
        let Self { records, events, rows, verified } = self;
        let (as_records, as_events, as_rows) = thread::scope(|scope| {
            let as_records = scope.spawn(|| records.check(page));
            let as_rows = rows.as_mut().map(|rows| scope.spawn(|| rows.check(page)));
            let as_events = events.check(page, verified);
            (as_records.join(), as_events, as_rows.map_or_else(|| Ok(Vec::new()), ScopedJoinHandle::join))
        });
        let panicked = |_| ReplayError::Panicked;
        let mut findings = as_records.map_err(panicked)??;
        findings.extend(as_events?);
        findings.extend(as_rows.map_err(panicked)?);
        // What is wrong with one record stands together, the record itself first.
        findings.sort_by_key(|finding| finding.position);
        findings.into_iter().for_each(|finding| verified.find(finding));
        Ok(())
    }

    fn end(self, head: Position) -> Result<Verified, ReplayError> {
        let Self { records, events, rows, mut verified } = self;
        let position = verified.live.position();
        let is_whole = position == head;
        if !is_whole {
            let what = format!("the ledger ends here, but says that it goes on to {head}");
            verified.find(Finding::at(position, what));
        }
        let (as_records, as_events) = thread::scope(|scope| {
            let as_records = scope.spawn(|| records.end(is_whole));
            let as_events = events.end(is_whole);
            (as_records.join(), as_events)
        });
        let (compared, twice) = as_records.map_err(|_| ReplayError::Panicked)??;
        let (named_twice, differences) = as_events?;
        verified.compared.extend(compared);
        twice.into_iter().chain(named_twice).for_each(|finding| verified.find(finding));
        if let Some(rows) = rows {
            rows.end(&mut verified);
        }
        verified.found += differences.len() as u64;
        verified.findings.extend(differences);
        Ok(verified)
    }
}
