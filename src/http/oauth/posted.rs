//! What every OAuth endpoint that takes a form asks of the request before it looks at it (T1).

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};

use super::error::OAuthError;
use crate::http::form::Form;
use crate::http::reason::Reason;
use crate::http::whole_body::{self, BodyError};

/// The largest form of the token, revocation and introspection endpoints, in bytes.
pub(super) const FORM_MAX_BYTES: usize = 16 * 1024;
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

/// Reads the form of a request that has nothing in its URI.
pub(super) async fn read(request: &HttpRequest, payload: web::Payload) -> Result<Form, OAuthError> {
    if !request.query_string().is_empty() {
        return Err(OAuthError::invalid_request("parameters belong in the body, never in the URI"));
    }
    read_body(request, payload).await
}

/// Reads the form of a request; what is in its URI counts for nothing.
pub(super) async fn read_body(request: &HttpRequest, payload: web::Payload) -> Result<Form, OAuthError> {
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = kind.and_then(|value| value.split(';').next()).unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        let description = "send application/x-www-form-urlencoded";
        return Err(OAuthError::with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE, description));
    }
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
        None => Ok(form),
    }
}

/// 405 for every method but POST; the header Allow is the caller's.
pub fn post_only() -> HttpResponse {
    let mut response = HttpResponse::MethodNotAllowed();
    super::error::no_store(&mut response);
    let description = "use POST";
    let body =
        super::error::OAuthErrorBody { error: "invalid_request", error_description: description.to_owned() };
    let mut response = response.json(body);
    Reason::new(format_args!("invalid_request: {description}")).put_on(&mut response);
    response
}
