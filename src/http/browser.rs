//! What the handlers for people in a browser share: who is there, and the pages they get.

use std::fmt;
use std::future::{Ready, ready};
use std::pin::Pin;

use actix_web::cookie::Cookie;
use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderMap, HeaderValue};
use actix_web::web::Data;
use actix_web::{FromRequest, HttpRequest, HttpResponse, ResponseError};
use grantbook_events::{ActorKind, Timestamp};

use super::context::Context;
use super::form::Form;
use super::openapi::describe::Input;
use super::problem::{BROKEN, Problem};
use super::reason::Reason;
use super::service::Service;
use crate::decisions::Command;
use crate::identity::pending::SignIns;
use crate::identity::session::{Sessions, SignedIn};
use crate::identity::tickets::Tickets;
use crate::identity::{Onward, Sealer};
use crate::ledger::LedgerError;
use crate::pages::{ErrorPage, Forms, Template, WayOn, security_headers};
use crate::secrets::CodeKey;

/// Names the forms of the account pages for their CSRF token (K5).
const ACCOUNT_FORMS: &str = "account/apps";

/// What the handlers for people in a browser share.
#[derive(Debug)]
pub struct Browser {
    /// The sign-ins that browsers have under way.
    pub sign_ins: SignIns,
    pub sessions: Sessions,
    /// Signs the forms.
    pub tickets: Tickets,
    /// Encrypts pushed requests.
    pub pushed: Sealer,
    /// Makes the codes of approvals.
    pub code_key: CodeKey,
}

/// A request of a person in a browser.
pub struct Visit {
    pub service: Data<Service>,
    pub browser: Data<Browser>,
    pub context: Context,
    /// Who is signed in.
    pub person: Option<SignedIn>,
    pub now: Timestamp,
    request: HttpRequest,
}

impl FromRequest for Visit {
    type Error = actix_web::Error;
    type Future = Ready<Result<Self, Self::Error>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let service = Data::<Service>::from_request(request, payload).into_inner();
        let browser = Data::<Browser>::from_request(request, payload).into_inner();
        ready(service.and_then(|service| {
            let (browser, now) = (browser?, service.ledger.now());
            let lifetime = service.config.session.lifetime;
            let person = browser.sessions.signed_in(request.headers(), now, lifetime);
            let context = Context::of(request);
            Ok(Self { service, browser, context, person, now, request: request.clone() })
        }))
    }
}

impl Input for Visit {}

impl FromRequest for Form {
    type Error = actix_web::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Self::Error>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let body = String::from_request(request, payload);
        Box::pin(async move { Ok(Self::parse(&body.await?).map_err(PageError::from)?) })
    }
}

impl Input for Form {}

impl Visit {
    pub fn headers(&self) -> &HeaderMap {
        self.request.headers()
    }

    pub fn query(&self) -> Result<Form, Problem> {
        Form::parse(self.request.query_string())
    }

    /// The person, who was signed in when they got the form that comes back now.
    pub fn signed_in(&self, page: &Onward) -> Result<&SignedIn, PageError> {
        self.person.as_ref().ok_or_else(|| {
            let sentence = "Nothing was changed. Sign in, and you can go on where you were";
            PageError::new(StatusCode::BAD_REQUEST, "You are not signed in any more", sentence)
                .going_on("Sign in and go on", page.location())
        })
    }

    /// Proof that this server made a form of the account pages for this person.
    pub fn csrf_token(&self, person: &SignedIn) -> String {
        self.browser.tickets.csrf_token(&person.session_id, ACCOUNT_FORMS)
    }

    /// Whether a form of the account pages was made for this person. If not, nothing is done.
    pub fn check_csrf_token(
        &self,
        person: &SignedIn,
        form: &Form,
        sentence: &'static str,
    ) -> Result<(), PageError> {
        let token = form.get("csrf").unwrap_or_default();
        if self.browser.tickets.check_csrf_token(&person.session_id, ACCOUNT_FORMS, token) {
            return Ok(());
        }
        Err(PageError::stale_form(sentence, &Onward::AccountApps))
    }

    /// Settles a command of a person.
    pub async fn settle<C: Command>(
        &self,
        person: &SignedIn,
        command: &C,
    ) -> Result<Result<C::Answer, C::Refusal>, LedgerError> {
        let origin = self.context.origin(ActorKind::User, person.user.as_str());
        self.context.settle(&self.service, &origin, command).await
    }

    pub fn page(&self, shown: &impl Template, forms: Forms) -> HttpResponse {
        page(&self.context, StatusCode::OK, shown, forms)
    }
}

/// Renders a page with the headers that protect it.
pub fn page(context: &Context, status: StatusCode, page: &impl Template, forms: Forms) -> HttpResponse {
    match page.render_with_values(&context.prefix) {
        Ok(html) => {
            let mut response = HttpResponse::build(status);
            security_headers(forms).into_iter().for_each(|header| {
                response.insert_header(header);
            });
            response.content_type("text/html; charset=utf-8").body(html)
        }
        Err(error) => Problem::broken("the page cannot be rendered").because(error).error_response(),
    }
}

/// Sends the browser elsewhere: 303, so that a form is never posted on (A9).
pub fn see_other(location: &str) -> HttpResponse {
    let Ok(location) = HeaderValue::from_str(location) else {
        return Problem::broken("the redirect cannot be spelt as a header").error_response();
    };
    HttpResponse::SeeOther()
        .insert_header((header::LOCATION, location))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((header::REFERRER_POLICY, "no-referrer"))
        .finish()
}

/// A response that tells the browser what to keep and what to forget.
pub fn with_cookies(
    mut response: HttpResponse,
    cookies: impl IntoIterator<Item = Cookie<'static>>,
) -> HttpResponse {
    for cookie in cookies {
        if response.add_cookie(&cookie).is_err() {
            tracing::error!("a cookie could not be spelt as a header");
        }
    }
    response
}

/// Why a person gets a page that says no. Middleware renders it, which knows the request.
#[derive(Debug, Clone)]
pub struct PageError {
    page: Box<ErrorPage>,
    /// For the log only.
    cause: Option<String>,
    /// Seconds to wait (RFC 9110 section 10.2.3).
    retry_after: Option<u8>,
}

impl PageError {
    pub fn new(status: StatusCode, title: &'static str, sentence: impl Into<String>) -> Self {
        let (sentence, request_id) = (as_sentence(sentence.into()), String::new());
        let page =
            ErrorPage { status: status.as_u16(), title, sentence, hint: None, ways_on: vec![], request_id };
        Self { page: Box::new(page), cause: None, retry_after: None }
    }

    /// The same, with a cause for the log only.
    #[must_use]
    pub fn because(self, cause: impl fmt::Display) -> Self {
        Self { cause: Some(cause.to_string()), ..self }
    }

    /// The same, with one more link that leads on.
    #[must_use]
    pub fn going_on(mut self, text: impl Into<String>, href: String) -> Self {
        self.page.ways_on.push(WayOn { text: text.into(), href });
        self
    }

    /// The same, with a link to the apps on the person's account.
    #[must_use]
    pub fn going_on_to_apps(self) -> Self {
        self.going_on("See the apps on your account", Onward::AccountApps.location())
    }

    #[must_use]
    pub fn hinting(mut self, hint: &'static str) -> Self {
        self.page.hint = Some(hint);
        self
    }

    #[must_use]
    pub fn retry_after(self, seconds: u8) -> Self {
        Self { retry_after: Some(seconds), ..self }
    }

    pub fn bad_request(sentence: impl Into<String>) -> Self {
        Problem::bad_request(sentence).into()
    }

    pub fn broken(cause: impl fmt::Display) -> Self {
        Problem::broken(BROKEN).because(cause).into()
    }

    /// The form is not one that this server made for this person, or not any more. The page it was on leads to
    /// another.
    pub fn stale_form(sentence: impl Into<String>, page: &Onward) -> Self {
        let way_on = match page {
            Onward::Authorize { .. } => "Go on to what the app asks for",
            Onward::AccountApps => "Go on to the apps on your account",
        };
        Self::new(StatusCode::BAD_REQUEST, "This form is no longer good", sentence)
            .going_on(way_on, page.location())
    }

    /// The page, as an answer to this request.
    pub fn page(&self, context: &Context) -> HttpResponse {
        let shown = ErrorPage { request_id: context.request_id.to_string(), ..(*self.page).clone() };
        let mut response = page(context, self.status_code(), &shown, Forms::Here);
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(u16::from(seconds)));
        }
        Reason::new(&self.page.sentence).because(self.cause.as_deref()).put_on(&mut response);
        response
    }
}

/// What a program would get as a problem.
impl<E: Into<Problem>> From<E> for PageError {
    fn from(error: E) -> Self {
        let problem: Problem = error.into();
        let (title, hint) = match problem.status {
            500 | 503 => ("This does not work right now", "Try again in a minute."),
            413 => ("This form is too large", "Shorten what you typed and send it again."),
            431 => (
                "This address is too long",
                "Start again from where you came from. If that does not help, delete the cookies of this site.",
            ),
            408 => ("This took too long", "Try again."),
            _ => ("This request cannot be answered", "Go back to where you came from and start again."),
        };
        let sentence = match (problem.status, problem.code) {
            (503, "outcome_unknown") => "It is not known whether this happened.",
            (503, _) => "Nothing was changed.",
            (500, _) => "Something in grantbook is broken.",
            _ => return Self::new(problem.status_code(), title, problem.detail).hinting(hint),
        };
        let page = Self::new(problem.status_code(), title, sentence).hinting(hint);
        let page = page.because(problem.cause.unwrap_or(problem.detail));
        if problem.status == 503 { page.retry_after(1) } else { page }
    }
}

/// Refusals are written to stand after a colon; on a page they stand alone. The name of a parameter stays as it
/// is sent.
fn as_sentence(mut text: String) -> String {
    if !text.ends_with('.') {
        text.push('.');
    }
    if text.split(' ').next().is_some_and(|word| word.contains('_')) {
        return text;
    }
    let mut rest = text.chars();
    let first = rest.next().map(char::to_uppercase);
    first.into_iter().flatten().chain(rest).collect()
}

impl fmt::Display for PageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.page.sentence)
    }
}

impl ResponseError for PageError {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.page.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_on_a_page_is_a_sentence() {
        assert_eq!(as_sentence("the app is gone".to_owned()), "The app is gone.");
        assert_eq!(as_sentence("client_id is missing".to_owned()), "client_id is missing.");
        assert_eq!(as_sentence("Éric said no.".to_owned()), "Éric said no.");
    }
}
