//! How the value of each key is checked. Knows: what each key takes, and which keys need each other. Must not
//! know: where a value came from, but to say so.
//!
//! Every mistake is noted, and the default is used instead of what is wrong, so that one look finds all of them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tracing_subscriber::EnvFilter;

use super::error::{Mistake, Place};
use super::settings::{self, Setting, Takes};
use super::sources::Layers;
use super::urls::{Issuer, LoginUrl};
use super::values::{self, Why};
use super::{Handoff, Limits, Log, LogFormat, SignIn, key_file};
use crate::decisions::scopes::ScopeCatalogue;
use crate::identity::handoff::{HandoffAlgorithm, HandoffKey};
use crate::store::EventStoreTarget;

/// All sources, and what was found wrong with them so far.
#[derive(Debug)]
pub(super) struct Reading<'a> {
    layers: Layers,
    mistakes: &'a mut Vec<Mistake>,
}

impl<'a> Reading<'a> {
    pub fn new(layers: Layers, mistakes: &'a mut Vec<Mistake>) -> Self {
        Self { layers, mistakes }
    }

    pub fn take_layers(&mut self) -> Layers {
        std::mem::take(&mut self.layers)
    }

    /// The value of a key that always has one, because it has a default. `None` only if a mistake was noted.
    pub fn required<T>(&mut self, setting: &Setting, parse: impl Fn(&str) -> Result<T, Why>) -> Option<T> {
        let given = self.optional(setting, &parse);
        let instead = || setting.default.and_then(|default| parse(default).ok());
        let value = given.or_else(instead);
        if value.is_none() && !self.is_given(setting) {
            self.note(Place::Default, format!("{} must be set to {}", setting.key, setting.takes));
        }
        value
    }

    /// The value of a key, if it has one that is right.
    pub fn optional<T>(&mut self, setting: &Setting, parse: impl Fn(&str) -> Result<T, Why>) -> Option<T> {
        let given = self.layers.get(setting)?;
        let parsed = if given.text.is_empty() { Err("is empty".to_owned()) } else { parse(&given.text) };
        match parsed {
            Ok(value) => Some(value),
            Err(why) => {
                let shown = values::quoted(&given.text);
                let message = format!("{} is {shown}, which {why}; it takes {}", setting.key, setting.takes);
                self.note(given.place.clone(), message);
                None
            }
        }
    }

    pub fn duration(&mut self, setting: &Setting) -> Option<Duration> {
        self.required(setting, |text| values::duration(text, setting.takes))
    }

    pub fn bytes(&mut self, setting: &Setting) -> Option<usize> {
        self.required(setting, |text| values::bytes(text, setting.takes))
    }

    pub fn count(&mut self, setting: &Setting) -> Option<usize> {
        self.required(setting, |text| values::count(text, setting.takes))
    }

    pub fn word(&mut self, setting: &Setting) -> Option<&'static str> {
        self.required(setting, |text| word(text, setting))
    }

    pub fn issuer(&mut self, listen: SocketAddr) -> Option<Issuer> {
        if self.is_given(&settings::ISSUER) {
            return self.optional(&settings::ISSUER, Issuer::parse);
        }
        let issuer = Issuer::of_loopback(listen);
        match &issuer {
            Some(issuer) => self.layers.set(&settings::ISSUER, issuer.as_str(), Place::Default),
            // With it, listen is what is wrong, and an issuer would not help.
            None if self.is_dev() => {}
            None => {
                let message = format!(
                    "listen is {listen}, which is not loopback, so issuer must be set to {}",
                    settings::ISSUER.takes
                );
                self.note(self.layers.place(&settings::LISTEN), message);
            }
        }
        issuer
    }

    /// The cluster. From here on its address is known without the password.
    pub fn store(&mut self) -> Option<Arc<EventStoreTarget>> {
        let given = self.layers.get(&settings::STORE_URL).cloned()?;
        match EventStoreTarget::parse(&given.text) {
            Ok(target) => {
                self.layers.set(&settings::STORE_URL, target.without_password(), given.place);
                Some(Arc::new(target))
            }
            Err(error) => {
                // Not quoted: it may hold a password.
                let Setting { key, takes, .. } = settings::STORE_URL;
                self.note(given.place, format!("{key} {}; it takes {takes}", error.what()));
                None
            }
        }
    }

    pub fn sign_in(&mut self, listen: SocketAddr) -> Option<SignIn> {
        // The handoff's own keys are checked whatever the mode, so that `--dev` hides no mistake in a file.
        let login_url = self.optional(&settings::SIGN_IN_LOGIN_URL, LoginUrl::parse);
        let issuer = self.optional(&settings::SIGN_IN_ISSUER, values::issuer_claim);
        let algorithm = self.optional(&settings::SIGN_IN_ALGORITHM, algorithm);
        let max_age = self.duration(&settings::SIGN_IN_MAX_AGE)?;
        match self.word(&settings::SIGN_IN_MODE)? {
            "dev" if !listen.ip().is_loopback() => {
                let message = format!(
                    "sign_in.mode \"dev\" lets anyone sign in as anyone, so listen must be a loopback address, such as \"127.0.0.1:8700\", not {listen}"
                );
                self.note(self.layers.place(&settings::SIGN_IN_MODE), message);
                None
            }
            "dev" => Some(SignIn::Dev),
            "handoff" => {
                self.handoff_is_whole();
                let key = self.handoff_key(algorithm);
                Some(SignIn::Handoff(Box::new(Handoff {
                    login_url: login_url?,
                    issuer: issuer?,
                    key: key?,
                    max_age,
                })))
            }
            _ => {
                self.no_handoff_by_halves();
                Some(SignIn::NotConfigured)
            }
        }
    }

    fn handoff_is_whole(&mut self) {
        for setting in [
            &settings::SIGN_IN_LOGIN_URL,
            &settings::SIGN_IN_ISSUER,
            &settings::SIGN_IN_ALGORITHM,
            &settings::SIGN_IN_KEY_FILE,
        ] {
            if !self.is_given(setting) {
                let (key, variable) = (setting.key, setting.variable());
                let message =
                    format!("sign_in.mode \"handoff\" needs {key} (or {variable}), {}", setting.takes);
                self.note(self.layers.place(&settings::SIGN_IN_MODE), message);
            }
        }
    }

    /// A handoff that is described but never switched on is a mistake, not a wish.
    fn no_handoff_by_halves(&mut self) {
        let described = [&settings::SIGN_IN_LOGIN_URL, &settings::SIGN_IN_KEY_FILE]
            .into_iter()
            .find_map(|s| Some((s, self.layers.get(s)?)));
        if let Some((setting, given)) = described
            && self.layers.place(&settings::SIGN_IN_MODE) == Place::Default
        {
            let message = format!("{} is set but sign_in.mode is not: set it to \"handoff\"", setting.key);
            self.note(given.place.clone(), message);
        }
    }

    fn handoff_key(&mut self, algorithm: Option<HandoffAlgorithm>) -> Option<HandoffKey> {
        let setting = &settings::SIGN_IN_KEY_FILE;
        let path = self.optional(setting, values::path)?;
        let key = key_file::read(algorithm?, &path);
        // The value is not quoted: someone may have written the secret itself where its file belongs.
        key.map_err(|why| {
            let message = format!("{} names a file that {why}; it takes {}", setting.key, setting.takes);
            self.note(self.layers.place(setting), message);
        })
        .ok()
    }

    pub fn catalogue(&mut self) -> ScopeCatalogue {
        let scopes = &self.layers.scopes;
        if scopes.is_empty() {
            return ScopeCatalogue::default();
        }
        let definitions = scopes.iter().map(|scope| scope.definition.clone()).collect();
        match ScopeCatalogue::new(definitions) {
            Ok(catalogue) => catalogue,
            Err(error) => {
                let place = scopes.get(error.index).map_or(Place::Default, |scope| scope.place.clone());
                self.note(place, error.to_string());
                ScopeCatalogue::default()
            }
        }
    }

    pub fn limits(&mut self) -> Option<Limits> {
        Some(Limits {
            body: self.bytes(&settings::LIMITS_BODY)?,
            head: self.bytes(&settings::LIMITS_HEAD)?,
            request_timeout: self.duration(&settings::LIMITS_REQUEST_TIMEOUT)?,
            client_head_timeout: self.duration(&settings::LIMITS_CLIENT_HEAD_TIMEOUT)?,
            keep_alive: self.duration(&settings::LIMITS_KEEP_ALIVE)?,
            shutdown_timeout: self.duration(&settings::LIMITS_SHUTDOWN_TIMEOUT)?,
            max_connections: self.count(&settings::LIMITS_MAX_CONNECTIONS)?,
        })
    }

    pub fn log(&mut self) -> Option<Log> {
        let format = match self.word(&settings::LOG_FORMAT)? {
            "json" => LogFormat::Json,
            _ => LogFormat::Text,
        };
        let filter = self.required(&settings::LOG_FILTER, |text| match EnvFilter::try_new(text) {
            Ok(_) => Ok(text.to_owned()),
            Err(_) => Err("is no filter".to_owned()),
        })?;
        Some(Log { format, filter })
    }

    fn is_dev(&self) -> bool {
        self.layers.get(&settings::SIGN_IN_MODE).is_some_and(|given| given.text == "dev")
    }

    fn is_given(&self, setting: &Setting) -> bool {
        self.layers.get(setting).is_some()
    }

    fn note(&mut self, place: Place, message: String) {
        self.mistakes.push(Mistake::new(place, message));
    }
}

/// The one of the setting's words that the text is.
fn word(text: &str, setting: &Setting) -> Result<&'static str, Why> {
    let Takes::Word(words) = setting.takes else { return Err("is no word".to_owned()) };
    words.iter().copied().find(|word| *word == text).ok_or_else(|| "is not one of them".to_owned())
}

fn algorithm(text: &str) -> Result<HandoffAlgorithm, Why> {
    match word(text, &settings::SIGN_IN_ALGORITHM)? {
        "HS256" => Ok(HandoffAlgorithm::Hs256),
        "EdDSA" => Ok(HandoffAlgorithm::EdDsa),
        "ES256" => Ok(HandoffAlgorithm::Es256),
        _ => Ok(HandoffAlgorithm::Rs256),
    }
}
