//! The memory of a server that has issued many tokens, beside that of the same ledger served by a new process; and of an
//! installation with an access and a refresh token, beside one with a token that does not expire.
//!
//! `cargo bench --bench resident [-- --tokens 100000]`

#![expect(clippy::print_stdout, reason = "a benchmark prints")]

mod measure;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use grantbook::clock::{Clock as _, SystemClock};
use grantbook::secrets;
use grantbook::store::{SqliteOptions, SqliteStore, Store};
use measure::Failure;

const CALLERS: usize = 32;
const TOKENS_A_ROUND: usize = 5000;
/// The directory of the ledger, for the processes that this one starts.
const DIR: &str = "GRANTBOOK_BENCH_DIR";

fn main() -> Result<(), Failure> {
    if let Some(dir) = std::env::var_os(DIR) {
        return tokio::runtime::Runtime::new()?.block_on(serve(Path::new(&dir)));
    }
    let tokens = measure::argument("--tokens", 100_000);
    let empty = in_a_process(tempfile::TempDir::new_in(env!("CARGO_TARGET_TMPDIR"))?.path(), 0, false)?;
    let mut each = Vec::new();
    for refresh in [false, true] {
        let dir = tempfile::TempDir::new_in(env!("CARGO_TARGET_TMPDIR"))?;
        let issued = in_a_process(dir.path(), tokens, refresh)?;
        let restarted = in_a_process(dir.path(), 0, refresh)?;
        println!("{tokens} tokens: {:.0} MiB, after a restart {:.0} MiB", issued / MIB, restarted / MIB);
        if !refresh {
            measure::at_most("resident memory after issuing / after a restart", issued / restarted, 1.5);
        }
        each.push((restarted - empty) / tokens as f64);
    }
    println!(
        "memory of an installation after a restart, bytes: {each:.0?} with a token that does not expire, and with an \
         access and a refresh token"
    );
    Ok(())
}

const MIB: f64 = (1 << 20) as f64;

/// Serves a ledger in a process of its own, issues tokens, and gives the memory of that process.
fn in_a_process(dir: &Path, tokens: usize, refresh: bool) -> Result<f64, Failure> {
    let program = std::env::current_exe()?;
    let (tokens, refresh) = (tokens.to_string(), usize::from(refresh).to_string());
    let arguments = ["--tokens", &tokens, "--refresh", &refresh];
    let output = Command::new(program).args(arguments).env(DIR, dir).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}

async fn serve(dir: &Path) -> Result<(), Failure> {
    let tokens = measure::argument("--tokens", 0);
    let options = SqliteOptions { identity: secrets::new_ledger_identity(), now: SystemClock.now() };
    let store: Arc<dyn Store> = SqliteStore::open(dir, options)?;
    let app = match (tokens, measure::argument("--refresh", 0)) {
        (0, _) => None,
        (_, 0) => Some(measure::ledger::app(&store).await?),
        _ => Some(measure::ledger::app_with_refresh(&store, 86_400).await?),
    };
    let grantbook = measure::http::Grantbook::serve(store, dir).await?;
    for (app, round) in
        app.iter().flat_map(|app| (0..tokens.div_ceil(TOKENS_A_ROUND)).map(move |round| (app, round)))
    {
        let accounts = round * TOKENS_A_ROUND..((round + 1) * TOKENS_A_ROUND).min(tokens);
        let codes = measure::ledger::grants(grantbook.server.ledger(), app, accounts).await?;
        let requests: Vec<Vec<u8>> = codes.iter().map(|code| app.exchange(code)).collect();
        let shares: Vec<&[Vec<u8>]> = requests.chunks(requests.len().div_ceil(CALLERS)).collect();
        measure::http::callers(grantbook.address, &shares)?;
    }
    println!("{}", measure::resident_bytes());
    grantbook.server.stop().await?;
    Ok(())
}
