//! What happened to one installation, in order, in plain sentences. Knows: the ledger, events, the fold. Must not know:
//! HTTP.
//!
//! A sentence is a function of one event. Whether the app is installed because of it, or no longer, is what a fold of the
//! same events says before it and after it.

use grantbook_events::{
    Actor, ClientId, Envelope, Event, EventId, GrantId, InstallationEvent, InstallationId, Position,
    Recorded, RequestId, Revision, StreamKind, Timestamp, TokenId,
};
use grantbook_projections::live::{Live, Poison};
use serde::Serialize;
use utoipa::ToSchema;

use super::sentences;
use crate::ledger::{Ledger, LedgerError, UnreadableError, aside, fold, read};
use crate::store::Record;

/// One event, in a sentence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Moment {
    /// Where the event is in the ledger.
    pub position: Position,
    /// Names the event.
    pub event_id: EventId,
    /// When it was recorded.
    pub recorded_at: Timestamp,
    /// Who did it; unknown if the event cannot be read.
    pub actor: Option<Actor>,
    /// Through which request; unknown if the event cannot be read.
    pub request_id: Option<RequestId>,
    /// What happened.
    pub sentence: String,
}

/// The timeline of an installation, oldest first: from the registration of its app on. `None` if there was
/// never such an installation.
///
/// # Errors
/// If its streams cannot be read.
pub async fn timeline(ledger: &Ledger, id: InstallationId) -> Result<Option<Vec<Moment>>, LedgerError> {
    let steps = steps(ledger, id).await?;
    let with_change = |step: Step| {
        let mut moment = step.moment;
        if let Some(change) = step.change {
            moment.sentence.push(' ');
            moment.sentence.push_str(change);
        }
        moment
    };
    Ok(steps.map(|steps| steps.into_iter().map(with_change).collect()))
}

/// What happened to one token, oldest first: its approval, its issue and its end, and what became of its app.
///
/// # Errors
/// If its streams cannot be read.
pub async fn token_timeline(
    ledger: &Ledger,
    installation_id: InstallationId,
    token_id: TokenId,
) -> Result<Vec<Moment>, LedgerError> {
    let mut steps = steps(ledger, installation_id).await?.unwrap_or_default();
    let grant = steps.iter().find_map(|step| match &step.recorded.as_ref()?.event {
        Event::Installation(event) if issues(event, token_id) => event.grant(),
        Event::Installation(_) | Event::App(_) | Event::OperatorKey(_) | Event::Ledger(_) => None,
    });
    // What cannot be read may have been about the token.
    steps.retain(|step| {
        step.is_quarantined
            || step.recorded.as_ref().is_none_or(|recorded| is_about(recorded, token_id, grant))
    });
    Ok(steps.into_iter().map(|step| step.moment).collect())
}

/// Whether an event is one of the approval, the issue or the end of a token, or of its app.
fn is_about(recorded: &Recorded, token_id: TokenId, grant: Option<GrantId>) -> bool {
    match &recorded.event {
        Event::Installation(InstallationEvent::AccessGranted(event)) => Some(event.grant_id) == grant,
        Event::Installation(InstallationEvent::CodeReplayed(event)) => Some(event.grant_id) == grant,
        Event::Installation(InstallationEvent::RefreshReplayed(event)) => Some(event.grant_id) == grant,
        Event::Installation(event) => issues(event, token_id) || ends(recorded, token_id),
        Event::App(_) | Event::OperatorKey(_) | Event::Ledger(_) => true,
    }
}

fn issues(event: &InstallationEvent, token_id: TokenId) -> bool {
    event.issued_tokens().iter().any(|(issued, _)| *issued == token_id)
}

/// One event of a timeline.
struct Step {
    /// None if it cannot be read.
    recorded: Option<Recorded>,
    moment: Moment,
    /// Whether nothing in its stream counts from it on.
    is_quarantined: bool,
    /// Whether the app is installed because of it, or no longer, in words.
    change: Option<&'static str>,
}

/// The events of an installation and its app, in order; `None` if there was never such an installation.
async fn steps(ledger: &Ledger, id: InstallationId) -> Result<Option<Vec<Step>>, LedgerError> {
    let installation = StreamKind::Installation(id).into();
    let mut records = ledger.records_of(&installation, Revision::FIRST).await?;
    if records.is_empty() {
        return Ok(None);
    }
    let mut streams = vec![installation];
    if let Some(client_id) = records.iter().find_map(client_of) {
        let app = StreamKind::App(client_id).into();
        records.extend(ledger.records_of(&app, Revision::FIRST).await?);
        streams.push(app);
    }
    records.sort_by_key(|record| record.position);
    // A fold of two streams does not know everything that the whole ledger contradicts.
    let known: Vec<_> = streams.iter().filter_map(|stream| ledger.live().quarantine_of(stream)).collect();
    let count = records.len();
    let work = move || {
        let live = Live::new();
        records
            .iter()
            .filter_map(|record| {
                let poison = known.iter().find(|poison| poison.position == record.position);
                step(&live, id, record, poison.map(|poison| Poison::clone(poison)))
            })
            .collect()
    };
    Ok(Some(aside(count, work).await?))
}

/// Folds one event, and says what happened; `None` if it does not matter to an installation.
fn step(live: &Live, id: InstallationId, record: &Record, known: Option<Poison>) -> Option<Step> {
    let before = tokens(live, id, record.recorded_at);
    let folded = match known {
        Some(poison) => {
            live.quarantine(poison.clone());
            Err(poison)
        }
        None => fold(live, record).map_err(|poison| *poison),
    };
    match folded {
        Ok(recorded) => {
            let moment = moment_of(&recorded)?;
            let change = change(live, id, &recorded, before);
            Some(Step { recorded: Some(recorded), moment, is_quarantined: false, change })
        }
        Err(poison) => {
            let (recorded, moment) = match read(record) {
                Ok(recorded) => {
                    let moment = that_does_not_follow(&recorded, &poison);
                    (Some(recorded), moment)
                }
                Err(error) => (None, unreadable(record, &error)),
            };
            Some(Step { recorded, moment, is_quarantined: true, change: None })
        }
    }
}

fn client_of(record: &Record) -> Option<ClientId> {
    match &read(record).ok()?.event {
        Event::Installation(event) => Some(event.installation().0),
        Event::App(_) | Event::OperatorKey(_) | Event::Ledger(_) => None,
    }
}

/// How many tokens an installation has that have neither ended nor expired, whatever its app is; and whether it had others
/// before.
fn tokens(live: &Live, id: InstallationId, at: Timestamp) -> (usize, bool) {
    live.installation(id, at)
        .map_or((0, false), |facts| (facts.tokens.len() + facts.dormant.len(), facts.ended_at.is_some()))
}

/// What an event of an installation changed.
fn change(
    live: &Live,
    id: InstallationId,
    recorded: &Recorded,
    (before, was_installed): (usize, bool),
) -> Option<&'static str> {
    let Event::Installation(event) = &recorded.event else { return None };
    // An event that does not count neither installs the app nor ends the installation.
    if !live.quarantined().is_empty() {
        return None;
    }
    if let InstallationEvent::CodeExchanged(exchanged) = event
        && let Some(app) = live.app(&exchanged.client_id)
        && app.had_ended(exchanged.granted_at, recorded.envelope.position)
    {
        return Some(sentences::DEAD_CODE);
    }
    match (before, tokens(live, id, recorded.envelope.recorded_at).0) {
        (0, 1..) if was_installed => Some("The app is installed again."),
        (0, 1..) => Some("The app is installed."),
        (1.., 0) => Some("No token is left: the app is not installed any more."),
        _ => None,
    }
}

fn unreadable(record: &Record, error: &UnreadableError) -> Moment {
    Moment {
        position: record.position,
        event_id: record.event_id,
        recorded_at: record.recorded_at,
        actor: None,
        request_id: None,
        sentence: format!(
            "An event of type {} cannot be read, and nothing in its stream counts since: {}.",
            record.type_name, error.source
        ),
    }
}

fn that_does_not_follow(recorded: &Recorded, poison: &Poison) -> Moment {
    let mut moment = moment_of(recorded).unwrap_or_else(|| {
        moment_with(&recorded.envelope, format!("An event of type {} was recorded.", poison.event_type))
    });
    let what = if matches!(recorded.event, Event::App(_)) { "app" } else { "installation" };
    moment.sentence.push_str(&format!(
        " It does not follow from the events before it, and nothing in this {what} counts from there on: {}.",
        poison.reason
    ));
    moment
}

/// One event in a sentence, if it matters to an installation.
pub(super) fn moment_of(recorded: &Recorded) -> Option<Moment> {
    let envelope = &recorded.envelope;
    let sentence = match &recorded.event {
        Event::App(event) => sentences::of_app(event, &envelope.actor)?,
        Event::Installation(event) => sentences::of_installation(event, &envelope.actor),
        Event::OperatorKey(_) | Event::Ledger(_) => return None,
    };
    Some(moment_with(envelope, sentence))
}

/// Whether an event ended a token.
pub(super) fn ends(recorded: &Recorded, token_id: TokenId) -> bool {
    match &recorded.event {
        Event::Installation(event) => event.ended_tokens().iter().any(|(ended, _)| *ended == token_id),
        Event::App(_) | Event::OperatorKey(_) | Event::Ledger(_) => false,
    }
}

fn moment_with(envelope: &Envelope, sentence: String) -> Moment {
    Moment {
        position: envelope.position,
        event_id: envelope.event_id,
        recorded_at: envelope.recorded_at,
        actor: Some(envelope.actor.clone()),
        request_id: Some(envelope.request_id.clone()),
        sentence,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use grantbook_events::UninstallReason;
    use uuid::Uuid;

    use super::*;
    use crate::decisions::{SuspendApp, UninstallApp};
    use crate::ledger::tests::poison::foreign;
    use crate::ledger::tests::{TestLedger, exchange, grant, installation, revoke};
    use crate::store::{Expected, MemoryStore, NewRecord, Store as _};

    async fn sentences(given: &TestLedger, id: InstallationId) -> Vec<String> {
        let moments = timeline(&given.ledger, id).await.unwrap().unwrap();
        assert!(moments.is_sorted_by_key(|moment| moment.position));
        moments.into_iter().map(|moment| moment.sentence).collect()
    }

    #[tokio::test]
    async fn the_chain_from_the_registration_to_a_reinstall_is_told_in_order() {
        let given = TestLedger::over(Arc::clone(&MemoryStore::new(Uuid::from_u128(1))) as _).await;
        let (app, account) = (given.app().await, "acme".parse().unwrap());
        let id = installation(app, &account);
        let codes = [grant(app, &account), grant(app, &account), grant(app, &account)];
        let exchanges = codes.each_ref().map(exchange);
        for number in [0, 1] {
            given.settle(&codes[number]).await.unwrap().unwrap();
            given.settle(&exchanges[number]).await.unwrap().unwrap();
        }
        // Another account is another story.
        let elsewhere = grant(app, &"globex".parse().unwrap());
        given.settle(&elsewhere).await.unwrap().unwrap();
        given.settle(&revoke(id, exchanges[0].token_id)).await.unwrap().unwrap();
        given.settle(&exchange(&codes[1])).await.unwrap().unwrap_err();
        given.settle(&codes[2]).await.unwrap().unwrap();
        given.settle(&exchanges[2]).await.unwrap().unwrap();
        let reason = UninstallReason::Operator;
        given.settle(&UninstallApp { installation_id: id, reason, note: None }).await.unwrap().unwrap();
        let suspend = SuspendApp { client_id: app, reason: "abuse".to_owned() };
        given.settle(&suspend).await.unwrap().unwrap();

        let sentences = sentences(&given, id).await;
        let expected: [&[&str]; 10] = [
            &["The app App", "was registered by grantbook (test)"],
            &["Access to account acme with scope faqs was granted", "https://app.example/callback"],
            &["was exchanged", "without a secret", "of user ana", "does not expire", "The app is installed."],
            &["Access to account acme"],
            &["was exchanged"],
            &["was revoked by grantbook (test), by the operator's decision."],
            &["presented once more", "ended", "No token is left: the app is not installed any more."],
            &["Access to account acme"],
            &["was exchanged", "The app is installed again."],
            &["was uninstalled", "No token is left"],
        ];
        for (sentence, words) in sentences.iter().zip(expected) {
            assert!(words.iter().all(|word| sentence.contains(word)), "{words:?} are not in {sentence:?}");
        }
        assert_eq!(sentences.len(), 11, "{sentences:#?}");
        assert!(
            sentences[10].contains("suspended") && sentences[10].contains("Reason: abuse."),
            "{}",
            sentences[10]
        );
        assert!(!sentences[4].contains("installed"), "a second token changes nothing: {}", sentences[4]);
    }

    #[tokio::test]
    async fn a_token_that_has_expired_does_not_keep_the_app_installed() {
        let given = TestLedger::over(Arc::clone(&MemoryStore::new(Uuid::from_u128(4))) as _).await;
        let (app, account) = (given.app().await, "acme".parse().unwrap());
        let id = installation(app, &account);
        for lifetime in [Some(std::time::Duration::from_secs(60)), None] {
            let granted = grant(app, &account);
            given.settle(&granted).await.unwrap().unwrap();
            let mut exchanged = exchange(&granted);
            exchanged.rules.lifetime = lifetime;
            given.settle(&exchanged).await.unwrap().unwrap();
            given.clock.advance(std::time::Duration::from_secs(61));
        }
        let reason = UninstallReason::Operator;
        given.settle(&UninstallApp { installation_id: id, reason, note: None }).await.unwrap().unwrap();
        let sentences = sentences(&given, id).await;
        assert!(sentences[4].contains("The app is installed again."), "{}", sentences[4]);
        assert!(sentences[5].contains("No token is left"), "{}", sentences[5]);
    }

    #[tokio::test]
    async fn an_event_that_cannot_be_read_is_told_too() {
        let store = MemoryStore::new(Uuid::from_u128(3));
        let given = TestLedger::over(Arc::clone(&store) as _).await;
        let (app, account) = (given.app().await, "acme".parse().unwrap());
        let granted = grant(app, &account);
        let exchanged = exchange(&granted);
        given.settle(&granted).await.unwrap().unwrap();
        given.settle(&exchanged).await.unwrap().unwrap();
        let stream = StreamKind::Installation(exchanged.installation_id).into();
        let after = Expected::Exactly(Revision::new(1));
        store.append(&stream, after, vec![foreign()]).await.unwrap();
        let sentences = sentences(&given, exchanged.installation_id).await;
        assert_eq!(sentences.len(), 4);
        assert!(sentences[3].contains("app-teleported cannot be read"), "{}", sentences[3]);
        let of_token =
            token_timeline(&given.ledger, exchanged.installation_id, exchanged.token_id).await.unwrap();
        assert_eq!(of_token.len(), 4);
        assert_eq!(of_token[3].actor, None);
    }

    #[tokio::test]
    async fn an_event_that_does_not_follow_is_said_not_to_count_and_nothing_behind_it_does() {
        let sound = MemoryStore::new(Uuid::from_u128(5));
        let given = TestLedger::over(Arc::clone(&sound) as _).await;
        let (app, account) = (given.app().await, "acme".parse().unwrap());
        let granted = grant(app, &account);
        let exchanged = exchange(&granted);
        let id = exchanged.installation_id;
        given.settle(&granted).await.unwrap().unwrap();
        given.settle(&exchanged).await.unwrap().unwrap();
        given.settle(&revoke(id, exchanged.token_id)).await.unwrap().unwrap();
        // The same, but its token is issued once more before it is revoked.
        let store = MemoryStore::new(Uuid::from_u128(6));
        let mut records = sound.read_all(Position::START, usize::MAX).await.unwrap();
        records.insert(3, records[2].clone());
        for (record, revision) in records.into_iter().zip([None, None, Some(0), Some(1), Some(2)]) {
            let at =
                revision.map_or(Expected::NoStream, |revision| Expected::Exactly(Revision::new(revision)));
            let stream = record.stream.clone();
            let new = NewRecord { event_id: crate::secrets::new_event_id(), ..record.unplaced() };
            store.append(&stream, at, vec![new]).await.unwrap();
        }
        let stream = StreamKind::Installation(id).into();
        let given = TestLedger::over(Arc::clone(&store) as _).await;
        let sentences = sentences(&given, id).await;
        assert_eq!(sentences.len(), 5, "{sentences:#?}");
        assert!(sentences[2].ends_with("The app is installed."), "{}", sentences[2]);
        let wrong = "It does not follow from the events before it, and nothing in this installation counts";
        assert!(sentences[3].contains("was exchanged") && sentences[3].contains(wrong), "{}", sentences[3]);
        let reason = given.ledger.live().quarantine_of(&stream).unwrap().reason.clone();
        assert!(sentences[3].ends_with(&format!("{reason}.")), "{}", sentences[3]);
        assert!(
            sentences[4].contains("was revoked") && !sentences[4].contains("installed"),
            "{}",
            sentences[4]
        );
        assert!(!sentences[4].contains(wrong), "it is said once: {}", sentences[4]);
        let of_token = token_timeline(&given.ledger, id, exchanged.token_id).await.unwrap();
        assert_eq!(of_token.iter().filter(|moment| moment.sentence.contains(wrong)).count(), 1);
    }

    #[tokio::test]
    async fn what_was_never_installed_has_no_timeline() {
        let given = TestLedger::over(Arc::clone(&MemoryStore::new(Uuid::from_u128(2))) as _).await;
        let id = installation(given.app().await, &"acme".parse().unwrap());
        assert_eq!(timeline(&given.ledger, id).await.unwrap(), None);
    }
}
