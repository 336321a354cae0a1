//! `POST /oauth/token`: an app exchanges a code or a refresh token for tokens (RFC 6749 section 3.2). Knows: the grant types. Must not know:
//! what any of them asks for.

use actix_web::HttpRequest;
use actix_web::web::Data;

use super::client::Credentials;
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
    let credentials = Credentials {
        client_id: form.client_id.take(),
        client_secret: form.client_secret.take(),
        assertion_type: form.client_assertion_type.take(),
        assertion: form.client_assertion.take(),
    };
    // What the form lacks is said once the client is known.
    let client = client::authenticate(&request, &service, credentials).await?;
    let exchange = Exchange { service: &service, context: &context, client: &client };
    let reply = match is_refresh {
        true => refresh_token::exchange(exchange, form).await,
        false => authorization_code::exchange(exchange, form).await,
    };
    reply.map(answer)
}
