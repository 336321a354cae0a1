//! `GET /.well-known/oauth-authorization-server`: what this server can do (RFC 8414).

use actix_web::{HttpResponse, web};
use serde_json::json;

use crate::config::RegistrationMode;
use crate::decisions::key_set::ALGORITHMS;
use crate::http::service::Service;

/// The server's metadata.
pub async fn metadata(service: web::Data<Service>) -> HttpResponse {
    let methods = ["client_secret_basic", "client_secret_post", "private_key_jwt", "none"];
    // What introspection takes is named by two registries: "Bearer" is of the one of access token types (RFC 8414
    // section 2).
    let mut metadata = json!({
        "issuer": service.issuer(),
        "authorization_endpoint": service.url("/oauth/authorize"),
        "token_endpoint": service.url("/oauth/token"),
        "pushed_authorization_request_endpoint": service.url("/oauth/par"),
        "require_pushed_authorization_requests": false,
        "request_parameter_supported": false,
        // What the endpoint for pushed requests gives is taken all the same (RFC 9126 section 5).
        "request_uri_parameter_supported": false,
        "revocation_endpoint": service.url("/oauth/revoke"),
        "introspection_endpoint": service.url("/oauth/introspect"),
        "userinfo_endpoint": service.url("/oauth/userinfo"),
        "scopes_supported": service.config.scopes.names().collect::<Vec<_>>(),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "token_endpoint_auth_methods_supported": methods,
        "token_endpoint_auth_signing_alg_values_supported": ALGORITHMS,
        "revocation_endpoint_auth_methods_supported": methods,
        "revocation_endpoint_auth_signing_alg_values_supported": ALGORITHMS,
        "introspection_endpoint_auth_methods_supported":
            ["client_secret_basic", "client_secret_post", "private_key_jwt", "Bearer"],
        "introspection_endpoint_auth_signing_alg_values_supported": ALGORITHMS,
        "client_id_metadata_document_supported": service.config.registration.documents.is_some(),
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": true,
    });
    if service.config.registration.mode != RegistrationMode::Off {
        metadata["registration_endpoint"] = service.url("/oauth/register").into();
    }
    HttpResponse::Ok().content_type("application/json").body(metadata.to_string())
}
