//! `POST /oauth/token`, every one a durable refresh, beside a bare actix-web handler in the same process that parses the same
//! form and answers the same bytes.
//!
//! `cargo bench --bench refresh [-- --requests 6400]`

#![expect(clippy::print_stdout, reason = "a benchmark prints")]

mod measure;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use grantbook::clock::{Clock as _, SystemClock};
use grantbook::secrets;
use grantbook::store::{SqliteOptions, SqliteStore, Store};
use measure::Failure;
use measure::ledger::App;
use serde::Deserialize;

const PATH: &str = "/oauth/token";
const CALLERS: usize = 64;
const ROUNDS: usize = 10;
/// Most access tokens have expired when they are refreshed.
const ACCESS_SECONDS: u64 = 1;

#[derive(Deserialize)]
#[expect(dead_code, reason = "it is parsed, as grantbook parses it")]
struct Form {
    client_id: String,
    client_secret: String,
    grant_type: String,
    refresh_token: String,
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let requests = measure::argument("--requests", 6400);
    let dir = tempfile::TempDir::new_in(env!("CARGO_TARGET_TMPDIR"))?;
    let options = SqliteOptions { identity: secrets::new_ledger_identity(), now: SystemClock.now() };
    let store: Arc<dyn Store> = SqliteStore::open(dir.path(), options)?;
    let app = measure::ledger::app_with_refresh(&store, ACCESS_SECONDS).await?;
    let grantbook = measure::http::Grantbook::serve(store, dir.path()).await?;
    let codes = measure::ledger::grants(grantbook.server.ledger(), &app, 0..requests + 1).await?;
    let mut exchanges: Vec<Vec<u8>> = codes.iter().map(|code| app.exchange(code)).collect();
    let answer = measure::http::ask(grantbook.address, &exchanges.pop().ok_or("no requests")?)?;
    let bare = measure::http::serve_bare::<Form>(PATH, answer)?;

    let (_, mut refreshes) = callers(grantbook.address, &app, &exchanges)?;
    let mut ratios = Vec::new();
    for round in 0..=ROUNDS {
        let (bare_time, _) = callers(bare, &app, &refreshes)?;
        let time;
        // Each refresh token is good once.
        (time, refreshes) = callers(grantbook.address, &app, &refreshes)?;
        // The first round warms up.
        if round > 0 {
            let rate = |time: f64| requests as f64 / time;
            println!("round {round}: bare {:.0}/s, refreshes {:.0}/s", rate(bare_time), rate(time));
            ratios.push(bare_time / time);
        }
    }
    measure::at_least("durable refresh / bare handler", measure::median(ratios), 0.4);
    grantbook.server.stop().await?;
    Ok(())
}

/// Seconds until all requests are answered, and the requests that refresh what came back.
fn callers(address: SocketAddr, app: &App, requests: &[Vec<u8>]) -> Result<(f64, Vec<Vec<u8>>), Failure> {
    let shares: Vec<&[Vec<u8>]> = requests.chunks(requests.len().div_ceil(CALLERS)).collect();
    let replies = Mutex::new(Vec::with_capacity(requests.len()));
    let keep = |body: &[u8]| {
        if let Ok(mut replies) = replies.lock() {
            replies.push(body.to_vec());
        }
    };
    let time = measure::http::callers_that(address, &shares, keep)?;
    let next = replies.into_inner().map_err(|_| "a caller panicked")?.into_iter().map(|body| {
        let body: serde_json::Value = serde_json::from_slice(&body)?;
        Ok(app.refresh(body["refresh_token"].as_str().ok_or("no refresh token")?))
    });
    Ok((time.as_secs_f64(), next.collect::<Result<_, Failure>>()?))
}
