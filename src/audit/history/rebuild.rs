//! Builds another file beside the current one, and puts it in its place. Knows: the store, the files. Must not know: what is
//! in a row.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use grantbook_events::Position;
use uuid::Uuid;

use super::HistoryError;
use super::current::{Current, blocking, insert, sums};
use super::file::File;
use super::rows::row_of;
use crate::ledger;

/// How many records are read at once.
const PAGE: usize = 16_384;

/// How rebuilt history compares with what was there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rebuilt {
    /// Every row was the same.
    Same,
    /// Rows were wrong; they are right now.
    Repaired,
    /// Nothing was changed.
    Cancelled,
}

/// Builds the file again because it is damaged; one rebuild at a time.
pub(super) fn repair(current: &Arc<Current>, what: &str) {
    if current.is_repairing.swap(true, Ordering::AcqRel) {
        return;
    }
    tracing::error!(what, "the history file is damaged, and is built again from the ledger");
    let current = Arc::clone(current);
    tokio::spawn(async move {
        match rebuild(&current, |_, _| !current.is_closed.load(Ordering::Acquire)).await {
            Ok(_) => tracing::info!("the history file is built again"),
            Err(error) => tracing::error!(%error, "the damaged history file could not be built again"),
        }
        current.is_repairing.store(false, Ordering::Release);
    });
}

/// Builds another file and puts it in the place of the current one.
pub(super) async fn rebuild(
    current: &Arc<Current>,
    mut step: impl FnMut(u64, Position) -> bool + Send,
) -> Result<Rebuilt, HistoryError> {
    let ledger = current.store.head().await?.identity;
    let building = Arc::clone(current);
    let begun = blocking(move || building.directory.begin_building(ledger)).await;
    let built = begun.inspect_err(|_| current.directory.remove_building())?;
    let outcome = build(current, &built, ledger, &mut step).await;
    if !matches!(outcome, Ok(Rebuilt::Same | Rebuilt::Repaired)) {
        built.close();
        current.directory.remove_building();
    }
    outcome
}

async fn build(
    current: &Arc<Current>,
    built: &Arc<File>,
    ledger: Uuid,
    step: &mut (impl FnMut(u64, Position) -> bool + Send),
) -> Result<Rebuilt, HistoryError> {
    let (mut events, mut position, mut was_same) = (0, Position::START, None);
    loop {
        // Up to where the current file is, and not further: there the two are compared.
        let target = sums(&*current.file()?)?.position;
        while position < target {
            let mut records = current.store.read_all(position, PAGE).await?;
            records.truncate(records.partition_point(|record| record.position <= target));
            let Some(last) = records.last() else { break };
            position = last.position;
            events += records.len() as u64;
            let file = Arc::clone(built);
            let add =
                move || insert(&file, records.iter().map(|record| row_of(record, &ledger::read(record))));
            blocking(add).await?;
            if !step(events, position) {
                return Ok(Rebuilt::Cancelled);
            }
        }
        // The rows themselves are compared once, while the current file goes on; of what is added later, the sums say
        // whether it is the same.
        let same = match was_same {
            Some(same) => same,
            None => {
                let (current, built) = (Arc::clone(current), Arc::clone(built));
                blocking(move || current.has_rows_of(&built)).await?
            }
        };
        was_same = Some(same);
        let (exchanging, file) = (Arc::clone(current), Arc::clone(built));
        if let Some(sums_agree) = blocking(move || exchanging.exchange(&file, ledger)).await? {
            return Ok(if same && sums_agree { Rebuilt::Same } else { Rebuilt::Repaired });
        }
    }
}

impl Current {
    /// Whether the current file agrees with itself, and its rows, up to where another file ends, with that one.
    fn has_rows_of(&self, built: &File) -> Result<bool, HistoryError> {
        let (right, old) = (sums(built)?, self.file()?);
        let same = old
            .reader()
            .and_then(|old| Ok(old.sum_up_to(right.position)? == right.digest && old.damages()?.is_empty()));
        Ok(same.unwrap_or_else(|error| {
            tracing::warn!(%error, "the current history cannot be read, and is replaced");
            false
        }))
    }

    /// Puts a file that is as far as the current one in its place, and says whether their sums agree; `None` if the
    /// current one has gone on.
    fn exchange(&self, built: &File, ledger: Uuid) -> Result<Option<bool>, HistoryError> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let old = self.file()?;
        let (of_old, of_built) = (sums(&old)?, sums(built)?);
        if of_old.position != of_built.position {
            return Ok(None);
        }
        // A question that is asked now is answered from one or the other.
        self.file.store(Some(self.directory.end_building(built, ledger)?));
        self.directory.remove_old(&old);
        Ok(Some(of_old == of_built))
    }
}
