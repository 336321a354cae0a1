//! `grantbook key`: the keys of operators.

use clap::Subcommand;
use clap::builder::PossibleValue;
use grantbook_events::OperatorKeyId;
use serde_json::json;

use super::api::Request;
use super::connect::{Needs, ServerFlags};
use super::failure::Failure;
use super::render::{self, Shown};
use super::table::{Column, Kind, Wide};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Create an operator key. It is printed once.
    New {
        /// What it is for
        #[arg(long, value_name = "TEXT")]
        name: String,
        /// What it may do
        #[arg(long, value_parser = roles())]
        role: String,
    },
    /// List all operator keys, retired ones too.
    List(Wide),
    /// End an operator key.
    Retire {
        /// The key's id, as `key list` shows it; never the key itself
        key_id: OperatorKeyId,
        /// Why, for people who read the ledger later
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
}

fn roles() -> [PossibleValue; 4] {
    [
        PossibleValue::new("admin").help("Everything"),
        PossibleValue::new("auditor").help("Reads everything, changes nothing"),
        PossibleValue::new("resource").help("Introspects tokens, nothing else"),
        PossibleValue::new("registrar").help("Registers apps at /oauth/register, nothing else"),
    ]
}

const COLUMNS: &[Column<'_>] = &[
    ("name", "/name", Kind::Name),
    ("role", "/role", Kind::Whole),
    ("created", "/created_at", Kind::Day),
    ("retired", "/retired_at", Kind::Day),
    ("key id", "/key_id", Kind::Whole),
];

const NEW_KEY: &[Shown<'_>] = &[("key id", "/key_id"), ("name", "/name"), ("role", "/role"), ("key", "/key")];

const KEY_ONCE: &str = "\nKeep the key now: it is not stored, and it will not be shown again.\n";

impl Command {
    pub(super) fn run(self, server: &ServerFlags) -> Result<(), Failure> {
        match self {
            Command::New { name, role } => {
                let request = Request::post("/keys", json!({ "name": name, "role": role }));
                let show = |key: &_| render::fields(key, NEW_KEY) + KEY_ONCE;
                server.act(Needs::Nothing, |api| api.ask(&request), show)
            }
            Command::List(wide) => {
                server.ask(&Request::all_of("/keys"), |list| wide.table(list, COLUMNS, &[]))
            }
            Command::Retire { key_id, reason } => {
                let request = Request::delete(format!("/keys/{key_id}")).query("reason", Some(reason));
                server.ask(&request, |done| render::retired("key", done))
            }
        }
    }
}
