//! `POST /oauth/token`: a code becomes a token (RFC 6749 section 4.1.3).

use std::fmt;
use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, web};
use grantbook_events::{ActorKind, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use super::error::{OAuthError, no_store};
use super::forms::TokenForm;
use super::{client, posted};
use crate::decisions::{ExchangeCode, Refusal, TokenRules};
use crate::http::context::Context;
use crate::http::service::Service;
use crate::secrets;

/// A token, handed over once.
#[derive(Serialize, ToSchema)]
pub struct TokenReply<'a> {
    /// The access token: send it as `Authorization: Bearer …`.
    access_token: &'a str,
    /// Always `Bearer` (RFC 6750).
    token_type: &'static str,
    /// Canonical names of the token's scopes, separated by spaces.
    scope: String,
    /// Seconds until it expires; absent, the default, for a token that does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in: Option<i64>,
}

impl fmt::Debug for TokenReply<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenReply").field("scope", &self.scope).finish_non_exhaustive()
    }
}

/// Exchanges a code for an access token.
#[utoipa::path(post, path = "/oauth/token", operation_id = "token", tag = "oauth",
    description = "Exchange a code for an access token (RFC 6749 section 4.1.3). The client authenticates by Basic or by client_id and client_secret in the form.",
    request_body(content_type = "application/x-www-form-urlencoded", content = TokenForm),
    responses((status = 200, description = "The token, shown this once", body = TokenReply)))]
pub async fn token(
    request: HttpRequest,
    context: Context,
    service: web::Data<Service>,
    payload: web::Payload,
) -> Result<HttpResponse, OAuthError> {
    let form = posted::read(&request, payload).await?;
    if form.get("grant_type").is_some_and(|kind| kind != "authorization_code") {
        return Err(OAuthError::unsupported_grant_type());
    }
    let client = client::authenticate(&request, &form, &service).await?;
    let code = form.get("code").ok_or_else(|| OAuthError::invalid_request("code is required"))?;
    let installation_id = secrets::locate_code(code)
        .ok_or_else(|| OAuthError::invalid_grant("the code is unknown, expired, used or ended"))?;

    let now = service.ledger.recorded_now();
    let token = secrets::mint_token(installation_id);
    let command = ExchangeCode {
        installation_id,
        client_id: client.app.client_id,
        secret_id: client.secret_id,
        codes_dead_until: client.app.codes_dead_until.max(service.ledger.codes_dead_until()),
        code_digest: secrets::digest(code),
        redirect_uri: form.get("redirect_uri").map(str::to_owned),
        verifier_challenge: form.get("code_verifier").map(secrets::s256_challenge),
        presented_at: service.ledger.steady_now(),
        code_lifetime: service.code_lifetime,
        token_id: secrets::new_token_id(now),
        token_digest: token.digest(),
        rules: TokenRules {
            lifetime: client.app.token_policy.lifetime_seconds.map(Duration::from_secs),
            max_live_per_user: service.max_live_tokens_per_user,
        },
    };
    let origin = context.origin(ActorKind::App, client.app.client_id.to_string());
    let exchanged = service.settle(&origin, &command).await?;
    if let Err(Refusal::CodeReplayed { grant_id, tokens }) = &exchanged {
        tracing::warn!(
            client_id = %client.app.client_id, %grant_id, tokens, request_id = %context.request_id,
            "a code was presented twice, so the tokens that came of it are revoked",
        );
    }
    let exchanged = exchanged?;

    let mut reply = HttpResponse::Ok();
    no_store(&mut reply);
    Ok(reply.json(TokenReply {
        access_token: token.expose(),
        token_type: "Bearer",
        scope: exchanged.scopes.join(" "),
        expires_in: exchanged.expires_at.map(|end| seconds_left(end, now)),
    }))
}

fn seconds_left(end: Timestamp, now: Timestamp) -> i64 {
    end.as_secs().saturating_sub(now.as_secs()).max(0)
}
