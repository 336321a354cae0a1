//! `POST /oauth/token`: an app exchanges a code or a refresh token for tokens (RFC 6749 section 3.2). Knows: the grant types. Must not know:
//! what any of them asks for.

use actix_web::HttpRequest;
use actix_web::web::Data;

use super::error::OAuthError;
use super::grants::{Exchange, TokenForm, TokenReply, authorization_code, refresh_token};
use super::posted::Posted;
use super::{OAuthAnswer, answer, client};
use crate::http::{Context, Service};

pub async fn token(
    request: HttpRequest,
    context: Context,
    service: Data<Service>,
    Posted(mut form): Posted<TokenForm>,
) -> OAuthAnswer<TokenReply> {
    let is_refresh = match form.grant_type.as_deref() {
        None | Some("authorization_code") => false,
        Some("refresh_token") => true,
        Some(_) => {
            let detail = "grant_type must be authorization_code or refresh_token";
            return Err(OAuthError::new("unsupported_grant_type", detail));
        }
    };
    let (client_id, client_secret) = (form.client_id.take(), form.client_secret.take());
    // What the form lacks is said once the client is known.
    let client = client::authenticate(&request, &service, client_id, client_secret).await?;
    let exchange = Exchange { service: &service, context: &context, client: &client };
    let reply = match is_refresh {
        true => refresh_token::exchange(exchange, form).await,
        false => authorization_code::exchange(exchange, form).await,
    };
    reply.map(answer)
}
