//! `/sign-in`: finding out who the person in the browser is, and `/sign-out`.

use actix_session::Session;
use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};

use super::account::ACCOUNT_FORMS;
use super::browser::{Browser, PageError, SignIn, page, see_other};
use super::context::Context;
use super::form::Form;
use super::service::Service;
use crate::identity::dev::{DevForm, DevSignIn};
use crate::identity::{Onward, session};
use crate::pages::{DevPersonLine, DevSignInPage, Forms, SignInUnavailablePage, SignedOutPage};

/// Names the dev sign-in form for its CSRF token.
const DEV_FORM: &str = "sign-in/dev";

/// The path that signs a person in and then goes on.
pub(super) fn path(onward: &Onward) -> String {
    format!("/sign-in?continue={}", onward.to_param())
}

fn onward(context: &Context, form: &Form) -> Result<Onward, PageError> {
    Onward::from_param(form.get("continue").unwrap_or_default())
        .map_err(|error| PageError::bad_request(context, error.to_string()))
}

fn query(context: &Context, request: &HttpRequest) -> Result<Form, PageError> {
    Form::parse(request.query_string()).map_err(|error| PageError::bad_request(context, error.to_string()))
}

/// `GET /sign-in?continue=…`
pub async fn begin(
    request: HttpRequest,
    context: Context,
    service: web::Data<Service>,
    browser: web::Data<Browser>,
    session: Session,
) -> Result<HttpResponse, PageError> {
    let onward = onward(&context, &query(&context, &request)?)?;
    match &browser.sign_in {
        SignIn::NotConfigured => {
            let shown = SignInUnavailablePage { request_id: context.request_id.to_string() };
            Ok(page(&context, StatusCode::SERVICE_UNAVAILABLE, &shown, Forms::Here))
        }
        SignIn::Dev(dev) => dev_page(StatusCode::OK, &context, &browser, &session, dev, &onward, None),
        SignIn::Handoff(handoff) => {
            let login = handoff.begin(&session, &onward, service.ledger.now());
            Ok(see_other(login.map_err(|error| PageError::session(&context, &error))?.as_str()))
        }
    }
}

fn dev_page(
    status: StatusCode,
    context: &Context,
    browser: &Browser,
    session: &Session,
    dev: &DevSignIn,
    onward: &Onward,
    error: Option<String>,
) -> Result<HttpResponse, PageError> {
    let visit = session::visit(session).map_err(|error| PageError::session(context, &error))?;
    let people = dev.people().iter().map(|person| DevPersonLine {
        name: person.name.to_owned(),
        user: person.user.to_owned(),
        account: person.account.to_owned(),
    });
    let shown = DevSignInPage {
        people: people.collect(),
        error,
        continue_query: onward.to_param(),
        csrf: browser.tickets.csrf_token(&visit, DEV_FORM),
    };
    // The sign-in leads on to an app's redirect URI when its request is one that is refused.
    Ok(page(context, status, &shown, Forms::LeaveForAnywhere))
}

/// `POST /sign-in/dev`
pub async fn dev(
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
    let visit = session::visit(&session).map_err(|error| PageError::session(&context, &error))?;
    let csrf = form.get("csrf").unwrap_or_default();
    if !browser.tickets.check_csrf_token(&visit, DEV_FORM, csrf) {
        return Err(PageError::stale_form(&context, "This sign-in was not started in this browser."));
    }
    let onward = onward(&context, &form)?;
    let field = |name| form.get(name).unwrap_or_default().to_owned();
    let chosen = DevForm { person: field("person"), user: field("user"), account: field("account") };
    match dev.read(&chosen) {
        Ok((user, account)) => {
            session::establish(&session, user, account, service.ledger.now())
                .map_err(|error| PageError::session(&context, &error))?;
            Ok(see_other(&onward.location()))
        }
        Err(error) => {
            let status = StatusCode::UNPROCESSABLE_ENTITY;
            dev_page(status, &context, &browser, &session, dev, &onward, Some(error.to_string()))
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
    let token = query.get("token").unwrap_or_default();
    let now = service.ledger.now();
    let arrived = handoff.finish(&session, token, now).map_err(|error| {
        tracing::warn!(request_id = %context.request_id, reason = %error, "a handoff was refused");
        PageError::stale_form(&context, error.sentence())
    })?;
    session::establish(&session, arrived.user, arrived.account, now)
        .map_err(|error| PageError::session(&context, &error))?;
    Ok(see_other(&onward.location()))
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
            return Err(PageError::stale_form(&context, "This form was made for another session."));
        }
    }
    session::end(&session);
    let sign_in_href = Some(path(&Onward::AccountApps));
    Ok(page(&context, StatusCode::OK, &SignedOutPage { sign_in_href }, Forms::Here))
}
