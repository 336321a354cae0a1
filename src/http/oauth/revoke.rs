//! `POST /oauth/revoke`: an app gives a token back (RFC 7009).

use actix_web::HttpRequest;
use actix_web::web::Data;
use grantbook_events::{InstallationId, RevocationReason};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::client::Credentials;
use super::error::OAuthError;
use super::posted::Posted;
use super::{OAuthAnswer, answer, client};
use crate::decisions::{InstallationRefusal, RevokeToken, TokenHolder, WhichToken};
use crate::http::{Context, Service};
use crate::secrets::{self, PresentedRefresh};

/// A token, to be ended (RFC 7009).
#[derive(Deserialize, ToSchema)]
pub struct RevocationForm {
    /// The token.
    #[schema(required = true, nullable = false, min_length = 1, format = Password)]
    token: Option<String>,
    /// Ignored.
    #[schema(nullable = false)]
    #[expect(dead_code, reason = "a token says what it is")]
    token_type_hint: Option<String>,
    /// The app, unless it authenticates by Basic.
    #[schema(nullable = false, pattern = "^([0-9a-f]{32}|https?://.+)$")]
    client_id: Option<String>,
    /// The app's secret, unless it authenticates by Basic or has none.
    #[schema(nullable = false, format = Password)]
    client_secret: Option<String>,
    /// Instead of a secret: `urn:ietf:params:oauth:client-assertion-type:jwt-bearer`.
    #[schema(nullable = false)]
    client_assertion_type: Option<String>,
    /// Instead of a secret: a JWT that the app signed with its key (RFC 7523).
    #[schema(nullable = false, format = Password)]
    client_assertion: Option<String>,
}

/// RFC 7009 asks for no body, but many clients parse one.
#[derive(Debug, Serialize, ToSchema)]
pub struct Revoked {}

/// Where a token belongs that was presented, and which one it is there. A refresh token stands for its grant, also if it is
/// spent.
pub fn which_token(presented: &str) -> Option<(InstallationId, WhichToken)> {
    if let Some(refresh) = PresentedRefresh::read(presented) {
        return Some((refresh.installation_id, WhichToken::Family(refresh.family_digest)));
    }
    let installation_id = secrets::locate_token(presented)?;
    Some((installation_id, WhichToken::Digest(secrets::digest(presented))))
}

/// Ends a token of the authenticated client, and with a refresh token its whole grant (R7). 200 also for a token that is unknown, ended or another client's, of which
/// nothing is said and nothing ends (K3).
pub async fn revoke(
    request: HttpRequest,
    context: Context,
    service: Data<Service>,
    // A token that its app wants to end must not live on because the app also wrote it into the URI.
    Posted(form): Posted<RevocationForm, true>,
) -> OAuthAnswer<Revoked> {
    let credentials = Credentials {
        client_id: form.client_id,
        client_secret: form.client_secret,
        assertion_type: form.client_assertion_type,
        assertion: form.client_assertion,
    };
    let client = client::authenticate(&request, &service, credentials).await?;
    let token = form.token.ok_or_else(|| OAuthError::invalid_request("token is required in the body"))?;
    if let Some((installation_id, token)) = which_token(&token) {
        let command = RevokeToken {
            installation_id,
            token,
            holder: TokenHolder::App(client.app.client_id),
            reason: RevocationReason::App,
            note: None,
        };
        match context.settle(&service, &client::origin(&client, &context), &command).await? {
            Ok(_) | Err(InstallationRefusal::TokenUnknown) => {}
            Err(refusal) => return Err(refusal.into()),
        }
    }
    Ok(answer(Revoked {}))
}
