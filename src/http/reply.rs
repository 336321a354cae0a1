//! What goes out: JSON that no cache keeps, typed so that the interface is described by what is sent, and secrets that
//! are shown once.

use actix_web::body::BoxBody;
use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, Responder};
use serde::{Serialize, Serializer};
use serde_json::json;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use super::openapi::describe::{Operation, Output};
use super::openapi::text_header;
use super::problem::Problem;
use crate::secrets::PlainSecret;

/// A JSON body.
#[derive(Debug)]
pub struct Reply<T, const STATUS: u16 = 200>(pub T);

pub type Created<T> = Reply<T, 201>;
pub type Accepted<T> = Reply<T, 202>;
/// What most handlers of the JSON APIs answer.
pub type Answer<T> = Result<Reply<T>, Problem>;

/// 201 with a body, and where to read what was created.
#[derive(Debug)]
pub struct CreatedAt<T> {
    pub location: String,
    pub body: T,
}

/// 204.
#[derive(Debug)]
pub struct NoContent;

/// What ended now (204), or had ended before (200).
#[derive(Debug)]
pub enum Ended<T> {
    Now,
    Before(T),
}

/// An object whose fields are not described, as text.
#[derive(Debug)]
pub struct JsonObject(pub String);

impl<T: Serialize, const STATUS: u16> Responder for Reply<T, STATUS> {
    type Body = BoxBody;

    fn respond_to(self, _: &HttpRequest) -> HttpResponse {
        uncached(STATUS).json(self.0)
    }
}

impl<T: ToSchema, const STATUS: u16> Output for Reply<T, STATUS> {
    fn describe(operation: &mut Operation) {
        operation.answers_json::<T>(STATUS);
    }
}

impl<T: Serialize> Responder for CreatedAt<T> {
    type Body = BoxBody;

    fn respond_to(self, _: &HttpRequest) -> HttpResponse {
        uncached(201).insert_header((header::LOCATION, self.location)).json(self.body)
    }
}

impl<T: ToSchema> Output for CreatedAt<T> {
    fn describe(operation: &mut Operation) {
        operation.answers_json::<T>(201);
        let headers = text_header("Location", "Where to read the app");
        operation.answers.entry(201).and_modify(|answer| answer["headers"] = headers);
    }
}

impl Responder for NoContent {
    type Body = BoxBody;

    fn respond_to(self, _: &HttpRequest) -> HttpResponse {
        uncached(204).finish()
    }
}

impl Output for NoContent {
    fn describe(_: &mut Operation) {}
}

impl<T: Serialize> Responder for Ended<T> {
    type Body = BoxBody;

    fn respond_to(self, request: &HttpRequest) -> HttpResponse {
        match self {
            Self::Now => NoContent.respond_to(request),
            Self::Before(body) => Reply::<_, 200>(body).respond_to(request),
        }
    }
}

impl<T: ToSchema> Output for Ended<T> {
    fn describe(operation: &mut Operation) {
        operation.answers_json::<T>(200);
    }
}

impl Responder for JsonObject {
    type Body = BoxBody;

    fn respond_to(self, _: &HttpRequest) -> HttpResponse {
        HttpResponse::Ok().content_type("application/json").body(self.0)
    }
}

impl Output for JsonObject {
    fn describe(operation: &mut Operation) {
        operation.answers_with(200, &[("application/json", json!({ "type": "object" }))]);
    }
}

fn uncached(status: u16) -> HttpResponseBuilder {
    let mut response = HttpResponse::build(StatusCode::from_u16(status).unwrap_or_default());
    response.insert_header((header::CACHE_CONTROL, header::HeaderValue::from_static("no-store")));
    response
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
