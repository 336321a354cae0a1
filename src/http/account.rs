//! `/account/apps`: a person sees the apps on their account, revokes a token, uninstalls an app.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use grantbook_events::{ActorKind, ClientId, InstallationId, RevocationReason, TokenId, UninstallReason};
use grantbook_projections::AppStatus;
use grantbook_projections::live::{InstallationFacts, TokenFacts};

use super::browser::{Browser, PageError, page, see_other};
use super::context::Context;
use super::form::Form;
use super::notice;
use super::service::Service;
use super::sign_in;
use crate::audit::Past;
use crate::decisions::{RevokeToken, TokenHolder, UninstallApp, WhichToken};
use crate::identity::session::{AccountRole, Session, SignedIn};
use crate::identity::{Onward, session};
use crate::ledger::Until;
use crate::pages::{AccountApp, AccountAppsPage, Forms, ScopeLine, TokenLine};

/// Names the forms of this page for their CSRF token (K5).
pub(super) const ACCOUNT_FORMS: &str = "account/apps";
/// The most apps shown on the page.
const SHOWN_MAX: usize = 500;

/// `GET /account/apps`
pub async fn apps(
    context: Context,
    request: HttpRequest,
    service: web::Data<Service>,
    browser: web::Data<Browser>,
    session: Session,
) -> Result<HttpResponse, PageError> {
    let now = service.ledger.now();
    let Some(person) = session::signed_in(&session, now, service.session_lifetime) else {
        return Ok(see_other(&sign_in::path(&Onward::AccountApps)));
    };
    let live = service.ledger.live();
    let recorded_now = service.ledger.recorded_now();
    let installed = live.installations_on_account(&person.account, 0, SHOWN_MAX, recorded_now);
    let shown = AccountAppsPage {
        user: person.user_in_words(),
        account: person.account_in_words(),
        apps: installed.iter().filter_map(|facts| account_app(&service, &person, facts)).collect(),
        may_uninstall: may_uninstall(&service, &person),
        csrf: browser.tickets.csrf_token(&person.session_id, ACCOUNT_FORMS),
        notice: notice::read(&browser, &person, request.query_string(), now),
        sign_out_action: Some("/sign-out".to_owned()),
    };
    Ok(page(&context, StatusCode::OK, &shown, Forms::Here))
}

/// An app that is installed, or is again as soon as it is no longer stopped.
fn account_app(service: &Service, person: &SignedIn, facts: &InstallationFacts) -> Option<AccountApp> {
    let tokens = if facts.is_installed() { &facts.tokens } else { &facts.dormant };
    if tokens.is_empty() {
        return None;
    }
    let app = service.ledger.live().app(&facts.client_id)?;
    let granted = |name: &&str| tokens.iter().any(|token| token.scopes.iter().any(|scope| scope == name));
    let scopes = service.scopes.names().filter(granted).map(|name| ScopeLine {
        name: name.to_owned(),
        sentence: service.scopes.sentence(name).unwrap_or(name).to_owned(),
    });
    Some(AccountApp {
        installation_id: facts.installation_id.to_string(),
        app_name: app.name.clone(),
        owner: app.owner.clone(),
        scopes: scopes.collect(),
        installed_since: facts.installed_since,
        stopped: match app.status {
            AppStatus::Active => None,
            AppStatus::Suspended { .. } => Some("suspended by the operator of this server"),
            // To users, one that is not understood is one that is out of service.
            AppStatus::Deleted { .. } | AppStatus::Quarantined { .. } => Some("out of service"),
        },
        tokens: tokens.iter().map(|token| token_line(person, token)).collect(),
    })
}

fn token_line(person: &SignedIn, token: &TokenFacts) -> TokenLine {
    TokenLine {
        token_id: token.token_id.to_string(),
        user: token.user_id.to_string(),
        issued_at: token.issued_at,
        scopes: token.scopes.to_vec(),
        mine: token.user_id == person.user,
    }
}

/// Who sent one of this page's forms.
fn sender(
    context: &Context,
    service: &Service,
    browser: &Browser,
    session: &Session,
    body: &str,
) -> Result<SignedIn, PageError> {
    let form = Form::parse(body).map_err(|error| PageError::bad_request(context, error.to_string()))?;
    let person = session::signed_in(session, service.ledger.now(), service.session_lifetime)
        .ok_or_else(|| PageError::signed_out(context, &Onward::AccountApps))?;
    let csrf = form.get("csrf").unwrap_or_default();
    if !browser.tickets.check_csrf_token(&person.session_id, ACCOUNT_FORMS, csrf) {
        let sentence = "This form was made for another sign-in, so nothing was changed.";
        return Err(PageError::stale_form(context, sentence, &Onward::AccountApps));
    }
    Ok(person)
}

/// Whether this person may uninstall an app for everybody on their account.
fn may_uninstall(service: &Service, person: &SignedIn) -> bool {
    service.uninstall_by == AccountRole::Member || person.role == AccountRole::Admin
}

/// `POST /account/apps/{installation_id}/uninstall`: any user of the account may, or an admin of it only, as
/// configured.
pub async fn uninstall(
    context: Context,
    service: web::Data<Service>,
    browser: web::Data<Browser>,
    session: Session,
    id: web::Path<String>,
    body: String,
) -> Result<HttpResponse, PageError> {
    let person = sender(&context, &service, &browser, &session, &body)?;
    if !may_uninstall(&service, &person) {
        return Err(PageError::for_admins(&context));
    }
    let unknown = || PageError::bad_request(&context, "This app is not installed on your account.");
    let installation_id: InstallationId = id.parse().map_err(|_| unknown())?;
    let facts = service.ledger.live().installation(installation_id, service.ledger.recorded_now());
    let facts = facts.filter(|facts| facts.account_id == person.account).ok_or_else(unknown)?;
    let command = UninstallApp { installation_id, reason: UninstallReason::User, note: None };
    let origin = context.origin(ActorKind::User, person.user.as_str());
    let settled = service.settle(&origin, &command).await;
    let ended = settled.map_err(|error| PageError::ledger(&context, error))?.map_err(|_| unknown())?;
    let (app, account) = (app_name(&service, &facts.client_id), &person.account);
    let said = if ended.already {
        format!("{app} was not installed on {account} any more, so nothing had to be done.")
    } else {
        format!("{app} was uninstalled from {account}.")
    };
    notice::back_with(&context, &service, &browser, &person, &said)
}

/// `POST /account/tokens/{token_id}/revoke`: only the user who approved it may.
pub async fn revoke(
    context: Context,
    service: web::Data<Service>,
    browser: web::Data<Browser>,
    session: Session,
    id: web::Path<String>,
    body: String,
) -> Result<HttpResponse, PageError> {
    let person = sender(&context, &service, &browser, &session, &body)?;
    let unknown = || PageError::bad_request(&context, "This approval is not yours.");
    let token_id: TokenId = id.parse().map_err(|_| unknown())?;
    let held = service.ledger.live().installation_of_token(&token_id);
    let revoked = match held {
        Some(installation_id) => revoke_own(&context, &service, &person, installation_id, token_id).await?,
        None => None,
    };
    let said = match revoked {
        Some(client_id) => format!("Your approval of {} was revoked.", app_name(&service, &client_id)),
        None => {
            let past = Past::new(&service.ledger, &service.history).token(token_id, Until::Head).await;
            let past = past.map_err(|error| PageError::audit(&context, error))?.ok_or_else(unknown)?;
            let is_own =
                past.account_id == Some(person.account.clone()) && past.user_id == Some(person.user.clone());
            let client_id = past.client_id.filter(|_| is_own).ok_or_else(unknown)?;
            format!("Your approval of {} had ended before.", app_name(&service, &client_id))
        }
    };
    notice::back_with(&context, &service, &browser, &person, &said)
}

/// The app whose token was revoked; none if the token is not the person's, or has ended.
async fn revoke_own(
    context: &Context,
    service: &Service,
    person: &SignedIn,
    installation_id: InstallationId,
    token_id: TokenId,
) -> Result<Option<ClientId>, PageError> {
    let facts = service.ledger.live().installation(installation_id, service.ledger.recorded_now());
    let Some(facts) = facts.filter(|facts| facts.account_id == person.account) else { return Ok(None) };
    let command = RevokeToken {
        installation_id,
        token: WhichToken::Id(token_id),
        holder: TokenHolder::User(person.user.clone()),
        reason: RevocationReason::User,
        note: None,
    };
    let origin = context.origin(ActorKind::User, person.user.as_str());
    let settled =
        service.settle(&origin, &command).await.map_err(|error| PageError::ledger(context, error))?;
    Ok(settled.ok().map(|_| facts.client_id))
}

fn app_name(service: &Service, client_id: &ClientId) -> String {
    service.ledger.live().app(client_id).map_or_else(|| "The app".to_owned(), |app| app.name.clone())
}
