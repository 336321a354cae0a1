//! `POST /oauth/token`: an app exchanges a grant for a token (RFC 6749 section 3.2). Knows: the grant types. Must not know:
//! what any of them asks for.

use actix_web::HttpRequest;
use actix_web::web::Data;

use super::error::OAuthError;
use super::grants::{Exchange, TokenForm, TokenReply, authorization_code};
use super::posted::Posted;
use super::{OAuthAnswer, answer, client};
use crate::http::{Context, Service};

pub async fn token(
    request: HttpRequest,
    context: Context,
    service: Data<Service>,
    Posted(mut form): Posted<TokenForm>,
) -> OAuthAnswer<TokenReply> {
    if !matches!(form.grant_type.as_deref(), None | Some("authorization_code")) {
        return Err(OAuthError::new("unsupported_grant_type", "grant_type must be authorization_code"));
    }
    let (client_id, client_secret) = (form.client_id.take(), form.client_secret.take());
    // What the form lacks is said once the client is known.
    let client = client::authenticate(&request, &service, client_id, client_secret).await?;
    let exchange = Exchange { service: &service, context: &context, client: &client };
    authorization_code::exchange(exchange, form).await.map(answer)
}
