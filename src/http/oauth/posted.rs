//! What every OAuth endpoint that takes a form asks of the request before it looks at it (T1).

use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::{FromRequest, HttpMessage as _, HttpRequest};
use serde::de::DeserializeOwned;
use utoipa::ToSchema;

use super::error::OAuthError;
use crate::http::{
    Form, Problem,
    openapi::describe::{Input, Operation},
    read_whole,
};

pub(super) const FORM: &str = "application/x-www-form-urlencoded";
/// The largest form of the token, revocation and introspection endpoints, in bytes.
pub(super) const FORM_MAX_BYTES: usize = 16 * 1024;
/// The parameters any of these endpoints knows; each may be there once.
const PARAMETERS: &[&str] = &[
    "grant_type",
    "client_id",
    "client_secret",
    "client_assertion",
    "client_assertion_type",
    "code",
    "redirect_uri",
    "code_verifier",
    "refresh_token",
    "token",
    "token_type_hint",
    "scope",
    "state",
    "response_type",
    "response_mode",
    "code_challenge",
    "code_challenge_method",
    "request",
    "request_uri",
];

/// Whether a request says that its body is a form.
pub(super) fn is_form(request: &HttpRequest) -> bool {
    request.content_type().eq_ignore_ascii_case(FORM)
}

/// A form. Unless it says so, nothing may be in the URI.
#[derive(Debug)]
pub struct Posted<T, const ALSO_IN_URI: bool = false>(pub T);

impl<T: DeserializeOwned + 'static, const ALSO_IN_URI: bool> FromRequest for Posted<T, ALSO_IN_URI> {
    type Error = OAuthError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, OAuthError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let form = read_form(request, payload, ALSO_IN_URI);
        Box::pin(async move {
            let read = form.await?.read();
            read.map(Self).map_err(|error| OAuthError::invalid_request(error.to_string()))
        })
    }
}

/// Reads a form.
pub(super) fn read_form(
    request: &HttpRequest,
    payload: &mut Payload,
    may_be_in_uri: bool,
) -> impl Future<Output = Result<Form, OAuthError>> + use<> {
    let is_in_uri = !may_be_in_uri && !request.query_string().is_empty();
    let is_form = is_form(request);
    let payload = payload.take();
    async move {
        if is_in_uri {
            return Err(OAuthError::invalid_request("parameters belong in the body, never in the URI"));
        }
        if !is_form {
            let (status, detail) = (StatusCode::UNSUPPORTED_MEDIA_TYPE, format!("send {FORM}"));
            return Err(Problem::new(status, "unsupported_media_type", detail).into());
        }
        let body = read_whole(payload, FORM_MAX_BYTES, "form").await?;
        let text = str::from_utf8(&body);
        let text = text.map_err(|_| OAuthError::invalid_request("the form must be ASCII"))?;
        let form = Form::parse(text)?;
        if let Some(name) = form.repeated(PARAMETERS) {
            return Err(OAuthError::invalid_request(format!("{name} may be there once only")));
        }
        Ok(form)
    }
}

impl<T: ToSchema, const ALSO_IN_URI: bool> Input for Posted<T, ALSO_IN_URI> {
    fn describe(operation: &mut Operation) {
        operation.takes_body::<T>(FORM, true);
    }
}
