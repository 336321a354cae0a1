//! `/tokens/{token_id}`: revoke one token. There is no way to name more than one.

use actix_web::{HttpResponse, web};
use grantbook_events::{RevocationReason, TokenId};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::reply;
use crate::audit::{Past, TokenAnswer};
use crate::decisions::{Refusal, RevokeToken, TokenHolder, WhichToken};
use crate::http::context::Context;
use crate::http::operator::Admin;
use crate::http::problem::Problem;
use crate::http::service::Service;
use crate::ledger::Until;

/// Why an operator revokes a token.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Revocation {
    /// Why: `operator` unless this says otherwise.
    #[serde(default)]
    #[param(inline)]
    reason: OperatorsReason,
    /// Why, in the operator's words: 1 to 500 characters.
    #[param(value_type = Option<String>, nullable = false, min_length = 1, max_length = 500)]
    note: Option<String>,
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

/// Revoke one token. Once more is not wrong: the answer says when and by whom it was ended.
#[utoipa::path(delete, path = "/tokens/{token_id}", operation_id = "revoke_token", tag = "tokens", security(("operator_key" = [])),
    params(("token_id" = String, Path), Revocation),
    responses(
        (status = 204, description = "The token is refused from now on"),
        (status = 200, description = "The token had ended before: when, by whom and why", body = TokenAnswer),
    ))]
pub async fn revoke(
    Admin(operator): Admin,
    context: Context,
    service: web::Data<Service>,
    token_id: web::Path<TokenId>,
    revocation: web::Query<Revocation>,
) -> Result<HttpResponse, Problem> {
    let past = Past::new(&service.ledger, &service.history);
    let here = service.ledger.live().installation_of_token(&token_id);
    let installation_id = match here {
        Some(installation_id) => installation_id,
        None => past.installation_of(*token_id).await?.ok_or(Refusal::TokenUnknown)?,
    };
    let Revocation { reason, note } = revocation.into_inner();
    let command = RevokeToken {
        installation_id,
        token: WhichToken::Id(*token_id),
        holder: TokenHolder::Operator,
        reason: match reason {
            OperatorsReason::Operator => RevocationReason::Operator,
            OperatorsReason::Leaked => RevocationReason::Leaked,
        },
        note,
    };
    match service.settle(&operator.origin(&context), &command).await? {
        Ok(_) => Ok(reply::done()),
        Err(Refusal::TokenUnknown) => {
            let ended = past.token(*token_id, Until::Head).await?;
            Ok(reply::ok(&ended.ok_or(Refusal::TokenUnknown)?))
        }
        Err(refusal) => Err(refusal.into()),
    }
}
