//! Looks for everything that may be wrong with a ledger. Nothing it finds is repaired, and nothing it
//! cannot read is passed over.

use std::path::PathBuf;

use grantbook_events::Position;
use tokio::task::{JoinHandle, spawn_blocking};
use uuid::Uuid;

use super::chains::Chains;
use super::codes::Codes;
use super::compare::{Against, Compared, PassedOver, Points, in_words, name};
use super::findings::{Finding, Verified};
use super::history::Stored;
use super::run::{Page, Pages, run};
use super::{ReplayError, Step, Until};
use crate::audit::{HistoryError, HistoryReader, StoredHistory};
use crate::ledger::{Snapshots, fold};
use crate::store::{IndexCheck, Record, Store, StoreError};

/// How often reading is taken up again behind something damaged.
const GAPS: usize = 10_000;

/// Reads a ledger from its first record to its last and checks order, revisions, digests, event ids,
/// and that every record is an event that follows from those before it; and compares what it folds to with
/// what others say of it. `progress` is told after every few records.
///
/// # Errors
/// If the store cannot be reached: then nothing can be said of it. What is damaged is a finding.
pub async fn verify(
    store: &dyn Store,
    against: Against,
    mut progress: impl FnMut(Step),
) -> Result<Verified, ReplayError> {
    let Against { live, snapshots, history } = against;
    let identity = match store.head().await {
        Ok(head) => head.identity,
        Err(StoreError::Damaged { position, detail }) => return Ok(Verified::damaged(position, detail)),
        Err(error) => return Err(error.into()),
    };
    let points = Points::new(live, snapshots, identity).map_err(ReplayError::Snapshots)?;
    let mut verifier = Verifier::new(points);
    verifier.open_history(history, identity);
    verifier.open_index(store).await?;
    verifier.points.reached(Position::START, &verifier.verified.live);
    let head = verifier.read(store, &mut progress).await?;
    verifier.end(head).await
}

/// The first difference between a snapshot and what the ledger folds to, in words; `None` if there is none.
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
        Ok(live) => found(in_words(&live, &replayed.live, "live")),
    }
}

/// A page is looked at in three ways at the same time: as records, as events, and as rows of the history.
#[derive(Debug)]
struct Verifier {
    verified: Verified,
    position: Position,
    chains: Chains,
    codes: Codes,
    points: Points,
    history: Option<Stored>,
    index: Option<IndexCheck>,
    /// What is wrong with the file of the history, as a file.
    history_file: Option<JoinHandle<Result<Vec<String>, HistoryError>>>,
}

impl Verifier {
    fn new(points: Points) -> Self {
        let (position, chains, codes) = (Position::START, Chains::default(), Codes::default());
        Self {
            verified: Verified::default(),
            position,
            chains,
            codes,
            points,
            history: None,
            index: None,
            history_file: None,
        }
    }

    fn open_history(&mut self, dir: Option<PathBuf>, ledger: Uuid) {
        let Some(dir) = dir else { return };
        self.verified.has_history = true;
        // Two look at it at the same time: one at its rows, the other at the file.
        let open = || HistoryReader::open(&dir, ledger);
        match (open(), open()) {
            (Ok(StoredHistory::None), _) => self.verified.has_history = false,
            (Ok(StoredHistory::Other { path, why }), _) => {
                let what = format!("history {}", name(&path));
                self.verified.passed_over.push(PassedOver { what, why });
            }
            (Ok(StoredHistory::Here(rows)), Ok(StoredHistory::Here(file))) => {
                self.history_file = Some(spawn_blocking(move || file.damages()));
                match Stored::new(rows) {
                    Ok(stored) => self.history = Some(stored),
                    Err(error) => self.lose_history(&error),
                }
            }
            (Ok(StoredHistory::Here(_)), Ok(_)) => {
                self.lose_history(&HistoryError::File("it was put aside meanwhile".to_owned()));
            }
            (Err(error), _) | (_, Err(error)) => self.lose_history(&error),
        }
    }

    /// What the store finds streams by.
    async fn open_index(&mut self, store: &dyn Store) -> Result<(), ReplayError> {
        match store.index().await {
            Ok(index) => self.index = index,
            Err(StoreError::Damaged { detail, .. }) => {
                self.found(Finding { position: None, what: format!("the index of streams: {detail}") });
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn end_index(&mut self) {
        let Some(index) = self.index.take() else { return };
        match index.end(self.position) {
            Ok(()) if index.up_to() == Position::START => {}
            Ok(()) => {
                let what = "the index of streams".to_owned();
                self.points.compared.push(Compared { what, position: index.up_to() });
            }
            Err(what) => self.find(self.position, what),
        }
    }

    /// What cannot be read of the history cannot be compared.
    fn lose_history(&mut self, error: &HistoryError) {
        let lost = self.lost_history(error);
        self.found(lost);
    }

    fn lost_history(&self, error: &HistoryError) -> Finding {
        let position = Some(self.position).filter(|position| *position != Position::START);
        Finding { position, what: format!("history: {error}") }
    }

    /// Reads everything that can be read, and gives the head. What is damaged is found and passed over.
    async fn read(
        &mut self,
        store: &dyn Store,
        progress: &mut impl FnMut(Step),
    ) -> Result<Position, ReplayError> {
        let (mut from, mut read_before) = (Position::START, None);
        for _ in 0..GAPS {
            let (position, detail) = match self.read_after(store, from, progress).await {
                Err(ReplayError::Store(StoreError::Damaged { position, detail })) => (position, detail),
                ended => return ended,
            };
            // What is damaged spoils the page that it is on: what is before it there is read one by one.
            from = from.max(self.position);
            while from < position
                && let Ok(next) = store.read_all(from, 1).await
                && let Some(record) = next.into_iter().next().filter(|record| record.position <= position)
            {
                from = record.position;
                self.take(Page::of_one(record)).await?;
            }
            // A hole is found once, however wide it is.
            if position > from || read_before != Some(self.verified.events) {
                self.found(Finding::damage(position, &detail));
            }
            read_before = Some(self.verified.events);
            from = position.max(Position::new(from.as_u64().saturating_add(u64::from(position <= from))));
            let head = store.head().await?.position;
            if let Some(next) = store.next_after(from).await {
                // A hole is passed over at once.
                from = from.max(Position::new(next.as_u64().saturating_sub(1)));
            }
            if from >= head {
                break;
            }
        }
        let head = store.head().await?.position;
        if from < head {
            let what = "too much is damaged from here on, and the rest was not read".to_owned();
            self.find(from, what);
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
        while let Some(page) = pages.next().await? {
            self.take(page).await?;
            progress(Step { events: self.verified.events, position: self.position, head: pages.head });
        }
        Ok(pages.head)
    }

    async fn take(&mut self, page: Page) -> Result<(), ReplayError> {
        let (mut chains, records) = (std::mem::take(&mut self.chains), page.clone());
        let as_records = spawn_blocking(move || (chains.check(&records), chains));
        let as_rows = self.history.take().map(|mut history| {
            let records = page.clone();
            spawn_blocking(move || {
                let mut findings = Vec::new();
                (history.check(&records, &mut findings), findings, history)
            })
        });
        let mut folded = Vec::new();
        for record in page.iter() {
            folded.extend(self.look_at(record)?);
        }
        let (checked, chains) = as_records.await?;
        self.chains = chains;
        let mut findings = checked?;
        findings.extend(folded);
        if let Some(as_rows) = as_rows {
            let (checked, differences, history) = as_rows.await?;
            findings.extend(differences);
            match checked {
                Ok(()) => self.history = Some(history),
                Err(error) => findings.push(self.lost_history(&error)),
            }
        }
        // What is wrong with one record is told together, the record itself first.
        findings.sort_by_key(|finding| finding.position);
        findings.into_iter().for_each(|finding| self.found(finding));
        Ok(())
    }

    /// Looks at a record as an event.
    fn look_at(&mut self, record: &Record) -> Result<Option<Finding>, ReplayError> {
        self.verified.events += 1;
        self.position = self.position.max(record.position);
        if let Some(what) = self.index.as_mut().and_then(|index| index.see(record)) {
            self.find(record.position, what);
        }
        let finding = self.fold(record)?;
        self.points.reached(record.position, &self.verified.live);
        Ok(finding)
    }

    /// What follows an event that could not be folded, in its stream, cannot be folded either, and is
    /// passed over.
    fn fold(&mut self, record: &Record) -> Result<Option<Finding>, ReplayError> {
        let live = &self.verified.live;
        let folded = fold(live, record);
        let quarantined = live.quarantine_of(&record.stream);
        match folded {
            Ok(recorded) if quarantined.is_none() => self.codes.see(&recorded)?,
            Ok(_) => {}
            Err(poison) if quarantined.is_none_or(|first| first.position == record.position) => {
                return Ok(Some(Finding::at(record.position, poison.reason)));
            }
            Err(_) => {}
        }
        Ok(None)
    }

    fn find(&mut self, position: Position, what: String) {
        self.found(Finding::at(position, what));
    }

    fn found(&mut self, finding: Finding) {
        self.verified.find(finding);
    }

    async fn end_history(&mut self) -> Result<(), ReplayError> {
        let mut is_whole = true;
        if let Some(file) = self.history_file.take() {
            let damages = match file.await? {
                Ok(damages) => damages,
                Err(error) => vec![error.to_string()],
            };
            is_whole = damages.is_empty();
            for said in damages {
                self.found(Finding { position: None, what: format!("history: its file is damaged: {said}") });
            }
        }
        let Some(history) = self.history.take() else { return Ok(()) };
        match history.end() {
            Ok(Ok(same)) => self.points.compared.extend(Some(same).filter(|_| is_whole)),
            Ok(Err(findings)) => findings.into_iter().for_each(|finding| self.found(finding)),
            Err(error) => self.lose_history(&error),
        }
        Ok(())
    }

    async fn end(mut self, head: Position) -> Result<Verified, ReplayError> {
        if self.position == head {
            self.end_index();
        } else {
            self.find(self.position, format!("the ledger ends here, but says that it goes on to {head}"));
        }
        let (chains, codes) = (std::mem::take(&mut self.chains), std::mem::take(&mut self.codes));
        chains.end(|finding| self.found(finding))?;
        codes.end(|finding| self.found(finding))?;
        self.end_history().await?;
        // The ledger itself comes first: what was folded from a damaged one differs for that reason.
        self.points.end(self.position == head);
        let Points { compared, findings, passed_over, live_differs, .. } = self.points;
        self.verified.passed_over.extend(passed_over);
        self.verified.found += findings.len() as u64;
        self.verified.findings.extend(findings);
        (self.verified.compared, self.verified.live_differs) = (compared, live_differs);
        Ok(self.verified)
    }
}
