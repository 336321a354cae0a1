//! Why something was not done, and the page that says so. Knows: reasons and statuses; the words are in the
//! template. Must not know: what was asked for.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, ResponseError};
use askama::Template;

use super::grantbook::CallError;
use crate::pages::{Forms, filters, security_headers};

#[derive(Debug, Template)]
#[template(path = "sample-error.html", config = ".askama.toml")]
pub(super) enum Refused {
    NoSuchPage,
    WrongHost,
    StaleForm,
    /// This browser did not leave with this `state`, or its answer was used already.
    NotAsked,
    WrongIssuer,
    Denied,
    /// grantbook sent the browser back with an error.
    Error {
        error: String,
        description: String,
    },
    NoCode,
    Call(CallError),
}

impl From<CallError> for Refused {
    fn from(error: CallError) -> Self {
        Self::Call(error)
    }
}

impl ResponseError for Refused {
    fn status_code(&self) -> StatusCode {
        match self {
            // The app works as it should.
            Self::Denied => StatusCode::OK,
            Self::NoSuchPage => StatusCode::NOT_FOUND,
            Self::WrongHost => StatusCode::MISDIRECTED_REQUEST,
            Self::Call(_) => StatusCode::BAD_GATEWAY,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    fn error_response(&self) -> HttpResponse {
        page(self.status_code(), self)
    }
}

/// A page with the headers that protect it.
pub(super) fn page(status: StatusCode, page: &impl Template) -> HttpResponse {
    let html = match page.render() {
        Ok(html) => html,
        Err(error) => return HttpResponse::InternalServerError().body(error.to_string()),
    };
    let mut response = HttpResponse::build(status);
    for header in security_headers(Forms::Here) {
        response.insert_header(header);
    }
    response.content_type("text/html; charset=utf-8").body(html)
}
