//! What the operator decided: `grantbook.toml`, the environment and the flags, in one place. Knows: every
//! key, its default and its bounds. Must not know: what grantbook does with it.
//!
//! This is the only module that touches the environment. A [`Config`] is made by [`Config::load`] alone; a mistake
//! is a [`ConfigError`] that says where it is and what would be right.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use grantbook_events::{RefreshPolicy, TokenPolicy};
use serde::{Deserialize, Deserializer};

use crate::decisions::app_profile::TOKEN_LIFETIME_MAX_SECONDS;
use crate::decisions::resources::ResourceList;
use crate::decisions::scopes::ScopeCatalogue;
use crate::decisions::self_registration::{RedirectHosts, RegistrationPolicy};
use crate::identity::SignIn;
use crate::identity::session::AccountRole;
use crate::outbound::Rules;
use crate::store::EventStoreTarget;
use crate::telemetry::LogFormat;
use merged::Merged;

mod environment;
mod error;
mod file;
mod merged;
mod reading;
mod render;
mod service_links;
mod settings;
mod sources;
mod takes;
#[cfg(test)]
mod tests;
mod urls;

pub use environment::{KEY_VARIABLE, Remote, SERVER_VARIABLE, person, terminal_columns};
pub use error::{ConfigError, Mistake, Origin};
pub use sources::{ConfigFile, ConfigFlags, DEFAULT_FILE, Sources};
pub use urls::{Issuer, is_loopback};

/// The effective configuration. docs/configuration.md says what each setting is for.
#[derive(Debug, Clone, Deserialize)]
pub struct Config {
    pub listen: SocketAddr,
    pub issuer: Issuer,
    pub data_dir: PathBuf,
    #[serde(skip)]
    pub sign_in: SignIn,
    #[serde(flatten)]
    pub session: Session,
    #[serde(rename = "codes.lifetime")]
    pub code_lifetime: Duration,
    #[serde(rename = "tokens.max_live_per_user")]
    pub max_live_tokens_per_user: usize,
    /// The APIs that tokens may be for.
    #[serde(rename = "tokens.resources", default)]
    pub resources: ResourceList,
    #[serde(flatten)]
    pub refresh: Refresh,
    #[serde(rename = "secrets.rotation_overlap")]
    pub rotation_overlap: Duration,
    /// Who may uninstall an app for everybody on an account: all of its users, or its admins alone.
    #[serde(rename = "accounts.uninstall_by")]
    pub uninstall_by: AccountRole,
    #[serde(skip)]
    pub scopes: ScopeCatalogue,
    /// Whether a ledger with an event that cannot be read or folded is refused, rather than the event's
    /// stream put in quarantine.
    #[serde(rename = "ledger.unreadable", deserialize_with = "is_refuse")]
    pub strict: bool,
    /// The cluster that the ledger is in; in the data directory if there is none.
    #[serde(skip)]
    pub store: Option<Arc<EventStoreTarget>>,
    /// How old what this node has folded may be for answers that let something pass, if others append, too.
    #[serde(rename = "store.max_staleness")]
    pub max_staleness: Duration,
    /// Whether such answers are refused beyond that, rather than read from the cluster.
    #[serde(rename = "store.beyond_staleness", deserialize_with = "is_refuse")]
    pub refuse_when_stale: bool,
    /// How long a caller waits for an answer that needs the ledger.
    #[serde(rename = "store.answer_within")]
    pub answer_within: Duration,
    /// What software may register by itself.
    #[serde(skip)]
    pub registration: SelfRegistration,
    /// Where requests may go that leave the server.
    #[serde(skip)]
    pub outbound: Rules,
    #[serde(flatten)]
    pub limits: Limits,
    #[serde(flatten)]
    pub log: Log,
    #[serde(skip)]
    merged: Merged,
}

/// The browser session.
#[derive(Debug, Clone, Deserialize)]
pub struct Session {
    #[serde(rename = "session.lifetime")]
    pub lifetime: Duration,
    /// The file with the key of the cookie; if there is none, the server makes its own.
    #[serde(rename = "session.key_file")]
    pub key_file: Option<PathBuf>,
}

/// How long tokens live of an app that has refresh tokens and does not say.
#[derive(Debug, Clone, Deserialize)]
pub struct Refresh {
    #[serde(rename = "tokens.access_lifetime")]
    pub access_lifetime: Duration,
    /// How long a refresh token may go unused.
    #[serde(rename = "tokens.refresh_idle")]
    pub idle: Duration,
    /// How long after the approval the last refresh token ends; `None` for never.
    #[serde(rename = "tokens.refresh_lifetime")]
    pub lifetime: Option<Duration>,
    /// How long the same refresh token gets the same reply, in case that the first one was lost.
    #[serde(rename = "tokens.refresh_grace")]
    pub grace: Duration,
}

impl Refresh {
    /// The token policy of an app that registers itself. Nobody has checked such an app, so no token of it lives for ever:
    /// without refresh tokens, an access token lives as long as a refresh token may go unused.
    pub fn of_self_registered(&self, refreshes: bool) -> TokenPolicy {
        if refreshes {
            return self
                .filled(TokenPolicy { lifetime_seconds: None, refresh: Some(RefreshPolicy::default()) });
        }
        TokenPolicy {
            lifetime_seconds: Some(self.idle.as_secs().min(TOKEN_LIFETIME_MAX_SECONDS)),
            refresh: None,
        }
    }

    /// The token policy of an app, with what it does not say.
    pub fn filled(&self, policy: TokenPolicy) -> TokenPolicy {
        let Some(refresh) = policy.refresh else { return policy };
        let seconds = |lifetime: &Duration| lifetime.as_secs();
        TokenPolicy {
            lifetime_seconds: policy.lifetime_seconds.or(Some(seconds(&self.access_lifetime))),
            refresh: Some(RefreshPolicy {
                idle_seconds: refresh.idle_seconds.or(Some(seconds(&self.idle))),
                lifetime_seconds: refresh.lifetime_seconds.or(self.lifetime.as_ref().map(seconds)),
            }),
        }
    }
}

/// Who may register an app without an operator, and what such an app may have.
#[derive(Debug, Clone, Default)]
pub struct SelfRegistration {
    pub mode: RegistrationMode,
    /// At which hosts apps may have metadata documents, by whose URLs they name themselves; none if at no host.
    pub documents: Option<RedirectHosts>,
    pub policy: RegistrationPolicy,
    /// How long after its registration an app is deleted that nobody approved.
    pub lifetime_unapproved: Duration,
    /// How many apps may register themselves on this node within a minute, as anyone may.
    pub per_minute: usize,
}

/// Who may register an app without an operator.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RegistrationMode {
    #[default]
    Off,
    /// Who has an initial access token.
    Token,
    /// Anyone.
    Open,
}

/// What one caller may take of the server; sizes are in bytes.
#[derive(Debug, Clone, Deserialize)]
pub struct Limits {
    #[serde(rename = "limits.body")]
    pub body: usize,
    /// The largest head of a request and the longest URI.
    #[serde(rename = "limits.head")]
    pub head: usize,
    #[serde(rename = "limits.request_timeout")]
    pub request_timeout: Duration,
    #[serde(rename = "limits.client_head_timeout")]
    pub client_head_timeout: Duration,
    #[serde(rename = "limits.keep_alive")]
    pub keep_alive: Duration,
    #[serde(rename = "limits.shutdown_timeout")]
    pub shutdown_timeout: Duration,
    #[serde(rename = "limits.max_connections")]
    pub max_connections: usize,
}

/// What is logged, and how.
#[derive(Debug, Clone, Deserialize)]
pub struct Log {
    #[serde(rename = "log.format")]
    pub format: LogFormat,
    /// Directives that `tracing_subscriber::EnvFilter` accepts.
    #[serde(rename = "log.filter")]
    pub filter: String,
}

fn is_refuse<'de, D: Deserializer<'de>>(word: D) -> Result<bool, D::Error> {
    Ok(String::deserialize(word)? == "refuse")
}

impl Config {
    /// The same configuration for a server that was configured with port 0 and got this address. An issuer that was
    /// derived from the address follows it.
    pub fn bound_to(mut self, address: SocketAddr) -> Self {
        self.listen = address;
        self.merged.set(&settings::LISTEN, address.to_string(), self.merged.origin(&settings::LISTEN));
        if self.merged.origin(&settings::ISSUER) == Origin::Default
            && let Some(issuer) = Issuer::of_loopback(address)
        {
            self.merged.set(&settings::ISSUER, issuer.as_str(), Origin::Default);
            self.issuer = issuer;
        }
        self
    }
}

/// An overlap of two client secrets, written as `secrets.rotation_overlap` is.
///
/// # Errors
/// What is wrong with it, and what would be right.
pub fn rotation_overlap(text: &str) -> Result<Duration, String> {
    duration(settings::SECRETS_ROTATION_OVERLAP.takes, text)
}

/// A lifetime of tokens, written as `tokens.refresh_idle` is.
///
/// # Errors
/// What is wrong with it, and what would be right.
pub fn token_lifetime(text: &str) -> Result<Duration, String> {
    duration(settings::TOKENS_REFRESH_IDLE.takes, text)
}

fn duration(takes: takes::Takes, text: &str) -> Result<Duration, String> {
    let value = takes.read(text).map_err(|why| format!("it {why}; it takes {takes}"))?;
    serde_json::from_value(value).map_err(|error| error.to_string())
}
