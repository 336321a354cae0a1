//! `POST /oauth/introspect`: a resource server asks about a token (RFC 7662).

use actix_web::HttpRequest;
use actix_web::web::Data;
use grantbook_events::{AccountId, ClientId, InstallationId, Timestamp, TokenId, UserId};
use grantbook_projections::live::TokenFacts;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::client::Credentials;
use super::error::OAuthError;
use super::posted::Posted;
use super::{OAuthAnswer, answer, client, named};
use crate::http::{Context, Service, operator};
use crate::secrets;

/// The header of a reply that says how old it may be, in seconds.
const STALENESS_HEADER: &str = "grantbook-staleness";

/// What is true of a valid token; for anything else only `{"active":false}`: whether it is not valid or not one
/// of the caller's is not said (RFC 7662 section 2.2).
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct Introspection {
    /// Whether the token is valid. Everything else is there only if it is.
    active: bool,
    /// Canonical names of its scopes, separated by spaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    scope: Option<String>,
    /// The app it was issued to, by the id that it knows itself by.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    client_id: Option<String>,
    /// Always `Bearer`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    token_type: Option<&'static str>,
    /// When it was issued, in seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    iat: Option<i64>,
    /// When it expires, in seconds since 1970; absent for a token that does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    exp: Option<i64>,
    /// The resources it is for (RFC 8707); absent for one that is for any.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    aud: Option<Vec<String>>,
    /// The user who approved.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    sub: Option<UserId>,
    /// The issuer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    iss: Option<String>,
    /// The token's id, by which operators revoke it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    jti: Option<TokenId>,
    /// The account the app is installed on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    account_id: Option<AccountId>,
    /// The installation.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    installation_id: Option<InstallationId>,
}

/// A token, to be looked up (RFC 7662).
#[derive(Deserialize, ToSchema)]
pub struct IntrospectionForm {
    /// The token.
    #[schema(required = true, nullable = false, min_length = 1, format = Password)]
    token: Option<String>,
    /// Ignored.
    #[schema(nullable = false)]
    #[expect(dead_code, reason = "a token says what it is")]
    token_type_hint: Option<String>,
    /// The id of the operator key, or of an app that asks about its own tokens, unless it authenticates in a header.
    #[schema(nullable = false, pattern = "^[0-9a-f-]{32,36}$")]
    client_id: Option<String>,
    /// The operator key, or the app's secret.
    #[schema(nullable = false, format = Password)]
    client_secret: Option<String>,
    /// Instead of a secret: `urn:ietf:params:oauth:client-assertion-type:jwt-bearer`.
    #[schema(nullable = false)]
    client_assertion_type: Option<String>,
    /// Instead of a secret: a JWT that the app signed with its key (RFC 7523).
    #[schema(nullable = false, format = Password)]
    client_assertion: Option<String>,
}

/// Says whether a token is valid, and whose it is. For resource servers with an operator key, as a bearer or as
/// the secret of a client that the key's id names; an app may ask about its own tokens with its client secret.
pub async fn introspect(
    request: HttpRequest,
    service: Data<Service>,
    Posted(form): Posted<IntrospectionForm>,
) -> OAuthAnswer<Introspection> {
    let only_of = match operator::bearer(&request) {
        Some(key) => {
            operator::introspects(&request, &service, key)?;
            None
        }
        None => {
            let credentials = Credentials {
                client_id: form.client_id,
                client_secret: form.client_secret,
                assertion_type: form.client_assertion_type,
                assertion: form.client_assertion,
            };
            let client = client::authenticate_by_proof(&request, &service, credentials).await?;
            client.map(|client| client.app.client_id)
        }
    };
    let token = form.token.ok_or_else(|| OAuthError::invalid_request("token is required"))?;
    let facts = service.ledger.token(&secrets::digest(&token), || secrets::locate_token(&token)).await?;
    let facts = facts.filter(|facts| match only_of {
        Some(client_id) if client_id != facts.client_id => {
            asked_about_another(&request, &service, client_id);
            false
        }
        Some(_) | None => true,
    });
    service.metrics.introspection(facts.is_some());
    let body = facts.map(|facts| Introspection::active(facts, &service)).unwrap_or_default();
    let reply = answer(body);
    Ok(match service.ledger.staleness() {
        Some(behind) => reply.with((STALENESS_HEADER, format!("{:.3}", behind.as_secs_f64()))),
        None => reply,
    })
}

/// An app is not told whether a token of another app is valid. An API that asks as an app finds every token inactive:
/// its operator must be able to find out why.
fn asked_about_another(request: &HttpRequest, service: &Service, client_id: ClientId) {
    if service.asked_about_others.is_due(client_id, service.ledger.now()) {
        tracing::warn!(
            %client_id, request_id = %Context::of(request).request_id,
            "an app asked about a token of another app, and the answer was that it is not active; an API that checks \
             tokens needs an operator key of the role resource (docs/resources.md)",
        );
    }
}

impl Introspection {
    fn active(facts: TokenFacts, service: &Service) -> Self {
        Self {
            active: true,
            scope: Some(facts.scopes.as_str().to_owned()),
            client_id: Some(named::name(service, facts.client_id)),
            token_type: Some("Bearer"),
            iat: Some(facts.issued_at.as_secs()),
            exp: facts.expires_at.map(Timestamp::as_secs),
            aud: Some(facts.resources).filter(|names| !names.is_empty()).map(|names| names.to_vec()),
            sub: Some(facts.user_id),
            iss: Some(service.issuer().to_owned()),
            jti: Some(facts.token_id),
            account_id: Some(facts.account_id),
            installation_id: Some(facts.installation_id),
        }
    }
}
