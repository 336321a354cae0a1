//! `grantbook token`: ending tokens, by their ids. A token itself is never an argument: every user of the
//! machine could read it there.

use clap::Subcommand;
use grantbook_events::TokenId;

use super::api::Request;
use super::connect::ServerFlags;
use super::failure::Failure;
use super::render;

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
}

impl Command {
    pub(super) fn run(self, server: &ServerFlags) -> Result<(), Failure> {
        let Command::Revoke { token_id, leaked, note } = self;
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
