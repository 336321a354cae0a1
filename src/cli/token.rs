//! `grantbook token`: ending tokens, by their ids, or one that was found by itself. Knows: what is asked of the management
//! API. Must not know: rules.

use clap::Subcommand;
use grantbook_events::TokenId;
use serde_json::json;

use super::api::Request;
use super::audit::shown;
use super::connect::ServerFlags;
use super::failure::Failure;
use super::{pasted, render};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Revoke one token.
    Revoke {
        /// The token's id, as `installation show` lists it; never the token itself
        token_id: TokenId,
        /// It was seen where it should not be
        #[arg(long)]
        leaked: bool,
        /// Why, for people who read the ledger later
        #[arg(long = "reason", value_name = "TEXT")]
        note: Option<String>,
    },
    /// Revoke a token that was found where it should not be, by the token itself, and say whose it was.
    Leaked {
        /// Read the token from standard input, which no other user of the machine can read
        #[arg(long, required = true)]
        stdin: bool,
        /// Where it was found, for people who read the ledger later
        #[arg(long = "reason", value_name = "TEXT")]
        note: Option<String>,
    },
}

impl Command {
    pub(super) fn run(self, server: &ServerFlags) -> Result<(), Failure> {
        let (token_id, leaked, note) = match self {
            Command::Revoke { token_id, leaked, note } => (token_id, leaked, note),
            Command::Leaked { stdin: _, note } => {
                let found = json!({ "token": pasted::token()?, "note": note });
                return server.ask(&Request::post("/tokens/leaked", found), shown::token);
            }
        };
        let reason = if leaked { "leaked" } else { "operator" };
        let request = Request::delete(format!("/tokens/{token_id}"));
        server.ask(&request.query("reason", Some(reason)).query("note", note), |ended| {
            match ended["state"].as_str() {
                None => "The token is refused from now on.\n".to_owned(),
                Some(_) => render::already("revoked", &ended["event"], &ended["why"]),
            }
        })
    }
}
