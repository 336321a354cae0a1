//! `/` and `/account/apps`: a person sees the apps on their account, revokes a token, uninstalls an app. Knows: forms and what
//! they ask for. Must not know: rules.
//!
//! What a form did is said on the page that the browser is led to. The sentence travels in the address, signed for the
//! session: no other site can put words on the page, no cookie is written, and two tabs do not take each other's. Loaded
//! again, the page says it again for a minute.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::web::Path;
use actix_web::{HttpRequest, HttpResponse};
use grantbook_events::{ClientId, InstallationId, RevocationReason, TokenId, UninstallReason};
use grantbook_projections::live::{InstallationFacts, TokenFacts};
use grantbook_projections::{AppStatus, TokenKind};

use super::browser::{PageError, Visit, see_other};
use super::endpoint::{no_such_path, wants_a_page};
use super::form::Form;
use super::service::Service;
use super::sign_in;
use crate::decisions::{RevokeToken, TokenHolder, UninstallApp, WhichToken};
use crate::identity::Onward;
use crate::identity::session::{AccountRole, SignedIn};
use crate::ledger::Until;
use crate::pages::{AccountApp, AccountAppsPage, ApprovalLine, Forms, HomePage};

/// The most apps shown on the page.
const SHOWN_MAX: usize = 500;

/// Names the sentence for its ticket.
const NOTICE: &str = "account/notice";
/// How long the sentence is shown when the page is loaded again.
const SHOWN_FOR: Duration = Duration::from_secs(60);

/// `GET /`; for programs there is nothing here.
pub async fn home(request: HttpRequest, visit: Visit) -> HttpResponse {
    if !wants_a_page(request.headers()) {
        return no_such_path(request).await;
    }
    let user = visit.person.as_ref().map(|person| person.user_in_words());
    visit.page(&HomePage { user }, Forms::Here)
}

/// `GET /account/apps`
pub async fn apps(visit: Visit) -> HttpResponse {
    let Some(person) = &visit.person else { return see_other(&sign_in::path(&Onward::AccountApps)) };
    let service = &visit.service;
    let recorded_now = service.ledger.recorded_now();
    let installed =
        service.ledger.live().installations_on_account(&person.account, 0, SHOWN_MAX, recorded_now);
    let shown = AccountAppsPage {
        user: person.user_in_words(),
        account: person.account_in_words(),
        apps: installed.iter().filter_map(|facts| account_app(service, person, facts)).collect(),
        may_uninstall: may_uninstall(service, person),
        csrf: visit.csrf_token(person),
        notice: notice(&visit, person),
    };
    visit.page(&shown, Forms::Here)
}

/// An app that is installed, or is again as soon as it is no longer stopped.
fn account_app(service: &Service, person: &SignedIn, facts: &InstallationFacts) -> Option<AccountApp> {
    let tokens = if facts.is_installed() { &facts.tokens } else { &facts.dormant };
    if tokens.is_empty() {
        return None;
    }
    let app = service.ledger.live().app(&facts.client_id)?;
    let granted = |name: &&str| tokens.iter().any(|token| token.scopes.contains(name));
    let scopes = service.config.scopes.names().filter(granted).map(|name| service.scope_line(name));
    Some(AccountApp {
        installation_id: facts.installation_id.to_string(),
        app_name: app.name.clone(),
        owner: app.owner.clone(),
        verified: app.source.is_operator(),
        scopes: scopes.collect(),
        installed_since: facts.installed_since,
        stopped: match app.status {
            AppStatus::Active => None,
            AppStatus::Suspended { .. } => Some("suspended by the operator of this server"),
            // To users, one that is not understood is one that is out of service.
            AppStatus::Deleted { .. } | AppStatus::Quarantined { .. } => Some("out of service"),
        },
        approvals: approvals(person, tokens),
    })
}

/// The approvals that these tokens came of, oldest token first. One that can be renewed is one line, whatever tokens it has.
fn approvals(person: &SignedIn, tokens: &[TokenFacts]) -> Vec<ApprovalLine> {
    let refresh = |grant| tokens.iter().find(|it| it.kind == TokenKind::Refresh && it.grant_id == grant);
    let shown = tokens.iter().filter(|token| refresh(token.grant_id).is_none_or(|it| it == *token));
    let line = |token: &TokenFacts| ApprovalLine {
        token_id: token.token_id.to_string(),
        user: token.user_id.to_string(),
        approved_at: token.granted_at,
        scopes: token.scopes.to_vec(),
        renewable: token.kind == TokenKind::Refresh,
        until: token.expires_at,
        mine: token.user_id == person.user,
    };
    shown.map(line).collect()
}

/// Who sent one of this page's forms.
fn sender<'a>(visit: &'a Visit, form: &Form) -> Result<&'a SignedIn, PageError> {
    let person = visit.signed_in(&Onward::AccountApps)?;
    let sentence = "This form was made for another sign-in, so nothing was changed.";
    visit.check_csrf_token(person, form, sentence)?;
    Ok(person)
}

/// Whether this person may uninstall an app for all users of their account.
fn may_uninstall(service: &Service, person: &SignedIn) -> bool {
    service.config.uninstall_by == AccountRole::Member || person.role == AccountRole::Admin
}

/// `POST /account/apps/{installation_id}/uninstall`: any user of the account may, or an admin of it only, as
/// configured.
pub async fn uninstall(visit: Visit, id: Path<String>, form: Form) -> Result<HttpResponse, PageError> {
    let (person, service) = (sender(&visit, &form)?, &visit.service);
    if !may_uninstall(service, person) {
        let sentence = "Ask an admin to uninstall the app. What you approved yourself you can revoke";
        let title = "Only an admin of the account can do this";
        return Err(PageError::new(StatusCode::FORBIDDEN, title, sentence)
            .going_on("Go on to the apps on your account", Onward::AccountApps.location()));
    }
    let unknown = || PageError::bad_request("This app is not installed on your account.");
    let installation_id: InstallationId = id.parse().map_err(|_| unknown())?;
    let facts = service.ledger.live().installation(installation_id, service.ledger.recorded_now());
    let facts = facts.filter(|facts| facts.account_id == person.account).ok_or_else(unknown)?;
    let command = UninstallApp { installation_id, reason: UninstallReason::User, note: None };
    let ended = visit.settle(person, &command).await?.map_err(|_| unknown())?;
    let (app, account) = (app_name(service, &facts.client_id), &person.account);
    let said = if ended.already {
        format!("{app} was not installed on {account} any more, so nothing had to be done.")
    } else {
        format!("{app} was uninstalled from {account}.")
    };
    back_with(&visit, person, &said)
}

/// `POST /account/tokens/{token_id}/revoke`: only the user who approved it may.
pub async fn revoke(visit: Visit, id: Path<String>, form: Form) -> Result<HttpResponse, PageError> {
    let (person, service) = (sender(&visit, &form)?, &visit.service);
    let unknown = || PageError::bad_request("This approval is not yours.");
    let token_id: TokenId = id.parse().map_err(|_| unknown())?;
    let said = match revoke_own(&visit, person, token_id).await? {
        Some(client_id) => format!("Your approval of {} was revoked.", app_name(service, &client_id)),
        None => {
            let past = service.past().token(token_id, Until::Head).await?;
            let past = past.ok_or_else(unknown)?;
            let is_own = past.account_id.as_ref() == Some(&person.account)
                && past.user_id.as_ref() == Some(&person.user);
            let client_id = past.client_id.filter(|_| is_own).ok_or_else(unknown)?;
            format!("Your approval of {} had ended before.", app_name(service, &client_id))
        }
    };
    back_with(&visit, person, &said)
}

/// The app whose approval was revoked; none if it is not the person's, or has ended. The page may be older than a refresh of
/// the token that its form names, which is not the end of the approval.
async fn revoke_own(
    visit: &Visit,
    person: &SignedIn,
    token_id: TokenId,
) -> Result<Option<ClientId>, PageError> {
    let (ledger, live) = (&visit.service.ledger, visit.service.ledger.live());
    let facts = |id| live.installation(id, ledger.recorded_now());
    let here = live.installation_of_token(&token_id).and_then(facts).and_then(|facts| {
        let token = facts.tokens.iter().chain(&facts.dormant).find(|token| token.token_id == token_id)?;
        Some((facts.installation_id, token.grant_id))
    });
    let found = match here {
        Some(found) => Some(found),
        None => visit.service.past().grant_of(token_id).await?,
    };
    let Some((installation_id, grant_id)) = found else { return Ok(None) };
    let facts = facts(installation_id);
    let Some(facts) = facts.filter(|facts| facts.account_id == person.account) else { return Ok(None) };
    let command = RevokeToken {
        installation_id,
        token: WhichToken::Grant(grant_id),
        holder: TokenHolder::User(person.user.clone()),
        reason: RevocationReason::User,
        note: None,
    };
    Ok(visit.settle(person, &command).await?.ok().map(|_| facts.client_id))
}

fn app_name(service: &Service, client_id: &ClientId) -> String {
    service.ledger.live().app(client_id).map_or_else(|| "The app".to_owned(), |app| app.name.clone())
}

/// Leads back to the account page, which says this.
fn back_with(visit: &Visit, person: &SignedIn, sentence: &str) -> Result<HttpResponse, PageError> {
    let until = visit.now.plus(SHOWN_FOR);
    let sealed = visit.browser.tickets.seal(NOTICE, &person.session_id, &sentence, until);
    let sealed = sealed.map_err(PageError::broken)?;
    Ok(see_other(&format!("{}?notice={sealed}", Onward::AccountApps.location())))
}

/// What the page that is asked for says; nothing if the sentence is not one of ours, or old.
fn notice(visit: &Visit, person: &SignedIn) -> Option<String> {
    let query = visit.query().ok()?;
    visit.browser.tickets.open(NOTICE, &person.session_id, query.get("notice")?, visit.now).ok()
}
