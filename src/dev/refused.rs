//! Why something was not done, and the page that says so. Knows: reasons and statuses; the words are in the
//! template. Must not know: what was asked for.

use actix_web::http::{StatusCode, header::ContentType};
use actix_web::{HttpResponse, ResponseError};

use super::grantbook::CallError;
use crate::pages::{Template, filters};

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
    /// grantbook sent the browser back with an error and, perhaps, its description.
    Error(String, String),
    NoCode,
    Call(CallError),
}

impl From<CallError> for Refused {
    fn from(error: CallError) -> Self {
        Self::Call(error)
    }
}

impl ResponseError for Refused {
    fn error_response(&self) -> HttpResponse {
        let status = match self {
            // The app works as it should.
            Self::Denied => StatusCode::OK,
            Self::NoSuchPage => StatusCode::NOT_FOUND,
            Self::WrongHost => StatusCode::MISDIRECTED_REQUEST,
            Self::Call(_) => StatusCode::BAD_GATEWAY,
            _ => StatusCode::BAD_REQUEST,
        };
        page(status, self)
    }
}

pub(super) fn page(status: StatusCode, page: &impl Template) -> HttpResponse {
    match page.render() {
        Ok(html) => HttpResponse::build(status).content_type(ContentType::html()).body(html),
        Err(error) => HttpResponse::InternalServerError().body(error.to_string()),
    }
}
