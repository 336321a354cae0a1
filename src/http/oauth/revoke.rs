//! `POST /oauth/revoke`: an app gives a token back (RFC 7009).

use actix_web::{HttpRequest, HttpResponse, web};
use grantbook_events::{ActorKind, RevocationReason};
use serde_json::json;

use super::error::{OAuthError, no_store};
use super::forms::RevocationForm;
use super::{client, posted};
use crate::decisions::{Refusal, RevokeToken, TokenHolder, WhichToken};
use crate::http::context::Context;
use crate::http::service::Service;
use crate::secrets;

/// Ends a token of the authenticated client. 200 also for a token that is unknown, ended or another
/// client's, of which nothing is told and nothing ends (K3).
#[utoipa::path(post, path = "/oauth/revoke", operation_id = "revoke", tag = "oauth",
    description = "Revoke an access token (RFC 7009). 200 also for a token that is unknown or another client's; then nothing happens.",
    request_body(content_type = "application/x-www-form-urlencoded", content = RevocationForm),
    responses((status = 200, description = "It is not valid any more, if it was the client's", body = Object)))]
pub async fn revoke(
    request: HttpRequest,
    context: Context,
    service: web::Data<Service>,
    payload: web::Payload,
) -> Result<HttpResponse, OAuthError> {
    // A token that its app wants to end must not live on because the app said so twice.
    let form = posted::read_body(&request, payload).await?;
    let client = client::authenticate(&request, &form, &service).await?;
    let token =
        form.get("token").ok_or_else(|| OAuthError::invalid_request("token is required in the body"))?;
    if let Some(installation_id) = secrets::locate_token(token) {
        let command = RevokeToken {
            installation_id,
            token: WhichToken::Digest(secrets::digest(token)),
            holder: TokenHolder::App(client.app.client_id),
            reason: RevocationReason::App,
            note: None,
        };
        let origin = context.origin(ActorKind::App, client.app.client_id.to_string());
        match service.settle(&origin, &command).await? {
            Ok(_) | Err(Refusal::TokenUnknown) => {}
            Err(refusal) => return Err(refusal.into()),
        }
    }
    let mut reply = HttpResponse::Ok();
    no_store(&mut reply);
    // RFC 7009 asks for no body, but many clients parse one.
    Ok(reply.json(json!({})))
}
