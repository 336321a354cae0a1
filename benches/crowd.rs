//! One account with many users beside as many accounts with one user each: approvals, exchanges, introspection and
//! revocations. What they cost must not depend on how many users an installation has, or on how long its history is.
//!
//! `cargo bench --bench crowd [-- --users 2000]`

#![expect(clippy::print_stdout, reason = "a benchmark prints")]

mod measure;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use grantbook::clock::{Clock as _, SystemClock};
use grantbook::secrets;
use grantbook::store::{SqliteOptions, SqliteStore, Store};
use measure::Failure;
use measure::http::Grantbook;
use measure::ledger::App;

const CALLERS: usize = 32;
/// Each is a ledger of its own.
const REPEATS: usize = 5;
/// As many as each user has codes, one a round.
const ROUNDS: usize = 4;
const WHAT: [&str; 4] = ["approvals", "exchanges", "introspections", "revocations"];

/// How many a second, in the order of [`WHAT`].
type Rates = [f64; WHAT.len()];

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let users = measure::argument("--users", 2000);
    let (mut ratios, mut trends) = ([const { Vec::new() }; WHAT.len()], [const { Vec::new() }; WHAT.len()]);
    for repeat in 1..=REPEATS {
        let of_rounds = measure_ledger(users, repeat).await?;
        for (at, (ratios, trends)) in ratios.iter_mut().zip(&mut trends).enumerate() {
            trends.push(of_rounds[ROUNDS - 1][at] / of_rounds[0][at]);
            ratios.extend(of_rounds.iter().map(|round| round[at]));
        }
    }
    for (what, (ratios, trends)) in WHAT.iter().zip(ratios.into_iter().zip(trends)) {
        let name = format!("{what}: one account with {users} users / {users} accounts");
        measure::at_least(&name, measure::median(ratios), 0.7);
        measure::at_least(&format!("{what}: last round / first round"), measure::median(trends), 0.9);
    }
    Ok(())
}

/// The rates on one account over those on many, by rounds.
async fn measure_ledger(users: usize, repeat: usize) -> Result<[Rates; ROUNDS], Failure> {
    let dir = tempfile::TempDir::new_in(env!("CARGO_TARGET_TMPDIR"))?;
    let options = SqliteOptions { identity: secrets::new_ledger_identity(), now: SystemClock.now() };
    let store: Arc<dyn Store> = SqliteStore::open(dir.path(), options)?;
    let app = measure::ledger::app(&store).await?;
    let grantbook = Grantbook::serve(store, dir.path()).await?;
    let mut ratios = [[0.0; WHAT.len()]; ROUNDS];
    for (round, ratios) in ratios.iter_mut().enumerate() {
        let many = measure_round(&grantbook, &app, (0..users).map(|user| (user, user)).collect()).await?;
        // An account that has none of these.
        let one = measure_round(&grantbook, &app, (0..users).map(|user| (users, user)).collect()).await?;
        println!(
            "ledger {repeat}, round {}: {many:.0?} on many accounts, {one:.0?} on one, a second",
            round + 1
        );
        *ratios = std::array::from_fn(|at| one[at] / many[at]);
    }
    grantbook.server.stop().await?;
    Ok(ratios)
}

async fn measure_round(
    grantbook: &Grantbook,
    app: &App,
    people: Vec<(usize, usize)>,
) -> Result<Rates, Failure> {
    let (count, started) = (people.len(), Instant::now());
    let codes = measure::ledger::grants_of(grantbook.server.ledger(), app, people).await?;
    let approvals = count as f64 / started.elapsed().as_secs_f64();

    let requests: Vec<Vec<u8>> = codes.iter().map(|code| app.exchange(code)).collect();
    let tokens = Mutex::new(Vec::new());
    let keep = |body: &[u8]| tokens.lock().unwrap_or_else(PoisonError::into_inner).push(body.to_vec());
    let exchanges = rate_of(grantbook, &requests, keep)?;
    let tokens = tokens.into_inner().unwrap_or_else(PoisonError::into_inner);
    let tokens = tokens.iter().map(|body| {
        let reply: serde_json::Value = serde_json::from_slice(body)?;
        Ok(reply["access_token"].as_str().ok_or("no token")?.to_owned())
    });
    let tokens = tokens.collect::<Result<Vec<String>, Failure>>()?;

    let authorization = format!("Authorization: Bearer {}\r\n", grantbook.key.expose());
    let introspect =
        |token: &String| measure::http::post("/oauth/introspect", &authorization, &format!("token={token}"));
    let requests: Vec<Vec<u8>> = tokens.iter().map(introspect).collect();
    let introspections = rate_of(grantbook, &requests, |_| ())?;

    // The others stay, so that there are more in each round.
    let half = tokens.iter().step_by(2);
    let requests: Vec<Vec<u8>> =
        half.map(|token| app.post("/oauth/revoke", &format!("token={token}"))).collect();
    let revocations = rate_of(grantbook, &requests, |_| ())?;
    Ok([approvals, exchanges, introspections, revocations])
}

/// How many requests are answered a second.
fn rate_of(grantbook: &Grantbook, requests: &[Vec<u8>], look: impl Fn(&[u8]) + Sync) -> Result<f64, Failure> {
    let shares: Vec<&[Vec<u8>]> = requests.chunks(requests.len().div_ceil(CALLERS)).collect();
    let time = measure::http::callers_that(grantbook.address, &shares, look)?;
    Ok(requests.len() as f64 / time.as_secs_f64())
}
