//! A request that comes with an access token, and what is answered if that does not do (RFC 6750). Knows: where a token
//! may be sent. Must not know: whether it is valid, or what is asked.

use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::http::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use actix_web::web::Bytes;
use actix_web::{FromRequest, HttpRequest, HttpResponse, ResponseError};
use serde::Serialize;
use utoipa::ToSchema;

use super::error::OAuthError;
use super::posted::{FORM_MAX_BYTES, is_form};
use crate::http::{Form, Problem, form::malformed, openapi::describe::Input, operator, read_whole};
use crate::secrets::PlainSecret;

/// The challenge, without what was wrong.
const CHALLENGE: &str = "Bearer realm=\"grantbook\"";

/// The access token of a request, from its `Authorization` header and nowhere else (K2).
#[derive(Debug)]
pub struct Bearer(pub PlainSecret);

/// The body of an error reply to a bearer. An empty object if no token was sent: then the challenge says all there is to say.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct BearerErrorBody<'a> {
    /// The registered error code.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub error: Option<&'a str>,
    /// For the developer of the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub error_description: Option<&'a str>,
}

/// Why a bearer is refused.
#[derive(Debug)]
pub enum BearerError {
    /// No token was sent. Nothing more is said then (RFC 6750 section 3.1).
    NoToken,
    Refused(OAuthError),
}

impl FromRequest for Bearer {
    type Error = BearerError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, BearerError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (query, is_form) = (request.query_string().to_owned(), is_form(request));
        let several = request.headers().get_all(AUTHORIZATION).nth(1).is_some();
        let token = operator::bearer(request).map(PlainSecret::presented);
        let payload = payload.take();
        Box::pin(async move {
            let body =
                if is_form { read_whole(payload, FORM_MAX_BYTES, "form").await? } else { Bytes::new() };
            let body = str::from_utf8(&body).map_err(|_| malformed())?;
            for form in [query.as_str(), body] {
                if Form::parse(form)?.get("access_token").is_some() {
                    let right = "send the access token in the Authorization header and nowhere else";
                    return Err(OAuthError::invalid_request(right).into());
                }
            }
            if several {
                return Err(OAuthError::invalid_request("more than one Authorization header").into());
            }
            token.map(Self).ok_or(BearerError::NoToken)
        })
    }
}

impl Input for Bearer {}

impl<E: Into<OAuthError>> From<E> for BearerError {
    fn from(error: E) -> Self {
        Self::Refused(error.into())
    }
}

impl std::fmt::Display for BearerError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoToken => f.write_str("no access token was sent"),
            Self::Refused(error) => error.fmt(f),
        }
    }
}

impl ResponseError for BearerError {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::NoToken => StatusCode::UNAUTHORIZED,
            Self::Refused(error) => error.status_code(),
        }
    }

    fn error_response(&self) -> HttpResponse {
        let error = match self {
            Self::NoToken => {
                // For the log; the caller gets the challenge alone.
                let problem = Problem::new(self.status_code(), "no_token", self.to_string());
                return problem.answer("application/json", CHALLENGE, &BearerErrorBody::default());
            }
            Self::Refused(error) => error,
        };
        let mut response = error.error_response();
        let why = error.attributes().map(|why| HeaderValue::try_from(format!("{CHALLENGE}, {why}")));
        if let Some(Ok(challenge)) = why {
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        response
    }
}
