//! `/installations`: which apps are on which accounts, what happened there, and uninstalling.

use actix_web::web::{Data, Path, Query};
use grantbook_events::{
    AccountId, ClientId, InstallationId, ShownEvent, StreamKind, Timestamp, TokenId, UninstallReason,
};
use grantbook_projections::live::{InstallationFacts, Live};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Note;
use super::paging::{Cursor, Limit, Page, Paging};
use crate::audit::{Moment, TokenThen};
use crate::decisions::UninstallApp;
use crate::http::{Answer, Operator, Problem, Reply, Service};
use crate::ledger::LedgerError;

/// Which installations: exactly one of `app` and `account`.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct InstallationsQuery {
    /// Those of this app, by its client id.
    app: Option<ClientId>,
    /// Those on this account.
    account: Option<AccountId>,
    /// Only those installed now, or only those that are not.
    #[param(value_type = Option<bool>)]
    installed: Option<Installed>,
    /// `next_cursor` of the page before; the first page without.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor>,
    /// The most items of the page: 1 to 200, 50 by default.
    #[param(value_type = Option<u8>, minimum = 1, maximum = 200, default = 50)]
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
pub struct InstallationJson {
    installation_id: InstallationId,
    client_id: ClientId,
    /// What the app is called; null if nothing is known of it any more.
    app_name: Option<String>,
    /// As the host platform names it.
    account_id: AccountId,
    /// Whether at least one token is valid.
    installed: bool,
    /// Since when, without a break; null while it is not installed.
    installed_since: Option<Timestamp>,
    /// When the last token ended; null while it is installed, or if it never was.
    ended_at: Option<Timestamp>,
    /// When a user of the account first approved the app.
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
pub struct InstallationWithTokensJson {
    #[serde(flatten)]
    installation: InstallationJson,
    /// The valid tokens, oldest first; never the tokens themselves.
    tokens: Vec<TokenThen>,
    /// The tokens that do not count while the app is suspended, and will once it is resumed; oldest first.
    dormant: Vec<TokenThen>,
}

/// What an uninstall ended.
#[derive(Debug, Serialize, ToSchema)]
pub struct UninstalledJson {
    /// The tokens that it ended; empty if the app was not installed any more.
    token_ids: Vec<TokenId>,
    /// Whether nothing was left to end, so that nothing happened.
    already: bool,
    /// What had ended something there last, if nothing was left and anything ever had.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    ended_by: Option<Moment>,
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

pub async fn list(
    service: Data<Service>,
    query: Query<InstallationsQuery>,
) -> Answer<Page<InstallationJson>> {
    let (live, now) = (service.ledger.live(), service.ledger.recorded_now());
    let paging = Paging { cursor: query.cursor, limit: query.limit };
    let wanted = |facts: &InstallationFacts| {
        let matches = query.installed.is_none_or(|installed| installed.0 == facts.is_installed());
        matches.then(|| InstallationJson::new(facts, &live))
    };
    let page = match (&query.app, &query.account) {
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
    Ok(Reply::ok(page))
}

pub async fn read(service: Data<Service>, id: Path<InstallationId>) -> Answer<InstallationWithTokensJson> {
    let live = service.ledger.live();
    let Some(facts) = live.installation(*id, service.ledger.recorded_now()) else {
        return Err(match live.quarantine_of(&StreamKind::Installation(*id).into()) {
            Some(poison) => LedgerError::Quarantined(poison).into(),
            None => Problem::not_found("installation"),
        });
    };
    Ok(Reply::ok(InstallationWithTokensJson {
        installation: InstallationJson::new(&facts, &live),
        tokens: facts.tokens.iter().map(TokenThen::from).collect(),
        dormant: facts.dormant.iter().map(TokenThen::from).collect(),
    }))
}

pub async fn events(
    service: Data<Service>,
    id: Path<InstallationId>,
    paging: Query<Paging>,
) -> Answer<Page<ShownEvent<'static>>> {
    let events = service.ledger.events_of(&StreamKind::Installation(*id).into()).await?;
    if events.is_empty() {
        return Err(Problem::not_found("installation"));
    }
    let shown: Result<Vec<_>, _> = events.iter().map(ShownEvent::new).collect();
    let shown = shown.map_err(LedgerError::from)?;
    let rows = |skip, limit| shown.iter().skip(skip).take(limit).collect();
    Ok(Reply::ok(paging.page(rows, |event: &&ShownEvent<'_>| Some((*event).clone()))))
}

pub async fn uninstall(
    operator: Operator,
    id: Path<InstallationId>,
    Query(Note { note }): Query<Note>,
) -> Answer<UninstalledJson> {
    let command = UninstallApp { installation_id: *id, reason: UninstallReason::Operator, note };
    let ended = operator.settle(&command).await?;
    let service = &operator.service;
    let ended_by = match ended.already {
        true => service.past().last_end(*id).await?,
        false => None,
    };
    Ok(Reply::ok(UninstalledJson { token_ids: ended.token_ids, already: ended.already, ended_by }))
}
