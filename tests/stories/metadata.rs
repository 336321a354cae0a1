//! `GET /.well-known/oauth-authorization-server`, and that the issuer is what the configuration says.

use serde_json::json;

use crate::client::{Pairs, Reply};
use crate::harness::Grantbook;

const METADATA: &str = "/.well-known/oauth-authorization-server";

#[test]
fn the_metadata_says_what_this_server_can_do() {
    let grantbook = Grantbook::start();
    let reply = grantbook.get(METADATA).expect(200);
    assert_eq!(reply.header("content-type"), "application/json");
    let issuer = grantbook.issuer();
    assert_eq!(
        reply.json(),
        json!({
            "issuer": issuer,
            "authorization_endpoint": format!("{issuer}/oauth/authorize"),
            "token_endpoint": format!("{issuer}/oauth/token"),
            "pushed_authorization_request_endpoint": format!("{issuer}/oauth/par"),
            "require_pushed_authorization_requests": false,
            "request_parameter_supported": false,
            "request_uri_parameter_supported": false,
            "revocation_endpoint": format!("{issuer}/oauth/revoke"),
            "introspection_endpoint": format!("{issuer}/oauth/introspect"),
            "userinfo_endpoint": format!("{issuer}/oauth/userinfo"),
            "registration_endpoint": format!("{issuer}/oauth/register"),
            "scopes_supported": ["widgets", "faqs", "contacts", "conversations"],
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "grant_types_supported": ["authorization_code", "refresh_token"],
            "token_endpoint_auth_methods_supported":
                ["client_secret_basic", "client_secret_post", "private_key_jwt", "none"],
            "token_endpoint_auth_signing_alg_values_supported": ["ES256", "EdDSA", "RS256"],
            "revocation_endpoint_auth_methods_supported":
                ["client_secret_basic", "client_secret_post", "private_key_jwt", "none"],
            "revocation_endpoint_auth_signing_alg_values_supported": ["ES256", "EdDSA", "RS256"],
            "introspection_endpoint_auth_methods_supported":
                ["client_secret_basic", "client_secret_post", "private_key_jwt", "Bearer"],
            "introspection_endpoint_auth_signing_alg_values_supported": ["ES256", "EdDSA", "RS256"],
            "client_id_metadata_document_supported": true,
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": true,
        })
    );
}

#[test]
fn what_the_metadata_names_is_there() {
    let grantbook = Grantbook::start();
    let metadata = grantbook.get(METADATA).expect(200).json();
    let issuer = grantbook.issuer();
    for (name, value) in metadata.as_object().unwrap().iter().filter(|(name, _)| name.ends_with("_endpoint"))
    {
        let path = value.as_str().unwrap().strip_prefix(&issuer).unwrap();
        assert_ne!(grantbook.get(path).status, 404, "{name}");
    }
}

#[test]
fn k6_the_issuer_is_configuration_whatever_the_request_says() {
    let grantbook = Grantbook::with(&[("SIGN_IN_MODE", "none"), ("ISSUER", "https://auth.example/oauth2")]);
    let hostile: [Pairs<'_>; 3] = [
        &[("host", "evil.example")],
        &[("x-forwarded-host", "evil.example"), ("x-forwarded-proto", "http")],
        &[("forwarded", "host=evil.example;proto=http")],
    ];
    for headers in hostile {
        let metadata = grantbook.send("GET", METADATA, headers, None).expect(200);
        assert_eq!(metadata.text("issuer"), "https://auth.example/oauth2");
        assert!(!metadata.body.contains("evil.example"), "{metadata:?}");
        let authorize = grantbook.send("GET", "/oauth/authorize?client_id=x", headers, None);
        assert!(!format!("{authorize:?}").contains("evil.example"), "{authorize:?}");
    }
}

#[test]
fn k6_with_the_dev_sign_in_no_other_name_than_loopback_is_answered() {
    let grantbook = Grantbook::start();
    let named = |host: &str| -> Reply { grantbook.send("GET", "/sign-in", &[("host", host)], None) };
    for host in ["evil.example", "127.0.0.1.evil.example:80", "localhost.evil.example", "8.8.8.8"] {
        named(host).problem(421, "not_loopback");
    }
    for host in ["localhost:1", "127.0.0.1", "[::1]:8700"] {
        named(host).expect(200);
    }
}
