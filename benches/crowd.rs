//! One account with many users beside as many accounts with one user each: approvals, exchanges and introspection. What
//! they cost must not depend on how many users an installation has, or on how long its history is.
//!
//! `cargo bench --bench crowd [-- --users 2000]`

#![expect(clippy::print_stdout, reason = "a benchmark prints")]

mod measure;

use std::sync::Arc;
use std::time::Instant;

use grantbook::clock::{Clock as _, SystemClock};
use grantbook::secrets::{self, PlainSecret};
use grantbook::store::{SqliteOptions, SqliteStore, Store};
use measure::Failure;

const TOKEN: &str = "/oauth/token";
const INTROSPECT: &str = "/oauth/introspect";
const CALLERS: usize = 32;
/// As many as each user has codes, one a round.
const ROUNDS: usize = 4;
/// How many tokens of a round are introspected.
const TOKENS: usize = 100;

/// Approvals, exchanges and introspections a second.
type Rates = [f64; 3];

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let users = measure::argument("--users", 2000);
    let (mut crowd, mut spread) = (Vec::new(), Vec::new());
    let dir = tempfile::TempDir::new_in(env!("CARGO_TARGET_TMPDIR"))?;
    let options = SqliteOptions { identity: secrets::new_ledger_identity(), now: SystemClock.now() };
    let store: Arc<dyn Store> = SqliteStore::open(dir.path(), options)?;
    let app = measure::ledger::app(&store).await?;
    let grantbook = measure::http::Grantbook::serve(store, dir.path()).await?;
    for round in 1..=ROUNDS {
        // Of one account that nobody else uses, and of one account for each user.
        let one: Vec<_> = (0..users).map(|user| (users, user)).collect();
        let many: Vec<_> = (0..users).map(|user| (user, user)).collect();
        for (people, rates) in [(many, &mut spread), (one, &mut crowd)] {
            let rate = measure_round(&grantbook, &app, people).await?;
            println!(
                "round {round}: approvals {:.0}/s, exchanges {:.0}/s, introspections {:.0}/s",
                rate[0], rate[1], rate[2]
            );
            rates.push(rate);
        }
    }
    for (at, what) in ["approvals", "exchanges", "introspections"].into_iter().enumerate() {
        let rate = |rates: &[Rates]| measure::median(rates.iter().map(|rate| rate[at]).collect());
        let name = format!("{what}: one account with {users} users / {users} accounts");
        measure::at_least(&name, rate(&crowd) / rate(&spread), 0.7);
        let (first, last) = (crowd[0][at] / spread[0][at], crowd[ROUNDS - 1][at] / spread[ROUNDS - 1][at]);
        measure::at_least(&format!("{what}: last round / first round"), last / first, 0.9);
    }
    grantbook.server.stop().await?;
    Ok(())
}

async fn measure_round(
    grantbook: &measure::http::Grantbook,
    app: &measure::ledger::App,
    people: Vec<(usize, usize)>,
) -> Result<Rates, Failure> {
    let (people_count, started) = (people.len(), Instant::now());
    let codes = measure::ledger::grants_of(grantbook.server.ledger(), app, people).await?;
    let approvals = people_count as f64 / started.elapsed().as_secs_f64();
    let credentials = format!("client_id={}&client_secret={}", app.client_id, app.client_secret.expose());
    let exchange =
        |code: &PlainSecret| measure::http::post(TOKEN, "", &format!("{credentials}&code={}", code.expose()));
    let requests: Vec<Vec<u8>> = codes.iter().map(exchange).collect();
    let (asked, requests) = requests.split_at(TOKENS.min(requests.len()));
    let exchanges = requests.len() as f64 / time_of(grantbook, requests)?;
    let authorization = format!("Authorization: Bearer {}\r\n", grantbook.key.expose());
    let mut introspections = Vec::new();
    for request in asked {
        let reply = measure::http::ask(grantbook.address, request)?;
        let reply: serde_json::Value = serde_json::from_slice(reply.body())?;
        let form = format!("token={}", reply["access_token"].as_str().ok_or("no token")?);
        introspections.push(measure::http::post(INTROSPECT, &authorization, &form));
    }
    let introspections: Vec<_> = introspections.into_iter().cycle().take(people_count).collect();
    let introspections = introspections.len() as f64 / time_of(grantbook, &introspections)?;
    Ok([approvals, exchanges, introspections])
}

/// Seconds until all are answered.
fn time_of(grantbook: &measure::http::Grantbook, requests: &[Vec<u8>]) -> Result<f64, Failure> {
    let shares: Vec<&[Vec<u8>]> = requests.chunks(requests.len().div_ceil(CALLERS)).collect();
    Ok(measure::http::callers(grantbook.address, &shares)?.as_secs_f64())
}
