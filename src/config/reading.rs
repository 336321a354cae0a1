//! From texts to a configuration. Knows: what each setting takes, and which settings need each other. Must not
//! know: where a value came from, but to say so.
//!
//! Every mistake is noted, and the default is used instead of what is wrong, so that one look finds all of them.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::error::{ConfigError, Mistake, Origin, quoted};
use super::merged::Merged;
use super::settings::{self, ALL, Setting};
use super::sources::{self, Sources};
use super::urls::Issuer;
use super::{Config, SelfRegistration};
use crate::certificates;
use crate::decisions::scopes::ScopeCatalogue;
use crate::decisions::self_registration::{RedirectHosts, RegistrationPolicy};
use crate::identity::SignIn;
use crate::identity::dev::DevSignIn;
use crate::identity::handoff::{Handoff, HandoffKey};
use crate::outbound::{Allowed, Rules};
use crate::store::EventStoreTarget;

/// All sources, and what was found in them so far.
struct Reading<'a> {
    merged: Merged,
    values: Map<String, Value>,
    mistakes: &'a mut Vec<Mistake>,
}

impl Config {
    /// Reads the sources, lays them over each other, and checks the whole.
    ///
    /// # Errors
    /// Every mistake: where it is, and what would be right.
    pub fn load(sources: Sources) -> Result<Self, ConfigError> {
        let mut mistakes = Vec::new();
        let merged = sources::merge(&sources, &mut mistakes);
        match merged.and_then(|merged| Self::read(merged, &mut mistakes)) {
            Some(config) if mistakes.is_empty() => Ok(config),
            Some(_) | None => Err(ConfigError::of(mistakes)),
        }
    }

    /// `None` only if a mistake was noted.
    fn read(merged: Merged, mistakes: &mut Vec<Mistake>) -> Option<Self> {
        let mut reading = Reading { merged, values: Map::new(), mistakes };
        reading.check_each();
        let listen = reading.value(&settings::LISTEN)?;
        reading.derive_issuer(listen);
        let sign_in = reading.sign_in(listen);
        let (scopes, store) = (reading.catalogue(), reading.cluster());
        let is_dev = matches!(sign_in, Some(SignIn::Dev(_)));
        let outbound = reading.outbound(is_dev);
        let registration = reading.registration(&scopes, is_dev);
        let Reading { merged, values, mistakes } = reading;
        let config = serde_json::from_value::<Self>(Value::Object(values));
        if let Err(error) = &config
            && mistakes.is_empty()
        {
            mistakes.push(Mistake::new(Origin::Default, error.to_string()));
        }
        Some(Self {
            sign_in: sign_in?,
            scopes,
            store,
            outbound,
            registration: registration?,
            merged,
            ..config.ok()?
        })
    }
}

impl Reading<'_> {
    fn check_each(&mut self) {
        for setting in &ALL {
            let Some(written) = self.merged.get(setting) else { continue };
            let value = setting.takes.read(&written.value).or_else(|why| {
                let Setting { key, takes, .. } = setting;
                let message = format!("{key} is {}, which {why}; it takes {takes}", quoted(&written.value));
                self.mistakes.push(Mistake::new(written.origin.clone(), message));
                setting.default.map_or(Ok(Value::Null), |default| takes.read(default))
            });
            self.values.insert(setting.key.to_owned(), value.unwrap_or_default());
        }
    }

    /// The value of a setting, if it has one that is right.
    fn value<T: DeserializeOwned>(&self, setting: &Setting) -> Option<T> {
        serde_json::from_value(self.values.get(setting.key)?.clone()).ok()
    }

    fn is_set(&self, setting: &Setting) -> bool {
        self.merged.get(setting).is_some()
    }

    fn note(&mut self, setting: &Setting, message: String) {
        self.mistakes.push(Mistake::new(self.merged.origin(setting), message));
    }

    fn derive_issuer(&mut self, listen: SocketAddr) {
        if self.is_set(&settings::ISSUER) {
            return;
        }
        if let Some(issuer) = Issuer::of_loopback(listen) {
            self.merged.set(&settings::ISSUER, issuer.as_str(), Origin::Default);
            self.values.insert(settings::ISSUER.key.to_owned(), issuer.as_str().into());
        } else if self.value::<String>(&settings::SIGN_IN_MODE).as_deref() != Some("dev") {
            // In that mode, listen is what is wrong, and an issuer would not help.
            let takes = settings::ISSUER.takes;
            let message =
                format!("listen is {listen}, which is not loopback, so issuer must be set to {takes}");
            self.note(&settings::LISTEN, message);
        }
    }

    fn sign_in(&mut self, listen: SocketAddr) -> Option<SignIn> {
        match self.value::<String>(&settings::SIGN_IN_MODE)?.as_str() {
            "dev" => {
                let dev = DevSignIn::new(listen);
                if dev.is_none() {
                    let message = format!(
                        "sign_in.mode \"dev\" lets anyone sign in as anyone, so listen must be a loopback address, such as \"127.0.0.1:8700\", not {listen}"
                    );
                    self.note(&settings::SIGN_IN_MODE, message);
                }
                dev.map(SignIn::Dev)
            }
            "handoff" => self.handoff().map(|handoff| SignIn::Handoff(Arc::new(handoff))),
            _ => {
                self.refuse_unused_handoff();
                Some(SignIn::NotConfigured)
            }
        }
    }

    fn handoff(&mut self) -> Option<Handoff> {
        for setting in [
            &settings::SIGN_IN_LOGIN_URL,
            &settings::SIGN_IN_ISSUER,
            &settings::SIGN_IN_ALGORITHM,
            &settings::SIGN_IN_KEY_FILE,
        ] {
            if !self.is_set(setting) {
                let (Setting { key, takes, .. }, variable) = (setting, setting.variable());
                let message = format!("sign_in.mode \"handoff\" needs {key} (or {variable}), {takes}");
                self.note(&settings::SIGN_IN_MODE, message);
            }
        }
        let key = self.handoff_key();
        let login_url = self.value::<String>(&settings::SIGN_IN_LOGIN_URL)?.parse().ok()?;
        let max_age = self.value(&settings::SIGN_IN_MAX_AGE)?;
        Some(Handoff::new(login_url, self.value(&settings::SIGN_IN_ISSUER)?, key?, max_age))
    }

    /// A handoff that is described but never switched on is a mistake, not a wish.
    fn refuse_unused_handoff(&mut self) {
        let described =
            [&settings::SIGN_IN_LOGIN_URL, &settings::SIGN_IN_KEY_FILE].into_iter().find(|s| self.is_set(s));
        if let Some(setting) = described
            && self.merged.origin(&settings::SIGN_IN_MODE) == Origin::Default
        {
            let message = format!("{} is set but sign_in.mode is not: set it to \"handoff\"", setting.key);
            self.note(setting, message);
        }
    }

    fn handoff_key(&mut self) -> Option<HandoffKey> {
        let setting = &settings::SIGN_IN_KEY_FILE;
        let path = self.value::<String>(setting)?;
        let key = HandoffKey::read(self.value(&settings::SIGN_IN_ALGORITHM)?, Path::new(&path));
        // The value is not quoted: it may be the secret itself, written where its file belongs.
        key.map_err(|why| {
            let message = format!("{} names a file that {why}; it takes {}", setting.key, setting.takes);
            self.note(setting, message);
        })
        .ok()
    }

    /// The cluster. From here on its address is known without the password.
    fn cluster(&mut self) -> Option<Arc<EventStoreTarget>> {
        let setting = &settings::STORE_URL;
        match EventStoreTarget::parse(&self.value::<String>(setting)?) {
            Ok(target) => {
                let origin = self.merged.origin(setting);
                self.merged.set(setting, target.without_password(), origin);
                Some(Arc::new(target))
            }
            Err(error) => {
                // Not quoted: it may hold a password.
                self.note(setting, format!("{} {error}; it takes {}", setting.key, setting.takes));
                None
            }
        }
    }

    fn outbound(&mut self, loopback: bool) -> Rules {
        let allowed = self.value::<String>(&settings::OUTBOUND_ALLOW);
        let allowed = allowed.and_then(|text| Allowed::parse(&text).ok()).unwrap_or_default();
        let setting = &settings::OUTBOUND_CA_FILE;
        let authorities = self.value::<String>(setting).map(|path| certificates::read(Path::new(&path)));
        let authorities = authorities.unwrap_or(Ok(Vec::new())).unwrap_or_else(|why| {
            let (key, takes) = (setting.key, setting.takes);
            self.note(setting, format!("{key} names a file that cannot be used ({why}); it takes {takes}"));
            Vec::new()
        });
        Rules { allowed, loopback, authorities }
    }

    fn registration(&mut self, catalogue: &ScopeCatalogue, is_dev: bool) -> Option<SelfRegistration> {
        let mode = &settings::REGISTRATION_MODE;
        if !self.is_set(mode) {
            let unless_set = if is_dev { "open" } else { "off" };
            self.merged.set(mode, unless_set, Origin::Default);
            self.values.insert(mode.key.to_owned(), unless_set.into());
        }
        let documents = &settings::REGISTRATION_DOCUMENTS;
        if !self.is_set(documents) {
            let unless_set = if is_dev { "any" } else { "off" };
            self.merged.set(documents, unless_set, Origin::Default);
            self.values.insert(documents.key.to_owned(), unless_set.into());
        }
        let documents = self.value::<String>(documents).filter(|hosts| hosts != "off");
        let setting = &settings::REGISTRATION_SCOPES;
        let scopes = match self.value::<String>(setting) {
            None => Ok(catalogue.names().map(str::to_owned).collect()),
            Some(text) => catalogue.resolve(&text.replace(',', " ")).map_err(|error| (text, error)),
        };
        let scopes = scopes.unwrap_or_else(|(text, error)| {
            let (Setting { key, takes, .. }, text) = (setting, quoted(&text));
            self.note(setting, format!("{key} is {text}, which cannot be used ({error}); it takes {takes}"));
            Vec::new()
        });
        let hosts = self.value::<String>(&settings::REGISTRATION_REDIRECT_HOSTS)?;
        Some(SelfRegistration {
            mode: self.value(mode)?,
            documents: documents.and_then(|hosts| RedirectHosts::parse(&hosts).ok()),
            policy: RegistrationPolicy {
                scopes: scopes.into_iter().collect(),
                redirect_hosts: RedirectHosts::parse(&hosts).ok()?,
                confidential: self.value::<String>(&settings::REGISTRATION_CLIENTS)? == "any",
            },
            lifetime_unapproved: self.value(&settings::REGISTRATION_LIFETIME_UNAPPROVED)?,
            per_minute: self.value(&settings::REGISTRATION_PER_MINUTE)?,
        })
    }

    fn catalogue(&mut self) -> ScopeCatalogue {
        let scopes = &self.merged.scopes;
        if scopes.is_empty() {
            return ScopeCatalogue::default();
        }
        ScopeCatalogue::new(scopes.iter().map(|scope| scope.value.clone()).collect()).unwrap_or_else(
            |error| {
                let origin = scopes.get(error.index).map_or(Origin::Default, |scope| scope.origin.clone());
                self.mistakes.push(Mistake::new(origin, error.to_string()));
                ScopeCatalogue::default()
            },
        )
    }
}
