//! `/oauth/authorize`: a person is asked whether an app may be installed (RFC 6749 section 4.1.1).

use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::Payload;
use grantbook_events::InstallationId;
use grantbook_projections::App;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::consent::{self, ConsentTicket};
use super::pushed::Pushed;
use super::redirect::{answer, refused};
use super::requested::{RawQuery, Requested};
use crate::decisions::approval::{Approval, can_still_be_granted};
use crate::decisions::authorization_request::AuthorizationRequest;
use crate::decisions::{GrantAccess, InstallationRefusal};
use crate::http::{
    Form, PageError, Visit, form::malformed, oauth::rate_limits::TooOften, read_whole, see_other, sign_in,
};
use crate::identity::session::SignedIn;
use crate::identity::tickets::{self, TicketError};
use crate::identity::{Onward, Sealer};
use crate::pages::{Forms, web_page};
use crate::secrets;

/// How long a consent form can be sent. Shorter than grants are remembered, so that a form sent twice is
/// always noticed.
const FORM_LIFETIME: Duration = tickets::LONGEST_LIFETIME;
/// The largest consent form, in bytes: the ticket has the whole request, of up to 64 KiB, in base64url.
const FORM_MAX_BYTES: usize = 96 * 1024;
/// Names the consent form for its ticket.
const CONSENT: &str = "consent";

/// `GET /oauth/authorize`
pub async fn ask(visit: Visit, RawQuery(query): RawQuery) -> Result<HttpResponse, PageError> {
    let (service, browser) = (&visit.service, &visit.browser);
    let requested = Requested::read(&query, &browser.pushed)?.in_time(visit.now);
    // A stranger must not send this server to the document of an app.
    let checked = match visit.person.is_none() && requested.is_by_document() {
        true => None,
        false => Some(requested.check(service, &visit.context).await?),
    };
    // A pushed request goes on under a URI that is good for as long as a sign-in may take, so that it is not lost by
    // then, and the page can be loaded again.
    if let Some(pushed) = requested.pushed.as_ref().filter(|pushed| !pushed.arrived) {
        return arrived(pushed, &browser.pushed);
    }
    // Nothing redirects to an app before the person is known, or this endpoint would be a way to send
    // strangers anywhere an app likes (A7).
    let (Some(person), Some(checked)) = (&visit.person, checked) else {
        let onward = Onward::authorize(&query);
        let onward = onward.map_err(|_| PageError::bad_request("This request is too long."))?;
        return Ok(see_other(&sign_in::path(&onward)));
    };
    let wanted = match checked {
        Ok(wanted) => wanted,
        Err(refused) => return Ok(refused),
    };
    let known = consent::known(service, &wanted, &person.account);
    let has = consent::has_from(&person.user, known.as_ref(), &wanted.resources);
    let approval = Approval::of(&wanted, &has, &service.config.scopes);
    let ticket = ConsentTicket {
        grant_id: requested.pushed.map_or_else(|| secrets::new_grant_id(visit.now), |pushed| pushed.grant_id),
        query: query.clone(),
        scopes: approval.scopes.clone(),
        user: person.user.clone(),
        account: person.account.clone(),
    };
    let until = visit.now.plus(FORM_LIFETIME);
    let ticket =
        browser.tickets.seal(CONSENT, &person.session_id, &ticket, until).map_err(PageError::broken)?;
    let page = consent::page(service, &wanted, &approval, known.as_ref(), person, ticket, &query);
    Ok(visit.page(&page, Forms::LeaveForAnywhere))
}

/// Sends a browser that has just brought a pushed request on to the same one.
fn arrived(pushed: &Pushed, sealer: &Sealer) -> Result<HttpResponse, PageError> {
    let request_uri = Pushed { arrived: true, ..pushed.clone() }.to_uri(sealer).map_err(PageError::broken)?;
    let named = pushed.parameters.client_id.as_deref().unwrap_or_default();
    let named = utf8_percent_encode(named, NON_ALPHANUMERIC);
    let onward = Onward::authorize(&format!("client_id={named}&request_uri={request_uri}"));
    Ok(see_other(&onward.map_err(PageError::broken)?.location()))
}

/// `POST /oauth/authorize`: the person's decision.
pub async fn decide(visit: Visit, payload: Payload) -> Result<HttpResponse, PageError> {
    let (service, browser) = (&visit.service, &visit.browser);
    // Its size is of our making and the app's: `limits.body` is for what others send.
    let form = read_whole(payload.into_inner(), FORM_MAX_BYTES, "form").await?;
    let form = Form::parse(str::from_utf8(&form).map_err(|_| malformed())?)?;
    let ticket = form.get("ticket").unwrap_or_default();
    // Even if it is old or was made for another person, what it asked can be asked again.
    let made_for = browser.tickets.made_for::<ConsentTicket>(CONSENT, ticket);
    let page =
        made_for.and_then(|ticket| Onward::authorize(&ticket.query).ok()).unwrap_or(Onward::AccountApps);
    let stale = |sentence: &str| PageError::stale_form(sentence, &page);
    let person = visit.signed_in(&page)?;
    let opened = browser.tickets.open(CONSENT, &person.session_id, ticket, visit.now);
    let ticket: ConsentTicket = opened.map_err(|error| match error {
        TicketError::Expired => stale("It was open for too long, so nothing was decided."),
        TicketError::Malformed | TicketError::WrongSession => {
            stale("It was not made for your sign-in in this browser, so nothing was decided.")
        }
    })?;
    if !person.is(&ticket.user, &ticket.account) {
        return Err(stale("It was made for somebody else, so nothing was decided."));
    }
    // The form has an end of its own, and may be sent after that of a pushed request.
    let requested = Requested::read(&ticket.query, &browser.pushed)?;
    let wanted = match requested.check(service, &visit.context).await? {
        Ok(wanted) => wanted,
        Err(refused) => return Ok(refused),
    };
    match form.get("decision") {
        Some("approve") => {
            let known = || consent::known(service, &wanted, &ticket.account);
            let has = || consent::has_from(&ticket.user, known().as_ref(), &wanted.resources);
            if !can_still_be_granted(&ticket.scopes, &wanted, has, &service.config.scopes) {
                return Err(stale(
                    "What the app may do has changed since it was shown, so nothing was decided.",
                ));
            }
            approve(&visit, person, wanted, ticket, requested.pushed.is_some()).await
        }
        Some("deny") => Ok(refused(service, &wanted.target, "access_denied", "the user said no")),
        Some(_) | None => Err(PageError::bad_request("The form must say approve or deny.")),
    }
}

async fn approve(
    visit: &Visit,
    person: &SignedIn,
    wanted: AuthorizationRequest,
    ticket: ConsentTicket,
    is_pushed: bool,
) -> Result<HttpResponse, PageError> {
    let service = &visit.service;
    let approved_at = service.ledger.steady_now();
    let approver = (ticket.account.clone(), ticket.user.clone());
    let counted = service.approvals.count(approver, ticket.grant_id, approved_at);
    counted.map_err(|TooOften(seconds)| {
        let sentence = "You approved too many times within a minute, so nothing was granted.";
        PageError::new(StatusCode::TOO_MANY_REQUESTS, "You approved too often", sentence)
            .hinting("Wait a minute, then reload this page to send the form again.")
            .retry_after(seconds)
    })?;
    let app = recorded(visit, person, &wanted).await?;
    let installation = InstallationId::of(&app.client_id, &ticket.account);
    let code = visit.browser.code_key.code(installation, ticket.grant_id, &person.session_id);
    let command = GrantAccess {
        grant_id: ticket.grant_id,
        client_id: app.client_id,
        account_id: ticket.account,
        user_id: ticket.user,
        scopes: ticket.scopes,
        redirect_uri: wanted.target.redirect_uri.clone(),
        redirect_uri_sent: wanted.target.sent,
        resources: wanted.resources,
        code_challenge: wanted.code_challenge,
        code_digest: code.digest(),
        code_lifetime: service.config.code_lifetime,
        codes_dead_until: app.codes_dead_until.max(service.ledger.codes_dead_until()),
        approved_at,
        not_before: app.first_grant_at(),
    };
    match visit.settle(person, &command).await? {
        Ok(()) => Ok(answer(service, &wanted.target, &[("code", code.expose())])),
        Err(InstallationRefusal::FormUsed) => {
            // A request that was pushed is good for one grant, so nobody starts again with it.
            let again = (!is_pushed).then(|| Onward::authorize(&ticket.query).ok()).flatten();
            Err(approved_before(&app, again))
        }
        Err(refusal) => Err(PageError::bad_request(refusal.to_string())),
    }
}

/// The app as the ledger has it, once what its document says is recorded.
async fn recorded(
    visit: &Visit,
    person: &SignedIn,
    wanted: &AuthorizationRequest,
) -> Result<Arc<App>, PageError> {
    let Some(record) = &wanted.record else { return Ok(Arc::clone(&wanted.app)) };
    let gone = || PageError::bad_request("The app that sent you here is not registered any more.");
    visit.settle(person, record).await?.map_err(|_| gone())?;
    visit.service.ledger.app(&record.client_id()).await?.filter(|app| app.is_active()).ok_or_else(gone)
}

/// The form was sent before and its code is spent, expired or ended. The person may only have come back to an
/// old tab, so the page leads to the app, and to a new form if there can be one.
fn approved_before(app: &App, again: Option<Onward>) -> PageError {
    let sentence =
        format!("You approved {} with this form before, and a form is good for one approval.", app.name);
    let mut page = PageError::new(StatusCode::BAD_REQUEST, "You have answered this already", sentence);
    if let Some((href, _)) = web_page(app.homepage.as_deref()) {
        page = page.going_on(format!("Go to {}", app.name), href);
    }
    if let Some(again) = again {
        page = page.going_on("Start again", again.location());
    }
    page.going_on_to_apps()
}
