//! The history after a writer, what a row costs, and what was installed on one account then: in a small ledger and in a
//! large one.
//!
//! `cargo bench --bench audit [-- --events 1000000]`

#![expect(clippy::print_stdout, reason = "a benchmark prints")]

mod measure;

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use grantbook::audit::{History, Past};
use grantbook::clock::{Clock as _, SystemClock};
use grantbook::ledger::{Batch, FollowError, Follower, Ledger, Subscriber, Until};
use grantbook::secrets;
use grantbook::store::{SqliteOptions, SqliteStore, Store};
use grantbook_events::{AccountId, Position};
use measure::Failure;

const SMALL: usize = 10_000;
const BURST: usize = 100_000;
const ACCOUNTS_ASKED: usize = 400;
const ROUNDS: usize = 5;
/// As many as a busy server writes in the time that rows wait for others.
const BATCH: usize = 2_000;
const PACED: usize = 100_000;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let events = measure::argument("--events", 1_000_000);
    let mut ratios = Vec::new();
    for _ in 0..ROUNDS {
        ratios.push(burst().await?);
    }
    measure::at_most("lag of the history after a burst / the burst", measure::median(ratios), 1.0);

    let costs = "history: microseconds of processor time an event, reading and decoding it left out";
    let history = paced(true).await? - paced(false).await?;
    measure::at_most(costs, history * 1e6 / PACED as f64, 10.0);

    let (small, large) = (Asked::of(SMALL).await?, Asked::of(events).await?);
    let mut ratios = Vec::new();
    for round in 0..=ROUNDS {
        let (in_small, in_large) = (small.time().await?, large.time().await?);
        // The first round warms up.
        if round > 0 {
            println!("round {round}: as of, {in_small:.2?} at {SMALL} events, {in_large:.2?} at {events}");
            ratios.push(in_large.as_secs_f64() / in_small.as_secs_f64());
        }
    }
    measure::at_most("as-of answer in the large ledger / in the small one", measure::median(ratios), 2.0);
    Ok(())
}

/// How long the history needs for what is left after a burst of appends, over how long the burst took.
async fn burst() -> Result<f64, Failure> {
    let dir = tempfile::TempDir::new_in(env!("CARGO_TARGET_TMPDIR"))?;
    let store = open(dir.path())?;
    let history = History::of(Arc::clone(&store), dir.path().to_owned());
    let app = measure::ledger::app(&store).await?;
    let started = Instant::now();
    measure::ledger::installations(&store, &app, BURST / 2).await?;
    let took = started.elapsed();
    let head = store.head().await?.position;
    while history.reached(head).await.is_err() {}
    let lag = started.elapsed() - took;
    println!("burst of {BURST} events: {:.2} s, lag {:.2} s", took.as_secs_f64(), lag.as_secs_f64());
    history.close().await;
    store.close().await?;
    Ok(lag.as_secs_f64() / took.as_secs_f64())
}

/// Reads every event, and keeps nothing.
#[derive(Debug)]
struct Reads;

#[async_trait]
impl Subscriber for Reads {
    fn name(&self) -> &'static str {
        "reads"
    }

    async fn checkpoint(&self, _store: &dyn Store) -> Result<Position, FollowError> {
        Ok(Position::START)
    }

    async fn handle(&self, batch: Batch) -> Result<(), FollowError> {
        for record in batch.records() {
            black_box(batch.read(record)).map_err(|error| FollowError::Stopped(error.to_string()))?;
        }
        Ok(())
    }
}

/// The processor time of writing events and of following them, batch by batch: as rows of the history, or only read.
async fn paced(as_rows: bool) -> Result<f64, Failure> {
    let dir = tempfile::TempDir::new_in(env!("CARGO_TARGET_TMPDIR"))?;
    let store = open(dir.path())?;
    let app = measure::ledger::app(&store).await?;
    let history = as_rows.then(|| History::of(Arc::clone(&store), dir.path().to_owned()));
    let reads = (!as_rows).then(|| Follower::of(Arc::clone(&store), Arc::new(Reads)));
    let started = measure::cpu_seconds();
    for batch in 0..PACED / BATCH {
        let accounts = batch * BATCH / 2..(batch + 1) * BATCH / 2;
        measure::ledger::installations_of(&store, &app, accounts, 0).await?;
        let head = store.head().await?.position;
        if let Some(history) = &history {
            while history.reached(head).await.is_err() {}
        }
        if let Some(reads) = &reads {
            reads.reached(head).await;
        }
    }
    let took = measure::cpu_seconds() - started;
    println!("{} events as rows: {as_rows}, {took:.2} s of processor time", PACED);
    Ok(took)
}

/// A ledger and its history.
struct Asked {
    ledger: Arc<Ledger>,
    history: Arc<History>,
    accounts: usize,
    _dir: tempfile::TempDir,
}

impl Asked {
    async fn of(events: usize) -> Result<Self, Failure> {
        let dir = tempfile::TempDir::new_in(env!("CARGO_TARGET_TMPDIR"))?;
        let store = open(dir.path())?;
        let app = measure::ledger::app(&store).await?;
        measure::ledger::installations(&store, &app, events / 2).await?;
        let ledger = Ledger::open(Arc::clone(&store), Arc::new(SystemClock));
        ledger.caught_up().await.map_err(|progress| format!("{progress:?}"))?;
        let history = History::start(&ledger, dir.path().to_owned());
        while history.reached(ledger.live().position()).await.is_err() {}
        Ok(Self { ledger, history, accounts: events / 2, _dir: dir })
    }

    /// One answer, on the average.
    async fn time(&self) -> Result<Duration, Failure> {
        let past = Past::new(&self.ledger, &self.history);
        let started = Instant::now();
        for number in 0..ACCOUNTS_ASKED {
            let number = number * self.accounts / ACCOUNTS_ASKED;
            let account: AccountId = format!("account-{number:08}").parse()?;
            let as_of = Until::Time(self.ledger.now());
            let answer = past.account(&account, as_of).await?;
            assert_eq!(answer.items.len(), 1);
            assert!(answer.items[0].installed);
        }
        Ok(started.elapsed() / ACCOUNTS_ASKED as u32)
    }
}

fn open(dir: &Path) -> Result<Arc<dyn Store>, Failure> {
    let options = SqliteOptions { identity: secrets::new_ledger_identity(), now: SystemClock.now() };
    Ok(SqliteStore::open(dir, options)?)
}
