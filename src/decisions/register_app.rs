//! An operator registers an app.

use grantbook_events::{
    AppEvent, AppRegistered, AppSource, ClientId, ClientKeys, NewSecret, SecretDigest, StreamKind, Timestamp,
    TokenPolicy,
};
use grantbook_projections::App;

use super::app_profile::{
    ProfileError, check_default_scopes, check_homepage, check_name, check_redirect_uris, check_scopes,
    check_token_policy,
};
use super::scopes::ScopeCatalogue;
use super::{AppRefusal, Command, Decided, Decision};

/// Register an app. The profile was checked when this was made.
#[derive(Debug, Clone)]
pub struct RegisterApp(AppRegistered);

/// What an operator says of a new app, unchecked.
#[derive(Debug, Clone, Default)]
pub struct Registration {
    /// Shown on the consent page.
    pub name: String,
    /// Who answers for the app.
    pub owner: String,
    /// Where people can read about it.
    pub homepage: Option<String>,
    /// The redirect URIs it may name.
    pub redirect_uris: Vec<String>,
    /// The scopes it may ask for, by name or alias.
    pub scopes: Vec<String>,
    /// The scopes it gets if it asks for none, by name or alias; none for those of the configuration.
    pub default_scopes: Vec<String>,
    /// The public keys it authenticates by, which were checked.
    pub keys: ClientKeys,
    /// How long its tokens live.
    pub token_policy: TokenPolicy,
    /// Whether its authorization requests have to be pushed.
    pub requires_pushed_requests: bool,
    /// Who registers it.
    pub source: AppSource,
    /// SHA-256 of the token by which its own software manages the registration.
    pub registration_digest: Option<SecretDigest>,
}

impl RegisterApp {
    /// Checks a registration. Without a secret the app is a public client.
    pub fn new(
        client_id: ClientId,
        secret: Option<NewSecret>,
        registration: &Registration,
        catalogue: &ScopeCatalogue,
    ) -> Result<Self, ProfileError> {
        let homepage = check_homepage(registration.homepage.as_deref().unwrap_or_default())?;
        Ok(Self(AppRegistered {
            client_id,
            name: check_name("name", &registration.name)?,
            owner: check_name("owner", &registration.owner)?,
            homepage: Some(homepage).filter(|text| !text.is_empty()),
            redirect_uris: check_redirect_uris(&registration.redirect_uris)?,
            default_scopes: check_default_scopes(catalogue, &registration.default_scopes)?,
            scopes: check_scopes(catalogue, &registration.scopes)?,
            secret,
            keys: registration.keys.clone(),
            token_policy: check_token_policy(registration.token_policy)?,
            requires_pushed_requests: registration.requires_pushed_requests,
            source: registration.source.clone(),
            registration_digest: registration.registration_digest,
        }))
    }
}

impl Command for RegisterApp {
    const NAME: &'static str = "register_app";
    type State = App;
    type Answer = ();
    type Refusal = AppRefusal;

    fn stream(&self) -> StreamKind {
        StreamKind::App(self.0.client_id)
    }

    fn decide(&self, state: Option<&App>, _now: Timestamp) -> Decided<Self> {
        match state {
            Some(_) => Err(AppRefusal::Exists),
            None => Ok(Decision::granted((), [AppEvent::Registered(self.0.clone())])),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{self, TestStreams};
    use super::*;

    #[test]
    fn a_registration_is_normalised_and_happens_once() {
        let mut streams = TestStreams::app([]);
        streams.run(&testing::register(1), 1).unwrap();
        let app = streams.registered();
        assert_eq!(app.scopes, ["widgets", "faqs"], "canonical names in the catalogue's order");
        assert_eq!(streams.decide(&testing::register(1), 2), Decision::refused(AppRefusal::Exists));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let refused = |change: fn(&mut Registration)| {
            let mut registration = testing::registration();
            change(&mut registration);
            RegisterApp::new(testing::client_id(1), None, &registration, &ScopeCatalogue::default())
                .unwrap_err()
        };
        assert_eq!(refused(|r| r.name.clear()).field, "name");
        assert_eq!(refused(|r| r.owner = "\n".to_owned()).field, "owner");
        assert_eq!(refused(|r| r.redirect_uris.clear()).field, "redirect_uris");
        let error = refused(|r| r.scopes = vec!["everything".to_owned()]);
        assert!(error.to_string().contains("everything") && error.to_string().contains("faqs"), "{error}");
        assert_eq!(refused(|r| r.scopes.clear()).field, "scopes");
        assert_eq!(
            refused(|r| r.token_policy.lifetime_seconds = Some(0)).field,
            "token_policy.lifetime_seconds"
        );
    }
}
