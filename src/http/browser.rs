//! What the handlers for people in a browser share: who is there, and the pages they get.

use std::fmt;
use std::future::{Ready, ready};

use actix_web::cookie::Cookie;
use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{FromRequest, HttpRequest, HttpResponse, ResponseError, web};

use super::context::Context;
use super::fault::Fault;
use super::problem::Problem;
use super::reason::Reason;
use crate::audit::AuditError;
use crate::identity::pending::SignIns;
use crate::identity::session::{Session, SessionError, Sessions};
use crate::identity::tickets::{SealError, Tickets};
use crate::identity::{Onward, SignIn};
use crate::ledger::LedgerError;
use crate::pages::{ErrorPage, Forms, Template, WayOn, security_headers};
use crate::secrets::CodeKey;

/// What the handlers for people in a browser share.
#[derive(Debug)]
pub struct Browser {
    /// How people sign in.
    pub sign_in: SignIn,
    /// The sign-ins that browsers have under way.
    pub sign_ins: SignIns,
    /// Reads and writes who is signed in.
    pub sessions: Sessions,
    /// Signs the forms.
    pub tickets: Tickets,
    /// Makes the codes of approvals.
    pub code_key: CodeKey,
}

impl FromRequest for Session {
    type Error = actix_web::Error;
    type Future = Ready<Result<Self, Self::Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let browser = request.app_data::<web::Data<Browser>>();
        ready(Ok(browser.map(|browser| browser.sessions.of(request.headers())).unwrap_or_default()))
    }
}

/// Renders a page with the headers that protect it.
pub fn page(context: &Context, status: StatusCode, page: &impl Template, forms: Forms<'_>) -> HttpResponse {
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

/// Why a person gets a page that says no.
#[derive(Debug, Clone)]
pub struct PageError {
    status: StatusCode,
    title: &'static str,
    sentence: String,
    hint: Option<&'static str>,
    ways_on: Vec<WayOn>,
    context: Box<Context>,
    /// What only the log is told.
    cause: Option<String>,
    /// Seconds to wait (RFC 9110 section 10.2.3).
    retry_after: Option<u8>,
}

impl PageError {
    /// The same, with what only the log is told.
    #[must_use]
    pub fn because(self, cause: impl fmt::Display) -> Self {
        Self { cause: Some(cause.to_string()), ..self }
    }

    /// The request is wrong.
    pub fn bad_request(context: &Context, sentence: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            title: "This request cannot be answered",
            sentence: as_sentence(sentence.into()),
            hint: Some("Go back to where you came from and start again."),
            ways_on: Vec::new(),
            context: Box::new(context.clone()),
            cause: None,
            retry_after: None,
        }
    }

    /// The person approved too often within a minute. The same form can be sent again later.
    pub fn too_often(context: &Context, seconds: u8) -> Self {
        Self {
            status: StatusCode::TOO_MANY_REQUESTS,
            title: "You approved too often",
            hint: Some("Wait a minute, then reload this page to send the form again."),
            retry_after: Some(seconds),
            ..Self::bad_request(
                context,
                "You approved too many times within a minute, so nothing was granted.",
            )
        }
    }

    /// There is no such page, or not by this method.
    pub fn not_here(context: &Context, status: StatusCode) -> Self {
        Self {
            status,
            title: "There is nothing here",
            hint: None,
            ..Self::bad_request(context, "This address leads to no page of this server.")
        }
        .going_on("See the apps on your account", Onward::AccountApps.location())
    }

    /// What a program would be told as this problem.
    pub fn problem(context: &Context, problem: &Problem) -> Self {
        let status = problem.status_code();
        let (title, hint) = match status {
            StatusCode::SERVICE_UNAVAILABLE => return Self::fault(context, Fault::Unavailable),
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
        Self { status, title, hint: Some(hint), ..Self::bad_request(context, problem.detail.as_str()) }
    }

    /// The form is not one that this server made for this person, or not any more. The page it was on leads to
    /// another.
    pub fn stale_form(context: &Context, sentence: impl Into<String>, page: &Onward) -> Self {
        let title = "This form is no longer good";
        Self { title, hint: None, ..Self::bad_request(context, sentence) }.going_on(
            match page {
                Onward::Authorize { .. } => "Go on to what the app asks for",
                Onward::AccountApps => "Go on to the apps on your account",
            },
            page.location(),
        )
    }

    /// The sign-in is over. The page leads to another one and then back.
    pub fn signed_out(context: &Context, page: &Onward) -> Self {
        let sentence = "Nothing was changed. Sign in, and you can go on where you were";
        let title = "You are not signed in any more";
        Self { title, hint: None, ..Self::bad_request(context, sentence) }
            .going_on("Sign in and go on", page.location())
    }

    /// Only an admin of the account may.
    pub fn for_admins(context: &Context) -> Self {
        let sentence = "Ask an admin to uninstall the app. What you approved yourself you can revoke";
        let title = "Only an admin of the account can do this";
        let status = StatusCode::FORBIDDEN;
        Self { status, title, hint: None, ..Self::bad_request(context, sentence) }
            .going_on("Go on to the apps on your account", Onward::AccountApps.location())
    }

    /// Nobody was signed in. The link begins another sign-in.
    pub fn not_signed_in(context: &Context, sentence: impl Into<String>, sign_in: String) -> Self {
        let title = "You could not be signed in";
        Self { title, hint: None, ..Self::bad_request(context, sentence) }.going_on("Sign in again", sign_in)
    }

    /// This page with one more link that leads on.
    #[must_use]
    pub fn going_on(self, text: &str, href: String) -> Self {
        self.leading_on([WayOn { text: text.to_owned(), href }])
    }

    /// The form was answered before.
    pub fn answered_before(context: &Context, sentence: impl Into<String>) -> Self {
        Self { title: "You have answered this already", hint: None, ..Self::bad_request(context, sentence) }
    }

    /// This page with links that lead on.
    #[must_use]
    pub fn leading_on(mut self, ways: impl IntoIterator<Item = WayOn>) -> Self {
        self.ways_on.extend(ways);
        self
    }

    /// Something broke.
    pub fn fault(context: &Context, fault: Fault) -> Self {
        Self {
            status: fault.status(),
            title: "This does not work right now",
            sentence: match fault {
                Fault::Unavailable => "Nothing was changed.".to_owned(),
                Fault::OutcomeUnknown => "It is not known whether this happened.".to_owned(),
                Fault::Broken => "Something in grantbook is broken.".to_owned(),
            },
            hint: Some("Try again in a minute."),
            ways_on: Vec::new(),
            context: Box::new(context.clone()),
            cause: None,
            retry_after: (fault.status() == StatusCode::SERVICE_UNAVAILABLE).then_some(1),
        }
    }

    /// The ledger could not settle it.
    pub fn ledger(context: &Context, error: LedgerError) -> Self {
        Self::fault(context, Fault::of(&error)).because(error)
    }

    /// The history could not be asked.
    pub fn audit(context: &Context, error: AuditError) -> Self {
        match error {
            AuditError::Ledger(error) => Self::ledger(context, error),
            AuditError::History(_) | AuditError::NotYet(_) | AuditError::Backwards { .. } => {
                Self::fault(context, Fault::Unavailable).because(error)
            }
        }
    }

    /// The session could not be written.
    pub fn session(context: &Context, error: &SessionError) -> Self {
        Self::fault(context, Fault::Broken).because(format_args!("the session cannot be written: {error}"))
    }

    /// A form could not be signed.
    pub fn seal(context: &Context, error: &SealError) -> Self {
        Self::fault(context, Fault::Broken).because(format_args!("the form cannot be signed: {error}"))
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

    fn error_response(&self) -> HttpResponse {
        let shown = ErrorPage {
            status: self.status.as_u16(),
            title: self.title.to_owned(),
            sentence: self.sentence.clone(),
            hint: self.hint.map(str::to_owned),
            ways_on: self.ways_on.clone(),
            request_id: self.context.request_id.to_string(),
        };
        let mut response = page(&self.context, self.status, &shown, Forms::Here);
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(u16::from(seconds)));
        }
        Reason::new(&self.sentence).because(self.cause.as_deref()).put_on(&mut response);
        response
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
