//! The consent page and its form. Knows: what the page says, and what the form carries. Must not know: what a decision
//! does.

use std::collections::BTreeSet;

use grantbook_events::{AccountId, AppSource, GrantId, InstallationId, UserId};
use grantbook_projections::App;
use grantbook_projections::live::InstallationFacts;
use serde::{Deserialize, Serialize};

use crate::decisions::approval::Approval;
use crate::decisions::authorization_request::AuthorizationRequest;
use crate::decisions::self_registration::destination;
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
    /// What the page showed, which is all that is granted.
    pub scopes: Vec<String>,
    pub user: UserId,
    pub account: AccountId,
}

/// What is known of the app on the account of a person.
pub(super) fn known(
    service: &Service,
    wanted: &AuthorizationRequest,
    account: &AccountId,
) -> Option<InstallationFacts> {
    let installation_id = InstallationId::of(&wanted.app.client_id, account);
    service.ledger.live().installation(installation_id, service.ledger.recorded_now())
}

/// What the app has from one of the users there: the scopes of their valid tokens, as far as these are for all the
/// resources that a request names.
pub(super) fn has_from(
    user: &UserId,
    known: Option<&InstallationFacts>,
    resources: &[String],
) -> BTreeSet<String> {
    let tokens = known.into_iter().flat_map(|facts| &facts.tokens).filter(|token| token.user_id == *user);
    let tokens = tokens.filter(|token| token.is_for(resources));
    tokens.flat_map(|token| token.scopes.to_vec()).collect()
}

/// The page that asks the person.
pub(super) fn page(
    service: &Service,
    wanted: &AuthorizationRequest,
    approval: &Approval,
    known: Option<&InstallationFacts>,
    person: &SignedIn,
    ticket: String,
    query: &str,
) -> ConsentPage {
    let (scopes, held): (Vec<_>, _) = approval.scopes.iter().partition(|scope| approval.new.contains(scope));
    let lines = |scopes: Vec<&String>| scopes.into_iter().map(|name| service.scope_line(name)).collect();
    ConsentPage {
        app_name: wanted.app.name.clone(),
        owner: wanted.app.owner.clone(),
        homepage: wanted.app.homepage.clone(),
        redirect_host: destination(&wanted.target.redirect_uri),
        app_host: host_of(&wanted.app).unwrap_or_else(|| destination(&wanted.target.redirect_uri)),
        unverified_by: unverified_by(service, &wanted.app),
        user: person.user_in_words(),
        account: person.account_in_words(),
        installed_since: known.and_then(|facts| facts.installed_since),
        scopes: lines(scopes),
        held: lines(held),
        resources: wanted.resources.clone(),
        ticket,
        switch_user_href: Onward::authorize(query).ok().map(|onward| sign_in::as_another(&onward)),
    }
}

/// Where the metadata document of an app is. Its codes may go to a program on the person's own machine, which says nothing.
fn host_of(app: &App) -> Option<String> {
    match &app.source {
        AppSource::Document(url) => Some(destination(url)),
        AppSource::Operator | AppSource::Open | AppSource::InitialAccessToken(_) => None,
    }
}

/// Who has not checked an app: the host of this server, if no operator registered the app.
fn unverified_by(service: &Service, app: &App) -> Option<String> {
    (!app.source.is_operator()).then(|| destination(service.issuer()))
}
