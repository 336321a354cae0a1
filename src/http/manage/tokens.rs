//! `/tokens/{token_id}`: revoke one token. There is no way to name more than one.

use actix_web::{HttpResponse, web};
use grantbook_events::{RevocationReason, TokenId};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::{reply, settle};
use crate::decisions::{Refusal, RevokeToken, TokenHolder, WhichToken};
use crate::http::context::Context;
use crate::http::operator::Admin;
use crate::http::problem::Problem;
use crate::http::service::Service;

/// Why an operator revokes a token.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Revocation {
    /// Why: `operator` unless this says otherwise.
    #[serde(default)]
    #[param(inline)]
    reason: OperatorsReason,
}

/// Why an operator revokes a token.
#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum OperatorsReason {
    /// The operator wants it to end.
    #[default]
    Operator,
    /// It was seen where it should not be.
    Leaked,
}

/// Revoke one token.
#[utoipa::path(delete, path = "/tokens/{token_id}", operation_id = "revoke_token", tag = "tokens", security(("operator_key" = [])),
    params(("token_id" = String, Path), Revocation),
    responses(
        (status = 204, description = "The token is refused from now on"),
    ))]
pub async fn revoke(
    Admin(operator): Admin,
    context: Context,
    service: web::Data<Service>,
    token_id: web::Path<TokenId>,
    revocation: web::Query<Revocation>,
) -> Result<HttpResponse, Problem> {
    let installation_id = service.ledger.live().installation_of_token(&token_id);
    let command = RevokeToken {
        installation_id: installation_id.ok_or(Refusal::TokenUnknown)?,
        token: WhichToken::Id(*token_id),
        holder: TokenHolder::Operator,
        reason: match revocation.reason {
            OperatorsReason::Operator => RevocationReason::Operator,
            OperatorsReason::Leaked => RevocationReason::Leaked,
        },
    };
    settle(&service, &operator, &context, &command).await?;
    Ok(reply::done())
}
