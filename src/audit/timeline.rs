//! What happened to one installation, in order, in plain sentences.

use std::collections::HashMap;
use std::sync::Arc;

use grantbook_events::{
    Actor, AppEvent, ClientId, CodeExchanged, Envelope, Event, EventId, InstallationEvent, InstallationId,
    Position, Recorded, RequestId, Revision, StreamKind, Timestamp, TokenId,
};
use grantbook_projections::live::Poison;
use serde::Serialize;
use utoipa::ToSchema;

use super::as_of::ends;
use super::sentences;
use crate::ledger::{Ledger, LedgerError, UnreadableError, aside, read};
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

/// An event, or the record of one that cannot be read and why.
type Told = Result<Recorded, Box<(Record, UnreadableError)>>;

fn position(told: &Told) -> Position {
    match told {
        Ok(recorded) => recorded.envelope.position,
        Err(unread) => unread.0.position,
    }
}

async fn stream(ledger: &Ledger, stream: StreamKind) -> Result<Vec<Told>, LedgerError> {
    let records = ledger.records_of(&stream.into(), Revision::FIRST).await?;
    let count = records.len();
    let told = |record: Record| read(&record).map_err(|error| Box::new((record, error)));
    aside(count, move || records.into_iter().map(told).collect()).await
}

/// The timeline of an installation, oldest first: from the registration of its app on. `None` if there was
/// never such an installation.
///
/// # Errors
/// If its streams cannot be read.
pub async fn timeline(ledger: &Ledger, id: InstallationId) -> Result<Option<Vec<Moment>>, LedgerError> {
    let mut events = stream(ledger, StreamKind::Installation(id)).await?;
    if events.is_empty() {
        return Ok(None);
    }
    let client_id = events.iter().flatten().find_map(client_of);
    if let Some(client_id) = client_id {
        events.extend(stream(ledger, StreamKind::App(client_id)).await?);
    }
    events.sort_by_key(position);
    let quarantine = Quarantine::of(ledger, id, client_id);
    let mut tokens = Tokens::default();
    let moments = events.iter().filter_map(|told| match told {
        Ok(recorded) => moment(recorded, &mut tokens, &quarantine),
        Err(unread) => Some(unreadable(&unread.0, &unread.1)),
    });
    Ok(Some(moments.collect()))
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
    let mut events = stream(ledger, StreamKind::Installation(installation_id)).await?;
    let grant = events.iter().flatten().find_map(|recorded| match &recorded.event {
        Event::Installation(InstallationEvent::CodeExchanged(event)) if event.token_id == token_id => {
            Some(event.grant_id)
        }
        Event::Installation(_) | Event::App(_) | Event::OperatorKey(_) => None,
    });
    let client_id = events.iter().flatten().find_map(client_of);
    let quarantine = Quarantine::of(ledger, installation_id, client_id);
    events.retain(|told| {
        quarantine.at(position(told)).is_some()
            || match told.as_ref().map(|recorded| (recorded, &recorded.event)) {
                Ok((_, Event::Installation(InstallationEvent::AccessGranted(event)))) => {
                    Some(event.grant_id) == grant
                }
                Ok((_, Event::Installation(InstallationEvent::CodeExchanged(event)))) => {
                    event.token_id == token_id
                }
                Ok((_, Event::Installation(InstallationEvent::CodeReplayed(event)))) => {
                    Some(event.grant_id) == grant
                }
                Ok((recorded, Event::Installation(_) | Event::App(_) | Event::OperatorKey(_))) => {
                    ends(recorded, token_id)
                }
                // It may have been about the token.
                Err(_) => true,
            }
    });
    if let Some(client_id) = client_id {
        events.extend(stream(ledger, StreamKind::App(client_id)).await?);
    }
    events.sort_by_key(position);
    let moment = |told: &Told| match told {
        Ok(recorded) => quarantine.told(recorded),
        Err(unread) => Some(unreadable(&unread.0, &unread.1)),
    };
    Ok(events.iter().filter_map(moment).collect())
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

fn client_of(recorded: &Recorded) -> Option<ClientId> {
    match &recorded.event {
        Event::Installation(event) => Some(event.installation().0),
        Event::App(_) | Event::OperatorKey(_) => None,
    }
}

/// What is known of the streams of an installation and of its app, if some event in them cannot be folded.
struct Quarantine(Vec<(&'static str, Arc<Poison>)>);

impl Quarantine {
    fn of(ledger: &Ledger, id: InstallationId, app: Option<ClientId>) -> Self {
        let live = ledger.live();
        let streams =
            [("installation", Some(StreamKind::Installation(id))), ("app", app.map(StreamKind::App))];
        let poison =
            |(what, stream): (_, Option<StreamKind>)| Some((what, live.quarantine_of(&stream?.into())?));
        Self(streams.into_iter().filter_map(poison).collect())
    }

    /// What is wrong with the event at a position, and of what nothing counts from there on.
    fn at(&self, position: Position) -> Option<&(&'static str, Arc<Poison>)> {
        self.0.iter().find(|(_, poison)| poison.position == position)
    }

    /// Whether something that cannot be folded was before the end of an event.
    fn has_begun(&self, position: Position) -> bool {
        self.0.iter().any(|(_, poison)| poison.position <= position)
    }

    /// An event in a sentence, and what is wrong with it.
    fn told(&self, recorded: &Recorded) -> Option<Moment> {
        let Some((what, poison)) = self.at(recorded.envelope.position) else { return moment_of(recorded) };
        let mut moment = moment_of(recorded).unwrap_or_else(|| {
            moment_with(&recorded.envelope, format!("An event of type {} was recorded.", poison.event_type))
        });
        moment.sentence.push_str(&format!(
            " It does not follow from the events before it, and nothing in this {what} counts from there on: {}.",
            poison.reason
        ));
        Some(moment)
    }
}

fn moment(recorded: &Recorded, tokens: &mut Tokens, quarantine: &Quarantine) -> Option<Moment> {
    let mut moment = quarantine.told(recorded)?;
    // What does not count neither installs an app nor ends that.
    if quarantine.has_begun(moment.position) {
        return Some(moment);
    }
    if let Event::App(AppEvent::Suspended(_)) = &recorded.event {
        tokens.suspended.push(moment.recorded_at);
    }
    if let Event::Installation(event) = &recorded.event
        && let Some(change) = tokens.see(event, moment.recorded_at)
    {
        moment.sentence.push(' ');
        moment.sentence.push_str(change);
    }
    Some(moment)
}

/// One event in a sentence, if it matters to an installation.
pub(super) fn moment_of(recorded: &Recorded) -> Option<Moment> {
    let envelope = &recorded.envelope;
    let sentence = match &recorded.event {
        Event::App(event) => sentences::of_app(event, &envelope.actor)?,
        Event::Installation(event) => sentences::of_installation(event, &envelope.actor),
        Event::OperatorKey(_) => return None,
    };
    Some(moment_with(envelope, sentence))
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

/// The tokens that no event has ended, and when they expire.
#[derive(Debug, Default)]
struct Tokens {
    there: HashMap<TokenId, Option<Timestamp>>,
    suspended: Vec<Timestamp>,
    was_installed: bool,
}

impl Tokens {
    /// Takes an event in, and says whether the app is installed because of it, or no longer.
    fn see(&mut self, event: &InstallationEvent, at: Timestamp) -> Option<&'static str> {
        // No event says that a token has expired.
        self.there.retain(|_, expires_at| expires_at.is_none_or(|end| end > at));
        let before = self.there.len();
        match event {
            InstallationEvent::AccessGranted(_) => {}
            InstallationEvent::CodeExchanged(event) if self.is_dead(event) => {
                return Some(sentences::DEAD_CODE);
            }
            InstallationEvent::CodeExchanged(event) => {
                self.there.insert(event.token_id, event.expires_at);
            }
            InstallationEvent::CodeReplayed(_)
            | InstallationEvent::TokenRevoked(_)
            | InstallationEvent::Uninstalled(_) => {
                for (token_id, _) in event.ended_tokens() {
                    self.there.remove(&token_id);
                }
            }
        }
        match (before, self.there.len()) {
            (0, 1..) if std::mem::replace(&mut self.was_installed, true) => {
                Some("The app is installed again.")
            }
            (0, 1..) => Some("The app is installed."),
            (1.., 0) => Some("No token is left: the app is not installed any more."),
            _ => None,
        }
    }

    fn is_dead(&self, event: &CodeExchanged) -> bool {
        self.suspended.iter().any(|suspended| event.granted_at <= *suspended)
    }
}

#[cfg(test)]
mod tests {
    use grantbook_events::UninstallReason;
    use uuid::Uuid;

    use super::*;
    use crate::decisions::{SuspendApp, UninstallApp};
    use crate::ledger::tests::poison::foreign;
    use crate::ledger::tests::{Given, exchange, grant, installation, revoke};
    use crate::store::{Expected, MemoryStore, NewRecord, Store as _};

    async fn told(given: &Given, id: InstallationId) -> Vec<String> {
        let moments = timeline(&given.ledger, id).await.unwrap().unwrap();
        assert!(moments.is_sorted_by_key(|moment| moment.position));
        moments.into_iter().map(|moment| moment.sentence).collect()
    }

    #[tokio::test]
    async fn the_chain_from_the_registration_to_a_reinstall_is_told_in_order() {
        let given = Given::over(Arc::clone(&MemoryStore::new(Uuid::from_u128(1))) as _).await;
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

        let told = told(&given, id).await;
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
        for (sentence, words) in told.iter().zip(expected) {
            assert!(words.iter().all(|word| sentence.contains(word)), "{words:?} are not in {sentence:?}");
        }
        assert_eq!(told.len(), 11, "{told:#?}");
        assert!(told[10].contains("suspended") && told[10].contains("Reason: abuse."), "{}", told[10]);
        assert!(!told[4].contains("installed"), "a second token changes nothing: {}", told[4]);
    }

    #[tokio::test]
    async fn a_token_that_has_expired_does_not_keep_the_app_installed() {
        let given = Given::over(Arc::clone(&MemoryStore::new(Uuid::from_u128(4))) as _).await;
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
        let told = told(&given, id).await;
        assert!(told[4].contains("The app is installed again."), "{}", told[4]);
        assert!(told[5].contains("No token is left"), "{}", told[5]);
    }

    #[tokio::test]
    async fn an_event_that_cannot_be_read_is_told_too() {
        let store = MemoryStore::new(Uuid::from_u128(3));
        let given = Given::over(Arc::clone(&store) as _).await;
        let (app, account) = (given.app().await, "acme".parse().unwrap());
        let granted = grant(app, &account);
        let exchanged = exchange(&granted);
        given.settle(&granted).await.unwrap().unwrap();
        given.settle(&exchanged).await.unwrap().unwrap();
        let stream = StreamKind::Installation(exchanged.installation_id).into();
        let after = Expected::Exactly(Revision::new(1));
        store.append(&stream, after, vec![foreign()]).await.unwrap();
        let told = told(&given, exchanged.installation_id).await;
        assert_eq!(told.len(), 4);
        assert!(told[3].contains("app-teleported cannot be read"), "{}", told[3]);
        let of_token =
            token_timeline(&given.ledger, exchanged.installation_id, exchanged.token_id).await.unwrap();
        assert_eq!(of_token.len(), 4);
        assert_eq!(of_token[3].actor, None);
    }

    #[tokio::test]
    async fn an_event_that_does_not_follow_is_said_not_to_count_and_nothing_behind_it_does() {
        let sound = MemoryStore::new(Uuid::from_u128(5));
        let given = Given::over(Arc::clone(&sound) as _).await;
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
        let given = Given::over(Arc::clone(&store) as _).await;
        let told = told(&given, id).await;
        assert_eq!(told.len(), 5, "{told:#?}");
        assert!(told[2].ends_with("The app is installed."), "{}", told[2]);
        let wrong = "It does not follow from the events before it, and nothing in this installation counts";
        assert!(told[3].contains("was exchanged") && told[3].contains(wrong), "{}", told[3]);
        let reason = given.ledger.live().quarantine_of(&stream).unwrap().reason.clone();
        assert!(told[3].ends_with(&format!("{reason}.")), "{}", told[3]);
        assert!(told[4].contains("was revoked") && !told[4].contains("installed"), "{}", told[4]);
        assert!(!told[4].contains(wrong), "it is said once: {}", told[4]);
        let of_token = token_timeline(&given.ledger, id, exchanged.token_id).await.unwrap();
        assert_eq!(of_token.iter().filter(|moment| moment.sentence.contains(wrong)).count(), 1);
    }

    #[tokio::test]
    async fn what_was_never_installed_has_no_timeline() {
        let given = Given::over(Arc::clone(&MemoryStore::new(Uuid::from_u128(2))) as _).await;
        let id = installation(given.app().await, &"acme".parse().unwrap());
        assert_eq!(timeline(&given.ledger, id).await.unwrap(), None);
    }
}
