//! What the OAuth endpoints answer: JSON that no cache keeps (RFC 6749 section 5.1).

use std::time::Duration;

use actix_web::body::BoxBody;
use actix_web::http::header::ContentType;
use actix_web::{HttpRequest, HttpResponse, Responder, ResponseError as _};
use serde::Serialize;
use utoipa::ToSchema;

use super::error::{OAuthError, no_store};
use crate::http::node::STALENESS_HEADER;
use crate::http::openapi::describe::{Operation, Output};

/// The size of a body that most fit in.
const BODY_BYTES: usize = 512;

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
        // Written into one piece of memory that is large enough for nearly all.
        let mut json = Vec::with_capacity(BODY_BYTES);
        match serde_json::to_writer(&mut json, &self.body) {
            Ok(()) => response.content_type(ContentType::json()).body(json),
            Err(error) => OAuthError::broken(error).error_response(),
        }
    }
}

impl<T: ToSchema> Output for OAuthReply<T> {
    fn describe(operation: &mut Operation) {
        operation.answers_json::<T>();
    }
}
