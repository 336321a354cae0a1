//! A secret from standard input, where it is pasted or piped in. Knows: one line. Must not know: what it is for.
//!
//! It is never an argument: every user of the machine could read it there.

use std::io::{BufRead as _, IsTerminal as _, Read as _, stdin};

use super::failure::Failure;
use super::output;

/// The longest line, in bytes: longer than any secret of ours.
const MAX_BYTES: u64 = 1024;

/// The token on the first line.
pub(super) fn token() -> Result<String, Failure> {
    if stdin().is_terminal() {
        output::remark("Paste the token, then press Enter:");
    }
    let mut line = String::new();
    let read = stdin().lock().take(MAX_BYTES).read_line(&mut line);
    read.map_err(|error| Failure::new(format!("standard input cannot be read: {error}")))?;
    match line.trim() {
        "" => Err(Failure::Usage("--stdin takes a token: paste or pipe in one, such as gbt_…".to_owned())),
        token => Ok(token.to_owned()),
    }
}
