//! What a verification holds its own fold against: what a running server says of its projections, and the
//! snapshots. Knows: at which position each is to be compared. Must not know: how the fold gets there.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use grantbook_events::Position;
use grantbook_projections::live::Live;
use uuid::Uuid;

use super::Finding;
use crate::ledger::{SnapshotError, Snapshots};

/// What a verification is to hold its fold against.
#[derive(Debug, Default)]
pub struct Against {
    /// What somebody says of their live projection.
    pub live: Option<Claim>,
    /// The snapshots.
    pub snapshots: Option<Snapshots>,
    /// The directory with the stored history.
    pub history: Option<PathBuf>,
}

/// What somebody says of a projection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// How far it is.
    pub position: Position,
    /// The digest of its state there.
    pub digest: String,
}

/// Something that was compared, and is the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compared {
    /// What.
    pub what: String,
    /// At which position.
    pub position: Position,
}

/// Something that is of no use here, and no fault: why it was not compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassedOver {
    /// What.
    pub what: String,
    /// Why.
    pub why: String,
}

/// What is to be compared at one position.
#[derive(Debug)]
enum Point {
    Live(Claim),
    Snapshot(PathBuf),
}

/// What is still to be compared, and what came of the rest.
#[derive(Debug)]
pub(super) struct Points {
    ledger: Uuid,
    /// The last position first.
    due: Vec<(Position, Point)>,
    pub compared: Vec<Compared>,
    pub findings: Vec<Finding>,
    pub passed_over: Vec<PassedOver>,
    /// Whether the live projection differs.
    pub live_differs: bool,
}

impl Points {
    /// # Errors
    /// If the snapshots cannot be listed.
    pub(super) fn new(
        live: Option<Claim>,
        snapshots: Option<Snapshots>,
        ledger: Uuid,
    ) -> std::io::Result<Self> {
        let mut points = Self {
            ledger,
            due: Vec::new(),
            compared: Vec::new(),
            findings: Vec::new(),
            passed_over: Vec::new(),
            live_differs: false,
        };
        points.due.extend(live.map(|claim| (claim.position, Point::Live(claim))));
        for path in snapshots.map_or_else(|| Ok(Vec::new()), |snapshots| snapshots.paths())? {
            match Snapshots::header(&path) {
                Ok(header) => points.due.push((header.mark.position, Point::Snapshot(path))),
                Err(why) => points.pass_over(&path, None, &why),
            }
        }
        points.due.sort_by_key(|(position, _)| std::cmp::Reverse(*position));
        Ok(points)
    }

    /// Compares everything that is of this position with the state there.
    pub(super) fn reached(&mut self, position: Position, state: &Live) {
        while let Some((_, point)) = self.due.pop_if(|(due, _)| *due <= position) {
            match point {
                Point::Live(claim) => self.compare_live(&claim, position, state),
                Point::Snapshot(path) => self.compare_snapshot(&path, position, state),
            }
        }
    }

    /// The ledger ends before what is left was reached; or what could be read of it does.
    pub(super) fn end(&mut self, is_whole: bool) {
        for (position, point) in std::mem::take(&mut self.due) {
            let what = match point {
                Point::Live(_) => "the live projection of the running server".to_owned(),
                Point::Snapshot(path) => format!("snapshot {}", name(&path)),
            };
            let why =
                if is_whole { "which the ledger does not have" } else { "up to which it cannot be read" };
            let what = format!("{what} is of this position, {why}");
            self.findings.push(Finding::at(position, what));
        }
    }

    fn compare_live(&mut self, claim: &Claim, position: Position, state: &Live) {
        let replayed = state.digest().to_string();
        if claim.position == position && claim.digest == replayed {
            return self.agree("the live projection of the running server".to_owned(), position);
        }
        self.live_differs = true;
        let what = format!(
            "the live projection of the running server has digest {}, and the ledger folds to {replayed}",
            claim.digest
        );
        self.findings.push(Finding::at(claim.position, what));
    }

    fn compare_snapshot(&mut self, path: &Path, position: Position, state: &Live) {
        let live = match Snapshots::load(path, self.ledger) {
            Ok(live) => live,
            Err(why) => return self.pass_over(path, Some(position), &why),
        };
        let name = name(path);
        if live.mark() != state.mark() {
            let what = format!("snapshot {name} ends with an event that the ledger does not have there");
            self.findings.push(Finding { position: live.mark().map(|mark| mark.position), what });
            return;
        }
        if live.digest() == state.digest() {
            return self.agree(format!("snapshot {name}"), position);
        }
        let what = format!("snapshot {name}: {}", in_words(&live, state, "in the snapshot"));
        self.findings.push(Finding::at(position, what));
    }

    fn agree(&mut self, what: String, position: Position) {
        self.compared.push(Compared { what, position });
    }

    /// A snapshot of another ledger, or of another grantbook, or that is gone, is of no use and no fault.
    fn pass_over(&mut self, path: &Path, position: Option<Position>, why: &SnapshotError) {
        let is_fault = match why {
            SnapshotError::OtherFormat { .. }
            | SnapshotError::OtherVersion { .. }
            | SnapshotError::Quarantined { .. }
            | SnapshotError::Foreign { .. } => false,
            // The server that wrote it has removed it meanwhile.
            SnapshotError::Io(error) => error.kind() != ErrorKind::NotFound,
            SnapshotError::NotASnapshot
            | SnapshotError::Damaged
            | SnapshotError::NoState(_)
            | SnapshotError::NotInLedger { .. }
            | SnapshotError::Store(_)
            | SnapshotError::Json(_) => true,
        };
        let what = format!("snapshot {}", name(path));
        if is_fault {
            self.findings.push(Finding { position, what: format!("{what}: {why}") });
        } else {
            self.passed_over.push(PassedOver { what, why: why.to_string() });
        }
    }
}

/// The first difference between a state and what the ledger folds to.
pub(super) fn in_words(state: &Live, replayed: &Live, where_it_is: &str) -> String {
    match state.difference(replayed) {
        Some(difference) => format!(
            "{}: {} is {} {where_it_is} and {} replayed",
            difference.row, difference.field, difference.one, difference.other
        ),
        None => format!("its digest {where_it_is} is not the one replayed, although no field differs"),
    }
}

pub(super) fn name(path: &Path) -> String {
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
    async fn a_snapshot_that_is_gone_is_passed_over() {
        let (ledger, store) = history(33).await;
        let identity = store.head().await.unwrap().identity;
        let (dir, live) = (tempfile::tempdir().unwrap(), ledger.live());
        let snapshots = Snapshots::new(dir.path().to_owned());
        let path = snapshots.write(&live, identity);
        let mut points = Points::new(None, Some(snapshots.clone()), identity).unwrap();
        fs::remove_file(&path).unwrap();
        points.reached(live.position(), &live);
        assert_eq!((points.findings.len(), points.passed_over.len()), (0, 1), "when it is loaded");

        // One that was listed, and is gone before its first line is read.
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink("gone", &path).unwrap();
            let points = Points::new(None, Some(snapshots), identity).unwrap();
            assert_eq!((points.findings.len(), points.passed_over.len()), (0, 1), "when it is listed");
        }
    }
}
