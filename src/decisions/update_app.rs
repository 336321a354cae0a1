//! An operator changes what an app says of itself.

use grantbook_events::{AppEvent, AppUpdated, ClientId, ClientKeys, StreamKind, Timestamp, TokenPolicy};
use grantbook_projections::App;

use super::app_profile::{
    ProfileError, check_default_scopes, check_homepage, check_name, check_redirect_uris, check_scopes,
    check_token_policy,
};
use super::scopes::ScopeCatalogue;
use super::{AppRefusal, Command, Decided, Decision};

/// Update an app. The changes were checked when this was made.
#[derive(Debug, Clone)]
pub struct UpdateApp {
    client_id: ClientId,
    changes: AppUpdated,
}

/// What an operator wants changed, unchecked; what is absent stays.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    /// The new name.
    pub name: Option<String>,
    /// The new owner.
    pub owner: Option<String>,
    /// The new homepage; empty for none.
    pub homepage: Option<String>,
    /// All redirect URIs.
    pub redirect_uris: Option<Vec<String>>,
    /// All scopes it may ask for.
    pub scopes: Option<Vec<String>>,
    /// The scopes it gets if it asks for none; none for those of the configuration.
    pub default_scopes: Option<Vec<String>>,
    /// The public keys it authenticates by, which were checked.
    pub keys: Option<ClientKeys>,
    /// The policy for tokens issued from now on.
    pub token_policy: Option<TokenPolicy>,
    /// Whether its authorization requests have to be pushed.
    pub requires_pushed_requests: Option<bool>,
}

impl UpdateApp {
    /// Checks the changes.
    pub fn new(
        client_id: ClientId,
        changes: &Changes,
        catalogue: &ScopeCatalogue,
    ) -> Result<Self, ProfileError> {
        let changes = AppUpdated {
            name: changes.name.as_deref().map(|name| check_name("name", name)).transpose()?,
            owner: changes.owner.as_deref().map(|owner| check_name("owner", owner)).transpose()?,
            homepage: changes.homepage.as_deref().map(check_homepage).transpose()?,
            redirect_uris: changes.redirect_uris.as_deref().map(check_redirect_uris).transpose()?,
            scopes: changes.scopes.as_deref().map(|scopes| check_scopes(catalogue, scopes)).transpose()?,
            default_scopes: changes
                .default_scopes
                .as_deref()
                .map(|scopes| check_default_scopes(catalogue, scopes))
                .transpose()?,
            keys: changes.keys.clone(),
            token_policy: changes.token_policy.map(check_token_policy).transpose()?,
            requires_pushed_requests: changes.requires_pushed_requests,
        };
        Ok(Self { client_id, changes })
    }
}

impl Command for UpdateApp {
    const NAME: &'static str = "update_app";
    type State = App;
    type Answer = ();
    type Refusal = AppRefusal;

    fn stream(&self) -> StreamKind {
        StreamKind::App(self.client_id)
    }

    fn decide(&self, state: Option<&App>, _now: Timestamp) -> Decided<Self> {
        let changes = really_changed(&self.changes, registered(state)?);
        if changes == AppUpdated::default() {
            return Ok(Decision::already(()));
        }
        Ok(Decision::granted((), [AppEvent::Updated(changes)]))
    }
}

/// An event names only what changed, so that history reads as what happened.
pub(super) fn really_changed(changes: &AppUpdated, app: &App) -> AppUpdated {
    fn differing<T: Clone + PartialEq>(new: Option<&T>, old: &T) -> Option<T> {
        new.filter(|new| *new != old).cloned()
    }
    AppUpdated {
        name: differing(changes.name.as_ref(), &app.name),
        owner: differing(changes.owner.as_ref(), &app.owner),
        homepage: differing(changes.homepage.as_ref(), &app.homepage.clone().unwrap_or_default()),
        redirect_uris: differing(changes.redirect_uris.as_ref(), &app.redirect_uris),
        scopes: differing(changes.scopes.as_ref(), &app.scopes),
        default_scopes: differing(changes.default_scopes.as_ref(), &app.default_scopes),
        keys: differing(changes.keys.as_ref(), &app.keys),
        token_policy: differing(changes.token_policy.as_ref(), &app.token_policy),
        requires_pushed_requests: differing(
            changes.requires_pushed_requests.as_ref(),
            &app.requires_pushed_requests,
        ),
    }
}

/// The app, if it is registered and was not deleted.
pub(super) fn registered(state: Option<&App>) -> Result<&App, AppRefusal> {
    state.filter(|app| !app.is_deleted()).ok_or(AppRefusal::Unknown)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{self, TestStreams};
    use super::*;
    use grantbook_events::Event;

    #[test]
    fn only_what_changed_is_recorded() {
        let streams = TestStreams::app([testing::register(1)]);
        let update = |changes: &Changes| {
            UpdateApp::new(testing::client_id(1), changes, &ScopeCatalogue::default()).unwrap()
        };
        let same = Changes { name: Some(testing::registration().name), ..Changes::default() };
        assert_eq!(streams.decide(&update(&same), 2), Decision::already(()));
        let changes = Changes { owner: Some("New Owner".to_owned()), ..same };
        let expected = AppUpdated { owner: Some("New Owner".to_owned()), ..AppUpdated::default() };
        assert_eq!(streams.decide(&update(&changes), 2).events, [Event::from(AppEvent::Updated(expected))]);
        assert_eq!(TestStreams::app([]).decide(&update(&changes), 2), Decision::refused(AppRefusal::Unknown));
    }
}
