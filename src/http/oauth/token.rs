//! `POST /oauth/token`: an app exchanges a grant for a token (RFC 6749 section 3.2).

use actix_web::HttpRequest;
use actix_web::web::Data;

use super::client;
use super::error::OAuthError;
use super::exchange::{Exchange, TokenReply};
use super::grants::{Grant, TokenForm};
use super::posted::Posted;
use super::reply::OAuthReply;
use crate::http::context::Context;
use crate::http::service::Service;

pub async fn token(
    request: HttpRequest,
    context: Context,
    service: Data<Service>,
    Posted(mut form): Posted<TokenForm>,
) -> Result<OAuthReply<TokenReply>, OAuthError> {
    let (client_id, client_secret) = (form.client_id.take(), form.client_secret.take());
    let grant = Grant::of(form)?;
    let client = client::authenticate(&request, &service, client_id, client_secret).await?;
    let exchange = Exchange { service: &service, context: &context, client: &client };
    grant.exchange(exchange).await.map(OAuthReply::new)
}
