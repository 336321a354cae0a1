//! `POST /oauth/introspect`: a resource server asks about a token (RFC 7662).

use actix_web::{HttpRequest, HttpResponse, web};
use grantbook_events::{ClientId, InstallationId, TokenId};
use grantbook_projections::live::TokenFacts;
use serde::Serialize;
use utoipa::ToSchema;

use super::error::{OAuthError, OAuthErrorBody, no_store};
use super::{client, posted};
use crate::http::node;
use crate::http::operator::{self, Operator};
use crate::http::service::Service;
use crate::secrets;

/// What is true of a valid token; for anything else only `{"active":false}`.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Introspection<'a> {
    /// The token is valid.
    Active(ActiveToken<'a>),
    /// It is not, or is none of the caller's; which, is not said.
    Inactive {
        /// Always `false`.
        active: bool,
    },
}

/// What is true of a valid token.
#[derive(Debug, Serialize, ToSchema)]
pub struct ActiveToken<'a> {
    /// Always `true`.
    active: bool,
    /// Canonical names of its scopes, separated by spaces.
    scope: String,
    /// The app it was issued to.
    #[schema(value_type = String)]
    client_id: &'a ClientId,
    /// Always `Bearer`.
    token_type: &'static str,
    /// When it was issued, in seconds since 1970.
    iat: i64,
    /// When it expires, in seconds since 1970; absent for a token that does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    exp: Option<i64>,
    /// The user who approved.
    sub: &'a str,
    /// The issuer.
    iss: &'a str,
    /// The token's id, by which operators revoke it.
    #[schema(value_type = String)]
    jti: &'a TokenId,
    /// The account the app is installed on.
    account_id: &'a str,
    /// The installation.
    #[schema(value_type = String)]
    installation_id: &'a InstallationId,
}

/// Tells whether a token is valid, and whose it is. For resource servers with an operator key, as a bearer or as
/// the secret of a client that the key's id names; an app may ask about its own tokens with its client secret.
#[utoipa::path(post, path = "/oauth/introspect", operation_id = "introspect", tag = "oauth",
    description = "Tell whether a token is valid (RFC 7662). With an operator key of any role (as a bearer, or as a client secret with the key's id as client id), or with client credentials for the client's own tokens.",
    request_body(content_type = "application/x-www-form-urlencoded", content = String,
        description = "token, token_type_hint (ignored)"),
    responses((status = 200, body = Introspection), (status = 400, body = OAuthErrorBody), (status = 401, body = OAuthErrorBody)),
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
    let facts = facts.filter(|facts| only_of.is_none_or(|client_id| facts.client_id == client_id));
    let mut reply = HttpResponse::Ok();
    no_store(&mut reply);
    if let Some(behind) = service.ledger.staleness() {
        reply.insert_header((node::STALENESS_HEADER, format!("{:.3}", behind.as_secs_f64())));
    }
    Ok(reply.json(match &facts {
        Some(facts) => Introspection::Active(ActiveToken::of(facts, &service.issuer)),
        None => Introspection::Inactive { active: false },
    }))
}

impl<'a> ActiveToken<'a> {
    fn of(facts: &'a TokenFacts, issuer: &'a str) -> Self {
        Self {
            active: true,
            scope: facts.scopes.join(" "),
            client_id: &facts.client_id,
            token_type: "Bearer",
            iat: facts.issued_at.as_secs(),
            exp: facts.expires_at.map(grantbook_events::Timestamp::as_secs),
            sub: facts.user_id.as_str(),
            iss: issuer,
            jti: &facts.token_id,
            account_id: facts.account_id.as_str(),
            installation_id: &facts.installation_id,
        }
    }
}
