//! Replay of a ledger in SQLite into the live projection, beside scanning the same rows and decoding their
//! JSON alone.
//!
//! `cargo bench --bench replay [-- --events 1000000]`

#![expect(clippy::print_stdout, reason = "a benchmark prints")]

mod measure;

use std::path::Path;
use std::sync::Arc;

use grantbook::clock::{Clock as _, SystemClock};
use grantbook::ledger::Ledger;
use grantbook::secrets;
use grantbook::store::{SqliteOptions, SqliteStore, Store};
use grantbook_events::codec::{self, Metadata};
use measure::Failure;
use rusqlite::{Connection, OpenFlags};

const ROUNDS: usize = 5;
const EVERY_ROW: &str = "SELECT position, stream, revision, event_id, type, version, recorded_at, metadata, payload \
                         FROM log ORDER BY position";

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let events = measure::argument("--events", 1_000_000);
    let dir = tempfile::TempDir::new_in(env!("CARGO_TARGET_TMPDIR"))?;
    let store = open(dir.path())?;
    let app = measure::ledger::app(&store).await?;
    measure::ledger::installations(&store, &app, events / 2).await?;
    store.close().await?;
    drop(store);

    let (mut ratios, mut verify_ratios) = (Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let (scan_time, scanned) = measure::time(|| scan(dir.path()));
        let store = open(dir.path())?;
        let started = std::time::Instant::now();
        let ledger = Ledger::open(store, Arc::new(SystemClock));
        ledger.caught_up().await.map_err(|progress| format!("{progress:?}"))?;
        let replay_time = started.elapsed();
        assert_eq!(ledger.live().position().as_u64(), scanned?);
        ledger.close().await?;
        let store = SqliteStore::open_read_only(dir.path())?;
        let started = std::time::Instant::now();
        let verified =
            grantbook::replay::verify(&*store, grantbook::replay::Against::default(), |_| {}).await?;
        let verify_time = started.elapsed();
        assert!(verified.is_sound(), "{:?}", verified.findings);
        // The first round warms up.
        if round > 0 {
            let rate = |time: std::time::Duration| events as f64 / time.as_secs_f64();
            println!(
                "round {round}: scan {:.0}/s, replay {:.0}/s, verify {:.0}/s",
                rate(scan_time),
                rate(replay_time),
                rate(verify_time)
            );
            verify_ratios.push(scan_time.as_secs_f64() / verify_time.as_secs_f64());
            ratios.push(scan_time.as_secs_f64() / replay_time.as_secs_f64());
        }
    }
    measure::at_least("replay / scan and decode", measure::median(ratios), 0.5);
    measure::at_least("verify / scan and decode", measure::median(verify_ratios), 0.5);
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
