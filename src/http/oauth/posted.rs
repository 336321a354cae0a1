//! What every OAuth endpoint that takes a form asks of the request before it looks at it (T1).

use std::future::ready;
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::http::{StatusCode, header};
use actix_web::{FromRequest, HttpRequest, HttpResponse, web};
use serde::de::DeserializeOwned;
use utoipa::ToSchema;

use super::error::{OAuthError, no_store};
use crate::http::form::Form;
use crate::http::openapi::describe::{Input, Operation};
use crate::http::reason::Reason;
use crate::http::whole_body::{self, BodyError};

/// The largest form of the token, revocation and introspection endpoints, in bytes.
const FORM_MAX_BYTES: usize = 16 * 1024;
/// The parameters any of these endpoints knows; each may be there once.
const KNOWN: &[&str] = &[
    "grant_type",
    "client_id",
    "client_secret",
    "code",
    "redirect_uri",
    "code_verifier",
    "token",
    "token_type_hint",
    "scope",
];

/// A form. Unless it says so, nothing may be in the URI.
#[derive(Debug)]
pub struct Posted<T, const ALSO_IN_URI: bool = false>(pub T);

impl<T: DeserializeOwned + 'static, const ALSO_IN_URI: bool> FromRequest for Posted<T, ALSO_IN_URI> {
    type Error = OAuthError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, OAuthError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        if !ALSO_IN_URI && !request.query_string().is_empty() {
            let refused = OAuthError::invalid_request("parameters belong in the body, never in the URI");
            return Box::pin(ready(Err(refused)));
        }
        let read = read(request, payload);
        Box::pin(async { read.await.map(Self) })
    }
}

impl<T: ToSchema, const ALSO_IN_URI: bool> Input for Posted<T, ALSO_IN_URI> {
    fn describe(operation: &mut Operation) {
        operation.takes_body::<T>("application/x-www-form-urlencoded", true);
    }
}

fn read<T: DeserializeOwned>(
    request: &HttpRequest,
    payload: &mut Payload,
) -> impl Future<Output = Result<T, OAuthError>> + use<T> {
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = kind.and_then(|value| value.split(';').next()).unwrap_or_default().trim();
    let is_form = kind.eq_ignore_ascii_case("application/x-www-form-urlencoded");
    let payload = web::Payload::from_request(request, payload).into_inner();
    async move {
        if !is_form {
            let description = "send application/x-www-form-urlencoded";
            return Err(OAuthError::with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE, description));
        }
        let payload = payload.map_err(|error| OAuthError::invalid_request(error.to_string()))?;
        let body = whole_body::read(payload, FORM_MAX_BYTES).await.map_err(|error| match error {
            BodyError::TooLarge => {
                let description = format!("the form may have at most {FORM_MAX_BYTES} bytes");
                OAuthError::with_status(StatusCode::PAYLOAD_TOO_LARGE, description)
            }
            BodyError::Incomplete => OAuthError::invalid_request(error.to_string()),
        })?;
        let text =
            std::str::from_utf8(&body).map_err(|_| OAuthError::invalid_request("the form must be ASCII"))?;
        let form = Form::parse(text).map_err(|error| OAuthError::invalid_request(error.to_string()))?;
        match form.repeated(KNOWN) {
            Some(name) => Err(OAuthError::invalid_request(format!("{name} may be there once only"))),
            None => form.read().map_err(|error| OAuthError::invalid_request(error.to_string())),
        }
    }
}

/// 405 for every method but POST; the header Allow is the caller's.
pub fn post_only() -> HttpResponse {
    let mut response = HttpResponse::MethodNotAllowed();
    no_store(&mut response);
    let description = "use POST";
    let body =
        super::error::OAuthErrorBody { error: "invalid_request", error_description: description.to_owned() };
    let mut response = response.json(body);
    Reason::new(format_args!("invalid_request: {description}")).put_on(&mut response);
    response
}
