//! `/tokens`: revoke one token, by its id or by itself. There is no way to name more than one.

use actix_web::web::{Path, Query};
use grantbook_events::{RevocationReason, TokenId};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use crate::audit::TokenAnswer;
use crate::decisions::{InstallationRefusal, RevokeToken, TokenHolder, WhichToken};
use crate::http::audit::past::token_of_value;
use crate::http::oauth::revoke::which_token;
use crate::http::{Answer, Body, Operator, Reply};
use crate::ledger::Until;

/// Why an operator revokes a token.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct Revocation {
    /// Why: `operator` unless this says otherwise.
    #[serde(default)]
    #[param(inline)]
    reason: OperatorsReason,
    /// Why, in the operator's words: 1 to 500 characters.
    #[param(min_length = 1, max_length = 500)]
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

/// A token that was found where it should not be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FoundToken {
    /// The token itself.
    #[schema(min_length = 1, format = Password)]
    token: String,
    /// Where it was found, in the operator's words: 1 to 500 characters.
    #[schema(min_length = 1, max_length = 500)]
    note: Option<String>,
}

/// Of one that had ended before, the answer says so: it is no error.
pub async fn leaked(operator: Operator, Body(found): Body<FoundToken>) -> Answer<TokenAnswer> {
    let service = &operator.service;
    let (installation_id, token_id) = token_of_value(service, &found.token).await?;
    // A refresh token that is spent leads to its grant all the same.
    let token = which_token(found.token.trim()).map_or(WhichToken::Id(token_id), |(_, token)| token);
    let command = RevokeToken {
        installation_id,
        token,
        holder: TokenHolder::Operator,
        reason: RevocationReason::Leaked,
        note: found.note,
    };
    match operator.context.settle(service, &operator.origin, &command).await? {
        Ok(_) | Err(InstallationRefusal::TokenUnknown) => {}
        Err(refusal) => return Err(refusal.into()),
    }
    let ended = service.past().token(token_id, Until::Head).await?;
    Ok(Reply::ok(ended.ok_or(InstallationRefusal::TokenUnknown)?))
}

pub async fn revoke(
    operator: Operator,
    token_id: Path<TokenId>,
    Query(Revocation { reason, note }): Query<Revocation>,
) -> Answer<TokenAnswer> {
    let service = &operator.service;
    let past = service.past();
    let installation_id = match service.ledger.live().installation_of_token(&token_id) {
        Some(installation_id) => installation_id,
        None => past.installation_of(*token_id).await?.ok_or(InstallationRefusal::TokenUnknown)?,
    };
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
    match operator.context.settle(service, &operator.origin, &command).await? {
        Ok(_) => Ok(Reply::no_content()),
        Err(InstallationRefusal::TokenUnknown) => {
            let ended = past.token(*token_id, Until::Head).await?;
            Ok(Reply::ok(ended.ok_or(InstallationRefusal::TokenUnknown)?))
        }
        Err(refusal) => Err(refusal.into()),
    }
}
