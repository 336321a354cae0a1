//! What one thread does beside the writer: it moves the write-ahead log into the ledger's file, and writes
//! `ledger.heads`. Knows: when. Must not know: records.
//!
//! A checkpoint beside a busy writer never sees the end of the WAL, and a WAL whose end is never reached
//! never starts again from its beginning. So this thread moves nearly everything, in a few passes, and
//! then asks the writer to move the small rest between two batches.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::Connection;

use super::heads::Heads;
use super::schema::{Access, Log};
use crate::store::StoreError;
use crate::tasks::Tasks;

/// After how many bytes of records the thread is woken.
const WAKE_AFTER_BYTES: usize = 4 << 20;
/// How many frames the writer may be left with.
const REST_FRAMES: i64 = 256;
/// How long the WAL may get before it is made to start again, in frames of a page each.
const RESTART_FRAMES: i64 = 8192;
/// How often the thread follows a writer that is faster.
const PASSES: usize = 6;
/// How long nothing must be appended before the index of streams is written.
const IDLE: Duration = Duration::from_secs(5);

/// The writer's side of the thread.
#[derive(Debug)]
pub(super) struct Upkeep {
    wake: SyncSender<()>,
    rest_is_yours: Arc<AtomicBool>,
    thread: JoinHandle<()>,
    bytes: usize,
}

impl Upkeep {
    pub(super) fn start(log: &Log, heads: &Arc<Heads>, tasks: &Arc<Tasks>) -> Result<Self, StoreError> {
        let (wake, woken) = sync_channel(1);
        let rest_is_yours = Arc::new(AtomicBool::new(false));
        let (heads, theirs) = (Arc::clone(heads), Arc::clone(&rest_is_yours));
        let log = Log::open(&log.path, Access::Write)?;
        let thread = tasks
            .thread("ledger-upkeep", move || run(&log, &heads, &woken, &theirs))
            .map_err(|error| StoreError::Unavailable(format!("no thread for the ledger: {error}")))?;
        Ok(Self { wake, rest_is_yours, thread, bytes: 0 })
    }

    /// Called between two batches.
    pub(super) fn after_batch(&mut self, log: &Log, bytes: usize) {
        self.bytes += bytes;
        if self.bytes >= WAKE_AFTER_BYTES {
            self.bytes = 0;
            // A full channel means that it is awake already.
            let _ = self.wake.try_send(());
        }
        if self.rest_is_yours.swap(false, Ordering::Relaxed) {
            try_checkpoint(&log.conn);
        }
    }

    /// Ends the thread, which writes the index of streams first.
    pub(super) fn stop(self) {
        drop(self.wake);
        // A panic has been reported by itself.
        let _ = self.thread.join();
    }
}

fn run(log: &Log, heads: &Heads, woken: &Receiver<()>, rest_is_yours: &AtomicBool) {
    let mut before = heads.end();
    loop {
        let woken = woken.recv_timeout(IDLE);
        if woken == Err(RecvTimeoutError::Disconnected) {
            return heads.save_or_warn();
        }
        if woken.is_ok() {
            move_log(&log.conn, rest_is_yours);
        }
        let end = heads.end();
        if heads.is_due(woken.is_err() && end == before) {
            heads.save_or_warn();
        }
        before = end;
    }
}

fn move_log(conn: &Connection, rest_is_yours: &AtomicBool) {
    for _ in 0..PASSES {
        match try_checkpoint(conn) {
            Some(Frames { total, moved, .. }) if total - moved <= REST_FRAMES => {
                rest_is_yours.store(total >= RESTART_FRAMES, Ordering::Relaxed);
                return;
            }
            Some(_) => {}
            None => return,
        }
    }
}

fn try_checkpoint(conn: &Connection) -> Option<Frames> {
    let tried = checkpoint(conn, "PASSIVE");
    tried.inspect_err(|error| tracing::warn!(%error, "a checkpoint failed; it will be tried again")).ok()
}

/// What a checkpoint left.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frames {
    /// A reader or writer was in the way.
    pub busy: bool,
    total: i64,
    moved: i64,
}

pub(super) fn checkpoint(conn: &Connection, mode: &str) -> rusqlite::Result<Frames> {
    conn.prepare_cached(&format!("PRAGMA wal_checkpoint({mode})"))?.query_one([], |row| {
        Ok(Frames { busy: row.get::<_, i64>(0)? != 0, total: row.get(1)?, moved: row.get(2)? })
    })
}
