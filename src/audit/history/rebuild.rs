//! Builds another file beside the current one, and puts it in its place. Knows: the store, the files. Must not know: what is
//! in a row.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use grantbook_events::Position;

use super::current::{Current, blocking};
use super::error::HistoryError;
use super::file;
use super::rows::{End, Writer, row_of};
use crate::ledger;
use crate::store::StoreError;

/// How many records are read at once.
const PAGE: usize = 16_384;

/// What a rebuild found.
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
    step: impl FnMut(u64, Position) -> bool + Send,
) -> Result<Rebuilt, HistoryError> {
    let outcome = build(current, step).await;
    if !matches!(outcome, Ok(Rebuilt::Same | Rebuilt::Repaired)) {
        file::remove_building(&current.dir);
    }
    outcome
}

async fn build(
    current: &Arc<Current>,
    mut step: impl FnMut(u64, Position) -> bool + Send,
) -> Result<Rebuilt, HistoryError> {
    let ledger = current.store.head().await?.identity;
    let dir = current.dir.clone();
    let mut built = blocking(move || Ok(file::begin_building(&dir, ledger)?.1)).await?;
    let (mut events, mut was_same) = (0, None);
    loop {
        // Up to where the current file is, and not further: there the two are compared.
        let target = current.end()?.position;
        while built.end.position < target {
            let mut records = current.store.read_all(built.end.position, PAGE).await?;
            records.truncate(records.partition_point(|record| record.position <= target));
            if records.is_empty() {
                break;
            }
            events += records.len() as u64;
            built = blocking(move || {
                built.insert(records.iter().map(|record| row_of(record, &ledger::read(record))))?;
                Ok(built)
            })
            .await?;
            if !step(events, built.end.position) {
                return Ok(Rebuilt::Cancelled);
            }
        }
        // The rows themselves are compared once, while the current file goes on. Whether the rows that are added later
        // are the same, the sums say.
        let same = match was_same {
            Some(same) => same,
            None => {
                let (current, end) = (Arc::clone(current), built.end);
                blocking(move || current.has_rows_of(end)).await?
            }
        };
        was_same = Some(same);
        let exchanging = Arc::clone(current);
        match blocking(move || exchanging.exchange(built)).await? {
            Exchanged::Done { sums_agree } if same && sums_agree => return Ok(Rebuilt::Same),
            Exchanged::Done { .. } => return Ok(Rebuilt::Repaired),
            Exchanged::Behind(writer) => built = *writer,
        }
    }
}

enum Exchanged {
    Done {
        sums_agree: bool,
    },
    /// The current file has gone on.
    Behind(Box<Writer>),
}

impl Current {
    /// Whether the current file agrees with itself, and its rows, up to where another file ends, with that one.
    fn has_rows_of(&self, built: End) -> Result<bool, HistoryError> {
        let same = self
            .file()?
            .read(|old| Ok(old.sum_up_to(built.position)? == built.digest && old.damages()?.is_empty()));
        Ok(same.unwrap_or_else(|error| {
            tracing::warn!(%error, "the current history cannot be read, and is replaced");
            false
        }))
    }

    /// Puts a file that is as far as the current one in its place, and says whether their sums agree.
    fn exchange(&self, built: Writer) -> Result<Exchanged, HistoryError> {
        let mut writer = self.writer.lock();
        let (of_old, of_built) = (writer.as_ref().ok_or(StoreError::Closed)?.end, built.end);
        if of_old.position != of_built.position {
            return Ok(Exchanged::Behind(Box::new(built)));
        }
        drop(built);
        let (file, of_file) = file::end_building(&self.dir, of_built.ledger)?;
        *writer = Some(of_file);
        // A question that is asked meanwhile is answered from either file.
        if let Some(old) = self.file.swap(Some(file)) {
            old.close();
            file::remove_later(old.path());
        }
        Ok(Exchanged::Done { sums_agree: of_old == of_built })
    }
}
