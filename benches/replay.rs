//! Replay of a ledger in SQLite into the live projection, and its verification, beside scanning the same rows and
//! decoding their JSON alone; and the memory that a verification takes beside that of one of a ledger with the same
//! state and a longer past.
//!
//! `cargo bench --bench replay [-- --events 1000000]`

#![expect(clippy::print_stdout, reason = "a benchmark prints")]

mod measure;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use grantbook::audit::History;
use grantbook::clock::{Clock as _, SystemClock};
use grantbook::ledger::Ledger;
use grantbook::replay::Against;
use grantbook::secrets;
use grantbook::store::{SqliteOptions, SqliteStore, Store};
use grantbook_events::codec::{self, Metadata};
use measure::Failure;
use rusqlite::{Connection, OpenFlags};
use tempfile::TempDir;

const ROUNDS: usize = 5;
const EVERY_ROW: &str = "SELECT position, stream, revision, event_id, type, version, recorded_at, metadata, payload \
                         FROM log ORDER BY position";

/// Earlier tokens of each account in the ledger with a longer past: it has four times the events.
const PAST: usize = 2;
/// Names the ledger that a process of its own verifies.
const VERIFIED: &str = "GRANTBOOK_BENCH_VERIFIED";

#[tokio::main]
async fn main() -> Result<(), Failure> {
    if let Some(dir) = std::env::var_os(VERIFIED) {
        return peak_of_verification(Path::new(&dir)).await;
    }
    let events = measure::argument("--events", 1_000_000);
    let short = written(events / 2, 0).await?;
    speed(short.path(), events).await?;
    let long = written(events / 2, PAST).await?;
    let peaks = [peak(short.path())?, peak(long.path())?];
    println!("a verification takes {} MiB, and {} MiB with the longer past", peaks[0] >> 20, peaks[1] >> 20);
    let ratio = peaks[1] as f64 / peaks[0] as f64;
    measure::at_most("memory of verify / of the same state with a quarter of the events", ratio, 1.25);
    Ok(())
}

async fn written(installations: usize, past: usize) -> Result<TempDir, Failure> {
    let dir = TempDir::new_in(env!("CARGO_TARGET_TMPDIR"))?;
    let store = open(dir.path())?;
    let app = measure::ledger::app(&store).await?;
    measure::ledger::installations_with_past(&store, &app, installations, past).await?;
    store.close().await?;
    Ok(dir)
}

async fn speed(dir: &Path, events: usize) -> Result<(), Failure> {
    let history = followed(dir).await?;
    let mut ratios: [Vec<f64>; 3] = Default::default();
    for round in 0..=ROUNDS {
        let (scan_time, scanned) = measure::time(|| scan(dir));
        let scanned = scanned?;
        let times =
            [replay(dir, scanned).await?, verify(dir, None).await?, verify(dir, Some(history.path())).await?];
        // The first round warms up.
        if round > 0 {
            let rate = |time: Duration| events as f64 / time.as_secs_f64();
            println!(
                "round {round}: scan {:.0}/s, replay {:.0}/s, verify {:.0}/s, verify with history {:.0}/s",
                rate(scan_time),
                rate(times[0]),
                rate(times[1]),
                rate(times[2]),
            );
            for (ratios, time) in ratios.iter_mut().zip(times) {
                ratios.push(scan_time.as_secs_f64() / time.as_secs_f64());
            }
        }
    }
    let [replay, verify, with_history] = ratios.map(measure::median);
    measure::at_least("replay / scan and decode", replay, 0.7);
    measure::at_least("verify / scan and decode", verify, 0.5);
    println!("verify with the history, row by row / scan and decode = {with_history:.2}");
    Ok(())
}

/// The history of a ledger.
async fn followed(dir: &Path) -> Result<TempDir, Failure> {
    let kept = TempDir::new_in(env!("CARGO_TARGET_TMPDIR"))?;
    let store = open(dir)?;
    let history = History::of(Arc::clone(&store), kept.path().to_owned());
    let head = store.head().await?.position;
    while history.reached(head).await.is_err() {}
    history.close().await;
    store.close().await?;
    Ok(kept)
}

async fn replay(dir: &Path, scanned: u64) -> Result<Duration, Failure> {
    let store = open(dir)?;
    let started = Instant::now();
    let ledger = Ledger::open(store, Arc::new(SystemClock));
    ledger.caught_up().await.map_err(|progress| format!("{progress:?}"))?;
    let time = started.elapsed();
    assert_eq!(ledger.live().position().as_u64(), scanned);
    ledger.close().await?;
    Ok(time)
}

async fn verify(dir: &Path, history: Option<&Path>) -> Result<Duration, Failure> {
    let store = SqliteStore::open_read_only(dir)?;
    let against = Against { history: history.map(Path::to_owned), ..Against::default() };
    let started = Instant::now();
    let verified = grantbook::replay::verify(&*store, against, |_| {}).await?;
    let time = started.elapsed();
    assert!(verified.is_sound(), "{:?}", verified.findings);
    // The index of streams, and the history.
    assert_eq!(verified.compared.len(), 1 + usize::from(history.is_some()), "{:?}", verified.skipped);
    Ok(time)
}

/// The most memory that a process takes that does nothing but verify a ledger.
fn peak(dir: &Path) -> Result<u64, Failure> {
    let output = Command::new(std::env::current_exe()?).env(VERIFIED, dir).output()?;
    let said = String::from_utf8(output.stdout)?;
    said.trim().parse().map_err(|_| String::from_utf8_lossy(&output.stderr).into_owned().into())
}

async fn peak_of_verification(dir: &Path) -> Result<(), Failure> {
    verify(dir, None).await?;
    println!("{}", measure::peak_bytes());
    Ok(())
}

fn open(dir: &Path) -> Result<Arc<dyn Store>, Failure> {
    let options = SqliteOptions { identity: secrets::new_ledger_identity(), now: SystemClock.now() };
    Ok(SqliteStore::open(dir, options)?)
}

/// Reads every column of every row, and decodes both its JSON columns. Gives the last position.
fn scan(dir: &Path) -> Result<u64, Failure> {
    let conn = Connection::open_with_flags(dir.join("ledger.db"), OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let mut every_row = conn.prepare(EVERY_ROW)?;
    let mut rows = every_row.query(())?;
    let mut position = 0;
    while let Some(row) = rows.next()? {
        position = row.get::<_, i64>(0)?.try_into()?;
        std::hint::black_box((row.get::<_, String>(1)?, row.get::<_, i64>(2)?));
        std::hint::black_box((row.get::<_, String>(3)?, row.get::<_, i64>(6)?));
        let (type_name, version) = (row.get_ref(4)?.as_str()?, row.get::<_, i64>(5)?.try_into()?);
        std::hint::black_box(codec::decode(type_name, version, row.get_ref(8)?.as_str()?)?);
        std::hint::black_box(serde_json::from_str::<Metadata>(row.get_ref(7)?.as_str()?)?);
    }
    Ok(position)
}
