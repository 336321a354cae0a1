//! `grantbook app`: the apps.

use std::time::Duration;

use clap::{ArgAction, ArgGroup, Subcommand};
use grantbook_events::{ClientId, SecretId};
use serde::Serialize;
use serde_json::{Value, json};

use super::api::Request;
use super::connect::{Needs, ServerFlags};
use super::failure::Failure;
use super::render::{self, Shown};
use super::table::{Column, Kind, Wide};
use crate::config;
use status::{StatusChange, path};

mod status;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Register an app. Its client secret is printed once.
    Register(Box<Register>),
    /// List all apps, deleted ones too.
    List(List),
    /// Show one app.
    Show {
        /// The app's client id
        client_id: ClientId,
    },
    /// Change an app. What is not named stays.
    Update(Box<Update>),
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
        /// Why, for people who read the ledger later
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Stop an app: its codes die, its tokens do not count until it is resumed.
    Suspend(StatusChange),
    /// Let a suspended app go on.
    Resume(StatusChange),
    /// Delete an app for good, and with it every code and token.
    Delete(StatusChange),
}

#[derive(Debug, clap::Args, Serialize)]
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
    /// A scope it gets if it asks for none; may be repeated [default: those of the server's configuration]
    #[arg(long = "default-scope", value_name = "SCOPE")]
    default_scopes: Vec<String>,
    /// Where people can read about the app
    #[arg(long, value_name = "URL")]
    homepage: Option<String>,
    /// The app runs on people's own devices and can keep no secret
    #[arg(long = "public", action = ArgAction::SetFalse)]
    confidential: bool,
    /// It has to push its authorization requests (RFC 9126)
    #[arg(long = "require-par")]
    requires_pushed_requests: bool,
    #[command(flatten)]
    token_policy: TokenPolicy,
    /// A file with the public keys by which the app authenticates instead of a secret (private_key_jwt), as a JWK set
    #[arg(long, value_name = "FILE", value_parser = key_set)]
    jwks: Option<Value>,
    /// The https URL of such a set
    #[arg(long, value_name = "URL", conflicts_with = "jwks")]
    jwks_uri: Option<String>,
}

/// How long an app's tokens live.
#[derive(Debug, clap::Args)]
struct TokenPolicy {
    /// How long its access tokens live, such as 1h [default: for ever; with --refresh, the server's
    /// tokens.access_lifetime]
    #[arg(long, value_name = "DURATION", value_parser = config::token_lifetime)]
    access_lifetime: Option<Duration>,
    /// It gets refresh tokens: its access tokens expire, and it renews them without its users. An update of a lifetime
    /// without this ends that for new approvals
    #[arg(long)]
    refresh: bool,
    /// How long a refresh token may go unused, such as 90d [default: the server's tokens.refresh_idle]
    #[arg(long, value_name = "DURATION", requires = "refresh", value_parser = config::token_lifetime)]
    refresh_idle: Option<Duration>,
    /// How long after the approval refreshing ends, such as 365d [default: the server's tokens.refresh_lifetime]
    #[arg(long, value_name = "DURATION", requires = "refresh", value_parser = config::token_lifetime)]
    refresh_lifetime: Option<Duration>,
}

impl TokenPolicy {
    fn is_named(&self) -> bool {
        self.access_lifetime.is_some() || self.refresh
    }
}

impl Serialize for TokenPolicy {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let seconds = |lifetime: &Option<Duration>| lifetime.map(|lifetime| lifetime.as_secs());
        let mut policy = json!({ "lifetime_seconds": seconds(&self.access_lifetime) });
        if self.refresh {
            policy["refresh"] = json!({
                "idle_seconds": seconds(&self.refresh_idle),
                "lifetime_seconds": seconds(&self.refresh_lifetime),
            });
        }
        policy.serialize(serializer)
    }
}

#[derive(Debug, clap::Args, Serialize)]
#[command(group(ArgGroup::new("change").required(true).multiple(true).args(["access_lifetime", "refresh"])))]
pub(super) struct Update {
    /// The app's client id
    #[serde(skip)]
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
    #[serde(skip)]
    no_homepage: bool,
    /// Where people come back to; all redirect URIs from now on
    #[arg(long = "redirect-uri", value_name = "URI", group = "change")]
    redirect_uris: Vec<String>,
    /// All scopes the app may ask for from now on; tokens already issued keep theirs
    #[arg(long = "scope", value_name = "SCOPE", group = "change")]
    scopes: Vec<String>,
    /// All scopes it gets from now on if it asks for none
    #[arg(long = "default-scope", value_name = "SCOPE", group = "change")]
    default_scopes: Vec<String>,
    /// If it asks for no scope, it gets those of the server's configuration
    #[arg(long, group = "change", conflicts_with = "default_scopes")]
    #[serde(skip)]
    no_default_scopes: bool,
    /// It has to push its authorization requests from now on (RFC 9126)
    #[arg(long, group = "change")]
    #[serde(skip)]
    require_par: bool,
    /// It need not push its authorization requests any more
    #[arg(long, group = "change", conflicts_with = "require_par")]
    #[serde(skip)]
    no_require_par: bool,
    /// A file with the public keys by which the app authenticates from now on (private_key_jwt), as a JWK set
    #[arg(long, value_name = "FILE", group = "change", value_parser = key_set)]
    jwks: Option<Value>,
    /// The https URL of such a set
    #[arg(long, value_name = "URL", group = "change", conflicts_with = "jwks")]
    jwks_uri: Option<String>,
    /// For tokens issued from now on
    #[command(flatten)]
    #[serde(skip)]
    token_policy: TokenPolicy,
    /// Tokens issued from now on live for ever
    #[arg(long, group = "change", conflicts_with_all = ["access_lifetime", "refresh"])]
    #[serde(skip)]
    no_token_lifetime: bool,
}

#[derive(Debug, clap::Args, Serialize)]
pub(super) struct List {
    /// Only those that came to be so
    #[arg(long, value_parser = ["operator", "open", "initial_access_token", "document"])]
    source: Option<String>,
    /// Only those with a redirect URI on this host, or on a name below it
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    #[command(flatten)]
    #[serde(skip)]
    wide: Wide,
}

const COLUMNS: &[Column<'_>] = &[
    ("name", "/name", Kind::Name),
    ("owner", "/owner", Kind::Name),
    ("state", "/status/state", Kind::Whole),
    ("client id", "/client_id", Kind::Whole),
];

const EXTRA: &[Column<'_>] = &[
    ("registered by", "/source/by", Kind::Whole),
    ("scopes", "/scopes", Kind::Whole),
    ("confidential", "/confidential", Kind::Whole),
    ("registered at", "/registered_at", Kind::Time),
    ("changed at", "/changed_at", Kind::Time),
    ("homepage", "/homepage", Kind::Whole),
    ("redirect URIs", "/redirect_uris", Kind::Whole),
];

const APP: &[Shown<'_>] = &[
    ("client id", "/client_id"),
    ("name", "/name"),
    ("owner", "/owner"),
    ("homepage", "/homepage"),
    ("redirect URIs", "/redirect_uris"),
    ("scopes", "/scopes"),
    ("confidential", "/confidential"),
    ("access lifetime (s)", "/token_policy/lifetime_seconds"),
    ("refresh idle (s)", "/token_policy/refresh/idle_seconds"),
    ("refresh lifetime (s)", "/token_policy/refresh/lifetime_seconds"),
    ("default scopes", "/default_scopes"),
    ("pushed requests", "/requires_pushed_requests"),
    ("source", "/source/by"),
    ("document", "/source/url"),
    ("state", "/status/state"),
    ("reason", "/status/reason"),
    ("secrets", "/secrets"),
    ("jwks", "/jwks"),
    ("jwks URL", "/jwks_uri"),
    ("registered at", "/registered_at"),
    ("changed at", "/changed_at"),
    ("client secret", "/client_secret"),
];

const NEW_SECRET: &[Shown<'_>] =
    &[("secret id", "/secret_id"), ("secrets", "/secrets"), ("client secret", "/client_secret")];

const SECRET_ONCE: &str = "\nKeep the client secret now: it is not stored, and it will not be shown again.\n";

impl Command {
    pub(super) fn run(self, server: &ServerFlags) -> Result<(), Failure> {
        match self {
            Command::Register(register) => {
                let has_keys = register.jwks.is_some() || register.jwks_uri.is_some();
                let note = if register.confidential && !has_keys { SECRET_ONCE } else { "" };
                let request = Request::post("/apps", serde_json::to_value(register)?);
                server.act(Needs::Nothing, |api| api.ask(&request), |app| show(app) + note)
            }
            Command::List(list) => {
                let request = Request::all_of("/apps").fields(&list)?;
                server.ask(&request, |apps| list.wide.table(apps, COLUMNS, EXTRA))
            }
            Command::Show { client_id } => server.ask(&Request::get(path(&client_id)), show),
            Command::Update(update) => {
                server.ask(&Request::patch(path(&update.client_id), update.changes()?), show)
            }
            Command::RotateSecret { client_id, overlap } => {
                let body = match overlap {
                    Some(overlap) => json!({ "overlap_seconds": overlap.as_secs() }),
                    None => json!({}),
                };
                let request = Request::post(format!("{}/secrets", path(&client_id)), body);
                server.ask(&request, |secret| render::fields(secret, NEW_SECRET) + SECRET_ONCE)
            }
            Command::RetireSecret { client_id, secret_id, reason } => {
                let request = Request::delete(format!("{}/secrets/{secret_id}", path(&client_id)));
                server.ask(&request.query("note", reason), |done| render::retired("secret", done))
            }
            Command::Suspend(change) => {
                change.post(server, "suspend", "active", "stops", "valid_tokens", show)
            }
            Command::Resume(change) => {
                change.post(server, "resume", "suspended", "brings back", "dormant_tokens", show)
            }
            Command::Delete(change) => {
                let request =
                    |client_id: &_| Request::delete(path(client_id)).query("reason", Some(&change.reason));
                let done = |_: &Value| "The app is deleted; its history stays.\n".to_owned();
                let states = &["active", "suspended"];
                change.ask(
                    server,
                    states,
                    "ends for good",
                    &["valid_tokens", "dormant_tokens"],
                    request,
                    done,
                )
            }
        }
    }
}

/// The JSON of a file; what is in it is for the server to judge.
fn key_set(path: &str) -> Result<Value, String> {
    let text = std::fs::read(path).map_err(|error| format!("the file cannot be read: {error}"))?;
    serde_json::from_slice(&text).map_err(|error| format!("the file is no JSON: {error}"))
}

fn show(app: &Value) -> String {
    render::fields(app, APP)
}

impl Update {
    /// Only what was named.
    fn changes(&self) -> Result<Value, Failure> {
        let mut changes = serde_json::to_value(self)?;
        if let Some(fields) = changes.as_object_mut() {
            fields.retain(|_, value| !value.is_null() && *value != json!([]));
        }
        if self.no_homepage {
            changes["homepage"] = Value::Null;
        }
        if self.no_default_scopes {
            changes["default_scopes"] = json!([]);
        }
        if self.require_par || self.no_require_par {
            changes["requires_pushed_requests"] = self.require_par.into();
        }
        if self.token_policy.is_named() || self.no_token_lifetime {
            changes["token_policy"] = serde_json::to_value(&self.token_policy)?;
        }
        Ok(changes)
    }
}
