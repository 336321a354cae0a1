//! What goes out: JSON that no cache keeps, and secrets that are shown once.

use actix_web::HttpResponse;
use actix_web::http::{StatusCode, header};
use serde::{Serialize, Serializer};

use crate::secrets::PlainSecret;

/// A secret in the one answer that hands it over. Its Debug is as opaque as the secret's own.
#[derive(Debug)]
pub(super) struct ShownOnce(pub(super) PlainSecret);

impl Serialize for ShownOnce {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.expose())
    }
}

/// 200 with a body.
pub(in crate::http) fn ok(body: &impl Serialize) -> HttpResponse {
    json(StatusCode::OK, body)
}

/// 201 with a body.
pub(in crate::http) fn created(body: &impl Serialize) -> HttpResponse {
    json(StatusCode::CREATED, body)
}

/// 201 with a body, and where to read what was created.
pub(super) fn created_at(location: String, body: &impl Serialize) -> HttpResponse {
    let mut response = json(StatusCode::CREATED, body);
    if let Ok(location) = header::HeaderValue::try_from(location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

/// 204.
pub(in crate::http) fn done() -> HttpResponse {
    HttpResponse::NoContent().insert_header((header::CACHE_CONTROL, "no-store")).finish()
}

fn json(status: StatusCode, body: &impl Serialize) -> HttpResponse {
    HttpResponse::build(status).insert_header((header::CACHE_CONTROL, "no-store")).json(body)
}

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
