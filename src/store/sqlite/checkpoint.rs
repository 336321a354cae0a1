//! Moves the write-ahead log into the file, off the writer's path. Knows: WAL frames. Must not know:
//! records.
//!
//! A checkpoint beside a busy writer never sees the end of the WAL, and a WAL whose end is never reached
//! never starts again from its beginning. So this thread moves nearly everything, in a few passes, and
//! then asks the writer to move the small rest between two batches.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use grantbook_events::Position;
use rusqlite::Connection;

use super::schema::{Access, connect, file_error};
use crate::store::StoreError;
use crate::tasks::Tasks;

/// After how many bytes of records the thread is woken.
const WAKE_AFTER_BYTES: usize = 4 << 20;
/// How many frames the writer may be left with.
const REST_FRAMES: i64 = 256;
/// How long the WAL may get before it is made to start again, in frames of a page each.
const RESTART_FRAMES: i64 = 8192;
/// How often the thread follows a writer that runs away from it.
const PASSES: usize = 6;

/// The writer's side of the thread.
#[derive(Debug)]
pub(super) struct Checkpointer {
    wake: Option<SyncSender<()>>,
    rest_is_yours: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    path: PathBuf,
    bytes: usize,
}

impl Checkpointer {
    pub(super) fn start(path: &Path, tasks: &Arc<Tasks>) -> Result<Self, StoreError> {
        let conn = connect(path, Access::Write).map_err(|error| file_error(path, Position::START, &error))?;
        let (wake, woken) = sync_channel(1);
        let rest_is_yours = Arc::new(AtomicBool::new(false));
        let theirs = Arc::clone(&rest_is_yours);
        let thread = tasks
            .thread("ledger-checkpoint", move || keep(&conn, &woken, &theirs))
            .map_err(|error| StoreError::Unavailable(format!("no thread for checkpoints: {error}")))?;
        Ok(Self { wake: Some(wake), rest_is_yours, thread: Some(thread), path: path.to_owned(), bytes: 0 })
    }

    /// Called between two batches.
    pub(super) fn after_batch(&mut self, conn: &Connection, bytes: usize) {
        self.bytes += bytes;
        if self.bytes >= WAKE_AFTER_BYTES {
            self.bytes = 0;
            // A full channel means that it is awake already.
            let _ = self.wake.as_ref().map(|wake| wake.try_send(()));
        }
        if self.rest_is_yours.swap(false, Ordering::Relaxed)
            && let Err(error) = checkpoint(conn, "PASSIVE")
        {
            tracing::warn!(%error, path = %self.path.display(), "a checkpoint failed; it will be tried again");
        }
    }

    /// Ends the thread.
    pub(super) fn stop(&mut self) {
        self.wake = None;
        if let Some(thread) = self.thread.take() {
            // A checkpoint that panicked has been reported by the panic itself.
            let _ = thread.join();
        }
    }
}

fn keep(conn: &Connection, woken: &Receiver<()>, rest_is_yours: &AtomicBool) {
    while woken.recv().is_ok() {
        for _ in 0..PASSES {
            match checkpoint(conn, "PASSIVE") {
                Ok(Frames { total, moved, .. }) if total - moved <= REST_FRAMES => {
                    rest_is_yours.store(total >= RESTART_FRAMES, Ordering::Relaxed);
                    break;
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(%error, "a checkpoint failed; it will be tried again");
                    break;
                }
            }
        }
    }
}

/// What a checkpoint left.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frames {
    /// Somebody was in the way.
    pub busy: bool,
    pub total: i64,
    pub moved: i64,
}

pub(super) fn checkpoint(conn: &Connection, mode: &str) -> rusqlite::Result<Frames> {
    conn.prepare_cached(&format!("PRAGMA wal_checkpoint({mode})"))?.query_one([], |row| {
        Ok(Frames { busy: row.get::<_, i64>(0)? != 0, total: row.get(1)?, moved: row.get(2)? })
    })
}
