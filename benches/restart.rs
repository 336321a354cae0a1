//! Getting ready with a ledger of many installations: from a snapshot, beside reading that file and hashing
//! it; and from the whole ledger.
//!
//! `cargo bench --bench restart [-- --installations 1000000]`

#![expect(clippy::print_stdout, reason = "a benchmark prints")]

mod measure;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use grantbook::clock::{Clock as _, SystemClock};
use grantbook::ledger::{Ledger, LedgerOptions, SnapshotOptions};
use grantbook::secrets;
use grantbook::store::{SqliteOptions, SqliteStore, Store};
use measure::Failure;
use sha2::{Digest as _, Sha256};

const ROUNDS: usize = 5;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let installations = measure::argument("--installations", 1_000_000);
    let dir = tempfile::TempDir::new_in(env!("CARGO_TARGET_TMPDIR"))?;
    let snapshots = dir.path().join("snapshots");
    let store = open(dir.path())?;
    let app = measure::ledger::app(&store).await?;
    measure::ledger::installations(&store, &app, installations).await?;
    store.close().await?;
    drop(store);

    let (ledger, whole) = ready(dir.path(), None).await?;
    println!("ready from the whole ledger of {} events: {:.2} s", 2 * installations + 1, whole.as_secs_f64());
    let digest = ledger.live().digest();
    ledger.close().await?;
    drop(ledger);
    let (ledger, _) = ready(dir.path(), Some(&snapshots)).await?;
    let (writing, position) = (Instant::now(), ledger.take_snapshot().await?);
    println!("writing a snapshot of position {position:?}: {:.2} s", writing.elapsed().as_secs_f64());
    ledger.close().await?;
    drop(ledger);
    let file = std::fs::read_dir(&snapshots)?.next().ok_or("no snapshot")??.path();
    println!(
        "its size: {:.0} bytes an installation",
        std::fs::metadata(&file)?.len() as f64 / installations as f64
    );

    let mut ratios = Vec::new();
    for round in 0..=ROUNDS {
        let (least, hashed) = measure::time(|| std::fs::read(&file).map(|bytes| Sha256::digest(&bytes)));
        std::hint::black_box(hashed?);
        let (ledger, time) = ready(dir.path(), Some(&snapshots)).await?;
        assert_eq!(ledger.live().digest(), digest);
        ledger.close().await?;
        // The first round warms up.
        if round > 0 {
            println!(
                "round {round}: read and hash {:.2} s, ready {:.2} s",
                least.as_secs_f64(),
                time.as_secs_f64()
            );
            ratios.push(time.as_secs_f64() / least.as_secs_f64());
        }
    }
    measure::at_most("ready from a snapshot / reading and hashing it", measure::median(ratios), 3.0);
    Ok(())
}

/// Opens the ledger and waits until it can be asked, the opening of the store included.
async fn ready(dir: &Path, snapshots: Option<&Path>) -> Result<(Arc<Ledger>, Duration), Failure> {
    let started = Instant::now();
    let snapshots = snapshots.map(|dir| SnapshotOptions { dir: dir.to_owned(), every: u64::MAX });
    let options = LedgerOptions { snapshots, ..LedgerOptions::default() };
    let ledger = Ledger::open_with(open(dir)?, Arc::new(SystemClock), options);
    ledger.caught_up().await.map_err(|progress| format!("{progress:?}"))?;
    Ok((ledger, started.elapsed()))
}

fn open(dir: &Path) -> Result<Arc<dyn Store>, Failure> {
    let options = SqliteOptions { identity: secrets::new_ledger_identity(), now: SystemClock.now() };
    Ok(SqliteStore::open(dir, options)?)
}
