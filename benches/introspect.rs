//! `POST /oauth/introspect` beside a bare actix-web handler in the same process that parses the same form and
//! answers the same bytes.
//!
//! `cargo bench --bench introspect [-- --tokens 100000 --requests 20000]`

#![expect(clippy::print_stdout, reason = "a benchmark prints")]

mod measure;

use std::sync::Arc;

use grantbook::secrets;
use grantbook::store::{MemoryStore, Store};
use measure::Failure;
use serde::Deserialize;

const PATH: &str = "/oauth/introspect";
const CALLERS: usize = 16;
const ROUNDS: usize = 15;

#[derive(Deserialize)]
struct Form {
    #[expect(dead_code, reason = "it is parsed, as grantbook parses it")]
    token: String,
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let tokens = measure::argument("--tokens", 100_000);
    let requests = measure::argument("--requests", 20_000);
    let dir = tempfile::TempDir::new_in(env!("CARGO_TARGET_TMPDIR"))?;
    let store: Arc<dyn Store> = MemoryStore::new(secrets::new_ledger_identity());
    let app = measure::ledger::app(&store).await?;
    let tokens = measure::ledger::installations(&store, &app, tokens).await?;
    let grantbook = measure::http::Grantbook::serve(store, dir.path()).await?;
    let authorization = format!("Authorization: Bearer {}\r\n", grantbook.key.expose());
    let requests: Vec<Vec<u8>> = (0..requests)
        .map(|n| &tokens[n.wrapping_mul(2_654_435_761) % tokens.len()])
        .map(|token| measure::http::post(PATH, &authorization, &format!("token={}", token.expose())))
        .collect();
    let answer = measure::http::ask(grantbook.address, requests.first().ok_or("no requests")?)?;
    assert!(answer.body().starts_with(br#"{"active":true"#));
    let bare = measure::http::serve_bare::<Form>(PATH, answer)?;

    let shares: Vec<&[Vec<u8>]> = requests.chunks(requests.len().div_ceil(CALLERS)).collect();
    let mut ratios = Vec::new();
    for round in 0..=ROUNDS {
        let bare_time = measure::http::callers(bare, &shares)?;
        let time = measure::http::callers(grantbook.address, &shares)?;
        // The first round warms up.
        if round > 0 {
            ratios.push(bare_time.as_secs_f64() / time.as_secs_f64());
        }
    }
    println!("{} tokens, {CALLERS} callers, {} requests a round", tokens.len(), requests.len());
    measure::at_least("introspection / bare handler", measure::median(ratios), 0.85);
    grantbook.server.stop().await?;
    Ok(())
}
