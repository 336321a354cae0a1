//! A code becomes a token (RFC 6749 section 4.1.3, RFC 7636).

use super::{Exchange, TokenForm, TokenReply, new_refresh};
use crate::decisions::{ExchangeCode, InstallationRefusal};
use crate::http::oauth::client;
use crate::http::oauth::error::{CODE_NOT_VALID, OAuthError};
use crate::secrets::{self, MintedRefresh};

pub async fn exchange(exchange: Exchange<'_>, form: TokenForm) -> Result<TokenReply, OAuthError> {
    let Exchange { service, context, client } = exchange;
    let code = form.code.ok_or_else(|| OAuthError::invalid_request("code is required"))?;
    let installation_id =
        secrets::locate_code(&code).ok_or_else(|| OAuthError::new("invalid_grant", CODE_NOT_VALID))?;
    let now = service.ledger.recorded_now();
    let (token, refresh) = (secrets::mint_token(installation_id), MintedRefresh::first(installation_id));
    let command = ExchangeCode {
        installation_id,
        client_id: client.app.client_id,
        secret_id: client.secret_id,
        codes_dead_until: client.app.codes_dead_until.max(service.ledger.codes_dead_until()),
        code_digest: secrets::digest(&code),
        redirect_uri: form.redirect_uri,
        verifier_challenge: form.code_verifier.as_deref().map(secrets::s256_challenge),
        presented_at: service.ledger.steady_now(),
        code_lifetime: service.config.code_lifetime,
        token_id: secrets::new_token_id(now),
        token_digest: token.digest(),
        refresh: new_refresh(&refresh, now),
        resources: exchange.resources(&form.resource)?,
        rules: exchange.rules(),
    };
    let exchanged = context.settle(service, &client::origin(client, context), &command).await?;
    if let Err(InstallationRefusal::CodeReplayed { grant_id, tokens }) = &exchanged {
        tracing::warn!(
            client_id = %client.app.client_id, %grant_id, tokens, request_id = %context.request_id,
            "a code was presented twice, so the tokens that were issued for it are revoked",
        );
    }
    let exchanged = exchanged?;
    Ok(TokenReply::new((token, refresh.plain), installation_id, exchanged, now))
}
