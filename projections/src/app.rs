//! The state of one app: the fold of stream `app-{client_id}`.

use std::time::Duration;

use grantbook_events::{
    AppEvent, AppRegistered, AppSource, AppUpdated, ClientId, ClientKeys, Envelope, NewSecret, Position,
    Revision, SecretDigest, SecretId, Timestamp, TokenPolicy,
};
use serde::{Deserialize, Serialize};

use crate::fold::Head;

/// A registered app. Its serialised form holds digests of secrets and is for snapshots only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct App {
    pub client_id: ClientId,
    /// Of its last event.
    pub revision: Revision,
    /// Shown on the consent page.
    pub name: String,
    /// Who answers for it.
    pub owner: String,
    /// Where people can read about it; empty text means none.
    pub homepage: Option<String>,
    /// The redirect URIs it may name.
    pub redirect_uris: Vec<String>,
    /// The scopes it may ask for.
    pub scopes: Vec<String>,
    /// The scopes it gets if it asks for none; none for those of the configuration.
    pub default_scopes: Vec<String>,
    /// Whether it authenticates, by a secret or by keys (RFC 6749 section 2.1).
    pub confidential: bool,
    /// Its client secrets, oldest first.
    pub secrets: Vec<ClientSecret>,
    /// The public keys it authenticates by instead.
    pub keys: ClientKeys,
    /// How long its tokens live.
    pub token_policy: TokenPolicy,
    /// Whether its authorization requests have to be pushed (RFC 9126).
    pub requires_pushed_requests: bool,
    /// How it came to be.
    pub source: AppSource,
    /// SHA-256 of the token by which its own software manages the registration (RFC 7592).
    pub registration_digest: Option<SecretDigest>,
    /// Whether its codes and tokens count.
    pub status: AppStatus,
    /// Codes granted up to this time are dead: the time of the last suspension.
    pub codes_dead_until: Option<Timestamp>,
    /// Every suspension, oldest first.
    pub suspensions: Vec<Suspension>,
    /// When it was registered.
    pub registered_at: Timestamp,
    /// When it last changed.
    pub changed_at: Timestamp,
}

/// Whether an app's codes and tokens count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AppStatus {
    /// They do.
    Active,
    /// None does until it is resumed.
    Suspended {
        /// In the operator's words.
        reason: String,
    },
    /// None ever will again.
    Deleted {
        /// In the operator's words.
        reason: String,
    },
    /// None does, because an event of the app cannot be read or folded: what is true of it is not known.
    Quarantined {
        /// What is wrong with the event.
        reason: String,
    },
}

/// When an app was suspended: every code that was granted before and not exchanged yet died (C5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspension {
    /// When it was recorded.
    pub at: Timestamp,
    pub position: Position,
}

/// A client secret, by its digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientSecret {
    pub secret_id: SecretId,
    /// SHA-256 of the secret.
    pub digest: SecretDigest,
    /// When it started being accepted.
    pub added_at: Timestamp,
    /// From when on it is refused, if that is known.
    pub retires_at: Option<Timestamp>,
}

impl ClientSecret {
    /// Whether the secret is accepted.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.retires_at.is_none_or(|end| now < end)
    }
}

impl App {
    /// Whether its codes and tokens count.
    pub fn is_active(&self) -> bool {
        self.status == AppStatus::Active
    }

    /// Whether it is gone for good.
    pub fn is_deleted(&self) -> bool {
        matches!(self.status, AppStatus::Deleted { .. })
    }

    /// Whether a code was dead when it was exchanged: the app was suspended between its approval and its exchange. Then
    /// the token never counts, also after the app is resumed. A token that was there before a suspension does.
    pub fn had_ended(&self, granted_at: Timestamp, exchanged: Position) -> bool {
        self.suspensions.iter().any(|suspended| granted_at <= suspended.at && suspended.position < exchanged)
    }

    /// The earliest time at which an approval of the app as it is now can be recorded: after its registration, and after
    /// the suspension that ended the codes of earlier ones.
    pub fn first_grant_at(&self) -> Timestamp {
        let after = |dead: Timestamp| dead.plus(Duration::from_micros(1));
        self.codes_dead_until.map_or(self.registered_at, after)
    }

    /// An app as it would be registered, before anything is recorded of it.
    pub fn unrecorded(event: &AppRegistered, now: Timestamp) -> Self {
        Self::begin(event, Revision::FIRST, now)
    }

    /// The app with these changes, before they are recorded.
    pub fn with(&self, changes: &AppUpdated) -> Self {
        let mut app = self.clone();
        app.update(changes);
        app
    }

    /// The secrets that are accepted.
    pub fn live_secrets(&self, now: Timestamp) -> impl Iterator<Item = &ClientSecret> {
        self.secrets.iter().filter(move |secret| secret.is_live(now))
    }

    fn begin(event: &AppRegistered, revision: Revision, at: Timestamp) -> Self {
        let secret = event.secret.as_ref();
        Self {
            client_id: event.client_id,
            revision,
            name: event.name.clone(),
            owner: event.owner.clone(),
            homepage: event.homepage.clone(),
            redirect_uris: event.redirect_uris.clone(),
            scopes: event.scopes.clone(),
            default_scopes: event.default_scopes.clone(),
            confidential: secret.is_some() || !event.keys.is_none(),
            secrets: secret.map(|secret| ClientSecret::added(secret, at)).into_iter().collect(),
            keys: event.keys.clone(),
            token_policy: event.token_policy,
            requires_pushed_requests: event.requires_pushed_requests,
            source: event.source.clone(),
            registration_digest: event.registration_digest,
            status: AppStatus::Active,
            codes_dead_until: None,
            suspensions: Vec::new(),
            registered_at: at,
            changed_at: at,
        }
    }

    fn update(&mut self, event: &AppUpdated) {
        fn set<T: Clone>(field: &mut T, new: Option<&T>) {
            if let Some(new) = new {
                field.clone_from(new);
            }
        }
        set(&mut self.name, event.name.as_ref());
        set(&mut self.owner, event.owner.as_ref());
        set(&mut self.redirect_uris, event.redirect_uris.as_ref());
        set(&mut self.scopes, event.scopes.as_ref());
        set(&mut self.default_scopes, event.default_scopes.as_ref());
        set(&mut self.keys, event.keys.as_ref());
        set(&mut self.token_policy, event.token_policy.as_ref());
        set(&mut self.requires_pushed_requests, event.requires_pushed_requests.as_ref());
        self.confidential = !self.secrets.is_empty() || !self.keys.is_none();
        if let Some(homepage) = &event.homepage {
            self.homepage = Some(homepage.clone()).filter(|text| !text.is_empty());
        }
    }

    /// Applies the next event. One that cannot follow changes nothing.
    pub(crate) fn apply(
        state: &mut Option<Self>,
        event: &AppEvent,
        envelope: &Envelope,
    ) -> Result<(), &'static str> {
        let at = envelope.recorded_at;
        let app = match (state, event) {
            (state @ None, AppEvent::Registered(event)) => {
                *state = Some(Self::begin(event, envelope.revision, at));
                return Ok(());
            }
            (None, _) => return Err("the app was not registered before"),
            (Some(app), _) if app.is_deleted() => return Err("the app was deleted before"),
            (Some(app), _) => app,
        };
        match event {
            AppEvent::Registered(_) => return Err("the app was registered before"),
            AppEvent::Updated(event) => app.update(event),
            AppEvent::SecretAdded(event) => {
                let secret = NewSecret { secret_id: event.secret_id, digest: event.digest };
                // A secret that ended can no longer matter to any decision; the ledger keeps it.
                app.secrets.retain(|secret| secret.is_live(at));
                app.secrets.push(ClientSecret::added(&secret, at));
            }
            AppEvent::SecretRetired(event) => {
                let secret = app.secrets.iter_mut().find(|secret| secret.secret_id == event.secret_id);
                secret.ok_or("the secret does not exist")?.retires_at = Some(event.retires_at);
            }
            AppEvent::Suspended(event) => {
                app.status = AppStatus::Suspended { reason: event.reason.clone() };
                app.codes_dead_until = Some(at);
                app.suspensions.push(Suspension { at, position: envelope.position });
            }
            AppEvent::Resumed(_) => app.status = AppStatus::Active,
            AppEvent::Deleted(event) => app.status = AppStatus::Deleted { reason: event.reason.clone() },
        }
        (app.revision, app.changed_at) = (envelope.revision, at);
        Ok(())
    }

    pub(crate) const fn head(&self) -> Head {
        Head { revision: self.revision, recorded_at: self.changed_at }
    }
}

impl ClientSecret {
    fn added(secret: &NewSecret, at: Timestamp) -> Self {
        Self { secret_id: secret.secret_id, digest: secret.digest, added_at: at, retires_at: None }
    }
}
