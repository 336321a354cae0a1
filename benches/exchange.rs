//! `POST /oauth/token`, every one a durable exchange of a code of its own, beside a bare actix-web handler in
//! the same process that parses the same form and does nothing; and beside the same without a history.
//!
//! `cargo bench --bench exchange [-- --requests 6400]`

#![expect(clippy::print_stdout, reason = "a benchmark prints")]

mod measure;

use std::net::SocketAddr;
use std::sync::Arc;

use grantbook::clock::{Clock as _, SystemClock};
use grantbook::secrets;
use grantbook::store::{SqliteOptions, SqliteStore, Store};
use measure::Failure;
use serde::Deserialize;

const PATH: &str = "/oauth/token";
const CALLERS: usize = 64;
const ROUNDS: usize = 10;
/// As long as a token reply.
const ANSWER: &str = r#"{"access_token":"gbt_0000000000000000000000000000000000000000000000000000000000000000000000000000","token_type":"Bearer","scope":"widgets faqs"}"#;

#[derive(Deserialize)]
#[expect(dead_code, reason = "it is parsed, as grantbook parses it")]
struct Form {
    client_id: String,
    client_secret: String,
    code: String,
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let requests = measure::argument("--requests", 6400);
    let (with, without) = (Served::start().await?, Served::start().await?);
    without.grantbook.server.history().close().await;
    let bare = measure::http::serve_bare::<Form>(PATH, measure::http::Reply::of_body(ANSWER))?;

    let (mut to_bare, mut to_without) = (Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let accounts = round * requests..(round + 1) * requests;
        let (asked, elsewhere) = (with.requests(accounts.clone()).await?, without.requests(accounts).await?);
        let bare_time = callers(bare, &asked)?;
        let time = callers(with.grantbook.address, &asked)?;
        let time_without = callers(without.grantbook.address, &elsewhere)?;
        // The first round warms up.
        if round > 0 {
            let rate = |time: f64| requests as f64 / time;
            println!(
                "round {round}: bare {:.0}/s, exchanges {:.0}/s, without a history {:.0}/s",
                rate(bare_time),
                rate(time),
                rate(time_without)
            );
            to_bare.push(bare_time / time);
            to_without.push(time_without / time);
        }
    }
    measure::at_least("durable exchange / bare handler", measure::median(to_bare), 0.5);
    measure::at_least("exchange with a history / without", measure::median(to_without), 0.9);
    with.grantbook.server.stop().await?;
    without.grantbook.server.stop().await?;
    Ok(())
}

/// A ledger of its own that is served.
struct Served {
    grantbook: measure::http::Grantbook,
    app: measure::ledger::App,
    _dir: tempfile::TempDir,
}

impl Served {
    async fn start() -> Result<Self, Failure> {
        let dir = tempfile::TempDir::new_in(env!("CARGO_TARGET_TMPDIR"))?;
        let options = SqliteOptions { identity: secrets::new_ledger_identity(), now: SystemClock.now() };
        let store: Arc<dyn Store> = SqliteStore::open(dir.path(), options)?;
        let app = measure::ledger::app(&store).await?;
        let grantbook = measure::http::Grantbook::serve(store, dir.path()).await?;
        Ok(Self { grantbook, app, _dir: dir })
    }

    /// Exchanges of codes that were granted a moment ago by the same node, as codes are that live for a minute.
    async fn requests(&self, accounts: std::ops::Range<usize>) -> Result<Vec<Vec<u8>>, Failure> {
        let codes = measure::ledger::grants(self.grantbook.server.ledger(), &self.app, accounts).await?;
        Ok(codes.iter().map(|code| self.app.exchange(code)).collect())
    }
}

/// Seconds until all requests are answered.
fn callers(address: SocketAddr, requests: &[Vec<u8>]) -> Result<f64, Failure> {
    let shares: Vec<&[Vec<u8>]> = requests.chunks(requests.len().div_ceil(CALLERS)).collect();
    Ok(measure::http::callers(address, &shares)?.as_secs_f64())
}
