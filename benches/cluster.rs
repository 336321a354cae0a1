//! A ledger in a cluster beside the embedded one: durable grants by one caller and by many, introspection, how far
//! another node lags after a burst, copying a ledger in and out, and folding it. The cluster is a double of the server in
//! this process, so what is compared is grantbook's side and a way over loopback; a real cluster adds its own time to an
//! append. The double acknowledges what it receives up to 40 ms late, as a node on Linux, unless a line says otherwise.
//!
//! `cargo bench --bench cluster [-- --grants 4000 --tokens 10000 --requests 10000 --events 100000]`

#![expect(clippy::print_stdout, reason = "a benchmark prints")]

mod measure;

use std::net::SocketAddr;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use grantbook::clock::{Clock as _, SystemClock};
use grantbook::ledger::Ledger;
use grantbook::secrets;
use grantbook::store::{EventStore, EventStoreTarget, SqliteOptions, SqliteStore, Store, copy};
use grantbook_eventstore_double::{Double, Options};
use measure::Failure;

const PATH: &str = "/oauth/introspect";
const CALLERS: usize = 16;
const ROUNDS: usize = 9;
/// How many grants one caller asks for, at the most.
const ALONE: usize = 500;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let grants = measure::argument("--grants", 4_000);
    let tokens = measure::argument("--tokens", 10_000);
    let requests = measure::argument("--requests", 10_000);
    let events = measure::argument("--events", 100_000);
    let dir = tempfile::TempDir::new_in(env!("CARGO_TARGET_TMPDIR"))?;

    let embedded = embedded(&dir.path().join("embedded"))?;
    one_caller(grants.min(ALONE)).await?;
    many_callers(&embedded, grants).await?;
    moved(events, dir.path()).await?;

    let double = Double::start(Options::default()).await?;
    let (one, one_requests) = asked(embedded, tokens, requests, &dir.path().join("one")).await?;
    let (other, other_requests) = asked(node(&double)?, tokens, requests, &dir.path().join("other")).await?;
    let mut ratios = Vec::new();
    for round in 0..=ROUNDS {
        let embedded_time = ask(one.address, &one_requests)?;
        let time = ask(other.address, &other_requests)?;
        // The first round warms up.
        if round > 0 {
            ratios.push(embedded_time.as_secs_f64() / time.as_secs_f64());
        }
    }
    measure::at_least("introspection on a node of a cluster / embedded", measure::median(ratios), 0.8);
    one.server.stop().await?;
    other.server.stop().await?;
    Ok(())
}

/// What a late acknowledgement costs one caller. Both take turns, so that the load of the machine is the same for both.
async fn one_caller(grants: usize) -> Result<(), Failure> {
    let quick = Double::start(Options { acknowledges_at_once: true, ..Options::default() }).await?;
    let slow = Double::start(Options::default()).await?;
    let (at_once, late) = (Node::on(&node(&quick)?).await?, Node::on(&node(&slow)?).await?);
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for account in 0..grants {
        first.push(at_once.grant(account).await?);
        second.push(late.grant(account).await?);
    }
    let (at_once, late) = (measure::median(first), measure::median(second));
    println!("one caller's grant, p50: {:.2} ms, acknowledged at once {:.2} ms", late * 1e3, at_once * 1e3);
    measure::at_most("one caller's grant, acknowledged late / at once", late / at_once, 1.3);
    Ok(())
}

/// A ledger with an app.
struct Node {
    ledger: Arc<Ledger>,
    app: measure::ledger::App,
}

impl Node {
    async fn on(store: &Arc<dyn Store>) -> Result<Self, Failure> {
        let ledger = folded(store).await?;
        let app = measure::ledger::app(store).await?;
        ledger.reached(store.head().await?.position).await;
        Ok(Self { ledger, app })
    }

    /// How long a grant takes, in seconds.
    async fn grant(&self, account: usize) -> Result<f64, Failure> {
        let started = Instant::now();
        measure::ledger::grant(&self.ledger, self.app.client_id, account, account).await?;
        Ok(started.elapsed().as_secs_f64())
    }

    /// How long grants by many callers take, in seconds.
    async fn grants(&self, accounts: Range<usize>) -> Result<f64, Failure> {
        let started = Instant::now();
        measure::ledger::grants(&self.ledger, &self.app, accounts).await?;
        Ok(started.elapsed().as_secs_f64())
    }
}

async fn folded(store: &Arc<dyn Store>) -> Result<Arc<Ledger>, Failure> {
    let ledger = Ledger::open(Arc::clone(store), Arc::new(SystemClock));
    ledger.caught_up().await.map_err(|progress| format!("{progress:?}"))?;
    Ok(ledger)
}

/// Grants by 64 callers, in turns, and how long after the last of them another node has folded them.
async fn many_callers(embedded: &Arc<dyn Store>, grants: usize) -> Result<(), Failure> {
    let double = Double::start(Options::default()).await?;
    let (one, other) = (Node::on(embedded).await?, Node::on(&node(&double)?).await?);
    let there = folded(&node(&double)?).await?;
    let (mut ratios, mut lags) = (Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let accounts = round * grants..(round + 1) * grants;
        let (embedded, clustered) = (one.grants(accounts.clone()).await?, other.grants(accounts).await?);
        let ended = Instant::now();
        if !there.reached(other.ledger.live().position()).await {
            return Err("the other node stopped".into());
        }
        // The first round warms up.
        if round > 0 {
            ratios.push(embedded / clustered);
            lags.push(ended.elapsed().as_secs_f64() / clustered);
        }
        println!("{grants} grants by 64 callers: embedded {embedded:.3} s, cluster {clustered:.3} s");
    }
    measure::at_least("grants by 64 callers through a cluster / embedded", measure::median(ratios), 0.5);
    measure::at_most("lag of another node / burst", measure::median(lags), 1.0);
    Ok(())
}

/// A ledger copied into a cluster and out again, and folded from both.
async fn moved(events: usize, dir: &Path) -> Result<(), Failure> {
    let source = embedded(&dir.join("source"))?;
    Node::on(&source).await?.grants(0..events).await?;
    let identity = source.head().await?.identity;
    let double = Double::start(Options::default()).await?;
    let target = Arc::new(EventStoreTarget::parse(&double.url())?);
    let cluster: Arc<dyn Store> = EventStore::open(target, Some(identity), Arc::new(SystemClock))?;
    let options = SqliteOptions { identity, now: SystemClock.now() };
    let back: Arc<dyn Store> = SqliteStore::open(&dir.join("back"), options)?;
    let rate = |time: Duration| events as f64 / time.as_secs_f64();
    for (what, from, to, bar) in [("into", &source, &cluster, 3_000.0), ("out of", &cluster, &back, 20_000.0)]
    {
        let (started, cpu) = (Instant::now(), measure::cpu_seconds());
        let copied = copy(&**from, &**to, |_| {}).await?;
        let time = started.elapsed();
        println!(
            "{} events copied {what} a cluster in {:.1} s, {:.1} s of CPU with the double's",
            copied.appended,
            time.as_secs_f64(),
            measure::cpu_seconds() - cpu
        );
        measure::at_least(&format!("events/s copied {what} a cluster"), rate(time), bar);
    }
    let mut times = Vec::new();
    for store in [&source, &cluster] {
        let started = Instant::now();
        folded(store).await?;
        times.push(started.elapsed().as_secs_f64());
    }
    let [embedded, clustered] = times[..] else { return Err("two times".into()) };
    println!("{events} events folded: from SQLite {embedded:.2} s, from a cluster {clustered:.2} s");
    measure::at_least("folded from a cluster / from SQLite", embedded / clustered, 0.5);
    Ok(())
}

fn embedded(dir: &Path) -> Result<Arc<dyn Store>, Failure> {
    let options = SqliteOptions { identity: secrets::new_ledger_identity(), now: SystemClock.now() };
    Ok(SqliteStore::open(dir, options)?)
}

fn node(double: &Double) -> Result<Arc<dyn Store>, Failure> {
    let target = Arc::new(EventStoreTarget::parse(&double.url())?);
    Ok(EventStore::open(target, Some(secrets::new_ledger_identity()), Arc::new(SystemClock))?)
}

/// A server with tokens, and what it is asked of them.
async fn asked(
    store: Arc<dyn Store>,
    tokens: usize,
    requests: usize,
    dir: &Path,
) -> Result<(measure::http::Grantbook, Vec<Vec<u8>>), Failure> {
    std::fs::create_dir_all(dir)?;
    let app = measure::ledger::app(&store).await?;
    let tokens = measure::ledger::installations(&store, &app, tokens).await?;
    let grantbook = measure::http::Grantbook::serve(store, dir).await?;
    let authorization = format!("Authorization: Bearer {}\r\n", grantbook.key.expose());
    let requests = (0..requests)
        .map(|n| &tokens[n.wrapping_mul(2_654_435_761) % tokens.len()])
        .map(|token| measure::http::post(PATH, &authorization, &format!("token={}", token.expose())))
        .collect();
    Ok((grantbook, requests))
}

fn ask(address: SocketAddr, requests: &[Vec<u8>]) -> Result<Duration, Failure> {
    let shares: Vec<&[Vec<u8>]> = requests.chunks(requests.len().div_ceil(CALLERS)).collect();
    measure::http::callers(address, &shares)
}
