//! Whether a ledger file has what files of its directory have seen of it. Knows: the ledger's own files. Must not know:
//! what follows for others.

use std::fs;

use grantbook_events::Position;

use super::opened::{Files, Opened};
use super::schema::cannot_write;
use super::seen_file::{self, End};
use crate::files::with_suffix;
use crate::store::evidence::{AcceptLoss, Lost, Seen, SeenMark, SeenRecord, unused_name};
use crate::store::{ChainDigest, Found, StoreError};

/// How what is missing can be put back.
const INSTEAD: &str = "Put back the files that belong together or restore a backup";

/// What the store's own files have seen, and others.
pub(super) fn gather(files: &Files, others: &[Seen]) -> Vec<Seen> {
    let own = [&files.heads, &files.seen].into_iter().filter_map(|file| {
        let (ledger, End { position, digest }) = seen_file::read(file)?;
        let previous = Position::new(position.as_u64().saturating_sub(1));
        let record = SeenRecord { position, previous, mark: SeenMark::Digest(digest) };
        Some(Seen { file: file.clone(), ledger, record, is_intact: |_| true })
    });
    own.chain(others.iter().cloned()).filter(|seen| seen.record.position > Position::START).collect()
}

/// What the ledger file itself says of its last clean stop.
pub(super) fn closed(files: &Files, ledger: &Opened) -> Seen {
    let position = ledger.meta.closed_at;
    let previous = Position::new(position.as_u64().saturating_sub(1));
    let record = SeenRecord { position, previous, mark: SeenMark::Digest(ChainDigest::NONE) };
    Seen { file: files.ledger.clone(), ledger: ledger.meta.identity, record, is_intact: |_| true }
}

/// Refuses a ledger, or the lack of one, that contradicts what files have seen; or, on an operator's word, moves these
/// files away so that the ledger goes on from its end. Says whether anything is missing.
pub(super) fn check(
    files: &Files,
    ledger: Option<&Opened>,
    all: &[Seen],
    accept_loss: Option<&AcceptLoss>,
) -> Result<bool, StoreError> {
    let end = ledger.map_or(Position::START, |ledger| ledger.end.position);
    let mut found = Vec::new();
    for seen in all {
        match ledger {
            None => found.push((seen, None)),
            // The file is of another ledger.
            Some(ledger) if ledger.meta.identity != seen.ledger => {}
            Some(ledger) => found.push((seen, Some(ledger.has(&seen.record)?))),
        }
    }
    let name = format!("ledger {}", files.ledger.display());
    let Some(lost) = Lost::of(&name, end, found) else { return Ok(false) };
    let Some(word) = accept_loss else { return Err(lost.refusal(INSTEAD)) };
    let wal = with_suffix(&files.ledger, "-wal");
    if wal.exists() {
        // What is written next is written over the end that cannot be read.
        let kept = unused_name(&wal, end);
        fs::copy(&wal, &kept).map_err(|error| cannot_write(&kept, &error))?;
    }
    lost.accept(word)?;
    Ok(true)
}

impl Opened {
    fn has(&self, seen: &SeenRecord) -> Result<Found, StoreError> {
        Ok(Found::of(seen, self.log.page(seen.previous, 1)?.first(), self.end.position))
    }
}
