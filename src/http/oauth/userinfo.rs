//! `GET` and `POST /oauth/userinfo`: an app asks whose the token is that it has (U2).

use actix_web::web::Data;
use grantbook_events::{AccountId, InstallationId, UserId};
use serde::Serialize;
use utoipa::ToSchema;

use super::answer;
use super::bearer::{Bearer, BearerError};
use super::error::OAuthError;
use super::named;
use crate::http::reply::Reply;
use crate::http::{Caller, Context, Service};
use crate::secrets;

/// Whose an access token is. Names of people and accounts are not here: only the platform has them.
#[derive(Debug, Serialize, ToSchema)]
pub struct Userinfo {
    /// The user who approved.
    sub: UserId,
    /// The account that the app is installed on.
    account_id: AccountId,
    /// The installation: this app on that account.
    installation_id: InstallationId,
    /// The app, by the id that it knows itself by.
    client_id: String,
    /// Canonical names of the token's scopes, separated by spaces.
    scope: String,
}

pub async fn userinfo(
    context: Context,
    service: Data<Service>,
    Bearer(token): Bearer,
) -> Result<Reply<Userinfo>, BearerError> {
    let within = || secrets::locate_token(token.expose());
    let facts = service.ledger.token(&token.digest(), within).await?.ok_or_else(OAuthError::invalid_token)?;
    context.is_from(Caller::App(facts.client_id));
    Ok(answer(Userinfo {
        sub: facts.user_id,
        account_id: facts.account_id,
        installation_id: facts.installation_id,
        client_id: named::name(&service, facts.client_id),
        scope: facts.scopes.as_str().to_owned(),
    }))
}
