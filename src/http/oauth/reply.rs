//! What the OAuth endpoints answer: JSON that no cache keeps (RFC 6749 section 5.1).

use std::time::Duration;

use actix_web::body::BoxBody;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, Responder};
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::node::STALENESS_HEADER;
use crate::http::openapi::describe::{Operation, Output};

/// 200 with a body.
#[derive(Debug)]
pub struct OAuthReply<T> {
    pub body: T,
    /// How old the answer may be, if other nodes append.
    pub staleness: Option<Duration>,
}

impl<T> OAuthReply<T> {
    pub fn new(body: T) -> Self {
        Self { body, staleness: None }
    }
}

impl<T: Serialize> Responder for OAuthReply<T> {
    type Body = BoxBody;

    fn respond_to(self, _: &HttpRequest) -> HttpResponse {
        let mut response = HttpResponse::Ok();
        no_store(&mut response);
        if let Some(staleness) = self.staleness {
            response.insert_header((STALENESS_HEADER, format!("{:.3}", staleness.as_secs_f64())));
        }
        response.json(self.body)
    }
}

impl<T: ToSchema> Output for OAuthReply<T> {
    fn describe(operation: &mut Operation) {
        operation.answers_json::<T>(200);
    }
}

/// The headers that keep a reply out of every cache.
pub fn no_store(response: &mut HttpResponseBuilder) {
    response.insert_header((header::CACHE_CONTROL, HeaderValue::from_static("no-store")));
    response.insert_header((header::PRAGMA, HeaderValue::from_static("no-cache")));
}
