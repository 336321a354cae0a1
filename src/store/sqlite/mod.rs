//! The embedded store: a directory with one SQLite file that only grows at its end. Knows: its parts and
//! how they start and stop. Must not know: what an event means.
//!
//! - `ledger.db`: the log. `sqlite3 ledger.db 'SELECT * FROM events'` shows it to people.
//! - `ledger.heads`: where each stream ends; derived, and may be deleted while no server runs.
//! - `ledger.seen`: the last record committed, to notice a write-ahead log that lost its end.
//! - `ledger.lock`: held by the one process that serves the ledger.

mod backup;
mod evidence;
mod heads;
mod index_check;
mod opened;
mod opening;
mod reader;
mod rows;
mod schema;
mod seen_file;
mod tail;
#[cfg(test)]
mod tests;
mod upkeep;
mod writer;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use grantbook_events::{Position, Revision, StreamName, Timestamp};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot, watch};
use uuid::Uuid;

pub use self::backup::{backup, restore};
use self::heads::Heads;
pub use self::index_check::IndexCheck;
pub use self::opened::LOCK_FILE;
use self::opened::{Files, Opened};
pub use self::opening::Options;
use self::reader::Readers;
use self::schema::cannot_write;
use self::seen_file::SeenFile;
use self::upkeep::Upkeep;
use self::writer::{Answer, Command, Job, Writer};
use super::evidence::{Evidence, Seen};
use super::follow::{NEVER, Progress, follow};
use super::lock::Lock;
use super::{
    Append, Expected, Head, MAX_PAGE, NewRecord, Record, Run, Store, StoreError, Subscription, check_limits,
};
use crate::files;
use crate::tasks::Tasks;

/// How many appends may wait for the writer. Beyond, callers wait for a place.
const QUEUE: usize = 1024;
/// How often a store that is only read looks for what another process wrote.
const POLL: Duration = Duration::from_millis(200);

/// The embedded store.
pub struct SqliteStore {
    files: Files,
    identity: Uuid,
    readers: Arc<Readers>,
    progress: watch::Receiver<Progress>,
    serving: Option<Serving>,
    tasks: Arc<Tasks>,
}

/// What a store has that takes appends.
struct Serving {
    heads: Arc<Heads>,
    /// None once it is closing. The writer ends when no sender is left.
    commands: Mutex<Option<mpsc::Sender<Command>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    closed: watch::Receiver<Option<Result<(), StoreError>>>,
}

impl Serving {
    fn sender(&self) -> Result<mpsc::Sender<Command>, StoreError> {
        self.commands.lock().clone().ok_or(StoreError::Closed)
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (ledger, serving) = (&self.files.ledger, self.serving.is_some());
        f.debug_struct("SqliteStore").field("ledger", ledger).field("serving", &serving).finish()
    }
}

impl SqliteStore {
    /// Opens the ledger in a directory to serve it, and makes it if there is none. Blocks: up to seconds
    /// after a crash, minutes if `ledger.heads` of a large ledger has to be made again.
    ///
    /// # Errors
    /// `InUse` if another process serves it, `NewerFormat`, `Damaged`, `CannotWrite`.
    pub fn open(dir: &Path, options: Options) -> Result<Arc<Self>, StoreError> {
        Self::open_with(dir, options, &Evidence::default())
    }

    /// The same, with what other files have seen of the ledger.
    ///
    /// # Errors
    /// Also `EndsEarly` if it ends before that, and nothing is changed then.
    pub fn open_with(dir: &Path, options: Options, evidence: &Evidence) -> Result<Arc<Self>, StoreError> {
        let files = Files::of(dir);
        files::create_dir_all(dir).map_err(|error| cannot_write(dir, &error))?;
        let lock = Lock::take(&files.lock)?;
        let Opened { log, meta, end, latest } = opening::open_to_serve(&files, options, evidence)?;
        let (identity, tasks) = (meta.identity, Arc::new(Tasks::default()));
        let heads = Arc::new(Heads::open(&files.heads, identity, &log)?);
        let readers = Arc::new(Readers::new(files.ledger.clone()));
        let (progress, head) = watch::channel(Progress { head: end.position, latest, closed: false });
        let mut writer = Writer {
            upkeep: Upkeep::start(&log, &heads, &tasks)?,
            readers: Arc::clone(&readers),
            heads: Arc::clone(&heads),
            seen: SeenFile::open(&files.seen, identity, end),
            uncertain: false,
            log,
            meta,
            progress,
        };
        let ((commands, queue), (outcome, closed)) = (mpsc::channel(QUEUE), watch::channel(None));
        let thread = tasks.thread("ledger-writer", move || {
            writer.run(queue);
            let progress = writer.progress.clone();
            let ended = writer.finish();
            progress.send_modify(|progress| progress.closed = true);
            drop(lock);
            outcome.send_replace(Some(ended));
        });
        let thread =
            thread.map_err(|error| StoreError::Unavailable(format!("no thread for the ledger: {error}")))?;
        let (commands, thread) = (Mutex::new(Some(commands)), Mutex::new(Some(thread)));
        let serving = Some(Serving { heads, commands, thread, closed });
        Ok(Arc::new(Self { files, identity, readers, progress: head, serving, tasks }))
    }

    /// Opens the ledger in a directory to read it, also beside a process that serves it. Appends are
    /// refused, and subscriptions look at the file every now and then.
    ///
    /// # Errors
    /// `Unavailable` if there is no ledger; `NewerFormat`; `Damaged`.
    pub fn open_read_only(dir: &Path) -> Result<Arc<Self>, StoreError> {
        Self::to_read(dir, None)
    }

    /// The same, to answer from it: a ledger that ends before what files have seen of it is refused.
    ///
    /// # Errors
    /// Also `EndsEarly`.
    pub fn open_whole_read_only(dir: &Path, seen: Vec<Seen>) -> Result<Arc<Self>, StoreError> {
        Self::to_read(dir, Some(&Evidence { seen, accept_loss: None }))
    }

    fn to_read(dir: &Path, evidence: Option<&Evidence>) -> Result<Arc<Self>, StoreError> {
        let files = Files::of(dir);
        let opened = opening::open_to_read(&files, evidence)?;
        let (identity, readers) = (opened.meta.identity, Arc::new(Readers::new(files.ledger.clone())));
        let (_, progress) =
            watch::channel(Progress { head: opened.end.position, latest: NEVER, closed: false });
        Ok(Arc::new(Self { files, identity, readers, progress, serving: None, tasks: Arc::default() }))
    }

    async fn send(&self, command: Command) -> Result<(), StoreError> {
        let Some(serving) = &self.serving else {
            return Err(StoreError::CannotWrite("it was opened for reading only".to_owned()));
        };
        serving.sender()?.send(command).await.map_err(|_| StoreError::Closed)
    }

    /// The last position: known here if this process serves the ledger, else in the file.
    async fn last_position(&self) -> Result<Position, StoreError> {
        match self.serving {
            Some(_) => Ok(self.progress.borrow().head),
            None => self.readers.run(|log| log.last_position()).await,
        }
    }

    /// Follows the file for as long as something follows this.
    async fn poll(&self) -> Result<watch::Receiver<Progress>, StoreError> {
        let head = self.last_position().await?;
        let (sender, receiver) = watch::channel(Progress { head, latest: NEVER, closed: false });
        let readers = Arc::clone(&self.readers);
        tokio::spawn(async move {
            while !sender.is_closed() {
                tokio::time::sleep(POLL).await;
                match readers.run(|log| log.last_position()).await {
                    Ok(head) => sender.send_modify(|progress| progress.head = head),
                    Err(error) => {
                        tracing::warn!(%error, "the ledger could not be looked at; it will be tried again");
                    }
                }
            }
        });
        Ok(receiver)
    }
}

async fn answer(answered: oneshot::Receiver<Answer>) -> Answer {
    let lost = || Append::Unknown { reason: "the writer stopped before it answered".to_owned() };
    answered.await.unwrap_or_else(|_| Ok(lost()))
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
        let (job, answered) = Job::new(stream.clone(), expected, records);
        self.send(Command::Append(job)).await?;
        answer(answered).await
    }

    async fn copy_in(&self, runs: Vec<Run>) -> Result<(), StoreError> {
        let job = |Run { stream, expected, records }| {
            Job::new(stream, expected, records.into_iter().map(Record::unplaced).collect())
        };
        let (jobs, answers): (Vec<_>, Vec<_>) = runs.into_iter().map(job).unzip();
        let streams: Vec<_> = jobs.iter().map(|job| job.stream.clone()).collect();
        self.send(Command::Together(jobs)).await?;
        for (answered, stream) in answers.into_iter().zip(&streams) {
            answer(answered).await?.of_copy(stream)?;
        }
        Ok(())
    }

    async fn read_stream(&self, stream: &StreamName, from: Revision) -> Result<Vec<Record>, StoreError> {
        let heads = self.serving.as_ref().map(|serving| Arc::clone(&serving.heads));
        let stream = stream.clone();
        let read = self.readers.run(move |log| {
            let head = match heads {
                Some(heads) => heads.end_of(&stream, log)?,
                // Another process may append, which the file does not say at once: the log is searched.
                None => log.scan_for_head(&stream)?,
            };
            head.map_or_else(|| Ok(Vec::new()), |head| log.walk(&stream, head, from))
        });
        read.await
    }

    async fn index(&self) -> Result<Option<IndexCheck>, StoreError> {
        let (path, identity) = (self.files.heads.clone(), self.identity);
        self.readers.run(move |_| IndexCheck::read(&path, identity)).await
    }

    async fn next_after(&self, position: Position) -> Option<Position> {
        self.readers.run(move |log| log.next_after(position)).await.ok().flatten()
    }

    async fn read_all(&self, after: Position, limit: usize) -> Result<Vec<Record>, StoreError> {
        let (head, limit) = (self.last_position().await?, limit.min(MAX_PAGE));
        let read = self.readers.run(move |log| {
            let page = log.page(after, limit)?;
            let last = page.last().map_or(after, |record| record.position);
            if page.len() < limit && last < head {
                let what = format!("the record after it is missing, although the ledger goes on to {head}");
                return Err(log.damaged(last, &what));
            }
            Ok(page)
        });
        read.await
    }

    fn tasks(&self) -> Option<&Tasks> {
        Some(&self.tasks)
    }

    fn latest_time(&self) -> Option<Timestamp> {
        self.serving.as_ref().map(|_| self.progress.borrow().latest)
    }

    async fn subscribe(&self, after: Position) -> Result<Subscription, StoreError> {
        let progress = match self.serving {
            Some(_) => self.progress.clone(),
            None => self.poll().await?,
        };
        let readers = Arc::clone(&self.readers);
        Ok(follow(move |position| Arc::clone(&readers).after(position), progress, after))
    }

    async fn head(&self) -> Result<Head, StoreError> {
        Ok(Head { position: self.last_position().await?, identity: self.identity })
    }

    async fn close(&self) -> Result<(), StoreError> {
        let Some(serving) = &self.serving else { return Ok(()) };
        self.tasks.stop();
        serving.commands.lock().take();
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
            serving.commands.lock().take();
            let thread = serving.thread.lock().take();
            // A writer that panicked has been reported by the panic itself.
            let _ = thread.map(JoinHandle::join);
        }
    }
}
