//! The one writer. Knows: the queue, the batch, the commit, and what to do when a commit fails. Must not
//! know: readers, or how a subscriber is fed.
//!
//! It drains what queued, decides each append in order against the head of its stream (seeing the earlier
//! ones of the same batch), and commits them with one transaction and one fsync. Then it publishes, and
//! only then it answers.

use std::collections::HashMap;
use std::sync::Arc;

use grantbook_events::{EventId, Position, StreamName};
use rusqlite::ErrorCode;
use rusqlite::config::DbConfig;
use tokio::sync::{mpsc, oneshot, watch};

use super::heads::{Heads, Key};
use super::reader::Readers;
use super::rows::{self, StreamHead};
use super::schema::{Access, Log, Meta, cannot_write};
use super::seen_file::{End, SeenFile};
use super::upkeep::{Upkeep, checkpoint};
use crate::store::follow::Progress;
use crate::store::{Append, ChainDigest, Expected, Link, NewRecord, Record, StoreError};

/// How many appends share a commit, at most.
const BATCH_APPENDS: usize = 512;
/// How many bytes of payload and metadata share a commit, about.
const BATCH_BYTES: usize = 4 << 20;

pub(super) type Answer = Result<Append, StoreError>;

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

impl Job {
    /// An append, and its answer to come.
    pub(super) fn new(
        stream: StreamName,
        expected: Expected,
        records: Vec<NewRecord>,
    ) -> (Self, oneshot::Receiver<Answer>) {
        let (answer, answered) = oneshot::channel();
        let ids = records.iter().map(|record| record.event_id).collect();
        (Self { stream, expected, records, ids, answer }, answered)
    }

    fn size(&self) -> usize {
        self.records.iter().map(NewRecord::size).sum()
    }
}

pub(super) enum Command {
    Append(Job),
    /// Appends that are written in one transaction, in order.
    Together(Vec<Job>),
    /// Does something to the writer's connection, to make it fail.
    #[cfg(test)]
    Tamper(Box<dyn FnOnce(&rusqlite::Connection) + Send>),
}

/// The writer's thread.
pub(super) struct Writer {
    pub log: Log,
    pub meta: Meta,
    pub heads: Arc<Heads>,
    pub readers: Arc<Readers>,
    pub progress: watch::Sender<Progress>,
    pub upkeep: Upkeep,
    /// Keeps the last record outside of the log.
    pub seen: SeenFile,
    /// A commit failed in a way that leaves open whether its records are in the WAL.
    pub uncertain: bool,
}

/// A batch before its commit.
#[derive(Debug)]
struct Batch {
    staged: Vec<Record>,
    heads: HashMap<Key, StreamHead>,
    /// What to answer once it is durable.
    answers: Vec<Answer>,
    bytes: usize,
    /// Where the ledger ends with it.
    progress: Progress,
}

/// Why a batch was not written.
#[derive(Debug)]
struct Failure {
    error: StoreError,
    /// Whether its commit was not tried, or cannot have happened.
    is_certain: bool,
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self { error, is_certain: true }
    }
}

impl Writer {
    /// Runs until nothing can send commands any more, and all that were sent are done.
    pub(super) fn run(&mut self, mut commands: mpsc::Receiver<Command>) {
        while let Some(command) = commands.blocking_recv() {
            let (mut jobs, mut bytes, mut next) = (Vec::new(), 0, Some(command));
            while let Some(command) = next.take() {
                match command {
                    Command::Append(job) => {
                        bytes += job.size();
                        jobs.push(job);
                    }
                    Command::Together(together) => {
                        bytes += together.iter().map(Job::size).sum::<usize>();
                        jobs.extend(together);
                    }
                    #[cfg(test)]
                    Command::Tamper(tamper) => tamper(&self.log.conn),
                }
                if jobs.len() < BATCH_APPENDS && bytes < BATCH_BYTES {
                    next = commands.try_recv().ok();
                }
            }
            if !jobs.is_empty() {
                self.write(jobs);
            }
        }
    }

    /// Takes jobs from decision to answer.
    fn write(&mut self, mut jobs: Vec<Job>) {
        let mut batch = Batch {
            staged: Vec::new(),
            heads: HashMap::new(),
            answers: Vec::with_capacity(jobs.len()),
            bytes: 0,
            progress: *self.progress.borrow(),
        };
        let tried = self.ready().and_then(|()| self.stage_and_commit(&mut jobs, &mut batch));
        let bytes = batch.bytes;
        let answers = match tried {
            Ok(()) => self.committed(batch),
            Err(failure) => self.failed(failure, &jobs, batch),
        };
        for (job, answer) in jobs.into_iter().zip(answers) {
            // A caller that went away does not wait for its answer.
            let _ = job.answer.send(answer);
        }
        self.upkeep.after_batch(&self.log, bytes);
    }

    /// Whether the writer is fit to write at all.
    fn ready(&mut self) -> Result<(), Failure> {
        if self.uncertain {
            self.scrub()?;
            self.uncertain = false;
        }
        Ok(())
    }

    fn stage_and_commit(&self, jobs: &mut [Job], batch: &mut Batch) -> Result<(), Failure> {
        let failed = |error: rusqlite::Error| cannot_write(&self.log.path, &error);
        self.execute("BEGIN IMMEDIATE").map_err(failed)?;
        for job in jobs {
            let answer = self.stage(job, batch).map_err(failed)?;
            batch.answers.push(answer);
        }
        if batch.staged.is_empty() {
            return Ok(self.execute("ROLLBACK").map_err(failed)?);
        }
        self.execute("COMMIT").map_err(|error| Failure {
            // A full disk cut the WAL short before the frame that makes the commit.
            is_certain: error.sqlite_error_code() == Some(ErrorCode::DiskFull),
            error: failed(error),
        })
    }

    /// Decides one append, and puts its records at the end of the log if that is the decision.
    fn stage(&self, job: &mut Job, batch: &mut Batch) -> rusqlite::Result<Answer> {
        let key = Key::of(&job.stream);
        let mut head = match batch.heads.get(&key) {
            Some(head) => Some(*head),
            None => match self.heads.end_of(&job.stream, &self.log) {
                Ok(head) => head,
                Err(error) => return Ok(Err(error)),
            },
        };
        let actual = head.map(|head| head.revision);
        let (mut expected, mut answer) = (Expected::after(actual), Append::Conflict { actual });
        if expected != job.expected {
            return Ok(self.refuse_or_find(job, head));
        }
        for mut record in std::mem::take(&mut job.records) {
            batch.progress.latest = record.not_before(batch.progress.latest);
            batch.progress.head = Position::new(batch.progress.head.as_u64() + 1);
            batch.bytes += record.size();
            let previous_digest = head.map_or(ChainDigest::NONE, |head| head.digest);
            let (revision, position) = (expected.next_revision(), batch.progress.head);
            let mut record = record.place(job.stream.clone(), revision, position, previous_digest);
            record.link = Link::Kept(head.map(|head| head.position));
            rows::insert(&self.log.conn, &record)?;
            (head, expected) = (Some(StreamHead::of(&record)), Expected::Exactly(revision));
            answer = Append::after(&record);
            batch.staged.push(record);
        }
        batch.heads.extend(head.map(|head| (key, head)));
        Ok(Ok(answer))
    }

    /// The answer to an append that does not find its stream where it expects it: a conflict, unless it
    /// is a retry and its records are there already.
    fn refuse_or_find(&self, job: &Job, head: Option<StreamHead>) -> Answer {
        let Job { stream, expected, ids, .. } = job;
        let conflict = Ok(Append::Conflict { actual: head.map(|head| head.revision) });
        let first = expected.next_revision();
        let last = first.as_u64().saturating_add(ids.len() as u64 - 1);
        let Some(head) = head.filter(|head| head.revision.as_u64() >= last) else { return conflict };
        let records = self.log.walk(stream, head, first)?;
        let there = &records[..ids.len()];
        match there.last() {
            Some(last) if there.iter().map(|record| &record.event_id).eq(ids) => Ok(Append::after(last)),
            _ => conflict,
        }
    }

    /// Publishes a batch that is durable, and answers its appends.
    fn committed(&mut self, batch: Batch) -> Vec<Answer> {
        if let Some(last) = batch.staged.last() {
            let end = End::of(last);
            self.seen.remember(end);
            self.heads.advance(batch.heads, end);
            self.readers.tail.push(Arc::new(batch.staged));
            self.progress.send_replace(batch.progress);
        }
        batch.answers
    }

    /// Finds out what a failed batch left behind, and answers its appends.
    fn failed(&mut self, failure: Failure, jobs: &[Job], batch: Batch) -> Vec<Answer> {
        self.roll_back();
        let Failure { error, mut is_certain } = failure;
        tracing::error!(%error, certain = is_certain, "a batch of appends could not be written");
        if !is_certain {
            let last = batch.staged.last().map(|record| record.position);
            if last.is_some() && self.log.last_position().ok() == last {
                return self.committed(batch);
            }
            is_certain = self.scrub().is_ok();
            self.uncertain = !is_certain;
        }
        jobs.iter().map(|job| self.answer_refused(job, is_certain, &error)).collect()
    }

    /// An append that writes nothing can still be answered from what is there.
    fn answer_refused(&self, job: &Job, is_certain: bool, error: &StoreError) -> Answer {
        let head = self.heads.end_of(&job.stream, &self.log)?;
        if Expected::after(head.map(|head| head.revision)) != job.expected {
            return self.refuse_or_find(job, head);
        }
        if is_certain { Err(error.clone()) } else { Ok(Append::Unknown { reason: error.to_string() }) }
    }

    fn roll_back(&mut self) {
        let rolled_back = self.log.conn.is_autocommit() || self.execute("ROLLBACK").is_ok();
        if rolled_back && self.log.conn.is_autocommit() {
            return;
        }
        match Log::open(&self.log.path, Access::Write) {
            Ok(log) => self.log = log,
            Err(error) => tracing::error!(%error, "the ledger could not be opened again"),
        }
    }

    /// Commits something else over the frames that a failed commit may have left at the end of the WAL,
    /// where a crash would bring them back. When this succeeds, they are gone for certain.
    fn scrub(&mut self) -> Result<(), StoreError> {
        self.meta.touched = self.meta.touched.wrapping_add(1);
        self.meta.write(&self.log.conn).map_err(|error| cannot_write(&self.log.path, &error))
    }

    fn execute(&self, sql: &str) -> rusqlite::Result<()> {
        self.log.conn.prepare_cached(sql)?.execute([]).map(drop)
    }

    /// Leaves the ledger so that it opens at once: one file, with its index complete.
    pub(super) fn finish(mut self) -> Result<(), StoreError> {
        self.readers.close_idle();
        self.roll_back();
        self.upkeep.stop();
        self.meta.closed_at = self.progress.borrow().head;
        let frames = self.log.ask(self.meta.closed_at, |conn| {
            self.meta.write(conn)?;
            let frames = checkpoint(conn, "TRUNCATE")?;
            conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
            Ok(frames)
        })?;
        if frames.busy {
            tracing::info!(
                "a reader held the ledger while it was closed; the rest is moved at the next opening"
            );
        }
        self.log.close()
    }
}
