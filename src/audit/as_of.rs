//! What was true at some time: of the installations on an account, of a token, and between two times. Knows:
//! the ledger, the history, folds. Must not know: HTTP.
//!
//! The streams of that account are folded again up to the cut, by the same fold that serves requests, and the state is
//! asked what was true. So the cost follows the history of that account.

mod answers;

use std::collections::{BTreeMap, BTreeSet};

use grantbook_events::{
    AccountId, AppEvent, ClientId, Event, GrantId, InstallationEvent, InstallationId, Recorded, Revision,
    SecretDigest, StreamKind, Timestamp, TokenId,
};
use grantbook_projections::AppStatus;
use grantbook_projections::history::HistoryRow;
use grantbook_projections::live::Live;

use answers::app_then;
pub use answers::{AccountThen, Change, Changes, Cut, InstallationThen, TokenAnswer, TokenThen};

use super::history::{History, HistoryError};
use super::sentences::DEAD_CODE;
use super::timeline::{Moment, ends, moment_of};
use crate::ledger::{Ledger, LedgerError, NotYet, Until, aside, fold, read};
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
    /// It is not the past.
    #[error(transparent)]
    NotYet(#[from] NotYet),
    /// `from` is after `to`.
    #[error(
        "from ({}, position {}) is after to ({}, position {}): name the earlier one first",
        from.time, from.position, to.time, to.position
    )]
    Backwards { from: Cut, to: Cut },
}

impl From<StoreError> for AuditError {
    fn from(error: StoreError) -> Self {
        Self::Ledger(error.into())
    }
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

    /// The position and time of a point in the past. Waits until everything that is folded is in the history too.
    ///
    /// # Errors
    /// If it is beyond the end or still to come, or the history cannot be asked.
    pub async fn cut(&self, as_of: Until) -> Result<Cut, AuditError> {
        let (end, now) = (self.ledger.live().position(), self.ledger.recorded_now());
        as_of.has_come(end, now)?;
        self.history.reached(end).await?;
        match as_of {
            Until::Head => Ok(Cut { position: end, time: now, out_of_order: false }),
            Until::Time(time) => {
                let (position, out_of_order) = self.history.recorded_until(time, end).await?;
                Ok(Cut { position, time, out_of_order })
            }
            Until::Position(position) => {
                let time = self.history.recorded_at(position).await?;
                Ok(Cut { position, time: time.unwrap_or(Timestamp::EPOCH), out_of_order: false })
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
    /// If the past cannot be read, or `from` is after `to`.
    pub async fn changes(&self, account: &AccountId, from: Until, to: Until) -> Result<Changes, AuditError> {
        let is_before = matches!((from, to), (Until::Time(from), Until::Time(to)) if from > to);
        let (from, to) = (self.cut(from).await?, self.cut(to).await?);
        if is_before || from.position > to.position {
            return Err(AuditError::Backwards { from, to });
        }
        let mut both = BTreeMap::<_, (Option<InstallationThen>, Option<InstallationThen>)>::new();
        let order = |then: &InstallationThen| (then.first_granted_at, then.installation_id);
        for then in self.installations(account, from).await? {
            let changed = both.entry(order(&then)).or_default();
            changed.0 = Some(then);
        }
        for then in self.installations(account, to).await? {
            let changed = both.entry(order(&then)).or_default();
            changed.1 = Some(then);
        }
        let items =
            both.values().filter_map(|(before, after)| Change::between(before.as_ref(), after.as_ref()));
        let items = items.collect();
        Ok(Changes { account_id: account.clone(), from, to, items })
    }

    async fn installations(
        &self,
        account: &AccountId,
        cut: Cut,
    ) -> Result<Vec<InstallationThen>, AuditError> {
        let known = self.history.installations_on(account.clone(), cut.position).await?;
        let installations = known.iter().map(|(installation, _)| *installation);
        let apps: BTreeSet<ClientId> = known.iter().filter_map(|(_, app)| *app).collect();
        let (live, _) = self.folded(installations, apps, cut).await?;
        let then = live.installations_on_account(account, 0, usize::MAX, cut.time);
        Ok(then.iter().map(|facts| InstallationThen::of(facts, &live)).collect())
    }

    /// The state of some streams at a cut, and their events up to there that can be read.
    async fn folded(
        &self,
        installations: impl IntoIterator<Item = InstallationId>,
        apps: impl IntoIterator<Item = ClientId>,
        cut: Cut,
    ) -> Result<(Live, Vec<Recorded>), AuditError> {
        let streams = apps.into_iter().map(StreamKind::App);
        let streams = streams.chain(installations.into_iter().map(StreamKind::Installation));
        let mut records = Vec::new();
        for stream in streams {
            let stream = self.ledger.records_of(&stream.into(), Revision::FIRST).await?;
            records.extend(stream.into_iter().filter(|record| cut.takes(record)));
        }
        let count = records.len();
        let work = move || {
            records.sort_by_key(|record| record.position);
            let live = Live::new();
            // What cannot be folded is in quarantine then, as it is where the ledger is served.
            let event = |record| fold(&live, record).ok().or_else(|| read(record).ok());
            let events = records.iter().filter_map(event).collect();
            (live, events)
        };
        Ok(aside(count, work).await?)
    }

    /// Whether a token was valid, and why or why not; `None` if there was never such a token.
    ///
    /// # Errors
    /// If the past cannot be read.
    pub async fn token(&self, token_id: TokenId, as_of: Until) -> Result<Option<TokenAnswer>, AuditError> {
        let cut = self.cut(as_of).await?;
        let Some(issue) = self.history.issue_of(token_id).await? else { return Ok(None) };
        let Some(installation_id) = issue.installation_id else { return Ok(None) };
        let (live, events) = self.folded([installation_id], issue.client_id, cut).await?;
        let (state, why, event) = token_then(&live, &events, token_id, &issue, cut.time);
        Ok(Some(TokenAnswer {
            token_id,
            installation_id,
            client_id: issue.client_id,
            account_id: issue.account_id,
            user_id: issue.user_id,
            as_of: cut,
            valid: state == "valid",
            state,
            why,
            event: event.and_then(moment_of),
        }))
    }

    /// The id of the token with this digest, which says that it belongs to this installation; `None` if it was never issued.
    ///
    /// # Errors
    /// If the ledger cannot be read.
    pub async fn token_with(
        &self,
        digest: SecretDigest,
        within: InstallationId,
    ) -> Result<Option<TokenId>, AuditError> {
        let stream = StreamKind::Installation(within).into();
        let records = self.ledger.records_of(&stream, Revision::FIRST).await?;
        let issued = move |record: &Record| {
            let Event::Installation(event) = read(record).ok()?.event else { return None };
            event.issued_tokens().into_iter().find(|(_, known)| *known == digest).map(|(id, _)| id)
        };
        let count = records.len();
        Ok(aside(count, move || records.iter().find_map(issued)).await?)
    }

    /// The last event that ended something of an installation, if there was one.
    ///
    /// # Errors
    /// If the ledger cannot be read.
    pub async fn last_end(&self, installation_id: InstallationId) -> Result<Option<Moment>, AuditError> {
        let stream = StreamKind::Installation(installation_id).into();
        let records = self.ledger.store().read_stream(&stream, Revision::FIRST).await?;
        let events: Vec<Recorded> = records.iter().filter_map(|record| read(record).ok()).collect();
        let is_end = |event: &Event| match event {
            Event::Installation(event) => event.is_end(),
            Event::App(_) | Event::OperatorKey(_) | Event::Ledger(_) => false,
        };
        Ok(events.iter().rfind(|recorded| is_end(&recorded.event)).and_then(moment_of))
    }

    /// The installation and the grant that a token came of, if there was ever such a token.
    ///
    /// # Errors
    /// If the past cannot be read.
    pub async fn grant_of(&self, token_id: TokenId) -> Result<Option<(InstallationId, GrantId)>, AuditError> {
        let Some(installation_id) = self.installation_of(token_id).await? else { return Ok(None) };
        let stream = StreamKind::Installation(installation_id).into();
        let records = self.ledger.records_of(&stream, Revision::FIRST).await?;
        let grant = move |record: &Record| {
            let Event::Installation(event) = read(record).ok()?.event else { return None };
            let is_it = event.issued_tokens().iter().any(|(issued, _)| *issued == token_id);
            event.grant().filter(|_| is_it)
        };
        let count = records.len();
        let grant_id = aside(count, move || records.iter().find_map(grant)).await?;
        Ok(grant_id.map(|grant_id| (installation_id, grant_id)))
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

/// What a token was in one word, why in a sentence, and the event that says so, if it is one event.
fn token_then<'a>(
    live: &Live,
    events: &'a [Recorded],
    token_id: TokenId,
    issue: &HistoryRow,
    time: Timestamp,
) -> (&'static str, String, Option<&'a Recorded>) {
    let issued = events.iter().find_map(|recorded| issues(recorded, token_id).map(|issue| (recorded, issue)));
    let Some((issued, (expires_at, grant_id))) = issued else {
        return ("not_issued", format!("The token was issued later, at {}.", issue.recorded_at), None);
    };
    if live.token_by_id(&token_id, time).is_some() {
        let why = "It had been issued, and neither ended nor expired, and its app was active.";
        return ("valid", why.to_owned(), Some(issued));
    }
    if let Some(ended) = events.iter().find(|recorded| ends(recorded, token_id)) {
        let why = moment_of(ended).map(|moment| moment.sentence).unwrap_or_default();
        return ("ended", why, Some(ended));
    }
    if let Some(end) = expires_at.filter(|end| *end <= time) {
        return ("expired", format!("It had expired at {end}."), None);
    }
    if let Some(poison) = live.quarantine_of(&issued.envelope.stream) {
        return ("quarantined", format!("Nothing was known of its installation: {}.", poison.reason), None);
    }
    let app = issue.client_id.and_then(|client_id| live.app(&client_id));
    let is_dead = |recorded: &Recorded| {
        let Event::Installation(InstallationEvent::CodeExchanged(event)) = &recorded.event else {
            return false;
        };
        let (at, position) = (event.granted_at, recorded.envelope.position);
        event.grant_id == grant_id && app.as_ref().is_some_and(|app| app.had_ended(at, position))
    };
    if events.iter().any(is_dead) {
        return ("never_valid", DEAD_CODE.to_owned(), Some(issued));
    }
    let status = app.as_ref().map(|app| &app.status);
    let why = app_then(status).1.map_or("Its app was not active.".to_owned(), |reason| sentence(&reason));
    ("app_inactive", why, events.iter().rfind(|recorded| stops(recorded, status)))
}

/// Words as a sentence.
fn sentence(words: &str) -> String {
    let mut rest = words.chars();
    let first: String = rest.next().into_iter().flat_map(char::to_uppercase).collect();
    format!("{first}{}.", rest.as_str())
}

/// When a token expires, if this event issued it, and of which grant it is.
fn issues(recorded: &Recorded, token_id: TokenId) -> Option<(Option<Timestamp>, GrantId)> {
    let (access, refresh, grant_id) = match &recorded.event {
        Event::Installation(InstallationEvent::CodeExchanged(event)) => {
            ((event.token_id, event.expires_at), event.refresh.as_ref(), event.grant_id)
        }
        Event::Installation(InstallationEvent::TokenRefreshed(event)) => {
            ((event.token_id, event.expires_at), Some(&event.refresh), event.grant_id)
        }
        Event::Installation(_) | Event::App(_) | Event::OperatorKey(_) | Event::Ledger(_) => return None,
    };
    let refresh = refresh.map(|refresh| (refresh.token_id, refresh.expires_at));
    let mut tokens = std::iter::once(access).chain(refresh);
    tokens.find(|(issued, _)| *issued == token_id).map(|(_, expires_at)| (expires_at, grant_id))
}

/// Whether an event can be what made an app what it is, if its tokens do not count. An app in quarantine may have
/// been suspended before, which is not why then.
fn stops(recorded: &Recorded, status: Option<&AppStatus>) -> bool {
    match &recorded.event {
        Event::App(AppEvent::Suspended(_)) => matches!(status, Some(AppStatus::Suspended { .. })),
        Event::App(AppEvent::Deleted(_)) => matches!(status, Some(AppStatus::Deleted { .. })),
        Event::App(_) | Event::Installation(_) | Event::OperatorKey(_) | Event::Ledger(_) => false,
    }
}
