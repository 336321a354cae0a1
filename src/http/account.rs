//! `/account/apps`: a person sees the apps on their account, revokes a token, uninstalls an app.

use actix_web::HttpResponse;
use actix_web::web::Path;
use grantbook_events::{ClientId, InstallationId, RevocationReason, TokenId, UninstallReason};
use grantbook_projections::AppStatus;
use grantbook_projections::live::{InstallationFacts, TokenFacts};

use super::browser::{PageError, Visit, see_other};
use super::form::Form;
use super::notice;
use super::service::Service;
use super::sign_in;
use crate::audit::Past;
use crate::decisions::{RevokeToken, TokenHolder, UninstallApp, WhichToken};
use crate::identity::Onward;
use crate::identity::session::{AccountRole, SignedIn};
use crate::ledger::Until;
use crate::pages::{AccountApp, AccountAppsPage, Forms, ScopeLine, TokenLine};

/// The most apps shown on the page.
const SHOWN_MAX: usize = 500;

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
        notice: notice::read(&visit, person),
        sign_out_action: Some("/sign-out".to_owned()),
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
fn sender<'a>(visit: &'a Visit, form: &Form) -> Result<&'a SignedIn, PageError> {
    let person = visit.signed_in(&Onward::AccountApps)?;
    let sentence = "This form was made for another sign-in, so nothing was changed.";
    visit.check_csrf_token(person, form, sentence)?;
    Ok(person)
}

/// Whether this person may uninstall an app for everybody on their account.
fn may_uninstall(service: &Service, person: &SignedIn) -> bool {
    service.uninstall_by == AccountRole::Member || person.role == AccountRole::Admin
}

/// `POST /account/apps/{installation_id}/uninstall`: any user of the account may, or an admin of it only, as
/// configured.
pub async fn uninstall(visit: Visit, id: Path<String>, form: Form) -> Result<HttpResponse, PageError> {
    let (person, service) = (sender(&visit, &form)?, &visit.service);
    if !may_uninstall(service, person) {
        return Err(PageError::for_admins());
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
    notice::back_with(&visit, person, &said)
}

/// `POST /account/tokens/{token_id}/revoke`: only the user who approved it may.
pub async fn revoke(visit: Visit, id: Path<String>, form: Form) -> Result<HttpResponse, PageError> {
    let (person, service) = (sender(&visit, &form)?, &visit.service);
    let unknown = || PageError::bad_request("This approval is not yours.");
    let token_id: TokenId = id.parse().map_err(|_| unknown())?;
    let said = match revoke_own(&visit, person, token_id).await? {
        Some(client_id) => format!("Your approval of {} was revoked.", app_name(service, &client_id)),
        None => {
            let past = Past::new(&service.ledger, &service.history).token(token_id, Until::Head).await?;
            let past = past.ok_or_else(unknown)?;
            let is_own = past.account_id.as_ref() == Some(&person.account)
                && past.user_id.as_ref() == Some(&person.user);
            let client_id = past.client_id.filter(|_| is_own).ok_or_else(unknown)?;
            format!("Your approval of {} had ended before.", app_name(service, &client_id))
        }
    };
    notice::back_with(&visit, person, &said)
}

/// The app whose token was revoked; none if the token is not the person's, or has ended.
async fn revoke_own(
    visit: &Visit,
    person: &SignedIn,
    token_id: TokenId,
) -> Result<Option<ClientId>, PageError> {
    let (ledger, live) = (&visit.service.ledger, visit.service.ledger.live());
    let Some(installation_id) = live.installation_of_token(&token_id) else { return Ok(None) };
    let facts = live.installation(installation_id, ledger.recorded_now());
    let Some(facts) = facts.filter(|facts| facts.account_id == person.account) else { return Ok(None) };
    let command = RevokeToken {
        installation_id,
        token: WhichToken::Id(token_id),
        holder: TokenHolder::User(person.user.clone()),
        reason: RevocationReason::User,
        note: None,
    };
    Ok(visit.settle(person, &command).await?.ok().map(|_| facts.client_id))
}

fn app_name(service: &Service, client_id: &ClientId) -> String {
    service.ledger.live().app(client_id).map_or_else(|| "The app".to_owned(), |app| app.name.clone())
}
