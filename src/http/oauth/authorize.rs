//! `/oauth/authorize`: a person is asked whether an app may be installed (RFC 6749 section 4.1.1).

use std::future::{Ready, ready};
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::web::Payload;
use actix_web::{FromRequest, HttpRequest, HttpResponse, dev};
use grantbook_events::{AccountId, ClientId, GrantId, InstallationId, UserId};
use grantbook_projections::App;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use serde_json::json;
use url::Url;

use crate::decisions::authorization_request::{
    AuthorizationRequest, Parameters, RedirectTarget, RequestError, check_request, redirect_target,
};
use crate::decisions::{GrantAccess, InstallationRefusal};
use crate::http::{
    Caller, Context, Form, PageError, Reason, Service, Visit,
    form::malformed,
    oauth::rate_limits::TooOften,
    openapi::describe::{Input, Operation},
    read_whole, see_other, sign_in,
};
use crate::identity::Onward;
use crate::identity::session::SignedIn;
use crate::identity::tickets::{self, TicketError};
use crate::pages::{ConsentPage, Forms, web_page};
use crate::secrets;

/// How long a consent form can be sent. Shorter than grants are remembered, so that a form sent twice is
/// always noticed.
const FORM_LIFETIME: Duration = tickets::LONGEST_LIFETIME;
/// The largest consent form, in bytes: the ticket has the whole request, of up to 64 KiB, in base64url.
const FORM_MAX_BYTES: usize = 96 * 1024;
/// Names the consent form for its ticket.
const CONSENT: &str = "consent";
/// The parameters of an authorization request, whether they are required, and what they may be. Each may be there once
/// (A1).
const PARAMETERS: [(&str, bool, &str); 8] = [
    ("client_id", true, ""),
    ("scope", true, ""),
    ("redirect_uri", false, ""),
    ("state", false, ""),
    ("response_type", false, "code; may be absent"),
    ("response_mode", false, "query; may be absent"),
    ("code_challenge", false, ""),
    ("code_challenge_method", false, "S256"),
];

/// The query of an authorization request, as it came.
pub struct RawQuery(String);

impl FromRequest for RawQuery {
    type Error = PageError;
    type Future = Ready<Result<Self, PageError>>;

    fn from_request(request: &HttpRequest, _: &mut dev::Payload) -> Self::Future {
        ready(Ok(Self(request.query_string().to_owned())))
    }
}

impl Input for RawQuery {
    fn describe(operation: &mut Operation) {
        for (name, required, description) in PARAMETERS {
            let schema = match name {
                "client_id" => operation.schema::<ClientId>(),
                _ => json!({ "type": "string" }),
            };
            let mut parameter =
                json!({ "name": name, "in": "query", "required": required, "schema": schema });
            if !description.is_empty() {
                parameter["description"] = description.into();
            }
            operation.parameters.push(parameter);
        }
    }
}

/// What a consent form was made for. The request is kept as it came and checked again when the form comes
/// back: the app may have been changed, suspended or deleted meanwhile.
#[derive(Serialize, Deserialize)]
struct ConsentTicket {
    grant_id: GrantId,
    query: String,
    user: UserId,
    account: AccountId,
}

/// `GET /oauth/authorize`
pub async fn ask(visit: Visit, RawQuery(query): RawQuery) -> Result<HttpResponse, PageError> {
    let service = &visit.service;
    let checked = check(service, &visit.context, &query).await?;
    // Nothing redirects to an app before the person is known, or this endpoint would be a way to send
    // strangers anywhere an app likes (A7).
    let Some(person) = &visit.person else {
        let onward = Onward::authorize(&query);
        let onward = onward.map_err(|_| PageError::bad_request("This request is too long."))?;
        return Ok(see_other(&sign_in::path(&onward)));
    };
    let wanted = match checked {
        Ok(wanted) => wanted,
        Err(refused) => return Ok(refused),
    };
    let ticket = ConsentTicket {
        grant_id: secrets::new_grant_id(visit.now),
        query: query.clone(),
        user: person.user.clone(),
        account: person.account.clone(),
    };
    let until = visit.now.plus(FORM_LIFETIME);
    let ticket =
        visit.browser.tickets.seal(CONSENT, &person.session_id, &ticket, until).map_err(PageError::broken)?;
    Ok(visit.page(&consent_page(service, wanted, person, ticket, &query), Forms::LeaveForAnywhere))
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
    let wanted = match check(service, &visit.context, &ticket.query).await? {
        Ok(wanted) => wanted,
        Err(refused) => return Ok(refused),
    };
    match form.get("decision") {
        Some("approve") => approve(&visit, person, wanted, ticket).await,
        Some("deny") => Ok(refused(service, &wanted.target, "access_denied", "the user said no")),
        Some(_) | None => Err(PageError::bad_request("The form must say approve or deny.")),
    }
}

async fn approve(
    visit: &Visit,
    person: &SignedIn,
    wanted: AuthorizationRequest,
    ticket: ConsentTicket,
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
    let installation = InstallationId::of(&wanted.app.client_id, &ticket.account);
    let code = visit.browser.code_key.code(installation, ticket.grant_id, &person.session_id);
    let command = GrantAccess {
        grant_id: ticket.grant_id,
        client_id: wanted.app.client_id,
        account_id: ticket.account,
        user_id: ticket.user,
        scopes: wanted.scopes,
        redirect_uri: wanted.target.redirect_uri.clone(),
        redirect_uri_sent: wanted.target.sent,
        code_challenge: wanted.code_challenge,
        code_digest: code.digest(),
        code_lifetime: service.config.code_lifetime,
        codes_dead_until: wanted.app.codes_dead_until.max(service.ledger.codes_dead_until()),
        approved_at,
        not_before: wanted.app.first_grant_at(),
    };
    match visit.settle(person, &command).await? {
        Ok(()) => Ok(answer(service, &wanted.target, &[("code", code.expose())])),
        Err(InstallationRefusal::FormUsed) => Err(approved_before(&wanted.app, &ticket.query)),
        Err(refusal) => Err(PageError::bad_request(refusal.to_string())),
    }
}

/// The form was sent before and its code is spent, expired or ended. The person may only have come back to an
/// old tab, so the page leads to the app, and to a new form.
fn approved_before(app: &App, query: &str) -> PageError {
    let sentence =
        format!("You approved {} with this form before, and a form is good for one approval.", app.name);
    let mut page = PageError::new(StatusCode::BAD_REQUEST, "You have answered this already", sentence);
    if let Some((href, _)) = web_page(app.homepage.as_deref()) {
        page = page.going_on(format!("Go to {}", app.name), href);
    }
    if let Ok(again) = Onward::authorize(query) {
        page = page.going_on("Start again", again.location());
    }
    page.going_on_to_apps()
}

/// Checks a raw query. What is refused goes back to the app, or to the person if there is nowhere to send an answer to
/// (A2).
async fn check(
    service: &Service,
    context: &Context,
    query: &str,
) -> Result<Result<AuthorizationRequest, HttpResponse>, PageError> {
    let form = Form::parse(query)?;
    let value = |name| form.get(name).map(str::to_owned);
    let parameters = Parameters {
        client_id: value("client_id"),
        response_type: value("response_type"),
        response_mode: value("response_mode"),
        redirect_uri: value("redirect_uri"),
        scope: value("scope"),
        state: value("state"),
        code_challenge: value("code_challenge"),
        code_challenge_method: value("code_challenge_method"),
        repeated: form.repeated(&PARAMETERS.map(|(name, ..)| name)).map(str::to_owned),
    };
    let client_id: Option<ClientId> = form.get("client_id").and_then(|id| id.parse().ok());
    if let Some(id) = client_id {
        context.is_from(Caller::App(id));
    }
    let app = match client_id {
        Some(id) => service.ledger.app(&id).await?,
        None => None,
    };
    let target = redirect_target(app.as_deref(), &parameters)
        .map_err(|error| PageError::bad_request(format!("{error}.")))?;
    // A target was found, so there is an app.
    let app = app.ok_or_else(|| PageError::bad_request("the app that sent you here is not registered."))?;
    Ok(check_request(app, target.clone(), &parameters, &service.config.scopes).map_err(|error| {
        let code = match error {
            RequestError::InvalidRequest(_) => "invalid_request",
            RequestError::UnsupportedResponseType => "unsupported_response_type",
            RequestError::InvalidScope(_) => "invalid_scope",
        };
        refused(service, &target, code, &error.to_string())
    }))
}

/// An error that goes back to the app, with its reason for the log.
fn refused(service: &Service, target: &RedirectTarget, code: &str, description: &str) -> HttpResponse {
    let mut response = answer(service, target, &[("error", code), ("error_description", description)]);
    Reason::new(format_args!("{code}: {description}")).put_on(&mut response);
    response
}

/// Everything but the unreserved characters (RFC 3986 section 2.3): what comes back decodes to the same
/// bytes whether or not the app takes `+` for a space.
const VALUE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Sends the browser back to the app (RFC 6749 section 4.1.2, RFC 9207), keeping the redirect URI's own
/// query (A8).
fn answer(service: &Service, target: &RedirectTarget, values: &[(&str, &str)]) -> HttpResponse {
    let mut location = target.redirect_uri.clone();
    let state = target.state.as_deref().map(|state| ("state", state));
    for (name, value) in values.iter().copied().chain(state).chain([("iss", service.issuer())]) {
        match location.find('?') {
            None => location.push('?'),
            Some(_) if location.ends_with(['?', '&']) => {}
            Some(_) => location.push('&'),
        }
        location.push_str(name);
        location.push('=');
        location.extend(utf8_percent_encode(value, VALUE));
    }
    see_other(&location)
}

fn consent_page(
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
