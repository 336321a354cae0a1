//! What goes out: JSON that no cache keeps, typed so that the interface is described by what is sent, and secrets that
//! are shown once. Knows: headers and bodies. Must not know: what an answer means.

use std::marker::PhantomData;

use actix_web::body::BoxBody;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue, TryIntoHeaderPair};
use actix_web::{HttpRequest, HttpResponse, Responder, ResponseError as _};
use serde::{Serialize, Serializer};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use super::openapi::describe::{Operation, Output};
use super::problem::{BROKEN, Problem};
use super::reason::Reason;
use crate::secrets::PlainSecret;

/// Most bodies are no longer than this, in bytes.
const BODY_BYTES: usize = 512;

/// An answer whose body, if it has one, is a `T`, with a status that the table of endpoints has.
#[derive(Debug)]
pub struct Reply<T> {
    response: HttpResponse,
    /// `fn(T)`, because the body is written already: a type that borrowed what it shows may stand for one that does not.
    body: PhantomData<fn(T)>,
}

/// What most handlers of the JSON APIs answer.
pub type Answer<T> = Result<Reply<T>, Problem>;

impl<T: Serialize> Reply<T> {
    pub fn ok(body: T) -> Self {
        Self::json(StatusCode::OK, &body)
    }

    pub fn created(body: T) -> Self {
        Self::json(StatusCode::CREATED, &body)
    }

    pub fn json(status: StatusCode, body: &T) -> Self {
        // Written into one piece of memory that is large enough for nearly all.
        let mut json = Vec::with_capacity(BODY_BYTES);
        match serde_json::to_writer(&mut json, body) {
            Ok(()) => Self::of(HttpResponse::with_body(status, BoxBody::new(json)))
                .with((header::CONTENT_TYPE, HeaderValue::from_static("application/json"))),
            Err(error) => Self::of(Problem::broken(BROKEN).because(error).error_response()),
        }
    }

    pub fn no_content() -> Self {
        Self::of(HttpResponse::new(StatusCode::NO_CONTENT))
    }

    /// An answer that is not written as JSON in one piece.
    pub fn of(response: HttpResponse) -> Self {
        let reply = Self { response, body: PhantomData };
        reply.with((header::CACHE_CONTROL, HeaderValue::from_static("no-store")))
    }

    #[must_use]
    pub fn with(mut self, header: impl TryIntoHeaderPair) -> Self {
        if let Ok((name, value)) = header.try_into_pair() {
            self.response.headers_mut().insert(name, value);
        }
        self
    }

    /// The same, with a reason for the log.
    #[must_use]
    pub fn because(mut self, reason: Reason) -> Self {
        reason.put_on(&mut self.response);
        self
    }
}

impl<T> Responder for Reply<T> {
    type Body = BoxBody;

    fn respond_to(self, _: &HttpRequest) -> HttpResponse {
        self.response
    }
}

impl<T: ToSchema> Output for Reply<T> {
    fn describe(operation: &mut Operation) {
        operation.answers_json::<T>();
    }
}

/// A secret in the one answer that hands it over. Its Debug is as opaque as the secret's own.
#[derive(Debug)]
pub struct ShownOnce(pub PlainSecret);

impl Serialize for ShownOnce {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.expose())
    }
}

impl PartialSchema for ShownOnce {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new().schema_type(Type::String).build().into()
    }
}

impl ToSchema for ShownOnce {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets;

    #[test]
    fn t8_an_answer_with_a_secret_does_not_show_it_to_debug() {
        let secret = ShownOnce(secrets::mint_client_secret());
        assert_eq!(format!("{secret:?}"), "ShownOnce(PlainSecret(…))");
        assert!(serde_json::to_string(&secret).unwrap().starts_with("\"gbs_"));
    }
}
