//! Durable appends of one event each, from 64 callers, onto a large ledger; and how long that ledger takes
//! to open. Measured against a raw file with one fdatasync a batch, in turns within one run.
//!
//! `cargo bench --bench append -- --events 500000` for a smaller ledger.
//!
//! A missed target is printed and not a failure: the figures depend on the machine, the ratios less so.

mod measure;

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use grantbook::store::{Append, Expected, NewRecord, SqliteOptions, SqliteStore, Store};
use grantbook_events::{EventId, InstallationId, Revision, StreamKind, StreamName, Timestamp};
use measure::Failure;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

const EVENTS: u64 = 5_000_000;
const EVENTS_PER_STREAM: u64 = 5;
const CALLERS: u64 = 64;
const ROUNDS: usize = 4;
const ROUND: Duration = Duration::from_secs(6);
/// The child is killed when it has appended this much: shortly before its index would be written.
const KILL_AFTER: u64 = 240_000;

const APPEND_TARGET: f64 = 0.70;
const SPREAD_TARGET: f64 = 10.0;
const OPEN_CLEAN_TARGET: f64 = 1.0;
const OPEN_KILLED_TARGET: f64 = 3.0;

fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().collect();
    let value = |name: &str| args.iter().position(|arg| arg == name).and_then(|at| args.get(at + 1));
    let events = value("--events").map_or(Ok(EVENTS), |text| text.parse())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    match value("--append-until-killed") {
        Some(dir) => runtime.block_on(append_until_killed(Path::new(dir))),
        None => runtime.block_on(compare(events)),
    }
}

#[expect(clippy::print_stdout, reason = "a benchmark says what it measured")]
async fn compare(events: u64) -> Result<(), Failure> {
    let dir = tempfile::TempDir::new_in(env!("CARGO_TARGET_TMPDIR"))?;
    let streams = Streams::new(events / EVENTS_PER_STREAM);
    let started = Instant::now();
    let store = build(dir.path(), &streams).await?;
    let rate = events as f64 / started.elapsed().as_secs_f64();
    println!("built {events} events in {} streams, {rate:.0} events/s", streams.count());

    let (mut raw_total, mut store_total) = (Samples::default(), Samples::default());
    for round in 1..=ROUNDS {
        let raw = run_raw(&dir.path().join("raw"), &streams).await?;
        let appended = run_store(&store, &streams).await?;
        println!("round {round}: raw {raw}; store {appended}");
        raw_total.add(raw);
        store_total.add(appended);
    }
    println!("total:   raw {raw_total}; store {store_total}");
    store.close().await?;
    drop(store);

    let ratio = store_total.rate() / raw_total.rate();
    measure::at_least("durable append / raw file", ratio, APPEND_TARGET);
    let spread = store_total.percentile(0.99) / store_total.percentile(0.50);
    measure::at_most("99th percentile / median", spread, SPREAD_TARGET);
    let clean = time_to_open(dir.path()).await?;
    measure::at_most("opening after a clean stop, seconds", clean, OPEN_CLEAN_TARGET);
    kill_while_appending(dir.path())?;
    let killed = time_to_open(dir.path()).await?;
    measure::at_most("opening after a kill, seconds", killed, OPEN_KILLED_TARGET);
    Ok(())
}

fn open(dir: &Path) -> Result<Arc<SqliteStore>, Failure> {
    let options = SqliteOptions { identity: Uuid::from_u128(1), now: Timestamp::EPOCH };
    Ok(SqliteStore::open(dir, options)?)
}

/// Opens, appends once so that nothing is put off, and closes outside of the measurement.
async fn time_to_open(dir: &Path) -> Result<f64, Failure> {
    let started = Instant::now();
    let store = open(dir)?;
    let name = StreamName::from(StreamKind::Installation(InstallationId::new(Uuid::from_u128(random_id()))));
    store.append(&name, Expected::NoStream, vec![event(random_id(), 0)]).await?;
    let elapsed = started.elapsed().as_secs_f64();
    store.close().await?;
    Ok(elapsed)
}

fn random_id() -> u128 {
    rand::random()
}

/// An event of the size of a code exchange.
fn event(id: u128, number: u64) -> NewRecord {
    NewRecord {
        event_id: EventId::new(Uuid::from_u128(id)),
        type_name: "code-exchanged".to_owned(),
        version: 1,
        recorded_at: Timestamp::from_micros(1_767_323_045_000_000 + number as i64),
        metadata: concat!(
            r#"{"actor":{"kind":"app","id":"5f0c61a1b1f24a2c8d0c7a3e5f6b7c8d"},"#,
            r#""$correlationId":"019a0000-0000-7000-8000-000000000000"}"#
        )
        .to_owned(),
        payload: format!(
            r#"{{"grant_id":"019a0000-0000-7000-8000-{number:012}","token_id":"{:032x}","digest":"{:064x}","scopes":["read","write"],"secret_id":"019a0000-0000-7000-8000-000000000001"}}"#,
            id, id
        ),
        moved: false,
    }
}

/// The streams and how many events each has.
struct Streams(Vec<AtomicU64>);

impl Streams {
    fn new(count: u64) -> Arc<Self> {
        Arc::new(Self((0..count).map(|_| AtomicU64::new(0)).collect()))
    }

    fn count(&self) -> u64 {
        self.0.len() as u64
    }

    fn name(index: u64) -> StreamName {
        // Names as scattered as real ones.
        let scattered = u128::from(index + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
        StreamKind::Installation(InstallationId::new(Uuid::from_u128(scattered))).into()
    }

    fn length(&self, index: u64) -> &AtomicU64 {
        &self.0[index as usize]
    }

    /// A stream of this caller's share, so that no two callers meet.
    fn pick(&self, caller: u64, random: &mut SmallRng) -> u64 {
        random.random_range(0..self.count() / CALLERS) * CALLERS + caller
    }
}

/// Appends one event to a stream.
async fn append_one(store: &SqliteStore, streams: &Streams, index: u64, id: u128) -> Result<(), Failure> {
    let length = streams.length(index).load(Ordering::Relaxed);
    let expected = Expected::after(length.checked_sub(1).map(Revision::new));
    match store.append(&Streams::name(index), expected, vec![event(id, length)]).await? {
        Append::Appended { .. } => streams.length(index).store(length + 1, Ordering::Relaxed),
        other => return Err(format!("stream {index} at {expected:?}: {other:?}").into()),
    }
    Ok(())
}

/// Makes the ledger through the front door, with many callers, every stream in every pass.
async fn build(dir: &Path, streams: &Arc<Streams>) -> Result<Arc<SqliteStore>, Failure> {
    const BUILDERS: u64 = 512;
    let store = open(dir)?;
    for _ in 0..EVENTS_PER_STREAM {
        let builders: Vec<_> = (0..BUILDERS)
            .map(|builder| {
                let (store, streams) = (Arc::clone(&store), Arc::clone(streams));
                let mut random = SmallRng::seed_from_u64(random_id() as u64);
                tokio::spawn(async move {
                    for index in (builder..streams.count()).step_by(BUILDERS as usize) {
                        append_one(&store, &streams, index, random.random()).await?;
                    }
                    Ok::<_, Failure>(())
                })
            })
            .collect();
        for builder in builders {
            builder.await??;
        }
    }
    Ok(store)
}

/// 64 callers, each with one append at a time, for the length of a round.
async fn run_store(store: &Arc<SqliteStore>, streams: &Arc<Streams>) -> Result<Samples, Failure> {
    run_callers(move |caller, started| {
        let (store, streams) = (Arc::clone(store), Arc::clone(streams));
        async move {
            let (mut random, mut samples) = (SmallRng::seed_from_u64(random_id() as u64), Vec::new());
            while started.elapsed() < ROUND {
                let index = streams.pick(caller, &mut random);
                let before = Instant::now();
                append_one(&store, &streams, index, random.random()).await?;
                samples.push(before.elapsed());
            }
            Ok(samples)
        }
    })
    .await
}

async fn run_callers<F>(caller: impl Fn(u64, Instant) -> F) -> Result<Samples, Failure>
where
    F: Future<Output = Result<Vec<Duration>, Failure>> + Send + 'static,
{
    let started = Instant::now();
    let callers: Vec<_> = (0..CALLERS).map(|number| tokio::spawn(caller(number, started))).collect();
    let mut all = Samples::default();
    for caller in callers {
        all.latencies.extend(caller.await??);
    }
    all.elapsed = started.elapsed();
    Ok(all)
}

/// The yardstick: the same callers, the same bytes, a thread that drains its queue into a file and calls
/// fdatasync once a batch.
async fn run_raw(path: &Path, streams: &Arc<Streams>) -> Result<Samples, Failure> {
    type Job = (StreamName, NewRecord, oneshot::Sender<()>);
    let (jobs, mut queue) = mpsc::channel::<Job>(1024);
    let mut file = File::options().create(true).append(true).open(path)?;
    let writer = std::thread::spawn(move || -> std::io::Result<()> {
        let mut bytes = Vec::new();
        while let Some(first) = queue.blocking_recv() {
            let mut answers = Vec::new();
            let mut next = Some(first);
            bytes.clear();
            while let Some((stream, record, answer)) = next {
                write_raw(&mut bytes, &stream, &record);
                answers.push(answer);
                next = queue.try_recv().ok();
            }
            file.write_all(&bytes)?;
            file.sync_data()?;
            for answer in answers {
                // A caller waits for each; none goes away.
                let _ = answer.send(());
            }
        }
        Ok(())
    });
    let samples = run_callers(move |caller, started| {
        let (jobs, streams) = (jobs.clone(), Arc::clone(streams));
        async move {
            let (mut random, mut samples) = (SmallRng::seed_from_u64(random_id() as u64), Vec::new());
            while started.elapsed() < ROUND {
                let index = streams.pick(caller, &mut random);
                let before = Instant::now();
                let (answer, answered) = oneshot::channel();
                let record = event(random.random(), streams.length(index).load(Ordering::Relaxed));
                jobs.send((Streams::name(index), record, answer)).await?;
                answered.await?;
                samples.push(before.elapsed());
            }
            Ok(samples)
        }
    })
    .await?;
    writer.join().map_err(|_| "the raw writer panicked")??;
    Ok(samples)
}

/// As many bytes as the store's row has: the fields, two digests, and what holds them apart.
fn write_raw(bytes: &mut Vec<u8>, stream: &StreamName, record: &NewRecord) {
    let id = record.event_id.to_string();
    for field in [stream.as_str(), &id, &record.type_name, &record.metadata, &record.payload] {
        bytes.extend_from_slice(field.as_bytes());
    }
    bytes.extend_from_slice(&[0x5a; 2 * 32 + 30]);
}

/// A child process appends; it is killed in the middle of it.
#[expect(clippy::print_stdout, reason = "a benchmark says what it measured")]
fn kill_while_appending(dir: &Path) -> Result<(), Failure> {
    let mut child = Command::new(std::env::current_exe()?)
        .args([PathBuf::from("--append-until-killed"), dir.to_owned()])
        .stdout(Stdio::piped())
        .spawn()?;
    let said = child.stdout.take().ok_or("the child has no output")?;
    let last = BufReader::new(said).lines().map_while(Result::ok).find(|line| line == "enough");
    child.kill()?;
    let status = child.wait()?;
    println!("child: {} ({status})", last.as_deref().unwrap_or("ended before it had appended enough"));
    Ok(())
}

#[expect(clippy::print_stdout, reason = "how the child tells its parent")]
async fn append_until_killed(dir: &Path) -> Result<(), Failure> {
    let store = open(dir)?;
    // New streams: the child does not know how long the old ones have become.
    let appended = Arc::new(AtomicU64::new(0));
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let (store, appended) = (Arc::clone(&store), Arc::clone(&appended));
            tokio::spawn(async move {
                loop {
                    let id = random_id();
                    let stream = StreamKind::Installation(InstallationId::new(Uuid::from_u128(id))).into();
                    store.append(&stream, Expected::NoStream, vec![event(id, 0)]).await?;
                    if appended.fetch_add(1, Ordering::Relaxed) == KILL_AFTER {
                        println!("enough");
                    }
                }
            })
        })
        .collect();
    for caller in callers {
        let outcome: Result<(), Failure> = caller.await?;
        outcome?;
    }
    Ok(())
}

/// How long each append took.
#[derive(Default)]
struct Samples {
    latencies: Vec<Duration>,
    elapsed: Duration,
}

impl Samples {
    fn add(&mut self, other: Self) {
        self.latencies.extend(other.latencies);
        self.elapsed += other.elapsed;
    }

    fn rate(&self) -> f64 {
        self.latencies.len() as f64 / self.elapsed.as_secs_f64()
    }

    /// In milliseconds.
    fn percentile(&self, share: f64) -> f64 {
        let mut sorted = self.latencies.clone();
        sorted.sort_unstable();
        let at = (sorted.len() as f64 * share) as usize;
        sorted.get(at.min(sorted.len().saturating_sub(1))).map_or(0.0, |latency| latency.as_secs_f64() * 1e3)
    }
}

impl std::fmt::Display for Samples {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (p50, p99, worst) = (self.percentile(0.50), self.percentile(0.99), self.percentile(1.0));
        write!(f, "{:.0}/s p50 {p50:.2} ms p99 {p99:.2} ms worst {worst:.1} ms", self.rate())
    }
}
