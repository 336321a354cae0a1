//! `POST /oauth/token`, every one a durable exchange of a code of its own, beside a bare actix-web handler in
//! the same process that parses the same form and does nothing.
//!
//! `cargo bench --bench exchange [-- --requests 6400]`

#![expect(clippy::print_stdout, reason = "a benchmark prints")]

mod measure;

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
    let dir = tempfile::TempDir::new_in(env!("CARGO_TARGET_TMPDIR"))?;
    let options = SqliteOptions { identity: secrets::new_ledger_identity(), now: SystemClock.now() };
    let store: Arc<dyn Store> = SqliteStore::open(dir.path(), options)?;
    let app = measure::ledger::app(&store).await?;
    let grantbook = measure::http::Grantbook::serve(store, dir.path()).await?;
    let bare = measure::http::serve_bare::<Form>(PATH, measure::http::Reply::of_body(ANSWER))?;
    let credentials = format!("client_id={}&client_secret={}", app.client_id, app.client_secret.expose());
    let exchange = |code: &secrets::PlainSecret| {
        measure::http::post(PATH, "", &format!("{credentials}&code={}", code.expose()))
    };

    let mut ratios = Vec::new();
    for round in 0..=ROUNDS {
        // Granted a moment ago by the same node, as codes are that live for a minute.
        let accounts = round * requests..(round + 1) * requests;
        let codes = measure::ledger::grants(grantbook.server.ledger(), &app, accounts).await?;
        let requests: Vec<Vec<u8>> = codes.iter().map(exchange).collect();
        let shares: Vec<&[Vec<u8>]> = requests.chunks(requests.len().div_ceil(CALLERS)).collect();
        let bare_time = measure::http::callers(bare, &shares)?;
        let time = measure::http::callers(grantbook.address, &shares)?;
        // The first round warms up.
        if round > 0 {
            let rate = |time: std::time::Duration| requests.len() as f64 / time.as_secs_f64();
            println!("round {round}: bare {:.0}/s, exchanges {:.0}/s", rate(bare_time), rate(time));
            ratios.push(bare_time.as_secs_f64() / time.as_secs_f64());
        }
    }
    measure::at_least("durable exchange / bare handler", measure::median(ratios), 0.5);
    grantbook.server.stop().await?;
    Ok(())
}
