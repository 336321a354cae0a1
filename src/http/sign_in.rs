//! `/sign-in`: finding out who the person in the browser is, and `/sign-out`.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use grantbook_events::Timestamp;

use super::account::ACCOUNT_FORMS;
use super::browser::{Browser, PageError, page, see_other, with_cookies};
use super::context::Context;
use super::form::Form;
use super::reason::Reason;
use super::service::Service;
use crate::identity::dev::{DevForm, DevSignIn};
use crate::identity::handoff::{Arrived, HandoffError, SELECT_ACCOUNT};
use crate::identity::pending::UnderWay;
use crate::identity::session::{Session, SignedIn};
use crate::identity::{Onward, SignIn, session};
use crate::pages::{DevPersonLine, DevSignInPage, Forms, SignInUnavailablePage, SignOutPage, SignedOutPage};

/// The path that signs a person in and then goes on.
pub(super) fn path(onward: &Onward) -> String {
    format!("/sign-in?continue={}", onward.to_param())
}

/// The path that lets a person be somebody else and then goes on.
pub(super) fn as_another(onward: &Onward) -> String {
    format!("{}&prompt={SELECT_ACCOUNT}", path(onward))
}

fn onward(context: &Context, form: &Form) -> Result<Onward, PageError> {
    Onward::from_param(form.get("continue").unwrap_or_default()).map_err(|error| unreadable(context, error))
}

fn query(context: &Context, request: &HttpRequest) -> Result<Form, PageError> {
    Form::parse(request.query_string()).map_err(|error| unreadable(context, error))
}

fn unreadable(context: &Context, error: impl std::fmt::Display) -> PageError {
    PageError::bad_request(context, error.to_string())
        .going_on("See the apps on your account", Onward::AccountApps.location())
}

/// `GET /sign-in?continue=…&prompt=…`
pub async fn begin(
    request: HttpRequest,
    context: Context,
    service: web::Data<Service>,
    browser: web::Data<Browser>,
) -> Result<HttpResponse, PageError> {
    let query = query(&context, &request)?;
    let onward = onward(&context, &query)?;
    let begun = browser.sign_ins.begin(request.headers(), service.ledger.process_time());
    let answer = match &browser.sign_in {
        SignIn::NotConfigured => {
            let shown = SignInUnavailablePage { request_id: context.request_id.to_string() };
            let mut response = page(&context, StatusCode::SERVICE_UNAVAILABLE, &shown, Forms::Here);
            Reason::new("no sign-in is configured: set sign_in.mode").put_on(&mut response);
            return Ok(response);
        }
        SignIn::Handoff(handoff) => {
            let another = query.get("prompt") == Some(SELECT_ACCOUNT);
            see_other(handoff.login_location(&service.issuer, &begun.nonce, &onward, another).as_str())
        }
        SignIn::Dev(dev) => dev_page(&context, StatusCode::OK, dev, &begun.nonce, &onward, None),
    };
    Ok(with_cookies(answer, begun.cookies))
}

fn dev_page(
    context: &Context,
    status: StatusCode,
    dev: &DevSignIn,
    nonce: &str,
    onward: &Onward,
    error: Option<String>,
) -> HttpResponse {
    let people = dev.people().iter().map(|person| DevPersonLine {
        name: person.name.to_owned(),
        user: person.user.to_owned(),
        account: person.account.to_owned(),
    });
    let shown = DevSignInPage {
        people: people.collect(),
        error: error.clone(),
        continue_query: onward.to_param(),
        csrf: nonce.to_owned(),
    };
    // The sign-in leads on to an app's redirect URI when its request is one that is refused.
    let mut response = page(context, status, &shown, Forms::LeaveForAnywhere);
    if let Some(error) = error {
        Reason::new(error).put_on(&mut response);
    }
    response
}

/// `POST /sign-in/dev`
pub async fn dev(
    request: HttpRequest,
    context: Context,
    service: web::Data<Service>,
    browser: web::Data<Browser>,
    session: Session,
    body: String,
) -> Result<HttpResponse, PageError> {
    let SignIn::Dev(dev) = &browser.sign_in else {
        return Err(PageError::bad_request(&context, "The dev sign-in is off."));
    };
    let form = Form::parse(&body).map_err(|error| PageError::bad_request(&context, error.to_string()))?;
    let onward = onward(&context, &form)?;
    let nonce = form.get("csrf").unwrap_or_default();
    let now = service.ledger.now();
    let under_way = browser.sign_ins.of(request.headers(), service.ledger.process_time());
    if !under_way.has(nonce) {
        let sentence = "This sign-in took too long, or was started in another browser.";
        return Err(PageError::not_signed_in(&context, sentence, path(&onward)));
    }
    let field = |name| form.get(name).unwrap_or_default().to_owned();
    let chosen = DevForm { person: field("person"), user: field("user"), account: field("account") };
    match dev.read(&chosen) {
        Ok(person) => {
            let before = session::signed_in(&session, now, service.session_lifetime);
            let arrived = Arrived { person, nonce: nonce.to_owned() };
            let arrival = Arrival { arrived, under_way, before, now };
            arrive(&context, &browser, arrival, &onward)
        }
        Err(error) => {
            let status = StatusCode::UNPROCESSABLE_ENTITY;
            Ok(dev_page(&context, status, dev, nonce, &onward, Some(error.to_string())))
        }
    }
}

/// `GET /sign-in/handoff?token=…&continue=…`: back from the host platform.
pub async fn handoff(
    request: HttpRequest,
    context: Context,
    service: web::Data<Service>,
    browser: web::Data<Browser>,
    session: Session,
) -> Result<HttpResponse, PageError> {
    let SignIn::Handoff(handoff) = &browser.sign_in else {
        return Err(PageError::bad_request(&context, "The handoff is off."));
    };
    let query = query(&context, &request)?;
    let onward = onward(&context, &query)?;
    let now = service.ledger.now();
    let under_way = browser.sign_ins.of(request.headers(), service.ledger.process_time());
    let before = session::signed_in(&session, now, service.session_lifetime);
    let token = query.get("token").unwrap_or_default();
    match handoff.finish(&service.issuer, &under_way, token, now) {
        Ok(arrived) => arrive(&context, &browser, Arrival { arrived, under_way, before, now }, &onward),
        // Asked for twice by the browser that set out: the other answer signs the person in.
        Err(HandoffError::Reused) => Ok(see_other(&onward.location())),
        Err(error) if error.may_be_done() && before.is_some() => Ok(see_other(&onward.location())),
        Err(error) => Err(PageError::not_signed_in(&context, error.sentence(), path(&onward)).because(error)),
    }
}

/// Somebody who comes back from where they said who they are.
struct Arrival {
    arrived: Arrived,
    under_way: UnderWay,
    /// Who was signed in here until now.
    before: Option<SignedIn>,
    now: Timestamp,
}

/// Signs a person in, and goes on. The sign-in is not under way any more, and all others are left alone.
fn arrive(
    context: &Context,
    browser: &Browser,
    arrival: Arrival,
    onward: &Onward,
) -> Result<HttpResponse, PageError> {
    let Arrival { arrived: Arrived { person, nonce }, under_way, before, now } = arrival;
    // Who was here already and comes back through another tab goes on in the same session: what is open in
    // the first tab is still theirs.
    let same = before.filter(|before| before.is(&person.user, &person.account));
    let session_id = same.map(|before| before.session_id);
    let session_id =
        session_id.unwrap_or_else(|| browser.sign_ins.session_id(&under_way, &person.user, &person.account));
    let signed_in = SignedIn { person, session_id, since: now };
    let cookie = browser.sessions.cookie(&signed_in).map_err(|error| PageError::session(context, &error))?;
    Ok(with_cookies(see_other(&onward.location()), [cookie, browser.sign_ins.done(&nonce)]))
}

/// `GET /sign-out`: asks, so that no link of another site signs anybody out.
pub async fn ask_to_sign_out(
    context: Context,
    service: web::Data<Service>,
    browser: web::Data<Browser>,
    session: Session,
) -> HttpResponse {
    match session::signed_in(&session, service.ledger.now(), service.session_lifetime) {
        None => signed_out_page(&context),
        Some(person) => {
            let csrf = browser.tickets.csrf_token(&person.session_id, ACCOUNT_FORMS);
            page(&context, StatusCode::OK, &SignOutPage { user: person.user_in_words(), csrf }, Forms::Here)
        }
    }
}

/// `POST /sign-out`
pub async fn sign_out(
    context: Context,
    service: web::Data<Service>,
    browser: web::Data<Browser>,
    session: Session,
    body: String,
) -> Result<HttpResponse, PageError> {
    let form = Form::parse(&body).map_err(|error| PageError::bad_request(&context, error.to_string()))?;
    if let Some(person) = session::signed_in(&session, service.ledger.now(), service.session_lifetime) {
        let csrf = form.get("csrf").unwrap_or_default();
        if !browser.tickets.check_csrf_token(&person.session_id, ACCOUNT_FORMS, csrf) {
            let sentence = "This form was made for another sign-in, so you are still signed in.";
            return Err(PageError::stale_form(&context, sentence, &Onward::AccountApps));
        }
    }
    Ok(with_cookies(signed_out_page(&context), [browser.sessions.removal()]))
}

fn signed_out_page(context: &Context) -> HttpResponse {
    let shown = SignedOutPage {
        sign_in_href: path(&Onward::AccountApps),
        another_href: as_another(&Onward::AccountApps),
    };
    page(context, StatusCode::OK, &shown, Forms::Here)
}
