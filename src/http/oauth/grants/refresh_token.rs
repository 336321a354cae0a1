//! A refresh token becomes new tokens (RFC 6749 section 6).

use super::{Exchange, TokenForm, TokenReply, new_refresh};
use crate::decisions::{InstallationRefusal, RefreshRules, RefreshToken};
use crate::http::oauth::client;
use crate::http::oauth::error::{OAuthError, REFRESH_NOT_VALID};
use crate::secrets::{self, PresentedRefresh};

pub async fn exchange(exchange: Exchange<'_>, form: TokenForm) -> Result<TokenReply, OAuthError> {
    let Exchange { service, context, client } = exchange;
    let presented = form.refresh_token;
    let presented = presented.ok_or_else(|| OAuthError::invalid_request("refresh_token is required"))?;
    let presented = PresentedRefresh::read(&presented)
        .ok_or_else(|| OAuthError::new("invalid_grant", REFRESH_NOT_VALID))?;
    let scopes = form.scope.as_deref().map(|scope| service.config.scopes.resolve(scope)).transpose();
    let scopes = scopes.map_err(|error| OAuthError::new("invalid_scope", error.to_string()))?;
    let (now, defaults) = (service.ledger.recorded_now(), &service.config.refresh);
    let (token, refresh) = service.refresh_key.next(&presented);
    let command = RefreshToken {
        installation_id: presented.installation_id,
        client_id: client.app.client_id,
        secret_id: client.secret_id,
        digest: presented.digest,
        scopes,
        resources: exchange.resources(&form.resource)?,
        token_id: secrets::new_token_id(now),
        token_digest: token.digest(),
        refresh: new_refresh(&refresh, now),
        rules: exchange.rules(),
        default_lifetime: defaults.access_lifetime,
        default_refresh: RefreshRules { idle: Some(defaults.idle), lifetime: defaults.lifetime },
        grace: defaults.grace,
    };
    let issued = context.settle(service, &client::origin(client, context), &command).await?;
    if let Err(InstallationRefusal::RefreshReplayed { grant_id, tokens }) = &issued {
        tracing::warn!(
            client_id = %client.app.client_id, %grant_id, tokens, request_id = %context.request_id,
            "a spent refresh token was presented again, so the tokens of its grant are revoked",
        );
    }
    Ok(TokenReply::new((token, refresh.plain), presented.installation_id, issued?, now))
}
