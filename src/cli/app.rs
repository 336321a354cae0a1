//! `grantbook app`: the apps.

use std::time::Duration;

use clap::{ArgGroup, Subcommand};
use grantbook_events::{ClientId, SecretId};
use serde_json::{Map, Value, json};

use super::api::Api;
use super::confirm::Confirm;
use super::failure::Failure;
use super::note::Note;
use super::reach::{Needs, Reach};
use super::render::{self, Shown};
use super::table::{Column, Wide};
use crate::config;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Register an app. Its client secret is printed once.
    Register(Register),
    /// List all apps, deleted ones too.
    List {
        #[command(flatten)]
        wide: Wide,
    },
    /// Show one app.
    Show {
        /// The app's client id
        client_id: ClientId,
    },
    /// Change an app. What is not named stays.
    Update(Update),
    /// Add a client secret; the old one goes on for the overlap.
    RotateSecret {
        /// The app's client id
        client_id: ClientId,
        /// How long the old secret goes on, such as 24h; 0s ends it at once [default: the server's
        /// secrets.rotation_overlap]
        #[arg(long, value_name = "DURATION", value_parser = config::rotation_overlap)]
        overlap: Option<Duration>,
    },
    /// End a client secret at once.
    RetireSecret {
        /// The app's client id
        client_id: ClientId,
        /// The secret's id, as `app show` lists it; never the secret itself
        secret_id: SecretId,
        #[command(flatten)]
        note: Note,
    },
    /// Stop an app: its codes die, its tokens do not count until it is resumed.
    Suspend(StatusChange),
    /// Let a suspended app go on.
    Resume(StatusChange),
    /// Delete an app for good, and with it every code and token.
    Delete(StatusChange),
}

#[derive(Debug, clap::Args)]
pub(super) struct Register {
    /// Shown on the consent page
    #[arg(long, value_name = "TEXT")]
    name: String,
    /// Who answers for the app; shown on the consent page
    #[arg(long, value_name = "TEXT")]
    owner: String,
    /// Where people come back to; may be repeated
    #[arg(long = "redirect-uri", value_name = "URI", required = true)]
    redirect_uris: Vec<String>,
    /// A scope the app may ask for; may be repeated
    #[arg(long = "scope", value_name = "SCOPE", required = true)]
    scopes: Vec<String>,
    /// Where people can read about the app
    #[arg(long, value_name = "URL")]
    homepage: Option<String>,
    /// The app runs on people's own devices and can keep no secret
    #[arg(long)]
    public: bool,
    /// How long its tokens live [default: for ever]
    #[arg(long, value_name = "N")]
    token_lifetime_seconds: Option<u64>,
}

#[derive(Debug, clap::Args)]
#[command(group(ArgGroup::new("change").required(true).multiple(true)))]
pub(super) struct Update {
    /// The app's client id
    client_id: ClientId,
    /// Shown on the consent page
    #[arg(long, value_name = "TEXT", group = "change")]
    name: Option<String>,
    /// Who answers for the app; shown on the consent page
    #[arg(long, value_name = "TEXT", group = "change")]
    owner: Option<String>,
    /// Where people can read about the app
    #[arg(long, value_name = "URL", group = "change")]
    homepage: Option<String>,
    /// There is no such place any more
    #[arg(long, group = "change", conflicts_with = "homepage")]
    no_homepage: bool,
    /// Where people come back to; all redirect URIs from now on
    #[arg(long = "redirect-uri", value_name = "URI", group = "change")]
    redirect_uris: Vec<String>,
    /// All scopes the app may ask for from now on; tokens already issued keep theirs
    #[arg(long = "scope", value_name = "SCOPE", group = "change")]
    scopes: Vec<String>,
    /// How long tokens issued from now on live
    #[arg(long, value_name = "N", group = "change")]
    token_lifetime_seconds: Option<u64>,
    /// Tokens issued from now on live for ever
    #[arg(long, group = "change", conflicts_with = "token_lifetime_seconds")]
    no_token_lifetime: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct StatusChange {
    /// The app's client id
    client_id: ClientId,
    /// Why, for people who read the ledger later
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    confirm: Confirm,
}

const COLUMNS: &[Column<'_>] = &[
    Column::name("name", "/name"),
    Column::name("owner", "/owner"),
    Column::whole("state", "/status/state"),
    Column::whole("client id", "/client_id"),
    Column::whole("scopes", "/scopes").extra(),
    Column::whole("confidential", "/confidential").extra(),
    Column::time("registered at", "/registered_at").extra(),
    Column::time("changed at", "/changed_at").extra(),
    Column::whole("homepage", "/homepage").extra(),
    Column::whole("redirect URIs", "/redirect_uris").extra(),
];

const APP: &[Shown<'_>] = &[
    ("client id", "/client_id"),
    ("name", "/name"),
    ("owner", "/owner"),
    ("homepage", "/homepage"),
    ("redirect URIs", "/redirect_uris"),
    ("scopes", "/scopes"),
    ("confidential", "/confidential"),
    ("token lifetime", "/token_policy/lifetime_seconds"),
    ("state", "/status/state"),
    ("reason", "/status/reason"),
    ("secrets", "/secrets"),
    ("registered at", "/registered_at"),
    ("changed at", "/changed_at"),
    ("client secret", "/client_secret"),
];

const NEW_SECRET: &[Shown<'_>] =
    &[("secret id", "/secret_id"), ("secrets", "/secrets"), ("client secret", "/client_secret")];

const SECRET_ONCE: &str = "\nKeep the client secret now: it is not stored, and it will not be shown again.\n";

impl Command {
    pub(super) fn run(self, reach: &Reach) -> Result<(), Failure> {
        let show = |app: &Value| render::fields(app, APP);
        match self {
            Command::Register(register) => {
                let note = if register.public { "" } else { SECRET_ONCE };
                let body = register.body();
                reach.ask(Needs::Nothing, |api| api.post("/apps", &body), |app| show(app) + note)
            }
            Command::List { wide } => {
                reach.ask(Needs::Reading, |api| api.list("/apps", &[]), |list| wide.table(list, COLUMNS))
            }
            Command::Show { client_id } => {
                reach.ask(Needs::Reading, |api| api.get(&format!("/apps/{client_id}"), &[]), show)
            }
            Command::Update(update) => {
                let (path, changes) = (format!("/apps/{}", update.client_id), update.changes());
                reach.ask(Needs::Ledger, |api| api.patch(&path, &changes), show)
            }
            Command::RotateSecret { client_id, overlap } => {
                let path = format!("/apps/{client_id}/secrets");
                let overlap = overlap.map(|overlap| ("overlap_seconds".to_owned(), overlap.as_secs().into()));
                let body = Value::Object(overlap.into_iter().collect());
                reach.ask(
                    Needs::Ledger,
                    |api| api.post(&path, &body),
                    |secret| render::fields(secret, NEW_SECRET) + SECRET_ONCE,
                )
            }
            Command::RetireSecret { client_id, secret_id, note } => reach.ask(
                Needs::Ledger,
                |api| note.with(&[], |q| api.delete(&format!("/apps/{client_id}/secrets/{secret_id}"), q)),
                |done| match done["recorded_at"].is_string() {
                    true => render::already("retired", done, &Value::Null),
                    false => "The secret is refused from now on.\n".to_owned(),
                },
            ),
            Command::Suspend(change) => {
                let ask = |api: &Api| change.post(api, "suspend", "stops", &["valid_tokens"]);
                reach.ask(Needs::Ledger, ask, show)
            }
            Command::Resume(change) => {
                let ask = |api: &Api| change.post(api, "resume", "brings back", &["dormant_tokens"]);
                reach.ask(Needs::Ledger, ask, show)
            }
            Command::Delete(StatusChange { client_id, reason, confirm }) => reach.ask(
                Needs::Ledger,
                |api| {
                    confirm.about(api, &client_id, "ends for good", &["valid_tokens", "dormant_tokens"])?;
                    api.delete(&format!("/apps/{client_id}"), &[("reason", &reason)])
                },
                |_| "The app is deleted; its history stays.\n".to_owned(),
            ),
        }
    }
}

impl Register {
    fn body(self) -> Value {
        json!({
            "name": self.name,
            "owner": self.owner,
            "homepage": self.homepage,
            "redirect_uris": self.redirect_uris,
            "scopes": self.scopes,
            "confidential": !self.public,
            "token_policy": { "lifetime_seconds": self.token_lifetime_seconds },
        })
    }
}

impl Update {
    /// Only what was named.
    fn changes(self) -> Value {
        let list = |items: Vec<String>| (!items.is_empty()).then(|| json!(items));
        let lifetime = self.token_lifetime_seconds;
        let named = [
            ("name", self.name.map(Value::from)),
            ("owner", self.owner.map(Value::from)),
            ("homepage", self.homepage.map(Value::from).or(self.no_homepage.then_some(Value::Null))),
            ("redirect_uris", list(self.redirect_uris)),
            ("scopes", list(self.scopes)),
            (
                "token_policy",
                (lifetime.is_some() || self.no_token_lifetime)
                    .then(|| json!({ "lifetime_seconds": lifetime })),
            ),
        ];
        let named = named.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        Value::Object(named.collect::<Map<_, _>>())
    }
}

impl StatusChange {
    fn post(&self, api: &Api, what: &str, verb: &str, fields: &[&str]) -> Result<Value, Failure> {
        self.confirm.about(api, &self.client_id, verb, fields)?;
        api.post(&format!("/apps/{}/{what}", self.client_id), &json!({ "reason": self.reason }))
    }
}
