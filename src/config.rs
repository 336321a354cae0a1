//! What the operator decided: `grantbook.toml`, the environment and the flags, in one place. Knows: every
//! key, its default and its bounds. Must not know: what the rest of grantbook does with it.
//!
//! This is the only module that touches the environment. A [`Config`] is made by [`Config::load`] alone; a mistake
//! is a [`ConfigError`] that says where it is and what would be right.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::decisions::scopes::ScopeCatalogue;
use crate::identity::handoff::HandoffKey;
use crate::identity::session::AccountRole;
use crate::store::EventStoreTarget;
use reading::Reading;
use sources::Layers;

mod error;
mod file;
mod key_file;
mod person;
mod reading;
mod remote;
mod render;
mod service_links;
mod settings;
mod sources;
mod terminal;
#[cfg(test)]
mod tests;
mod urls;
mod values;

pub use error::{ConfigError, Mistake, Place};
pub use person::person;
pub use remote::{KEY_VARIABLE, Remote, SERVER_VARIABLE};
pub use sources::{ConfigFile, ConfigFlags, DEFAULT_FILE, Sources};
pub use terminal::terminal_columns;
pub use urls::{Issuer, LoginUrl};

/// The effective configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// The address and port to serve on.
    pub listen: SocketAddr,
    /// The URL that names this server to everyone.
    pub issuer: Issuer,
    /// The directory the ledger rests in.
    pub data_dir: PathBuf,
    /// How people sign in.
    pub sign_in: SignIn,
    /// The browser session.
    pub session: Session,
    /// How long an authorization code is good for, from its grant.
    pub code_lifetime: Duration,
    /// How many live tokens one user may hold per installation, before the oldest is superseded.
    pub max_live_tokens_per_user: usize,
    /// How long the old client secret lives after a rotation.
    pub rotation_overlap: Duration,
    /// Who may uninstall an app for everybody on an account: all of its users, or its admins alone.
    pub uninstall_by: AccountRole,
    /// The scopes that exist.
    pub scopes: ScopeCatalogue,
    /// Whether a ledger with an event that cannot be read or folded is refused, rather than the event's
    /// stream put in quarantine.
    pub strict: bool,
    /// The cluster that the ledger is in; in the data directory if there is none.
    pub store: Option<Arc<EventStoreTarget>>,
    /// How old what this node has folded may be for answers that let something pass, if others append, too.
    pub max_staleness: Duration,
    /// Whether such answers are refused beyond that, rather than read from the cluster.
    pub refuse_when_stale: bool,
    /// What one caller may take of the server.
    pub limits: Limits,
    /// What is logged, and how.
    pub log: Log,
    layers: Layers,
}

/// How people sign in.
#[derive(Debug, Clone)]
pub enum SignIn {
    /// Not at all: the operator has not said how.
    NotConfigured,
    /// As whoever they like: for development, on loopback only.
    Dev,
    /// At the platform, which hands them over with a signed assertion.
    Handoff(Box<Handoff>),
}

/// How the platform hands a signed-in person over.
#[derive(Debug, Clone)]
pub struct Handoff {
    /// Where the platform signs people in.
    pub login_url: LoginUrl,
    /// The `iss` claim of the platform's assertions.
    pub issuer: String,
    /// What checks their signature, and the one algorithm they are signed with.
    pub key: HandoffKey,
    /// How old an assertion may be.
    pub max_age: Duration,
}

/// The browser session.
#[derive(Debug, Clone)]
pub struct Session {
    /// How long a sign-in lasts.
    pub lifetime: Duration,
    /// The file with the key of the cookie; if there is none, the server makes its own.
    pub key_file: Option<PathBuf>,
}

/// What one caller may take of the server.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The largest body, in bytes.
    pub body: usize,
    /// The largest head of a request and the longest URI, in bytes.
    pub head: usize,
    /// How long a whole request may take.
    pub request_timeout: Duration,
    /// How long a client may take to send the head.
    pub client_head_timeout: Duration,
    /// How long an idle connection is kept.
    pub keep_alive: Duration,
    /// How long requests under way may take to finish when the server stops.
    pub shutdown_timeout: Duration,
    /// The most connections at once.
    pub max_connections: usize,
}

/// What is logged, and how.
#[derive(Debug, Clone)]
pub struct Log {
    /// How a line is written.
    pub format: LogFormat,
    /// Directives that `tracing_subscriber::EnvFilter` accepts.
    pub filter: String,
}

/// How a log line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines: one JSON object a line.
    Json,
}

impl Config {
    /// Reads the sources, lays them over each other, and checks the whole.
    ///
    /// # Errors
    /// Every mistake: where it is, and what would be right.
    pub fn load(sources: Sources) -> Result<Self, ConfigError> {
        let mut mistakes = Vec::new();
        let layers = Layers::read(&sources, &mut mistakes);
        let config = layers.and_then(|layers| Self::checked(&mut Reading::new(layers, &mut mistakes)));
        match config {
            Some(config) if mistakes.is_empty() => Ok(config),
            Some(_) | None => Err(ConfigError::of(mistakes)),
        }
    }

    /// `None` only if a mistake was noted.
    fn checked(reading: &mut Reading<'_>) -> Option<Self> {
        let listen = reading.required(&settings::LISTEN, |text| {
            text.parse().map_err(|_| "is no IP address with a port".to_owned())
        })?;
        // What may not be is asked for last, so that everything else is checked too.
        let issuer = reading.issuer(listen);
        let sign_in = reading.sign_in(listen);
        Some(Self {
            listen,
            data_dir: reading.required(&settings::DATA_DIR, values::path)?,
            session: Session {
                lifetime: reading.duration(&settings::SESSION_LIFETIME)?,
                key_file: reading.optional(&settings::SESSION_KEY_FILE, values::path),
            },
            code_lifetime: reading.duration(&settings::CODES_LIFETIME)?,
            max_live_tokens_per_user: reading.count(&settings::TOKENS_MAX_LIVE_PER_USER)?,
            rotation_overlap: reading.duration(&settings::SECRETS_ROTATION_OVERLAP)?,
            uninstall_by: match reading.word(&settings::ACCOUNTS_UNINSTALL_BY)? {
                "admin" => AccountRole::Admin,
                _ => AccountRole::Member,
            },
            scopes: reading.catalogue(),
            strict: reading.word(&settings::LEDGER_UNREADABLE)? == "refuse",
            store: reading.store(),
            max_staleness: reading.duration(&settings::STORE_MAX_STALENESS)?,
            refuse_when_stale: reading.word(&settings::STORE_BEYOND_STALENESS)? == "refuse",
            limits: reading.limits()?,
            log: reading.log()?,
            issuer: issuer?,
            sign_in: sign_in?,
            layers: reading.take_layers(),
        })
    }

    /// The same configuration for a server that was told port 0 and got this address. An issuer that was
    /// derived from the address follows it.
    pub fn bound_to(mut self, address: SocketAddr) -> Self {
        self.listen = address;
        self.layers.set(&settings::LISTEN, address.to_string(), self.layers.place(&settings::LISTEN));
        if self.layers.place(&settings::ISSUER) == Place::Default
            && let Some(issuer) = Issuer::of_loopback(address)
        {
            self.layers.set(&settings::ISSUER, issuer.as_str(), Place::Default);
            self.issuer = issuer;
        }
        self
    }

    /// The effective configuration as TOML, each value with where it came from as a comment. Reading it back
    /// gives the same configuration. It holds no secret.
    pub fn render(&self) -> String {
        render::render(self)
    }

    /// The same for programs: `{"ok": true, "settings": [{"key", "value", "source"}], "scopes": […]}`; a key
    /// that is not set has the value null.
    pub fn document(&self) -> serde_json::Value {
        render::document(self)
    }
}

/// An overlap of two client secrets, written as `secrets.rotation_overlap` is.
///
/// # Errors
/// What is wrong with it, and what would be right.
pub fn rotation_overlap(text: &str) -> Result<Duration, String> {
    let takes = settings::SECRETS_ROTATION_OVERLAP.takes;
    values::duration(text, takes).map_err(|why| format!("it {why}; it takes {takes}"))
}
