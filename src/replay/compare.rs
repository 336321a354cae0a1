//! What a verification compares its own fold with: what a running server reports of its live projection, and the
//! snapshots. Knows: at which position each is. Must not know: how the fold gets there.

use std::cmp::Reverse;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use grantbook_events::Position;
use grantbook_projections::live::Live;
use uuid::Uuid;

use super::findings::{Compared, Finding, Skipped, Verified};
use crate::ledger::{SnapshotError, Snapshots};

/// What a verification is to compare the ledger with.
#[derive(Debug, Default)]
pub struct Against {
    /// What a running server reports.
    pub live: Option<ReportedState>,
    pub snapshots: Option<Snapshots>,
    /// The directory with the stored history.
    pub history: Option<PathBuf>,
}

/// Where a live projection is, and the digest of its state there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportedState {
    pub position: Position,
    pub digest: String,
}

/// What is to be compared where the fold reaches its position.
#[derive(Debug)]
struct Due {
    position: Position,
    what: String,
    state: DueState,
}

#[derive(Debug)]
enum DueState {
    Reported { digest: String },
    Snapshot(PathBuf),
}

/// What is still to be compared, and what differs so far.
#[derive(Debug)]
pub(super) struct Comparisons {
    ledger: Uuid,
    /// The last position first.
    due: Vec<Due>,
    findings: Vec<Finding>,
}

impl Comparisons {
    /// # Errors
    /// If the snapshots cannot be listed.
    pub(super) fn new(
        live: Option<ReportedState>,
        snapshots: Option<Snapshots>,
        ledger: Uuid,
        verified: &mut Verified,
    ) -> std::io::Result<Self> {
        let due = live.map(|ReportedState { position, digest }| Due {
            position,
            what: "the live projection of the running server".to_owned(),
            state: DueState::Reported { digest },
        });
        let mut comparisons = Self { ledger, due: due.into_iter().collect(), findings: Vec::new() };
        for path in snapshots.map_or_else(|| Ok(Vec::new()), |snapshots| snapshots.paths())? {
            let what = format!("snapshot {}", file_name(&path));
            match Snapshots::header(&path) {
                Ok(header) => {
                    let (position, state) = (header.mark.position, DueState::Snapshot(path));
                    comparisons.due.push(Due { position, what, state });
                }
                Err(why) => comparisons.skip(what, None, &why, verified),
            }
        }
        comparisons.due.sort_by_key(|due| Reverse(due.position));
        Ok(comparisons)
    }

    /// Compares everything that is of this position with the state there.
    pub(super) fn reached(&mut self, position: Position, verified: &mut Verified) {
        while let Some(Due { position: of, what, state }) = self.due.pop_if(|due| due.position <= position) {
            match state {
                DueState::Reported { digest } => {
                    let replayed = verified.live.digest().to_string();
                    if (of, &digest) == (position, &replayed) {
                        verified.compared.push(Compared { what, position });
                    } else {
                        verified.live_differs = true;
                        let what = format!("{what} has digest {digest}, and the ledger folds to {replayed}");
                        self.findings.push(Finding::at(of, what));
                    }
                }
                DueState::Snapshot(path) => match Snapshots::load(&path, self.ledger) {
                    Ok(live) => self.compare_snapshot(what, &live, position, verified),
                    Err(why) => self.skip(what, Some(position), &why, verified),
                },
            }
        }
    }

    /// What differs, and what is of positions that the ledger does not have or that could not be read.
    pub(super) fn end(mut self, is_whole: bool) -> Vec<Finding> {
        let why = if is_whole { "which the ledger does not have" } else { "up to which it cannot be read" };
        let left = |due: Due| Finding::at(due.position, format!("{} is of this position, {why}", due.what));
        self.findings.extend(self.due.into_iter().map(left));
        self.findings
    }

    fn compare_snapshot(&mut self, what: String, live: &Live, position: Position, verified: &mut Verified) {
        if live.mark() != verified.live.mark() {
            let what = format!("{what} ends with an event that the ledger does not have there");
            let position = live.mark().map(|mark| mark.position);
            self.findings.push(Finding { position, what });
        } else if live.digest() == verified.live.digest() {
            verified.compared.push(Compared { what, position });
        } else {
            let what = format!("{what}: {}", first_difference(live, &verified.live, "in the snapshot"));
            self.findings.push(Finding::at(position, what));
        }
    }

    /// A snapshot of another ledger, or of another grantbook, or that is gone, cannot be compared and is no fault.
    fn skip(
        &mut self,
        what: String,
        position: Option<Position>,
        why: &SnapshotError,
        verified: &mut Verified,
    ) {
        let is_no_fault = match why {
            // The server that wrote it has removed it meanwhile.
            SnapshotError::Io(error) => error.kind() == ErrorKind::NotFound,
            SnapshotError::OtherFormat { .. }
            | SnapshotError::OtherVersion { .. }
            | SnapshotError::Quarantined { .. }
            | SnapshotError::Foreign { .. } => true,
            _ => false,
        };
        if is_no_fault {
            verified.skipped.push(Skipped { what, why: why.to_string() });
        } else {
            self.findings.push(Finding { position, what: format!("{what}: {why}") });
        }
    }
}

/// The first difference between a state and what the ledger folds to.
pub(super) fn first_difference(state: &Live, replayed: &Live, where_it_is: &str) -> String {
    match state.difference(replayed) {
        Some(difference) => format!(
            "{}: {} is {} {where_it_is} and {} replayed",
            difference.row, difference.field, difference.one, difference.other
        ),
        None => format!("its digest {where_it_is} is not the one replayed, although no field differs"),
    }
}

pub(super) fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::ledger::tests::simulation::history;
    use crate::store::Store as _;

    /// A server removes its older snapshots while they are compared.
    #[tokio::test]
    async fn a_snapshot_that_is_gone_is_skipped() {
        let (ledger, store) = history(33).await;
        let identity = store.head().await.unwrap().identity;
        let (dir, live) = (tempfile::tempdir().unwrap(), ledger.live());
        let snapshots = Snapshots::new(dir.path().to_owned());
        let path = snapshots.write(&live, identity);
        let mut verified = Verified::default();
        let mut comparisons =
            Comparisons::new(None, Some(snapshots.clone()), identity, &mut verified).unwrap();
        fs::remove_file(&path).unwrap();
        comparisons.reached(live.position(), &mut verified);
        assert_eq!((comparisons.findings.len(), verified.skipped.len()), (0, 1), "when it is loaded");

        // One that was listed, and is gone before its first line is read.
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink("gone", &path).unwrap();
            let mut verified = Verified::default();
            let comparisons = Comparisons::new(None, Some(snapshots), identity, &mut verified).unwrap();
            assert_eq!((comparisons.findings.len(), verified.skipped.len()), (0, 1), "when it is listed");
        }
    }
}
