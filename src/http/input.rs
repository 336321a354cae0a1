//! What comes in: JSON bodies, and actix's own refusals of queries and paths, as problems.

use std::fmt::Display;
use std::future::Future;
use std::pin::Pin;
use std::str::FromStr;

use actix_web::dev::Payload;
use actix_web::error::{PathError, QueryPayloadError};
use actix_web::http::{StatusCode, header};
use actix_web::{FromRequest, HttpMessage, HttpRequest, web};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use utoipa::ToSchema;

use super::openapi::describe::{Input, Operation};
use super::problem::Problem;
use super::whole_body::{self, BodyError};

/// The longest body of a management request, in bytes.
pub const MAX_BODY_BYTES: usize = 64 * 1024;

/// A JSON body. No body at all counts as `{}`.
#[derive(Debug, Clone)]
pub struct Body<T>(pub T);

impl<T: DeserializeOwned + 'static> FromRequest for Body<T> {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let has_type = request.headers().contains_key(header::CONTENT_TYPE);
        let is_json = request.content_type().eq_ignore_ascii_case("application/json");
        // Nothing is read before this is polled, which is after the key was looked at.
        let payload = web::Payload::from_request(request, payload);
        Box::pin(async move {
            if has_type && !is_json {
                return Err(wrong_type());
            }
            let bytes = read(payload.await.map_err(|_| unreadable())?).await?;
            match (bytes.is_empty(), has_type) {
                (true, false) => parse(b"{}"),
                (false, false) => Err(wrong_type()),
                (true | false, true) => parse(&bytes),
            }
            .map(Self)
        })
    }
}

impl<T: DeserializeOwned + ToSchema> Input for Body<T> {
    fn describe(operation: &mut Operation) {
        let is_required = serde_json::from_str::<T>("{}").is_err();
        operation.takes_body::<T>("application/json", is_required);
    }
}

async fn read(payload: web::Payload) -> Result<web::Bytes, Problem> {
    whole_body::read(payload, MAX_BODY_BYTES).await.map_err(|error| match error {
        BodyError::TooLarge => {
            let detail = format!("the body may have at most {MAX_BODY_BYTES} bytes");
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail)
        }
        BodyError::Incomplete => unreadable(),
    })
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let field = error.path().to_string();
        let detail = error.into_inner();
        // serde_json says the line and the column; the path says the field.
        if field == "." {
            Problem::bad_request(detail.to_string())
        } else {
            Problem::bad_request(format!("{field}: {detail}"))
        }
    })?;
    json.end().map_err(|error| Problem::bad_request(error.to_string()))?;
    Ok(value)
}

fn wrong_type() -> Problem {
    let detail = "the body must be JSON, sent with Content-Type: application/json";
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail)
}

fn unreadable() -> Problem {
    Problem::bad_request("the body could not be read to its end")
}

/// A value of a query, read through its `FromStr`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "String", bound(deserialize = "T: FromStr, T::Err: Display"))]
pub struct Text<T>(pub T);

impl<T: FromStr> TryFrom<String> for Text<T> {
    type Error = T::Err;

    fn try_from(text: String) -> Result<Self, T::Err> {
        text.parse().map(Self)
    }
}

/// Makes what actix refuses of a query a problem. Put it into the app's data.
pub fn query_config() -> web::QueryConfig {
    web::QueryConfig::default().error_handler(|error, _| {
        let detail = match &error {
            QueryPayloadError::Deserialize(error) => error.to_string(),
            other => other.to_string(),
        };
        Problem::bad_request(format!("query: {detail}")).into()
    })
}

/// Makes what actix refuses of a path a problem. Put it into the app's data.
pub fn path_config() -> web::PathConfig {
    web::PathConfig::default().error_handler(|error, _| {
        let detail = match &error {
            PathError::Deserialize(error) => error.to_string(),
            other => other.to_string(),
        };
        Problem::bad_request(format!("path: {detail}")).into()
    })
}
