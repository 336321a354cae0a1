//! The one writer. Knows: the queue, the batch, the commit, and what is owed when a commit fails. Must not
//! know: readers, or how a subscriber is fed.
//!
//! It drains what queued, decides each append in order against the head of its stream (seeing the earlier
//! ones of the same batch), and commits them with one transaction and one fsync. Then it publishes, and
//! only then it answers.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use grantbook_events::{EventId, Position, StreamName, Timestamp};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode};
use tokio::sync::{mpsc, oneshot, watch};

use super::checkpoint::{Checkpointer, checkpoint};
use super::heads::Heads;
use super::heads_file::HeadsFile;
use super::heads_total::{Key, UpTo};
use super::reader::Readers;
use super::rows::{self, StreamHead};
use super::schema::{Access, Meta, cannot_write, connect, file_error};
use super::seen_file::SeenFile;
use crate::store::follow::Progress;
use crate::store::{Append, ChainDigest, Expected, Link, NewRecord, Record, StoreError};

/// How many appends share a commit, at most.
const BATCH_APPENDS: usize = 512;
/// How many bytes of payload and metadata share a commit, about.
const BATCH_BYTES: usize = 4 << 20;

type Answer = Result<Append, StoreError>;

/// An append on its way.
#[derive(Debug)]
pub(super) struct Job {
    pub stream: StreamName,
    pub expected: Expected,
    pub records: Vec<NewRecord>,
    /// The ids of the records, which are gone once they are staged.
    pub ids: Vec<EventId>,
    pub answer: oneshot::Sender<Answer>,
}

/// What the writer is told.
pub(super) enum Command {
    Append(Job),
    Close,
    /// Does something to the writer's connection, to make it fail.
    #[cfg(test)]
    Tamper(Box<dyn FnOnce(&Connection) + Send>),
}

/// The writer's thread.
pub(super) struct Writer {
    pub conn: Connection,
    pub path: PathBuf,
    pub meta: Meta,
    pub heads: Arc<Heads>,
    pub heads_file: HeadsFile,
    pub readers: Arc<Readers>,
    pub progress: watch::Sender<Progress>,
    pub checkpointer: Checkpointer,
    /// Remembers the last record outside of the log.
    pub seen: SeenFile,
    /// The last record.
    pub last: UpTo,
    /// When it was recorded: nothing is recorded before.
    pub latest: Arc<LatestTime>,
    /// A commit failed in a way that leaves open whether its records are in the WAL.
    pub uncertain: bool,
}

/// What was decided about an append.
#[derive(Debug)]
enum Verdict {
    /// Nothing is written for it.
    Settled(Answer),
    /// Its records are `staged[first..first + count]`.
    Staged { first: usize, count: usize },
}

/// A batch before its commit.
#[derive(Debug, Default)]
struct Batch {
    staged: Vec<Record>,
    heads: HashMap<Key, StreamHead>,
    bytes: usize,
    /// The latest time in it.
    latest: Option<Timestamp>,
}

/// When the last record was recorded, for those who read it while the writer goes on.
#[derive(Debug)]
pub(super) struct LatestTime(AtomicI64);

impl LatestTime {
    pub(super) fn of(conn: &Connection, path: &Path) -> Result<Arc<Self>, StoreError> {
        Ok(Arc::new(Self(AtomicI64::new(rows::last_time(conn, path)?.as_micros()))))
    }

    pub(super) fn get(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::Acquire))
    }

    fn set(&self, latest: Timestamp) {
        self.0.store(latest.as_micros(), Ordering::Release);
    }
}

fn appended(last: &Record) -> Append {
    Append::Appended { revision: last.revision, position: last.position, recorded_at: last.recorded_at }
}

/// How far a batch came before it failed.
#[derive(Debug)]
enum Failure {
    /// Its commit was not tried, or cannot have happened.
    NotCommitted(StoreError),
    /// Its commit was tried and reported an error.
    Unknown(StoreError),
}

impl Writer {
    /// Runs until it is told to close, or nobody can tell it anything any more.
    pub(super) fn run(&mut self, mut commands: mpsc::Receiver<Command>) {
        let mut open = true;
        while open && let Some(command) = commands.blocking_recv() {
            let (mut jobs, mut bytes, mut next) = (Vec::new(), 0, Some(command));
            while let Some(command) = next.take() {
                match command {
                    Command::Append(job) => {
                        bytes += job.records.iter().map(NewRecord::size).sum::<usize>();
                        jobs.push(job);
                    }
                    Command::Close => open = false,
                    #[cfg(test)]
                    Command::Tamper(tamper) => tamper(&self.conn),
                }
                if open && jobs.len() < BATCH_APPENDS && bytes < BATCH_BYTES {
                    next = commands.try_recv().ok();
                }
            }
            self.write(jobs);
        }
        commands.close();
        while let Some(command) = commands.blocking_recv() {
            if let Command::Append(job) = command {
                let _ = job.answer.send(Err(StoreError::Closed));
            }
        }
    }

    /// Takes jobs from decision to answer.
    fn write(&mut self, mut jobs: Vec<Job>) {
        if jobs.is_empty() {
            return;
        }
        let mut batch = Batch::default();
        let mut verdicts = Vec::with_capacity(jobs.len());
        let tried = self.ready().and_then(|()| self.stage_and_commit(&mut jobs, &mut batch, &mut verdicts));
        self.heads_file.end();
        let bytes = batch.bytes;
        let answers = match tried {
            Ok(()) => self.committed(batch, verdicts),
            Err(failure) => self.failed(failure, &jobs, batch, verdicts),
        };
        for (job, answer) in jobs.into_iter().zip(answers) {
            // A caller that went away does not wait for its answer.
            let _ = job.answer.send(answer);
        }
        self.checkpointer.after_batch(&self.conn, bytes);
    }

    /// Whether the writer is fit to write at all.
    fn ready(&mut self) -> Result<(), Failure> {
        let not_committed = |error| Err(Failure::NotCommitted(error));
        if let Err(error) = self.heads.check_room() {
            return not_committed(error);
        }
        if self.uncertain {
            if let Err(error) = self.scrub() {
                return not_committed(cannot_write(&self.path, &error));
            }
            self.uncertain = false;
        }
        Ok(())
    }

    fn stage_and_commit(
        &self,
        jobs: &mut [Job],
        batch: &mut Batch,
        verdicts: &mut Vec<Verdict>,
    ) -> Result<(), Failure> {
        let not_committed = |error: rusqlite::Error| Failure::NotCommitted(cannot_write(&self.path, &error));
        self.execute("BEGIN IMMEDIATE").map_err(not_committed)?;
        for job in jobs {
            verdicts.push(self.stage(job, batch).map_err(not_committed)?);
        }
        if batch.staged.is_empty() {
            return self.execute("ROLLBACK").map_err(not_committed);
        }
        self.execute("COMMIT").map_err(|error| {
            let failure = cannot_write(&self.path, &error);
            // A full disk cut the WAL short before the frame that makes the commit.
            if error.sqlite_error_code() == Some(ErrorCode::DiskFull) {
                Failure::NotCommitted(failure)
            } else {
                Failure::Unknown(failure)
            }
        })
    }

    /// Decides one append, and puts its records at the end of the log if that is the decision.
    fn stage(&self, job: &mut Job, batch: &mut Batch) -> rusqlite::Result<Verdict> {
        let key = Key::of(&job.stream);
        let head = match batch.heads.get(&key) {
            Some(head) => Some(*head),
            None => match self.heads_file.begin().and_then(|()| self.end_of(&job.stream)) {
                Ok(head) => head,
                Err(error) => return Ok(Verdict::Settled(Err(error))),
            },
        };
        if Expected::after(head.map(|head| head.revision)) != job.expected {
            return Ok(Verdict::Settled(self.refuse_or_find(job, head)));
        }
        let verdict = Verdict::Staged { first: batch.staged.len(), count: job.records.len() };
        let mut head = head;
        for mut record in std::mem::take(&mut job.records) {
            batch.latest = Some(record.not_before(batch.latest.unwrap_or_else(|| self.latest.get())));
            batch.bytes += record.size();
            let position = Position::new(self.last.position.as_u64() + batch.staged.len() as u64 + 1);
            let revision = Expected::after(head.map(|head| head.revision)).next_revision();
            let previous_digest = head.map_or(ChainDigest::NONE, |head| head.digest);
            let mut record = record.place(job.stream.clone(), revision, position, previous_digest);
            record.link = Link::Kept(head.map(|head| head.position));
            rows::insert(&self.conn, &record)?;
            head = Some(StreamHead::of(&record));
            batch.staged.push(record);
        }
        batch.heads.extend(head.map(|head| (key, head)));
        Ok(verdict)
    }

    fn end_of(&self, stream: &StreamName) -> Result<Option<StreamHead>, StoreError> {
        self.heads.end_of(stream, &self.heads_file, (&self.conn, &self.path))
    }

    /// The answer to an append that does not meet its stream where it expects it: a conflict, unless it
    /// is a retry and its records stand there already.
    fn refuse_or_find(&self, job: &Job, head: Option<StreamHead>) -> Answer {
        let Job { stream, expected, ids, .. } = job;
        let conflict = Ok(Append::Conflict { actual: head.map(|head| head.revision) });
        let first = expected.next_revision();
        let last = first.as_u64().saturating_add(ids.len() as u64 - 1);
        let Some(head) = head.filter(|head| head.revision.as_u64() >= last) else { return conflict };
        let records = rows::walk(&self.conn, &self.path, stream, head, first)?;
        let there = &records[..ids.len()];
        match there.last() {
            Some(last) if there.iter().map(|record| &record.event_id).eq(ids) => Ok(appended(last)),
            _ => conflict,
        }
    }

    /// Publishes a batch that is durable, and says what its appends are told.
    fn committed(&mut self, batch: Batch, verdicts: Vec<Verdict>) -> Vec<Answer> {
        let places: Vec<_> = batch.staged.iter().map(appended).collect();
        if let Some(last) = batch.staged.last() {
            self.last = UpTo { position: last.position, digest: last.digest };
            self.seen.remember(self.last);
            batch.latest.into_iter().for_each(|latest| self.latest.set(latest));
            self.heads.advance(batch.heads.into_iter(), self.last);
            self.readers.tail.push(Arc::new(batch.staged));
            self.progress.send_modify(|progress| progress.head = self.last.position);
        }
        let answer = |verdict| match verdict {
            Verdict::Settled(answer) => answer,
            Verdict::Staged { first, count } => Ok(places[first + count - 1].clone()),
        };
        verdicts.into_iter().map(answer).collect()
    }

    /// Finds out what a failed batch left behind, and says what its appends are told.
    fn failed(
        &mut self,
        failure: Failure,
        jobs: &[Job],
        batch: Batch,
        verdicts: Vec<Verdict>,
    ) -> Vec<Answer> {
        self.roll_back();
        let (error, mut certain) = match failure {
            Failure::NotCommitted(error) => (error, true),
            Failure::Unknown(error) => (error, false),
        };
        tracing::error!(%error, certain, "a batch of appends could not be written");
        let last = rows::last_position(&self.conn, &self.path);
        if !certain
            && last.is_ok_and(|last| batch.staged.last().is_some_and(|record| record.position == last))
        {
            return self.committed(batch, verdicts);
        }
        if !certain {
            certain = self.scrub().is_ok();
            self.uncertain = !certain;
        }
        jobs.iter().map(|job| self.answer_refused(job, certain, &error)).collect()
    }

    /// An append that writes nothing can still be answered from what is there.
    fn answer_refused(&self, job: &Job, certain: bool, error: &StoreError) -> Answer {
        let head = self.end_of(&job.stream)?;
        if Expected::after(head.map(|head| head.revision)) != job.expected {
            return self.refuse_or_find(job, head);
        }
        if certain { Err(error.clone()) } else { Ok(Append::Unknown { reason: error.to_string() }) }
    }

    fn roll_back(&mut self) {
        let rolled_back = self.conn.is_autocommit() || self.execute("ROLLBACK").is_ok();
        if rolled_back && self.conn.is_autocommit() {
            return;
        }
        match connect(&self.path, Access::Write) {
            Ok(conn) => self.conn = conn,
            Err(error) => tracing::error!(%error, "the ledger could not be opened again"),
        }
    }

    /// Commits something else over the frames that a failed commit may have left at the end of the WAL,
    /// where a crash would bring them back. When this succeeds, they are gone for certain.
    fn scrub(&mut self) -> rusqlite::Result<()> {
        self.meta.touched = self.meta.touched.wrapping_add(1);
        self.meta.write(&self.conn)
    }

    fn execute(&self, sql: &str) -> rusqlite::Result<()> {
        self.conn.prepare_cached(sql)?.execute([]).map(drop)
    }

    /// Leaves the ledger so that it opens at once: one file, with its index complete.
    pub(super) fn finish(mut self, heads_crc: Option<u32>) -> Result<(), StoreError> {
        self.checkpointer.stop();
        self.readers.close_idle();
        self.roll_back();
        self.meta.closed_at = self.last.position;
        self.meta.heads_crc = heads_crc;
        let finished = self.meta.write(&self.conn).and_then(|()| checkpoint(&self.conn, "TRUNCATE"));
        let frames = finished.map_err(|error| file_error(&self.path, self.last.position, &error))?;
        if frames.busy {
            tracing::info!(
                "a reader held the ledger while it was closed; the rest is moved at the next opening"
            );
        }
        let closing = self.conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false);
        closing.map_err(|error| file_error(&self.path, self.last.position, &error))?;
        self.conn.close().map_err(|(_, error)| file_error(&self.path, self.last.position, &error))
    }
}
