//! What was true at some time: of the installations on an account, of a token, and between two times. Knows:
//! the ledger, the history, folds. Must not know: HTTP.
//!
//! The streams of the account asked about are folded again up to the cut, by the same fold that serves
//! requests, and the state is asked what was true. So the cost follows the history of that account.

use std::collections::BTreeSet;

use grantbook_events::{
    AccountId, ClientId, Event, InstallationEvent, InstallationId, Position, Recorded, Revision, StreamKind,
    Timestamp, TokenId, UserId,
};
use grantbook_projections::AppStatus;
use grantbook_projections::live::{InstallationFacts, Live, TokenFacts};
use serde::Serialize;

use super::history::{History, HistoryError};
use super::timeline::{Moment, moment_of};
use crate::ledger::{Ledger, LedgerError, Until, fold, read};
use crate::store::{Record, StoreError};

/// Why a question about the past is not answered.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The history cannot be asked.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// The ledger cannot be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The position is beyond the end of the ledger.
    #[error("the ledger ends at position {end}, before {asked}")]
    Beyond {
        /// What was asked for.
        asked: Position,
        /// Where the ledger ends.
        end: Position,
    },
}

impl From<StoreError> for AuditError {
    fn from(error: StoreError) -> Self {
        Self::Ledger(error.into())
    }
}

/// Where the ledger was cut, and the time that expiry is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Cut {
    /// Events up to here count.
    pub position: Position,
    /// What had expired by then did not count.
    pub time: Timestamp,
}

/// One app on the account, as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InstallationThen {
    /// Names the installation.
    pub installation_id: InstallationId,
    /// The app.
    pub client_id: ClientId,
    /// What the app was called.
    pub app_name: String,
    /// Whether at least one token was valid.
    pub installed: bool,
    /// Since when, without a break.
    pub installed_since: Option<Timestamp>,
    /// When the last token had ended, if none was left.
    pub ended_at: Option<Timestamp>,
    /// When a user of the account first approved the app.
    pub first_granted_at: Timestamp,
    /// What its valid tokens could do, taken together.
    pub scopes: Vec<String>,
    /// Its valid tokens, oldest first.
    pub tokens: Vec<TokenThen>,
    /// Why nothing was known of it, if so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quarantined: Option<String>,
}

/// A token that was valid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TokenThen {
    /// Names the token.
    pub token_id: TokenId,
    /// Who had approved.
    pub user_id: UserId,
    /// What it could do.
    pub scopes: Vec<String>,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// From when on it is refused; none never.
    pub expires_at: Option<Timestamp>,
}

impl From<&TokenFacts> for TokenThen {
    fn from(facts: &TokenFacts) -> Self {
        Self {
            token_id: facts.token_id,
            user_id: facts.user_id.clone(),
            scopes: facts.scopes.to_vec(),
            issued_at: facts.issued_at,
            expires_at: facts.expires_at,
        }
    }
}

/// The installations on an account, as they were.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AccountThen {
    /// The account.
    pub account_id: AccountId,
    /// As of when.
    pub as_of: Cut,
    /// Those that anybody had approved by then, in the order of first approval.
    pub items: Vec<InstallationThen>,
}

/// Whether a token was valid, and why or why not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TokenAnswer {
    /// Names the token.
    pub token_id: TokenId,
    /// The installation it belongs to.
    pub installation_id: InstallationId,
    /// The app it was issued to.
    pub client_id: Option<ClientId>,
    /// The account.
    pub account_id: Option<AccountId>,
    /// Who had approved.
    pub user_id: Option<UserId>,
    /// As of when.
    pub as_of: Cut,
    /// Whether it was valid.
    pub valid: bool,
    /// In one word: `valid`, `not_issued`, `ended`, `expired`, `app_inactive` or `quarantined`.
    pub state: &'static str,
    /// Why or why not, in a sentence.
    pub why: String,
    /// The event that says so, if it is one event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<Moment>,
}

/// What changed on an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Changes {
    /// The account.
    pub account_id: AccountId,
    /// From when.
    pub from: Cut,
    /// To when.
    pub to: Cut,
    /// What is different, in the order of first approval.
    pub items: Vec<Change>,
}

/// What changed of one installation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Names the installation.
    pub installation_id: InstallationId,
    /// The app.
    pub client_id: ClientId,
    /// What the app was called in the end.
    pub app_name: String,
    /// `installed`, `ended`, or `changed` if it was installed before and after, or neither.
    pub change: &'static str,
    /// What it could do in the end and not in the beginning.
    pub scopes_added: Vec<String>,
    /// What it could do in the beginning and not in the end.
    pub scopes_removed: Vec<String>,
    /// Tokens that were valid in the end and not in the beginning.
    pub tokens_added: Vec<TokenId>,
    /// Tokens that were valid in the beginning and not in the end.
    pub tokens_ended: Vec<TokenId>,
}

/// Questions about the past of a ledger.
#[derive(Debug, Clone, Copy)]
pub struct Past<'a> {
    ledger: &'a Ledger,
    history: &'a History,
}

impl<'a> Past<'a> {
    /// The past of a ledger, with its history.
    pub fn new(ledger: &'a Ledger, history: &'a History) -> Self {
        Self { ledger, history }
    }

    /// What a point in time comes to. Waits until everything that is folded is in the history too.
    ///
    /// # Errors
    /// If it is beyond the end, or the history cannot be asked.
    pub async fn cut(&self, as_of: Until) -> Result<Cut, AuditError> {
        let end = self.ledger.live().position();
        self.history.reached(end).await?;
        match as_of {
            Until::Head => Ok(Cut { position: end, time: self.ledger.now() }),
            Until::Time(time) => {
                let position = self.history.last_until(time).await?.min(end);
                Ok(Cut { position, time })
            }
            Until::Position(asked) if asked > end => Err(AuditError::Beyond { asked, end }),
            Until::Position(position) => {
                let time = self.history.recorded_at(position).await?;
                Ok(Cut { position, time: time.unwrap_or(Timestamp::EPOCH) })
            }
        }
    }

    /// The installations on an account, as they were.
    ///
    /// # Errors
    /// If the past cannot be read.
    pub async fn account(&self, account: &AccountId, as_of: Until) -> Result<AccountThen, AuditError> {
        let cut = self.cut(as_of).await?;
        let items = self.installations(account, cut).await?;
        Ok(AccountThen { account_id: account.clone(), as_of: cut, items })
    }

    /// What changed on an account from one time to another.
    ///
    /// # Errors
    /// If the past cannot be read.
    pub async fn changes(&self, account: &AccountId, from: Until, to: Until) -> Result<Changes, AuditError> {
        let (from, to) = (self.cut(from).await?, self.cut(to).await?);
        let (before, after) =
            (self.installations(account, from).await?, self.installations(account, to).await?);
        let of = |then: &[InstallationThen], id| then.iter().find(|one| one.installation_id == id).cloned();
        // In whichever order the two are, every installation is in the later one.
        let all = if before.len() > after.len() { &before } else { &after };
        let items = all.iter().filter_map(|one| {
            let id = one.installation_id;
            change(one, of(&before, id).as_ref(), of(&after, id).as_ref())
        });
        let items = items.collect();
        Ok(Changes { account_id: account.clone(), from, to, items })
    }

    async fn installations(
        &self,
        account: &AccountId,
        cut: Cut,
    ) -> Result<Vec<InstallationThen>, AuditError> {
        // Installations stay in the live projection for ever, ended ones too.
        let known = self.ledger.live().installations_on_account(account, 0, usize::MAX, cut.time);
        let installations = known.iter().map(|facts| facts.installation_id);
        let apps: BTreeSet<ClientId> = known.iter().map(|facts| facts.client_id).collect();
        let (live, _) = self.folded(installations, apps, cut).await?;
        let then = live.installations_on_account(account, 0, usize::MAX, cut.time);
        Ok(then.iter().map(|facts| then_of(facts, &live)).collect())
    }

    /// The state of some streams at a cut, and their records up to there.
    async fn folded(
        &self,
        installations: impl IntoIterator<Item = InstallationId>,
        apps: impl IntoIterator<Item = ClientId>,
        cut: Cut,
    ) -> Result<(Live, Vec<Record>), AuditError> {
        let streams = apps.into_iter().map(StreamKind::App);
        let streams = streams.chain(installations.into_iter().map(StreamKind::Installation));
        let mut records = Vec::new();
        for stream in streams {
            let stream = self.ledger.store().read_stream(&stream.into(), Revision::FIRST).await?;
            records.extend(stream.into_iter().filter(|record| record.position <= cut.position));
        }
        records.sort_by_key(|record| record.position);
        let live = Live::new();
        for record in &records {
            // What cannot be folded is in quarantine then, as it is where the ledger is served.
            let _ = fold(&live, record);
        }
        Ok((live, records))
    }

    /// Whether a token was valid, and why or why not; `None` if there was never such a token.
    ///
    /// # Errors
    /// If the past cannot be read.
    pub async fn token(&self, token_id: TokenId, as_of: Until) -> Result<Option<TokenAnswer>, AuditError> {
        let cut = self.cut(as_of).await?;
        let Some(issue) = self.history.issue_of(token_id).await? else { return Ok(None) };
        let Some(installation_id) = issue.installation_id else { return Ok(None) };
        let (live, records) = self.folded([installation_id], issue.client_id, cut).await?;
        let answer = |state, why: String, event| TokenAnswer {
            token_id,
            installation_id,
            client_id: issue.client_id,
            account_id: issue.account_id.clone(),
            user_id: issue.user_id.clone(),
            as_of: cut,
            valid: state == "valid",
            state,
            why,
            event,
        };
        let events: Vec<Recorded> = records.iter().filter_map(|record| read(record).ok()).collect();
        let told = |recorded: &Recorded| moment_of(recorded);
        let issued =
            events.iter().find_map(|recorded| issues(recorded, token_id).map(|event| (recorded, event)));
        let Some((issued, exchanged)) = issued else {
            let why = format!("The token was issued later, at {}.", issue.recorded_at);
            return Ok(Some(answer("not_issued", why, None)));
        };
        if live.token_by_id(&token_id, cut.time).is_some() {
            let why = "It had been issued, and neither ended nor expired, and its app was active.";
            return Ok(Some(answer("valid", why.to_owned(), told(issued))));
        }
        if let Some(ended) = events.iter().find(|recorded| ends(recorded, token_id)) {
            let moment = told(ended);
            let why = moment.as_ref().map(|moment| moment.sentence.clone()).unwrap_or_default();
            return Ok(Some(answer("ended", why, moment)));
        }
        if let Some(end) = exchanged.expires_at.filter(|end| *end <= cut.time) {
            return Ok(Some(answer("expired", format!("It had expired at {end}."), None)));
        }
        if let Some(poison) = live.quarantine_of(&StreamKind::Installation(installation_id).into()) {
            let why = format!("Nothing was known of its installation: {}.", poison.reason);
            return Ok(Some(answer("quarantined", why, None)));
        }
        let status = issue.client_id.and_then(|app| live.app(&app)).map(|app| app.status.clone());
        let why = match status {
            Some(AppStatus::Suspended { reason }) => format!("Its app was suspended: {reason}."),
            Some(AppStatus::Deleted { reason }) => format!("Its app was deleted: {reason}."),
            Some(AppStatus::Quarantined { reason }) => format!("Nothing was known of its app: {reason}."),
            Some(AppStatus::Active) | None => "Its app was not active.".to_owned(),
        };
        Ok(Some(answer("app_inactive", why, None)))
    }

    /// The installation that a token belongs to, if there was ever such a token.
    ///
    /// # Errors
    /// If the history cannot be asked.
    pub async fn installation_of(&self, token_id: TokenId) -> Result<Option<InstallationId>, AuditError> {
        self.history.reached(self.ledger.live().position()).await?;
        Ok(self.history.issue_of(token_id).await?.and_then(|row| row.installation_id))
    }
}

fn issues(recorded: &Recorded, token_id: TokenId) -> Option<&grantbook_events::CodeExchanged> {
    match &recorded.event {
        Event::Installation(InstallationEvent::CodeExchanged(event)) if event.token_id == token_id => {
            Some(event)
        }
        Event::Installation(_) | Event::App(_) | Event::OperatorKey(_) => None,
    }
}

/// Whether an event ended a token.
pub(super) fn ends(recorded: &Recorded, token_id: TokenId) -> bool {
    match &recorded.event {
        Event::Installation(InstallationEvent::CodeReplayed(event)) => event.token_ids.contains(&token_id),
        Event::Installation(InstallationEvent::TokenRevoked(event)) => event.token_id == token_id,
        Event::Installation(InstallationEvent::Uninstalled(event)) => event.token_ids.contains(&token_id),
        Event::Installation(InstallationEvent::AccessGranted(_) | InstallationEvent::CodeExchanged(_))
        | Event::App(_)
        | Event::OperatorKey(_) => false,
    }
}

fn then_of(facts: &InstallationFacts, live: &Live) -> InstallationThen {
    let scopes: BTreeSet<String> =
        facts.tokens.iter().flat_map(|token| token.scopes.iter().cloned()).collect();
    InstallationThen {
        installation_id: facts.installation_id,
        client_id: facts.client_id,
        app_name: live.app(&facts.client_id).map(|app| app.name.clone()).unwrap_or_default(),
        installed: facts.is_installed(),
        installed_since: facts.installed_since,
        ended_at: facts.ended_at,
        first_granted_at: facts.first_granted_at,
        scopes: scopes.into_iter().collect(),
        tokens: facts.tokens.iter().map(TokenThen::from).collect(),
        quarantined: facts.quarantined.as_ref().map(|poison| poison.reason.clone()),
    }
}

fn change(
    one: &InstallationThen,
    before: Option<&InstallationThen>,
    after: Option<&InstallationThen>,
) -> Option<Change> {
    let scopes = |then: Option<&InstallationThen>| -> BTreeSet<String> {
        then.map(|then| then.scopes.iter().cloned().collect()).unwrap_or_default()
    };
    let tokens = |then: Option<&InstallationThen>| -> BTreeSet<TokenId> {
        then.map(|then| then.tokens.iter().map(|token| token.token_id).collect()).unwrap_or_default()
    };
    let (scopes_before, scopes_after) = (scopes(before), scopes(after));
    let (tokens_before, tokens_after) = (tokens(before), tokens(after));
    if scopes_before == scopes_after && tokens_before == tokens_after {
        return None;
    }
    let was = |then: Option<&InstallationThen>| then.is_some_and(|then| then.installed);
    Some(Change {
        installation_id: one.installation_id,
        client_id: one.client_id,
        app_name: one.app_name.clone(),
        change: match (was(before), was(after)) {
            (false, true) => "installed",
            (true, false) => "ended",
            (true, true) | (false, false) => "changed",
        },
        scopes_added: scopes_after.difference(&scopes_before).cloned().collect(),
        scopes_removed: scopes_before.difference(&scopes_after).cloned().collect(),
        tokens_added: tokens_after.difference(&tokens_before).copied().collect(),
        tokens_ended: tokens_before.difference(&tokens_after).copied().collect(),
    })
}
