//! `POST /oauth/introspect`: a resource server asks about a token (RFC 7662).

use actix_web::{HttpRequest, HttpResponse, web};
use grantbook_events::{ClientId, InstallationId, TokenId};
use grantbook_projections::live::TokenFacts;
use serde::Serialize;
use utoipa::ToSchema;

use super::error::{OAuthError, no_store};
use super::forms::IntrospectionForm;
use super::{client, posted};
use crate::http::context::Context;
use crate::http::node;
use crate::http::operator::{self, Operator};
use crate::http::service::Service;
use crate::secrets;

/// What is true of a valid token; for anything else only `{"active":false}`: whether it is not valid or not one
/// of the caller's is not said (RFC 7662 section 2.2).
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct Introspection<'a> {
    /// Whether the token is valid. Everything else is there only if it is.
    active: bool,
    /// Canonical names of its scopes, separated by spaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    scope: Option<String>,
    /// The app it was issued to.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, nullable = false)]
    client_id: Option<&'a ClientId>,
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
    /// The user who approved.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    sub: Option<&'a str>,
    /// The issuer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    iss: Option<&'a str>,
    /// The token's id, by which operators revoke it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, nullable = false)]
    jti: Option<&'a TokenId>,
    /// The account the app is installed on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    account_id: Option<&'a str>,
    /// The installation.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, nullable = false)]
    installation_id: Option<&'a InstallationId>,
}

/// Tells whether a token is valid, and whose it is. For resource servers with an operator key, as a bearer or as
/// the secret of a client that the key's id names; an app may ask about its own tokens with its client secret.
#[utoipa::path(post, path = "/oauth/introspect", operation_id = "introspect", tag = "oauth",
    description = "Tell whether a token is valid (RFC 7662). With an operator key of any role (as a bearer, or as a client secret with the key's id as client id), or with client credentials for the client's own tokens.",
    request_body(content_type = "application/x-www-form-urlencoded", content = IntrospectionForm),
    responses((status = 200, description = "What is known of the token", body = Introspection)),
    security(("operator_key" = []), ("client" = [])))]
pub async fn introspect(
    request: HttpRequest,
    service: web::Data<Service>,
    payload: web::Payload,
) -> Result<HttpResponse, OAuthError> {
    let form = posted::read(&request, payload).await?;
    let only_of = if operator::bearer(&request).is_some() {
        Operator::of(&request).map_err(|problem| OAuthError::invalid_key(problem.detail))?;
        None
    } else {
        let client = client::authenticate_by_secret(&request, &form, &service).await?;
        client.map(|client| client.app.client_id)
    };
    let token = form.get("token").ok_or_else(|| OAuthError::invalid_request("token is required"))?;
    let facts = service.ledger.token(&secrets::digest(token), || secrets::locate_token(token)).await?;
    let facts = facts.filter(|facts| match only_of {
        Some(client_id) if client_id != facts.client_id => {
            asked_about_another(&request, &service, client_id);
            false
        }
        Some(_) | None => true,
    });
    service.metrics.introspection(facts.is_some());
    let mut reply = HttpResponse::Ok();
    no_store(&mut reply);
    if let Some(behind) = service.ledger.staleness() {
        reply.insert_header((node::STALENESS_HEADER, format!("{:.3}", behind.as_secs_f64())));
    }
    let answer = facts.as_ref().map(|facts| Introspection::active(facts, &service.issuer));
    Ok(reply.json(answer.unwrap_or_default()))
}

/// An app hears of nobody else's token whether it is valid. An API that asks as an app hears that of every token:
/// its operator must be able to find out why.
fn asked_about_another(request: &HttpRequest, service: &Service, client_id: ClientId) {
    if service.asked_about_others.is_due(client_id, service.ledger.now()) {
        tracing::warn!(
            %client_id, request_id = %Context::of(request).request_id,
            "an app asked about a token of another app, and was told that it is not active; an API that checks \
             tokens needs an operator key of the role resource (docs/resources.md)",
        );
    }
}

impl<'a> Introspection<'a> {
    fn active(facts: &'a TokenFacts, issuer: &'a str) -> Self {
        Self {
            active: true,
            scope: Some(facts.scopes.join(" ")),
            client_id: Some(&facts.client_id),
            token_type: Some("Bearer"),
            iat: Some(facts.issued_at.as_secs()),
            exp: facts.expires_at.map(grantbook_events::Timestamp::as_secs),
            sub: Some(facts.user_id.as_str()),
            iss: Some(issuer),
            jti: Some(&facts.token_id),
            account_id: Some(facts.account_id.as_str()),
            installation_id: Some(&facts.installation_id),
        }
    }
}
