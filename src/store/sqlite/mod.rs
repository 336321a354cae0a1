//! The embedded store: a directory with one SQLite file that only grows at its end. Knows: its parts and
//! how they start and stop. Must not know: what an event means.
//!
//! - `ledger.db`: the log. `sqlite3 ledger.db 'SELECT * FROM events'` shows it to people.
//! - `heads.db`: where each stream ends; derived, and may be deleted while no server runs.
//! - `ledger.seen`: the last record committed, to notice a write-ahead log that lost its end.
//! - `ledger.lock`: held by the one process that serves the ledger.

mod backup;
mod checkpoint;
mod heads;
mod heads_file;
mod heads_total;
mod index_check;
mod opening;
mod reader;
mod rows;
mod schema;
mod seen_file;
mod tail;
#[cfg(test)]
mod tests;
mod writer;

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use grantbook_events::{Position, Revision, StreamName, Timestamp};
use tokio::sync::{mpsc, oneshot, watch};
use uuid::Uuid;

pub use self::backup::{backup, restore};
use self::checkpoint::Checkpointer;
use self::heads::Heads;
use self::heads_file::HeadsFile;
pub use self::index_check::IndexCheck;
pub use self::opening::Evidence;
use self::opening::{Files, check_not_empty, open_and_look};
use self::reader::Readers;
use self::schema::{Access, cannot_write, file_error};
use self::seen_file::SeenFile;
use self::writer::{Command, Job, LatestTime, Writer};
use super::follow::{Progress, follow};
use super::lock::Lock;
use super::{Append, Expected, Head, NewRecord, Record, Seen, Store, StoreError, Subscription, check_limits};
use crate::files;
use crate::tasks::Tasks;

/// Held by the one process that serves the ledger.
pub const LOCK_FILE: &str = "ledger.lock";
/// How many appends may wait for the writer. Beyond, callers wait for a place.
const QUEUE: usize = 1024;
/// How often a store that is only read looks for what another process wrote.
const POLL: Duration = Duration::from_millis(200);

/// What a ledger that does not exist yet is made with. An existing one keeps its own.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Tells this ledger from every other: a random UUID.
    pub identity: Uuid,
    /// When it is made.
    pub now: Timestamp,
}

/// The embedded store.
pub struct SqliteStore {
    readers: Arc<Readers>,
    progress: watch::Receiver<Progress>,
    serving: Option<Serving>,
    tasks: Arc<Tasks>,
}

/// What a store has that takes appends.
struct Serving {
    commands: mpsc::Sender<Command>,
    latest: Arc<LatestTime>,
    closing: watch::Sender<bool>,
    thread: Mutex<Option<JoinHandle<()>>>,
    closed: watch::Receiver<Option<Result<(), StoreError>>>,
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (ledger, serving) = (&self.readers.ledger, self.serving.is_some());
        f.debug_struct("SqliteStore").field("ledger", ledger).field("serving", &serving).finish()
    }
}

impl SqliteStore {
    /// Opens the ledger in a directory to serve it, and makes it if there is none. Blocks: up to seconds
    /// after a crash, minutes if `heads.db` of a large ledger has to be built again.
    ///
    /// Errors: `InUse` if another process serves it, `NewerFormat`, `Damaged`, `CannotWrite`.
    pub fn open(dir: &Path, options: Options) -> Result<Arc<Self>, StoreError> {
        Self::open_with(dir, options, &Evidence::default())
    }

    /// The same, with what other files have seen of the ledger.
    ///
    /// Errors: also `EndsEarly` if it ends before that, and nothing is changed then.
    pub fn open_with(dir: &Path, options: Options, evidence: &Evidence) -> Result<Arc<Self>, StoreError> {
        let files = Files::of(dir);
        files::create_dir_all(dir).map_err(|error| cannot_write(dir, &error))?;
        let lock = Lock::take(&files.lock)?;
        opening::make_if_absent(&files, options, evidence)?;
        let (conn, mut meta, last) = opening::open_to_serve(&files, evidence)?;
        let heads_crc = meta.heads_crc.take();
        if heads_crc.is_some() {
            // From here on the file changes; a crash must not leave a promise about it.
            meta.write(&conn).map_err(|error| file_error(&files.ledger, last.position, &error))?;
        }
        let log = (&conn, files.ledger.as_path());
        let (heads, flush_file) = Heads::open(&files.heads, &meta.identity, heads_crc, log)?;
        let heads = Arc::new(heads);
        let (ledger, heads_path) = (files.ledger.clone(), files.heads.clone());
        let readers = Readers::new(ledger, heads_path, meta.identity, Some(Arc::clone(&heads)));
        let (progress, head) = watch::channel(Progress { head: last.position, closed: false });
        let tasks = Arc::new(Tasks::default());
        let writer = Writer {
            latest: LatestTime::of(&conn, &files.ledger)?,
            heads_file: HeadsFile::open(&files.heads, false)?,
            checkpointer: Checkpointer::start(&files.ledger, &tasks)?,
            seen: SeenFile::open(&files.seen, meta.identity, last),
            path: files.ledger,
            readers: Arc::new(readers),
            uncertain: false,
            conn,
            meta,
            heads,
            progress,
            last,
        };
        Self::serve(writer, flush_file, lock, head, tasks)
    }

    fn serve(
        writer: Writer,
        flush_file: HeadsFile,
        lock: Lock,
        progress: watch::Receiver<Progress>,
        tasks: Arc<Tasks>,
    ) -> Result<Arc<Self>, StoreError> {
        let readers = Arc::clone(&writer.readers);
        let ((commands, queue), (told, closed)) = (mpsc::channel(QUEUE), watch::channel(None));
        let no_thread =
            |error: std::io::Error| StoreError::Unavailable(format!("no thread for the ledger: {error}"));
        let (heads, latest) = (Arc::clone(&writer.heads), Arc::clone(&writer.latest));
        let keeper = tasks.thread("ledger-heads", move || heads.keep(flush_file)).map_err(no_thread)?;
        let thread = tasks
            .thread("ledger-writer", move || {
                let outcome = live(writer, queue, keeper);
                drop(lock);
                told.send_replace(Some(outcome));
            })
            .map_err(no_thread)?;
        let (closing, thread) = (watch::channel(false).0, Mutex::new(Some(thread)));
        let serving = Serving { commands, latest, closing, thread, closed };
        Ok(Arc::new(Self { readers, progress, serving: Some(serving), tasks }))
    }

    /// Opens the ledger in a directory to read it, also beside a process that serves it. Appends are
    /// refused, and subscriptions look at the file every now and then.
    pub fn open_read_only(dir: &Path) -> Result<Arc<Self>, StoreError> {
        let files = Files::of(dir);
        if !files.ledger.exists() {
            return Err(StoreError::Unavailable(format!("there is no ledger at {}", files.ledger.display())));
        }
        check_not_empty(&files.ledger)?;
        let (_, meta, last) = open_and_look(&files.ledger, Access::Read)?;
        let readers = Arc::new(Readers::new(files.ledger, files.heads, meta.identity, None));
        let (_, progress) = watch::channel(Progress { head: last.position, closed: false });
        Ok(Arc::new(Self { readers, progress, serving: None, tasks: Arc::default() }))
    }

    /// The same, to answer from it: a ledger that ends before what files have seen of it is refused.
    pub fn open_whole_read_only(dir: &Path, seen: Vec<Seen>) -> Result<Arc<Self>, StoreError> {
        if Files::of(dir).ledger.exists() {
            opening::check_whole(dir, seen)?;
        }
        Self::open_read_only(dir)
    }

    /// The last position: known here if this process serves the ledger, else in the file.
    async fn last_position(&self) -> Result<Position, StoreError> {
        match self.serving {
            Some(_) => Ok(self.progress.borrow().head),
            None => self.readers.last_position().await,
        }
    }

    /// Follows the file for as long as somebody follows this.
    async fn poll(&self) -> Result<watch::Receiver<Progress>, StoreError> {
        let head = self.readers.last_position().await?;
        let (sender, receiver) = watch::channel(Progress { head, closed: false });
        let readers = Arc::clone(&self.readers);
        tokio::spawn(async move {
            while !sender.is_closed() {
                tokio::time::sleep(POLL).await;
                match readers.last_position().await {
                    Ok(head) => drop(
                        sender
                            .send_if_modified(|progress| std::mem::replace(&mut progress.head, head) != head),
                    ),
                    Err(error) => {
                        tracing::warn!(%error, "the ledger could not be looked at; it will be tried again");
                    }
                }
            }
        });
        Ok(receiver)
    }
}

/// The life of the writer's thread.
fn live(
    mut writer: Writer,
    queue: mpsc::Receiver<Command>,
    keeper: JoinHandle<Result<Option<u32>, StoreError>>,
) -> Result<(), StoreError> {
    let progress = writer.progress.clone();
    let heads = Arc::clone(&writer.heads);
    writer.run(queue);
    // The index first, then the promise about it.
    writer.readers.close_idle();
    heads.close();
    let heads_crc =
        keeper.join().unwrap_or_else(|_| Err(StoreError::Unavailable("a thread broke".to_owned())));
    let heads_crc = heads_crc.unwrap_or_else(|error| {
        tracing::warn!(%error, "the index of streams is left behind; the next opening catches up");
        None
    });
    let finished = writer.finish(heads_crc);
    progress.send_modify(|progress| progress.closed = true);
    finished
}

#[async_trait]
impl Store for SqliteStore {
    async fn append(
        &self,
        stream: &StreamName,
        expected: Expected,
        records: Vec<NewRecord>,
    ) -> Result<Append, StoreError> {
        check_limits(&records)?;
        let Some(serving) = &self.serving else {
            return Err(StoreError::CannotWrite("it was opened for reading only".to_owned()));
        };
        if *serving.closing.borrow() {
            return Err(StoreError::Closed);
        }
        let (answer, answered) = oneshot::channel();
        let ids = records.iter().map(|record| record.event_id).collect();
        let job = Job { stream: stream.clone(), expected, records, ids, answer };
        serving.commands.send(Command::Append(job)).await.map_err(|_| StoreError::Closed)?;
        let lost = || Append::Unknown { reason: "the writer stopped before it answered".to_owned() };
        answered.await.unwrap_or_else(|_| Ok(lost()))
    }

    async fn read_stream(&self, stream: &StreamName, from: Revision) -> Result<Vec<Record>, StoreError> {
        self.readers.stream(stream.clone(), from).await
    }

    async fn look_again(&self, stream: &StreamName) -> Result<bool, StoreError> {
        self.readers.look_again(stream.clone()).await
    }

    async fn index(&self) -> Result<Option<IndexCheck>, StoreError> {
        self.readers.index().await
    }

    async fn next_after(&self, position: Position) -> Option<Position> {
        self.readers.next_after(position).await
    }

    async fn read_all(&self, after: Position, limit: usize) -> Result<Vec<Record>, StoreError> {
        let head = self.last_position().await?;
        self.readers.all(after, limit, head).await
    }

    fn tasks(&self) -> Option<&Tasks> {
        Some(&self.tasks)
    }

    fn newest(&self, after: Position) -> Option<Vec<Arc<Vec<Record>>>> {
        self.readers.tail.after(after)
    }

    fn latest_time(&self) -> Option<Timestamp> {
        self.serving.as_ref().map(|serving| serving.latest.get())
    }

    async fn subscribe(&self, after: Position) -> Result<Subscription, StoreError> {
        let progress = match self.serving {
            Some(_) => self.progress.clone(),
            None => self.poll().await?,
        };
        Ok(follow(Arc::clone(&self.readers), progress, after))
    }

    async fn head(&self) -> Result<Head, StoreError> {
        Ok(Head { position: self.last_position().await?, identity: self.readers.identity })
    }

    async fn close(&self) -> Result<(), StoreError> {
        let Some(serving) = &self.serving else { return Ok(()) };
        self.tasks.stop();
        if !serving.closing.send_replace(true) {
            // The writer may have stopped by itself; what it left to say is in `closed`.
            let _ = serving.commands.send(Command::Close).await;
        }
        let mut closed = serving.closed.clone();
        let outcome = closed.wait_for(Option::is_some).await.map(|outcome| outcome.clone());
        match outcome {
            Ok(Some(outcome)) => outcome,
            _ => Err(StoreError::Unavailable("the writer stopped without closing the ledger".to_owned())),
        }
    }
}

impl Drop for SqliteStore {
    /// Waits for the writer, so that the ledger can be opened again right after.
    fn drop(&mut self) {
        if let Some(serving) = self.serving.take() {
            self.tasks.stop();
            drop(serving.commands);
            let thread = serving.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
            // A writer that panicked has been reported by the panic itself.
            let _ = thread.map(JoinHandle::join);
        }
    }
}
