//! `/installations`: which apps are on which accounts, what happened there, and uninstalling.

use actix_web::{HttpResponse, web};
use grantbook_events::{
    AccountId, Actor, ClientId, EventId, InstallationId, Position, RequestId, Revision, ShownEvent,
    StreamKind, StreamName, Timestamp, TokenId, UninstallReason, UserId,
};
use grantbook_projections::live::{InstallationFacts, Live, TokenFacts};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::paging::{Cursor, Limit, Page, Paging};
use super::{Note, reply, settle};
use crate::audit::{Moment, Past, actor_schema};
use crate::decisions::UninstallApp;
use crate::http::context::Context;
use crate::http::operator::{Admin, Reader};
use crate::http::problem::Problem;
use crate::http::service::Service;
use crate::ledger::LedgerError;

/// Which installations: exactly one of `app` and `account`.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Which {
    /// Those of this app, by its client id.
    #[param(value_type = Option<String>, nullable = false)]
    app: Option<ClientId>,
    /// Those on this account.
    #[param(value_type = Option<String>, nullable = false)]
    account: Option<AccountId>,
    /// Only those installed now, or only those that are not.
    #[param(value_type = Option<bool>, nullable = false)]
    installed: Option<Installed>,
    /// `next_cursor` of the page before; the first page without.
    #[param(value_type = Option<String>, nullable = false)]
    cursor: Option<Cursor>,
    /// The most items of the page: 1 to 200, 50 by default.
    #[param(value_type = Option<u8>, nullable = false, minimum = 1, maximum = 200, default = 50)]
    limit: Option<Limit>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
struct Installed(bool);

impl TryFrom<String> for Installed {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse().map(Self).map_err(|_| "installed must be true or false")
    }
}

/// One app on one account.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct InstallationJson {
    #[schema(value_type = String, format = "uuid")]
    installation_id: InstallationId,
    #[schema(value_type = String)]
    client_id: ClientId,
    /// What the app is called; null if nothing is known of it any more.
    app_name: Option<String>,
    /// As the host platform names it.
    #[schema(value_type = String)]
    account_id: AccountId,
    /// Whether at least one token is valid.
    installed: bool,
    /// Since when, without a break; null while it is not installed.
    #[schema(value_type = Option<String>, format = DateTime)]
    installed_since: Option<Timestamp>,
    /// When the last token ended; null while it is installed, or if it never was.
    #[schema(value_type = Option<String>, format = DateTime)]
    ended_at: Option<Timestamp>,
    /// When a user of the account first approved the app.
    #[schema(value_type = String, format = DateTime)]
    first_granted_at: Timestamp,
    /// Counts uninstalls.
    epoch: u32,
    /// How many tokens are valid.
    valid_tokens: usize,
    /// How many tokens do not count while the app is suspended, and will once it is resumed.
    dormant_tokens: usize,
    /// Why nothing is known of it any more, so that no token of it counts; absent nearly always.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    quarantined: Option<String>,
}

/// One app on one account, with its tokens.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct InstallationWithTokensJson {
    #[serde(flatten)]
    installation: InstallationJson,
    /// The valid tokens, oldest first; never the tokens themselves.
    tokens: Vec<TokenJson>,
    /// The tokens that do not count while the app is suspended, and will once it is resumed; oldest first.
    dormant: Vec<TokenJson>,
}

/// A token, by its name.
#[derive(Debug, Serialize, ToSchema)]
struct TokenJson {
    #[schema(value_type = String, format = "uuid")]
    token_id: TokenId,
    /// Who approved, as the host platform names them.
    #[schema(value_type = String)]
    user_id: UserId,
    /// Canonical names of its scopes.
    scopes: Vec<String>,
    #[schema(value_type = String, format = DateTime)]
    issued_at: Timestamp,
    /// From when on it is refused; null never.
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
}

/// What an uninstall ended.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UninstalledJson {
    /// The tokens that it ended; empty if the app was not installed any more.
    #[schema(value_type = Vec<String>)]
    token_ids: Vec<TokenId>,
    /// Whether nothing was left to end, so that nothing happened.
    already: bool,
    /// What had ended something there last, if nothing was left and anything ever had.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    ended_by: Option<Moment>,
}

/// One event with its envelope.
#[derive(Debug, Serialize, ToSchema)]
struct EventJson<'a> {
    #[schema(value_type = u64)]
    position: Position,
    stream: &'a str,
    /// Its place in the stream.
    #[schema(value_type = u64)]
    revision: Revision,
    #[schema(value_type = String, format = "uuid")]
    event_id: EventId,
    #[serde(rename = "type")]
    event_type: &'a str,
    /// The version of `data`.
    version: u16,
    #[schema(value_type = String, format = DateTime)]
    recorded_at: Timestamp,
    #[schema(schema_with = actor_schema)]
    actor: &'a Actor,
    #[schema(value_type = String)]
    request_id: &'a RequestId,
    /// The event this one follows from, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "uuid", nullable = false)]
    caused_by: Option<EventId>,
    /// What happened: other fields for each type and version, without digests of secrets.
    #[schema(value_type = Object)]
    data: &'a Value,
}

impl<'a> From<&'a ShownEvent<'_>> for EventJson<'a> {
    fn from(shown: &'a ShownEvent<'_>) -> Self {
        let ShownEvent {
            position,
            stream,
            revision,
            event_id,
            type_name,
            version,
            recorded_at,
            actor,
            request_id,
            caused_by,
            data,
        } = shown;
        Self {
            position: *position,
            stream,
            revision: *revision,
            event_id: *event_id,
            event_type: type_name,
            version: *version,
            recorded_at: *recorded_at,
            actor,
            request_id,
            caused_by: *caused_by,
            data,
        }
    }
}

impl InstallationJson {
    fn new(facts: &InstallationFacts, live: &Live) -> Self {
        Self {
            installation_id: facts.installation_id,
            client_id: facts.client_id,
            app_name: live.app(&facts.client_id).map(|app| app.name.to_string()),
            account_id: facts.account_id.clone(),
            installed: facts.is_installed(),
            installed_since: facts.installed_since,
            ended_at: facts.ended_at,
            first_granted_at: facts.first_granted_at,
            epoch: facts.epoch,
            valid_tokens: facts.tokens.len(),
            dormant_tokens: facts.dormant.len(),
            quarantined: facts.quarantined.as_ref().map(|poison| {
                format!("the event at position {} cannot be folded: {}", poison.position, poison.reason)
            }),
        }
    }
}

impl From<&TokenFacts> for TokenJson {
    fn from(token: &TokenFacts) -> Self {
        Self {
            token_id: token.token_id,
            user_id: token.user_id.clone(),
            scopes: token.scopes.to_vec(),
            issued_at: token.issued_at,
            expires_at: token.expires_at,
        }
    }
}

/// List installations of an app or on an account, ended ones too, in order of first approval.
#[utoipa::path(get, path = "/installations", operation_id = "list_installations", tag = "installations", security(("operator_key" = [])),
    params(Which),
    responses(
        (status = 200, description = "One page of installations", body = Page<InstallationJson>),
    ))]
pub async fn list(
    _reader: Reader,
    service: web::Data<Service>,
    which: web::Query<Which>,
) -> Result<HttpResponse, Problem> {
    let (live, now) = (service.ledger.live(), service.ledger.recorded_now());
    let paging = Paging { cursor: which.cursor, limit: which.limit };
    let wanted = |facts: &InstallationFacts| {
        let matches = which.installed.is_none_or(|installed| installed.0 == facts.is_installed());
        matches.then(|| InstallationJson::new(facts, &live))
    };
    let page = match (&which.app, &which.account) {
        (Some(app), None) if live.app(app).is_none() => return Err(Problem::not_found("app")),
        (Some(app), None) => {
            paging.page(|skip, limit| live.installations_of_app(app, skip, limit, now), wanted)
        }
        (None, Some(account)) => {
            paging.page(|skip, limit| live.installations_on_account(account, skip, limit, now), wanted)
        }
        (Some(_), Some(_)) | (None, None) => {
            let right =
                "name exactly one of app and account, as in ?app={client_id} or ?account={account_id}";
            return Err(Problem::bad_request(right));
        }
    };
    Ok(reply::ok(&page))
}

/// Read one installation and its valid tokens.
#[utoipa::path(get, path = "/installations/{installation_id}", operation_id = "read_installation", tag = "installations", security(("operator_key" = [])),
    params(("installation_id" = String, Path)),
    responses(
        (status = 200, description = "The installation", body = InstallationWithTokensJson),
    ))]
pub async fn read(
    _reader: Reader,
    service: web::Data<Service>,
    id: web::Path<InstallationId>,
) -> Result<HttpResponse, Problem> {
    let live = service.ledger.live();
    let facts = live.installation(*id, service.ledger.recorded_now());
    let Some(facts) = facts else {
        let poison = live.quarantine_of(&StreamKind::Installation(*id).into());
        return Err(poison.map_or_else(
            || Problem::not_found("installation"),
            |poison| LedgerError::Quarantined(poison).into(),
        ));
    };
    Ok(reply::ok(&InstallationWithTokensJson {
        installation: InstallationJson::new(&facts, &live),
        tokens: facts.tokens.iter().map(TokenJson::from).collect(),
        dormant: facts.dormant.iter().map(TokenJson::from).collect(),
    }))
}

/// Read what happened to one installation, oldest first.
#[utoipa::path(get, path = "/installations/{installation_id}/events", operation_id = "read_installation_events", tag = "installations", security(("operator_key" = [])),
    params(("installation_id" = String, Path), Paging),
    responses(
        (status = 200, description = "One page of events with their envelopes", body = Page<EventJson>),
    ))]
pub async fn events(
    _reader: Reader,
    service: web::Data<Service>,
    id: web::Path<InstallationId>,
    paging: web::Query<Paging>,
) -> Result<HttpResponse, Problem> {
    let stream = StreamName::from(StreamKind::Installation(*id));
    let events = service.ledger.events_of(&stream).await?;
    if events.is_empty() {
        return Err(Problem::not_found("installation"));
    }
    let shown: Result<Vec<_>, _> = events.iter().map(ShownEvent::new).collect();
    let shown = shown.map_err(LedgerError::from)?;
    let rows = |skip, limit| shown.iter().skip(skip).take(limit).collect::<Vec<_>>();
    Ok(reply::ok(&paging.page(rows, |event| Some(EventJson::from(*event)))))
}

/// Uninstall: one app from one account. Its codes and tokens there end. Once more is not wrong: the answer says when and by
/// whom it was ended.
#[utoipa::path(delete, path = "/installations/{installation_id}", operation_id = "uninstall_app", tag = "installations", security(("operator_key" = [])),
    params(("installation_id" = String, Path), Note),
    responses(
        (status = 200, description = "Uninstalled", body = UninstalledJson),
    ))]
pub async fn uninstall(
    Admin(operator): Admin,
    context: Context,
    service: web::Data<Service>,
    id: web::Path<InstallationId>,
    said: web::Query<Note>,
) -> Result<HttpResponse, Problem> {
    let note = said.into_inner().note;
    let command = UninstallApp { installation_id: *id, reason: UninstallReason::Operator, note };
    let ended = settle(&service, &operator, &context, &command).await?;
    let ended_by = match ended.already {
        true => Past::new(&service.ledger, &service.history).last_end(*id).await?,
        false => None,
    };
    Ok(reply::ok(&UninstalledJson { token_ids: ended.token_ids, already: ended.already, ended_by }))
}
