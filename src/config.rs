//! What the operator decided: `grantbook.toml`, the environment and the flags, in one place. Knows: every
//! key, its default and its bounds. Must not know: what the rest of grantbook does with it.
//!
//! This is the only module that touches the environment. A [`Config`] is made by [`Config::load`] alone, so
//! whoever holds one holds values that stand; a mistake is a [`ConfigError`] that says where it is and what
//! would be right.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::identity::handoff::{HandoffAlgorithm, HandoffKey};
use crate::identity::session::AccountRole;
use tracing_subscriber::EnvFilter;

use crate::decisions::scopes::ScopeCatalogue;
use crate::store::{EventStoreTarget, without_password};
use settings::Setting;
use sources::Layers;
use values::Why;

mod error;
mod file;
mod key_file;
mod remote;
mod render;
mod settings;
mod sources;
#[cfg(test)]
mod tests;
mod urls;
mod values;

pub use error::{ConfigError, Place};
pub use remote::{KEY_VARIABLE, Remote, SERVER_VARIABLE};
pub use sources::{ConfigFile, ConfigFlags, DEFAULT_FILE, Sources};
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
    /// The first mistake: where it stands, and what would be right.
    pub fn load(sources: Sources) -> Result<Self, ConfigError> {
        let mut layers = Layers::read(&sources)?;
        let listen = layers.required(&settings::LISTEN, |text| {
            text.parse().map_err(|_| "is no IP address with a port".to_owned())
        })?;
        Ok(Self {
            listen,
            issuer: layers.issuer(listen)?,
            data_dir: layers.required(&settings::DATA_DIR, values::path)?,
            sign_in: layers.sign_in(listen)?,
            session: Session {
                lifetime: layers.duration(&settings::SESSION_LIFETIME)?,
                key_file: layers.optional(&settings::SESSION_KEY_FILE, values::path)?,
            },
            code_lifetime: layers.duration(&settings::CODES_LIFETIME)?,
            max_live_tokens_per_user: layers.count(&settings::TOKENS_MAX_LIVE_PER_USER)?,
            rotation_overlap: layers.duration(&settings::SECRETS_ROTATION_OVERLAP)?,
            uninstall_by: layers.required(&settings::ACCOUNTS_UNINSTALL_BY, |text| {
                let word = word(text, &settings::ACCOUNTS_UNINSTALL_BY)?;
                Ok(if word == "admin" { AccountRole::Admin } else { AccountRole::Member })
            })?,
            scopes: layers.catalogue()?,
            strict: layers.required(&settings::LEDGER_UNREADABLE, |text| {
                word(text, &settings::LEDGER_UNREADABLE).map(|word| word == "refuse")
            })?,
            store: layers.store()?,
            max_staleness: layers.duration(&settings::STORE_MAX_STALENESS)?,
            refuse_when_stale: layers.required(&settings::STORE_BEYOND_STALENESS, |text| {
                word(text, &settings::STORE_BEYOND_STALENESS).map(|word| word == "refuse")
            })?,
            limits: layers.limits()?,
            log: layers.log()?,
            layers,
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
}

/// An overlap of two client secrets, written as `secrets.rotation_overlap` is.
///
/// # Errors
/// What is wrong with it, and what would be right.
pub fn rotation_overlap(text: &str) -> Result<Duration, String> {
    let takes = settings::SECRETS_ROTATION_OVERLAP.takes;
    values::duration(text, takes).map_err(|why| format!("it {why}; it takes {takes}"))
}

impl Layers {
    fn issuer(&mut self, listen: SocketAddr) -> Result<Issuer, ConfigError> {
        if let Some(issuer) = self.optional(&settings::ISSUER, Issuer::parse)? {
            return Ok(issuer);
        }
        let issuer = Issuer::of_loopback(listen).ok_or_else(|| {
            let message = format!(
                "listen is {listen}, which is not loopback, so issuer must be set to {}",
                settings::ISSUER.takes
            );
            ConfigError::new(self.place(&settings::LISTEN), message)
        })?;
        self.set(&settings::ISSUER, issuer.as_str(), Place::Default);
        Ok(issuer)
    }

    /// The cluster. From here on its address is known without the password.
    fn store(&mut self) -> Result<Option<Arc<EventStoreTarget>>, ConfigError> {
        let Some(given) = self.get(&settings::STORE_URL).cloned() else { return Ok(None) };
        let target = EventStoreTarget::parse(&given.text).map_err(|error| {
            // Not quoted: it may hold a password.
            let Setting { key, takes, .. } = settings::STORE_URL;
            let message = format!("{key} is no connection string: {}; it takes {takes}", error.what());
            ConfigError::new(given.place.clone(), message)
        })?;
        self.set(&settings::STORE_URL, without_password(&given.text), given.place);
        Ok(Some(Arc::new(target)))
    }

    fn sign_in(&self, listen: SocketAddr) -> Result<SignIn, ConfigError> {
        // The handoff's own keys are checked whatever the mode, so that `--dev` hides no mistake in a file.
        let login_url = self.optional(&settings::SIGN_IN_LOGIN_URL, LoginUrl::parse)?;
        let issuer = self.optional(&settings::SIGN_IN_ISSUER, values::issuer_claim)?;
        let algorithm = self.optional(&settings::SIGN_IN_ALGORITHM, algorithm)?;
        let max_age = self.duration(&settings::SIGN_IN_MAX_AGE)?;
        let mode = self.required(&settings::SIGN_IN_MODE, |text| word(text, &settings::SIGN_IN_MODE))?;
        match mode {
            "dev" if !listen.ip().is_loopback() => Err(ConfigError::new(
                self.place(&settings::SIGN_IN_MODE),
                format!(
                    "sign_in.mode \"dev\" lets anyone sign in as anyone, so listen must be a loopback address, such as \"127.0.0.1:8700\", not {listen}"
                ),
            )),
            "dev" => Ok(SignIn::Dev),
            "handoff" => {
                let algorithm = algorithm.ok_or_else(|| self.needed(&settings::SIGN_IN_ALGORITHM))?;
                Ok(SignIn::Handoff(Box::new(Handoff {
                    login_url: login_url.ok_or_else(|| self.needed(&settings::SIGN_IN_LOGIN_URL))?,
                    issuer: issuer.ok_or_else(|| self.needed(&settings::SIGN_IN_ISSUER))?,
                    key: self.handoff_key(algorithm)?,
                    max_age,
                })))
            }
            _ => self.no_handoff_by_halves().map(|()| SignIn::NotConfigured),
        }
    }

    /// A handoff that is described but never switched on is a mistake, not a wish.
    fn no_handoff_by_halves(&self) -> Result<(), ConfigError> {
        let described = [&settings::SIGN_IN_LOGIN_URL, &settings::SIGN_IN_KEY_FILE]
            .into_iter()
            .find_map(|s| Some((s, self.get(s)?)));
        match described {
            Some((setting, given)) if self.place(&settings::SIGN_IN_MODE) == Place::Default => {
                let message =
                    format!("{} is set but sign_in.mode is not: set it to \"handoff\"", setting.key);
                Err(ConfigError::new(given.place.clone(), message))
            }
            _ => Ok(()),
        }
    }

    fn handoff_key(&self, algorithm: HandoffAlgorithm) -> Result<HandoffKey, ConfigError> {
        let setting = &settings::SIGN_IN_KEY_FILE;
        let path = self.optional(setting, values::path)?.ok_or_else(|| self.needed(setting))?;
        // The value is not quoted: someone may have written the secret itself where its file belongs.
        key_file::read(algorithm, &path).map_err(|why| {
            let message = format!("{} names a file that {why}; it takes {}", setting.key, setting.takes);
            ConfigError::new(self.place(setting), message)
        })
    }

    fn needed(&self, setting: &Setting) -> ConfigError {
        let message = format!(
            "sign_in.mode \"handoff\" needs {} (or {}), {}",
            setting.key,
            setting.variable(),
            setting.takes
        );
        ConfigError::new(self.place(&settings::SIGN_IN_MODE), message)
    }

    fn catalogue(&self) -> Result<ScopeCatalogue, ConfigError> {
        if self.scopes.is_empty() {
            return Ok(ScopeCatalogue::default());
        }
        let definitions = self.scopes.iter().map(|scope| scope.definition.clone()).collect();
        ScopeCatalogue::new(definitions).map_err(|error| {
            let place = self.scopes.get(error.index).map_or(Place::Default, |scope| scope.place.clone());
            ConfigError::new(place, error.to_string())
        })
    }

    fn limits(&self) -> Result<Limits, ConfigError> {
        Ok(Limits {
            body: self.bytes(&settings::LIMITS_BODY)?,
            head: self.bytes(&settings::LIMITS_HEAD)?,
            request_timeout: self.duration(&settings::LIMITS_REQUEST_TIMEOUT)?,
            client_head_timeout: self.duration(&settings::LIMITS_CLIENT_HEAD_TIMEOUT)?,
            keep_alive: self.duration(&settings::LIMITS_KEEP_ALIVE)?,
            shutdown_timeout: self.duration(&settings::LIMITS_SHUTDOWN_TIMEOUT)?,
            max_connections: self.count(&settings::LIMITS_MAX_CONNECTIONS)?,
        })
    }

    fn log(&self) -> Result<Log, ConfigError> {
        let format = match self.required(&settings::LOG_FORMAT, |text| word(text, &settings::LOG_FORMAT))? {
            "json" => LogFormat::Json,
            _ => LogFormat::Text,
        };
        let filter = self.required(&settings::LOG_FILTER, |text| match EnvFilter::try_new(text) {
            Ok(_) => Ok(text.to_owned()),
            Err(_) => Err("is no filter".to_owned()),
        })?;
        Ok(Log { format, filter })
    }

    fn duration(&self, setting: &Setting) -> Result<Duration, ConfigError> {
        self.required(setting, |text| values::duration(text, setting.takes))
    }

    fn bytes(&self, setting: &Setting) -> Result<usize, ConfigError> {
        self.required(setting, |text| values::bytes(text, setting.takes))
    }

    fn count(&self, setting: &Setting) -> Result<usize, ConfigError> {
        self.required(setting, |text| values::count(text, setting.takes))
    }

    /// The value of a key that always has one, because it has a default.
    fn required<T>(
        &self,
        setting: &Setting,
        parse: impl FnOnce(&str) -> Result<T, Why>,
    ) -> Result<T, ConfigError> {
        self.optional(setting, parse)?.ok_or_else(|| {
            ConfigError::new(Place::Default, format!("{} must be set to {}", setting.key, setting.takes))
        })
    }

    /// The value of a key, if it has one.
    fn optional<T>(
        &self,
        setting: &Setting,
        parse: impl FnOnce(&str) -> Result<T, Why>,
    ) -> Result<Option<T>, ConfigError> {
        let Some(given) = self.get(setting) else { return Ok(None) };
        let parsed = if given.text.is_empty() { Err("is empty".to_owned()) } else { parse(&given.text) };
        parsed.map(Some).map_err(|why| {
            let shown = values::quoted(&given.text);
            let message = format!("{} is {shown}, which {why}; it takes {}", setting.key, setting.takes);
            ConfigError::new(given.place.clone(), message)
        })
    }
}

/// The one of the setting's words that the text is.
fn word(text: &str, setting: &Setting) -> Result<&'static str, Why> {
    let settings::Takes::Word(words) = setting.takes else { return Err("is no word".to_owned()) };
    words.iter().copied().find(|word| *word == text).ok_or_else(|| "is none of them".to_owned())
}

fn algorithm(text: &str) -> Result<HandoffAlgorithm, Why> {
    match word(text, &settings::SIGN_IN_ALGORITHM)? {
        "HS256" => Ok(HandoffAlgorithm::Hs256),
        "EdDSA" => Ok(HandoffAlgorithm::EdDsa),
        "ES256" => Ok(HandoffAlgorithm::Es256),
        _ => Ok(HandoffAlgorithm::Rs256),
    }
}
