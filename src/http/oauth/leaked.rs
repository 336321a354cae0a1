//! `POST /oauth/leaked`: a token was found where it should not be, so it ends (L1). Knows: what a report ends, and what it
//! can only warn of. Must not know: who reports.
//!
//! The token is proof enough, because anyone who has it could also use it. So a report needs no credentials. The answer is
//! always the same. Only its time differs, because an end is recorded: it can tell that a token was valid until then.

use actix_web::web::Data;
use grantbook_events::{ActorKind, RevocationReason};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::error::OAuthError;
use super::posted::Posted;
use super::rate_limits::TooOften;
use super::revoke::which_token;
use super::{OAuthAnswer, answer};
use crate::decisions::{InstallationRefusal, RevokeToken, TokenHolder, WhichToken};
use crate::http::{Context, Problem, Service};
use crate::secrets::{self, PlainSecret};

/// Who ended the token: nothing is known of who reported it.
const REPORT: &str = "leak-report";

/// A secret that was found.
#[derive(Deserialize, ToSchema)]
pub struct LeakForm {
    /// The secret itself.
    #[schema(required = true, nullable = false, min_length = 1, format = Password)]
    token: Option<String>,
}

/// The same for every report.
#[derive(Debug, Serialize, ToSchema)]
pub struct Reported {}

pub async fn leaked(
    context: Context,
    service: Data<Service>,
    // One that leaked must not live on because it was also written into the URI.
    Posted(form): Posted<LeakForm, true>,
) -> OAuthAnswer<Reported> {
    let token = form.token.ok_or_else(|| OAuthError::invalid_request("token is required in the body"))?;
    // What was read from a file ends with a line break.
    let token = PlainSecret::presented(token.trim());
    let which = which_token(token.expose());
    let is_known = match &which {
        Some((installation_id, WhichToken::Family(digest))) => {
            service.ledger.live().has_family(installation_id, digest)
        }
        Some((_, WhichToken::Digest(digest))) => service.ledger.live().has_token(digest),
        Some((_, WhichToken::Id(_) | WhichToken::Grant(_))) | None => false,
    };
    // A token ends once only. So reports that end one need no limit, and a flood of others does not hold them up.
    if !is_known {
        let counted = service.unmatched_reports.count(service.ledger.steady_now());
        counted.map_err(|TooOften(seconds)| {
            Problem::too_often(
                seconds,
                "too many reports were of no valid token: wait, then send this one again",
            )
        })?;
    }
    let Some((installation_id, which)) = which else {
        warn_of(&token, &service, &context);
        return Ok(answer(Reported {}));
    };
    let command = RevokeToken {
        installation_id,
        token: which,
        holder: TokenHolder::Operator,
        reason: RevocationReason::Leaked,
        note: None,
    };
    match context.settle(&service, &context.origin(ActorKind::System, REPORT), &command).await? {
        Ok(_) | Err(InstallationRefusal::TokenUnknown) => Ok(answer(Reported {})),
        Err(refusal) => Err(refusal.into()),
    }
}

/// A client secret or an operator key has to be replaced before it can end, which only an operator can do.
fn warn_of(secret: &PlainSecret, service: &Service, context: &Context) {
    let (live, digest) = (service.ledger.live(), secret.digest());
    let request_id = &context.request_id;
    if let Some(key) = live.operator_key(&digest) {
        tracing::warn!(key_id = %key.key_id, %request_id, "an operator key was reported as leaked: replace and retire it");
    } else if secrets::is_client_secret(secret.expose()) {
        let now = service.ledger.recorded_now();
        let has_it = |app: &grantbook_projections::App| {
            app.secrets.iter().any(|known| known.is_live(now) && known.digest == digest)
        };
        if let Some(app) = live.apps(0, usize::MAX).into_iter().find(|app| has_it(app)) {
            let client_id = app.client_id;
            tracing::warn!(%client_id, %request_id, "a client secret was reported as leaked: rotate it, and retire the old one");
        }
    }
}
