//! What every grant is exchanged with, and for. Must not know: any grant type.

use grantbook_events::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::client::Client;
use crate::http::context::Context;
use crate::http::reply::ShownOnce;
use crate::http::service::Service;
use crate::secrets::PlainSecret;

/// A token, handed over once.
#[derive(Debug, Serialize, ToSchema)]
pub struct TokenReply {
    /// The access token: send it as `Authorization: Bearer …`.
    access_token: ShownOnce,
    /// Always `Bearer` (RFC 6750).
    token_type: &'static str,
    /// Canonical names of the token's scopes, separated by spaces.
    scope: String,
    /// Seconds until it expires; absent, the default, for a token that does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in: Option<i64>,
}

impl TokenReply {
    pub fn new(token: PlainSecret, scopes: &[String], expires_at: Option<Timestamp>, now: Timestamp) -> Self {
        let seconds_left = |end: Timestamp| end.as_secs().saturating_sub(now.as_secs()).max(0);
        Self {
            access_token: ShownOnce(token),
            token_type: "Bearer",
            scope: scopes.join(" "),
            expires_in: expires_at.map(seconds_left),
        }
    }
}

/// What a grant is exchanged with.
pub struct Exchange<'a> {
    pub service: &'a Service,
    pub context: &'a Context,
    pub client: &'a Client,
}
