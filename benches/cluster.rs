//! A ledger in a cluster beside the embedded one: durable grants by many callers, introspection, and how far another
//! node lags behind a burst. The cluster is a double of the server in this process, so what is compared is
//! grantbook's side and a way over loopback; a real cluster adds its own time to an append.
//!
//! `cargo bench --bench cluster [-- --grants 4000 --tokens 10000 --requests 10000]`

#![expect(clippy::print_stdout, reason = "a benchmark prints")]

mod measure;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use grantbook::clock::{Clock as _, SystemClock};
use grantbook::ledger::Ledger;
use grantbook::secrets;
use grantbook::store::{EventStore, EventStoreTarget, SqliteOptions, SqliteStore, Store};
use grantbook_eventstore_double::{Double, Options};
use measure::Failure;

const PATH: &str = "/oauth/introspect";
const CALLERS: usize = 16;
const ROUNDS: usize = 9;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let grants = measure::argument("--grants", 4_000);
    let tokens = measure::argument("--tokens", 10_000);
    let requests = measure::argument("--requests", 10_000);
    let dir = tempfile::TempDir::new_in(env!("CARGO_TARGET_TMPDIR"))?;

    let embedded = embedded(&dir.path().join("embedded"))?;
    let (embedded_time, _) = burst(&embedded, grants, None).await?;
    for (what, acknowledges_at_once) in [("", true), (", with the system's delayed acknowledgements", false)]
    {
        let double = Double::start(Options { acknowledges_at_once, ..Options::default() }).await?;
        let (here, there) = (node(&double)?, node(&double)?);
        let (time, lag) = burst(&here, grants, Some(there)).await?;
        let lag = lag.unwrap_or_default();
        println!(
            "{grants} grants by 64 callers{what}: embedded {:.2} s, cluster {:.2} s; then another node lags {:.3} s",
            embedded_time.as_secs_f64(),
            time.as_secs_f64(),
            lag.as_secs_f64()
        );
        println!(
            "grants through a cluster / embedded{what} = {:.2}",
            embedded_time.as_secs_f64() / time.as_secs_f64()
        );
        measure::at_most("lag of another node / burst", lag.as_secs_f64() / time.as_secs_f64(), 1.0);
    }

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

fn embedded(dir: &Path) -> Result<Arc<dyn Store>, Failure> {
    let options = SqliteOptions { identity: secrets::new_ledger_identity(), now: SystemClock.now() };
    Ok(SqliteStore::open(dir, options)?)
}

fn node(double: &Double) -> Result<Arc<dyn Store>, Failure> {
    let target = Arc::new(EventStoreTarget::parse(&double.url())?);
    Ok(EventStore::open(target, Some(secrets::new_ledger_identity()), Arc::new(SystemClock))?)
}

/// How long grants take, and how long after them another node has folded them.
async fn burst(
    store: &Arc<dyn Store>,
    grants: usize,
    there: Option<Arc<dyn Store>>,
) -> Result<(Duration, Option<Duration>), Failure> {
    let open = |store: &Arc<dyn Store>| Ledger::open(Arc::clone(store), Arc::new(SystemClock));
    let (here, there) = (open(store), there.as_ref().map(open));
    for ledger in there.iter().chain([&here]) {
        ledger.caught_up().await.map_err(|progress| format!("{progress:?}"))?;
    }
    let app = measure::ledger::app(store).await?;
    let registered = store.head().await?.position;
    if !here.reached(registered).await {
        return Err("the app is not folded".into());
    }
    let started = Instant::now();
    measure::ledger::grants(&here, &app, 0..grants).await?;
    let took = started.elapsed();
    let Some(there) = there else { return Ok((took, None)) };
    if !there.reached(here.live().position()).await {
        return Err("the other node stopped".into());
    }
    Ok((took, Some(started.elapsed() - took)))
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
