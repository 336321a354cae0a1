//! What goes out: JSON that no cache keeps, typed so that the interface is described by what is sent, and secrets that
//! are shown once.

use actix_web::body::BoxBody;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, Responder};
use serde::{Serialize, Serializer};
use serde_json::json;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use super::openapi::describe::{Operation, Output};
use super::problem::Problem;
use crate::secrets::PlainSecret;

/// A JSON body or none, with a status that the table of endpoints has.
#[derive(Debug)]
pub struct Reply<T> {
    status: StatusCode,
    /// Where to read what was created.
    location: Option<String>,
    body: Option<T>,
}

/// What most handlers of the JSON APIs answer.
pub type Answer<T> = Result<Reply<T>, Problem>;

impl<T> Reply<T> {
    fn new(status: StatusCode, body: Option<T>) -> Self {
        Self { status, location: None, body }
    }

    pub fn ok(body: T) -> Self {
        Self::new(StatusCode::OK, Some(body))
    }

    pub fn created(body: T) -> Self {
        Self::new(StatusCode::CREATED, Some(body))
    }

    pub fn accepted(body: T) -> Self {
        Self::new(StatusCode::ACCEPTED, Some(body))
    }

    pub fn no_content() -> Self {
        Self::new(StatusCode::NO_CONTENT, None)
    }

    #[must_use]
    pub fn at(self, location: String) -> Self {
        Self { location: Some(location), ..self }
    }
}

impl<T: Serialize> Responder for Reply<T> {
    type Body = BoxBody;

    fn respond_to(self, _: &HttpRequest) -> HttpResponse {
        let mut response = HttpResponse::build(self.status);
        response.insert_header((header::CACHE_CONTROL, HeaderValue::from_static("no-store")));
        if let Some(location) = self.location {
            response.insert_header((header::LOCATION, location));
        }
        match self.body {
            Some(body) => response.json(body),
            None => response.finish(),
        }
    }
}

impl<T: ToSchema> Output for Reply<T> {
    fn describe(operation: &mut Operation) {
        operation.answers_json::<T>();
    }
}

/// An object whose fields are not described, as text.
#[derive(Debug)]
pub struct JsonObject(pub String);

impl Responder for JsonObject {
    type Body = BoxBody;

    fn respond_to(self, _: &HttpRequest) -> HttpResponse {
        HttpResponse::Ok().content_type("application/json").body(self.0)
    }
}

impl Output for JsonObject {
    fn describe(operation: &mut Operation) {
        operation.answers_with("application/json", json!({ "type": "object" }));
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
