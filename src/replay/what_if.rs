//! Which installations would not be there if something had never been allowed. Nothing is written.

use grantbook_events::{
    AccountId, ClientId, Event, InstallationEvent, InstallationId, Position, StreamKind, Timestamp,
};
use grantbook_projections::Installation;
use grantbook_projections::live::{InstallationFacts, Live, State as _, TokenFacts};
use serde::Serialize;

use super::dump::installations;
use super::reading::each;
use super::{ReplayError, Step, Until};
use crate::ledger::fold;
use crate::store::Store;

/// What is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Without {
    /// Every token that has this scope, by its canonical name.
    Scope(String),
    /// Every token whose code was sent to this redirect URI.
    RedirectUri(String),
}

/// What that would do to an installation that has valid tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Consequence {
    pub installation_id: InstallationId,
    pub client_id: ClientId,
    pub account_id: AccountId,
    /// Whether the app would not be installed: no token is left.
    pub ends: bool,
    /// How many of its valid tokens would not be there.
    pub tokens_gone: usize,
    /// How many would.
    pub tokens_left: usize,
}

impl Without {
    /// Whether an app or a grant with these scopes and redirect URIs has what is left out.
    fn is_among(&self, scopes: &[String], redirect_uris: &[String]) -> bool {
        match self {
            Self::Scope(scope) => scopes.contains(scope),
            Self::RedirectUri(uri) => redirect_uris.contains(uri),
        }
    }

    fn leaves_out(&self, token: &TokenFacts, live: &Live) -> bool {
        match self {
            Self::Scope(scope) => token.scopes.contains(scope),
            Self::RedirectUri(uri) => {
                let stream = StreamKind::Installation(token.installation_id);
                Installation::look(live, &stream, |state| {
                    let grant = state.and_then(|state| state.grant_of_token(token.token_id));
                    grant.is_some_and(|grant| grant.redirect_uri.as_str() == uri)
                })
            }
        }
    }

    fn consequence(&self, facts: InstallationFacts, live: &Live) -> Option<Consequence> {
        let gone = facts.tokens.iter().filter(|token| self.leaves_out(token, live)).count();
        (gone > 0).then(|| Consequence {
            installation_id: facts.installation_id,
            client_id: facts.client_id,
            account_id: facts.account_id,
            ends: gone == facts.tokens.len(),
            tokens_gone: gone,
            tokens_left: facts.tokens.len() - gone,
        })
    }
}

/// Folds a ledger and says what would be different now, app by app; `None` if neither a grant nor an app ever had
/// what is left out. `progress` is called after every few events.
///
/// # Errors
/// If the store cannot be read, or something in it cannot be folded.
pub async fn what_if(
    store: &dyn Store,
    without: &Without,
    now: Timestamp,
    progress: impl FnMut(Step),
) -> Result<Option<Vec<Consequence>>, ReplayError> {
    let (live, mut is_known) = (Live::new(), false);
    let read = each(store, Position::START, Until::Head, progress, |record| -> Result<(), ReplayError> {
        // What is in quarantine has no valid token.
        if let Ok(recorded) = fold(&live, record)
            && let Event::Installation(InstallationEvent::AccessGranted(granted)) = &recorded.event
        {
            is_known |= without.is_among(&granted.scopes, std::slice::from_ref(&granted.redirect_uri));
        }
        Ok(())
    });
    read.await?;
    let apps = live.apps(0, usize::MAX);
    if !is_known && !apps.iter().any(|app| without.is_among(&app.scopes, &app.redirect_uris)) {
        return Ok(None);
    }
    let all = apps.iter().flat_map(|app| installations(&live, &app.client_id, now).flatten());
    Ok(Some(all.filter_map(|facts| without.consequence(facts, &live)).collect()))
}
