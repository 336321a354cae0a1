//! The consent page and its form. Knows: what the page says, and what the form carries. Must not know: what a decision
//! does.

use grantbook_events::{AccountId, GrantId, InstallationId, UserId};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::decisions::authorization_request::AuthorizationRequest;
use crate::http::{Service, sign_in};
use crate::identity::Onward;
use crate::identity::session::SignedIn;
use crate::pages::ConsentPage;

/// What a consent form was made for. The request is kept as it came and checked again when the form comes
/// back: the app may have been changed, suspended or deleted meanwhile.
#[derive(Serialize, Deserialize)]
pub(super) struct ConsentTicket {
    pub grant_id: GrantId,
    pub query: String,
    pub user: UserId,
    pub account: AccountId,
}

/// The page that asks the person.
pub(super) fn page(
    service: &Service,
    wanted: AuthorizationRequest,
    person: &SignedIn,
    ticket: String,
    query: &str,
) -> ConsentPage {
    let installation_id = InstallationId::of(&wanted.app.client_id, &person.account);
    let known = service.ledger.live().installation(installation_id, service.ledger.recorded_now());
    let may =
        |name: &str| known.iter().flat_map(|facts| &facts.tokens).any(|token| token.scopes.contains(name));
    let scopes = wanted.scopes.iter().map(|name| service.scope_line(name));
    let (held, scopes) = scopes.partition(|scope| may(&scope.name));
    ConsentPage {
        app_name: wanted.app.name.clone(),
        owner: wanted.app.owner.clone(),
        homepage: wanted.app.homepage.clone(),
        redirect_host: destination(&wanted.target.redirect_uri),
        user: person.user_in_words(),
        account: person.account_in_words(),
        installed_since: known.as_ref().and_then(|facts| facts.installed_since),
        scopes,
        held,
        ticket,
        switch_user_href: Onward::authorize(query).ok().map(|onward| sign_in::as_another(&onward)),
    }
}

/// The host of a redirect URI, or the scheme of a private one.
fn destination(redirect_uri: &str) -> String {
    let Ok(url) = Url::parse(redirect_uri) else { return redirect_uri.to_owned() };
    match (url.host_str(), url.port()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (Some(host), None) => host.to_owned(),
        (None, _) => format!("{}:", url.scheme()),
    }
}
