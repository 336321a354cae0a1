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
use super::fault::Fault;
use super::form::{Form, MalformedForm};
use super::openapi::describe::Input;
use super::problem::Problem;
use super::reason::Reason;
use super::service::Service;
use crate::audit::AuditError;
use crate::decisions::Command;
use crate::identity::pending::SignIns;
use crate::identity::session::{Sessions, SignedIn};
use crate::identity::tickets::{SealError, Tickets};
use crate::identity::{Onward, SignIn};
use crate::ledger::LedgerError;
use crate::pages::{ErrorPage, Forms, Template, WayOn, security_headers};
use crate::secrets::CodeKey;

/// Names the forms of the account pages for their CSRF token (K5).
const ACCOUNT_FORMS: &str = "account/apps";

/// What the handlers for people in a browser share.
#[derive(Debug)]
pub struct Browser {
    pub sign_in: SignIn,
    /// The sign-ins that browsers have under way.
    pub sign_ins: SignIns,
    pub sessions: Sessions,
    /// Signs the forms.
    pub tickets: Tickets,
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
            let person = browser.sessions.signed_in(request.headers(), now, service.session_lifetime);
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

    pub fn raw_query(&self) -> &str {
        self.request.query_string()
    }

    pub fn query(&self) -> Result<Form, MalformedForm> {
        Form::parse(self.raw_query())
    }

    /// The person, who was signed in when they got the form that comes back now.
    pub fn signed_in(&self, page: &Onward) -> Result<&SignedIn, PageError> {
        self.person.as_ref().ok_or_else(|| PageError::signed_out(page))
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
        self.service.settle(&origin, command).await
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
        Err(error) => {
            let said = "grantbook cannot answer";
            let mut response = HttpResponse::InternalServerError().content_type("text/plain").body(said);
            Reason::new(said)
                .because(Some(&format!("the page cannot be rendered: {error}")))
                .put_on(&mut response);
            response
        }
    }
}

/// Sends the browser elsewhere: 303, so that a form is never posted on (A9).
pub fn see_other(location: &str) -> HttpResponse {
    let Ok(location) = HeaderValue::from_str(location) else {
        let mut response = HttpResponse::InternalServerError().finish();
        Reason::new("the redirect cannot be spelt as a header").put_on(&mut response);
        return response;
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
    status: StatusCode,
    title: &'static str,
    sentence: String,
    hint: Option<&'static str>,
    ways_on: Vec<WayOn>,
    /// For the log only.
    cause: Option<String>,
    /// Seconds to wait (RFC 9110 section 10.2.3).
    retry_after: Option<u8>,
}

impl PageError {
    fn new(status: StatusCode, title: &'static str, sentence: impl Into<String>) -> Self {
        Self {
            status,
            title,
            sentence: as_sentence(sentence.into()),
            hint: None,
            ways_on: Vec::new(),
            cause: None,
            retry_after: None,
        }
    }

    /// The same, with a cause for the log only.
    #[must_use]
    pub fn because(self, cause: impl fmt::Display) -> Self {
        Self { cause: Some(cause.to_string()), ..self }
    }

    /// The same, with one more link that leads on.
    #[must_use]
    pub fn going_on(mut self, text: impl Into<String>, href: String) -> Self {
        self.ways_on.push(WayOn { text: text.into(), href });
        self
    }

    #[must_use]
    fn hinting(self, hint: &'static str) -> Self {
        Self { hint: Some(hint), ..self }
    }

    /// The request is wrong.
    pub fn bad_request(sentence: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "This request cannot be answered", sentence)
            .hinting("Go back to where you came from and start again.")
    }

    /// The person approved too often within a minute. The same form can be sent again later.
    pub fn too_often(seconds: u8) -> Self {
        let sentence = "You approved too many times within a minute, so nothing was granted.";
        let page = Self::new(StatusCode::TOO_MANY_REQUESTS, "You approved too often", sentence)
            .hinting("Wait a minute, then reload this page to send the form again.");
        Self { retry_after: Some(seconds), ..page }
    }

    /// There is no such page, or not by this method.
    pub fn not_here(status: StatusCode) -> Self {
        Self::new(status, "There is nothing here", "This address leads to no page of this server.")
            .going_on("See the apps on your account", Onward::AccountApps.location())
    }

    /// What a program would get as this problem.
    pub fn problem(problem: &Problem) -> Self {
        let status = problem.status_code();
        let (title, hint) = match status {
            StatusCode::SERVICE_UNAVAILABLE => return Self::fault(Fault::Unavailable),
            StatusCode::PAYLOAD_TOO_LARGE => {
                ("This form is too large", "Shorten what you typed and send it again.")
            }
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => (
                "This address is too long",
                "Start again from where you came from. If that does not help, delete the cookies of this site.",
            ),
            StatusCode::REQUEST_TIMEOUT => ("This took too long", "Try again."),
            _ => ("This request cannot be answered", "Go back to where you came from and start again."),
        };
        Self::new(status, title, problem.detail.as_str()).hinting(hint)
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

    /// The sign-in is over. The page leads to another one and then back.
    pub fn signed_out(page: &Onward) -> Self {
        let sentence = "Nothing was changed. Sign in, and you can go on where you were";
        Self::new(StatusCode::BAD_REQUEST, "You are not signed in any more", sentence)
            .going_on("Sign in and go on", page.location())
    }

    /// Only an admin of the account may.
    pub fn for_admins() -> Self {
        let sentence = "Ask an admin to uninstall the app. What you approved yourself you can revoke";
        Self::new(StatusCode::FORBIDDEN, "Only an admin of the account can do this", sentence)
            .going_on("Go on to the apps on your account", Onward::AccountApps.location())
    }

    /// Nobody was signed in. The link begins another sign-in.
    pub fn not_signed_in(sentence: impl Into<String>, sign_in: String) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "You could not be signed in", sentence)
            .going_on("Sign in again", sign_in)
    }

    /// The form was answered before.
    pub fn answered_before(sentence: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "You have answered this already", sentence)
    }

    /// Something broke.
    fn fault(fault: Fault) -> Self {
        let sentence = match fault {
            Fault::Unavailable => "Nothing was changed.",
            Fault::OutcomeUnknown => "It is not known whether this happened.",
            Fault::Broken => "Something in grantbook is broken.",
        };
        let page = Self::new(fault.status(), "This does not work right now", sentence)
            .hinting("Try again in a minute.");
        Self { retry_after: (fault.status() == StatusCode::SERVICE_UNAVAILABLE).then_some(1), ..page }
    }

    /// The page, as an answer to this request.
    pub fn page(&self, context: &Context) -> HttpResponse {
        let shown = ErrorPage {
            status: self.status.as_u16(),
            title: self.title.to_owned(),
            sentence: self.sentence.clone(),
            hint: self.hint.map(str::to_owned),
            ways_on: self.ways_on.clone(),
            request_id: context.request_id.to_string(),
        };
        let mut response = page(context, self.status, &shown, Forms::Here);
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(u16::from(seconds)));
        }
        Reason::new(&self.sentence).because(self.cause.as_deref()).put_on(&mut response);
        response
    }
}

impl From<LedgerError> for PageError {
    fn from(error: LedgerError) -> Self {
        Self::fault(Fault::of(&error)).because(error)
    }
}

impl From<AuditError> for PageError {
    fn from(error: AuditError) -> Self {
        match error {
            AuditError::Ledger(error) => error.into(),
            AuditError::History(_) | AuditError::NotYet(_) | AuditError::Backwards { .. } => {
                Self::fault(Fault::Unavailable).because(error)
            }
        }
    }
}

impl From<SealError> for PageError {
    fn from(error: SealError) -> Self {
        Self::fault(Fault::Broken).because(error)
    }
}

impl From<MalformedForm> for PageError {
    fn from(error: MalformedForm) -> Self {
        Self::bad_request(error.to_string())
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
        f.write_str(&self.sentence)
    }
}

impl ResponseError for PageError {
    fn status_code(&self) -> StatusCode {
        self.status
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
