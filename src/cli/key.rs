//! `grantbook key`: the keys of operators.

use clap::Subcommand;
use clap::builder::PossibleValue;
use grantbook_events::OperatorKeyId;
use serde_json::{Value, json};

use super::failure::Failure;
use super::reach::{Needs, Reach};
use super::render::{self, Shown};
use super::table::{Column, Wide};

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
    List {
        #[command(flatten)]
        wide: Wide,
    },
    /// End an operator key.
    Retire {
        /// The key's id, as `key list` shows it; never the key itself
        key_id: OperatorKeyId,
        /// Why, for people who read the ledger later
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
}

fn roles() -> [PossibleValue; 3] {
    [
        PossibleValue::new("admin").help("Everything"),
        PossibleValue::new("auditor").help("Reads everything, changes nothing"),
        PossibleValue::new("resource").help("Introspects tokens, nothing else"),
    ]
}

const COLUMNS: &[Column<'_>] = &[
    Column::name("name", "/name"),
    Column::whole("role", "/role"),
    Column::day("created", "/created_at"),
    Column::day("retired", "/retired_at"),
    Column::whole("key id", "/key_id"),
];

const NEW_KEY: &[Shown<'_>] = &[("key id", "/key_id"), ("name", "/name"), ("role", "/role"), ("key", "/key")];

const KEY_ONCE: &str = "\nKeep the key now: it is not stored, and it will not be shown again.\n";

impl Command {
    pub(super) fn run(self, reach: &Reach) -> Result<(), Failure> {
        match self {
            Command::New { name, role } => {
                let body = json!({ "name": name, "role": role });
                reach.ask(
                    Needs::Nothing,
                    |api| api.post("/keys", &body),
                    |key| format!("{}{KEY_ONCE}", render::fields(key, NEW_KEY)),
                )
            }
            Command::List { wide } => {
                reach.ask(Needs::Reading, |api| api.list("/keys", &[]), |list| wide.table(list, COLUMNS))
            }
            Command::Retire { key_id, reason } => reach.ask(
                Needs::Ledger,
                |api| api.delete(&format!("/keys/{key_id}"), &[("reason", &reason)]),
                |done| match done["recorded_at"].is_string() {
                    true => render::already("retired", done, &Value::Null),
                    false => "The key is refused from now on.\n".to_owned(),
                },
            ),
        }
    }
}
