//! Which installations would not be there if something had never been allowed. Nothing is written.

use std::collections::{HashMap, HashSet};

use grantbook_events::{
    AccountId, ClientId, Event, GrantId, InstallationEvent, InstallationId, StreamKind, Timestamp, TokenId,
};
use grantbook_projections::App;
use grantbook_projections::live::{InstallationFacts, Live};
use serde::Serialize;

use super::reading::each;
use super::shown::pages;
use super::{ReplayError, Step, Until};
use crate::ledger::fold;
use crate::store::Store;

/// Installations taken from the state at once.
const PAGE: usize = 256;

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

/// The live tokens that are left out.
#[derive(Debug)]
struct Affected<'a> {
    without: &'a Without,
    /// Grants that are left out and whose code can still be exchanged, with the end of that.
    grants: HashMap<InstallationId, Vec<(GrantId, Timestamp)>>,
    tokens: HashSet<TokenId>,
    /// Whether anything in the ledger has what is left out.
    is_known: bool,
}

impl Affected<'_> {
    fn see(&mut self, id: InstallationId, event: &InstallationEvent, at: Timestamp) {
        match event {
            InstallationEvent::AccessGranted(granted) => {
                let affected = match self.without {
                    Without::Scope(scope) => granted.scopes.contains(scope),
                    Without::RedirectUri(uri) => granted.redirect_uri == *uri,
                };
                if affected {
                    self.is_known = true;
                    let grants = self.grants.entry(id).or_default();
                    grants.retain(|(_, end)| at < *end);
                    grants.push((granted.grant_id, granted.code_expires_at));
                }
            }
            InstallationEvent::CodeExchanged(exchanged) => {
                let Some(grants) = self.grants.get_mut(&id) else { return };
                if let Some(known) = grants.iter().position(|(grant, _)| *grant == exchanged.grant_id) {
                    grants.swap_remove(known);
                    self.tokens.insert(exchanged.token_id);
                }
            }
            InstallationEvent::CodeReplayed(_) | InstallationEvent::TokenRevoked(_) => {}
            InstallationEvent::Uninstalled(_) => drop(self.grants.remove(&id)),
        }
        for (token_id, _) in event.ended_tokens() {
            self.tokens.remove(&token_id);
        }
    }

    fn of(&self, facts: InstallationFacts) -> Option<Consequence> {
        let gone = facts.tokens.iter().filter(|token| self.tokens.contains(&token.token_id)).count();
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
    let live = Live::new();
    let mut affected = Affected { without, grants: HashMap::new(), tokens: HashSet::new(), is_known: false };
    let read = each(store, Until::Head, progress, |record| -> Result<(), ReplayError> {
        // What is in quarantine has no valid token.
        if let Ok(recorded) = fold(&live, record)
            && let Event::Installation(event) = &recorded.event
            && let Ok(StreamKind::Installation(id)) = record.stream.kind()
        {
            affected.see(id, event, record.recorded_at);
        }
        Ok(())
    });
    read.await?;
    let apps = || pages(|skip| live.apps(skip, PAGE)).flatten();
    let has_it = |app: &App| match without {
        Without::Scope(scope) => app.scopes.contains(scope),
        Without::RedirectUri(uri) => app.redirect_uris.contains(uri),
    };
    if !affected.is_known && !apps().any(|app| has_it(&app)) {
        return Ok(None);
    }
    let installations = apps().flat_map(|app| {
        let live = &live;
        pages(move |skip| live.installations_of_app(&app.client_id, skip, PAGE, now)).flatten()
    });
    Ok(Some(installations.filter_map(|facts| affected.of(facts)).collect()))
}
