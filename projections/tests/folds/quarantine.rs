//! A stream with an event that cannot be folded is out of the count, and every other stream goes on as if
//! nothing had happened.

use grantbook_events::{Event, InstallationEvent, Recorded, StreamKind, StreamName};
use grantbook_projections::live::{Live, Poison};
use grantbook_projections::{AppStatus, FoldError};
use proptest::prelude::*;
use proptest::sample::Index;

use super::history::{History, account, client, place, seconds, token_id, user};
use super::steps::{config, grow, steps};

fn poison(recorded: &Recorded) -> Poison {
    Poison {
        position: recorded.envelope.position,
        event_id: recorded.envelope.event_id,
        stream: recorded.envelope.stream.clone(),
        event_type: "app-exploded".to_owned(),
        reason: "nobody knows this type".to_owned(),
    }
}

/// Folds a log in which one event cannot be read; what then does not follow is poison too.
fn folded(log: &[Recorded], unreadable: Option<usize>) -> Live {
    let live = Live::new();
    for (at, recorded) in log.iter().enumerate() {
        if Some(at) == unreadable {
            live.quarantine(poison(recorded));
        } else if let Err(FoldError { .. }) = live.apply(recorded) {
            live.quarantine(poison(recorded));
        }
    }
    live
}

proptest! {
    #![proptest_config(config(48))]

    #[test]
    fn only_what_hangs_on_the_stream_is_out_of_the_count(steps in steps(), which in any::<Index>()) {
        let log = grow(&steps, |_| {}).log;
        if log.is_empty() {
            return Ok(());
        }
        let which = which.index(log.len());
        let (whole, live) = (folded(&log, None), folded(&log, Some(which)));
        let stream = &log[which].envelope.stream;
        let kind = stream.kind().unwrap();
        let now = seconds(2_000);
        prop_assert_eq!(live.position(), whole.position());
        prop_assert!(live.quarantine_of(stream).is_some());
        prop_assert!(live.digest() != whole.digest());
        for app in whole.apps(0, usize::MAX) {
            let id = app.client_id;
            let hit = kind == StreamKind::App(id);
            let there = live.app(&id);
            if hit {
                let is_out = there.is_none_or(|app| matches!(app.status, AppStatus::Quarantined { .. }));
                prop_assert!(is_out);
            } else {
                prop_assert_eq!(there, Some(app));
            }
            for facts in whole.installations_of_app(&id, 0, usize::MAX, now) {
                let found = live.installation(facts.installation_id, now);
                if hit || kind == StreamKind::Installation(facts.installation_id) {
                    prop_assert!(found.is_none_or(|found| !found.is_installed()));
                } else {
                    prop_assert_eq!(found, Some(facts));
                }
            }
        }
        for key in whole.operator_keys(0, usize::MAX) {
            let hit = kind == StreamKind::OperatorKey(key.key_id);
            let accepted = whole.operator_key(&key.digest).filter(|_| !hit);
            prop_assert_eq!(live.operator_key(&key.digest), accepted);
        }
    }
}

#[test]
fn its_tokens_are_not_valid_and_its_installation_says_why() {
    let mut history = History::default();
    history.register(client(0));
    for n in [1, 2] {
        history.grant(n, client(0), &account(n), &user(0), seconds(1));
        history.exchange(n, client(0), &account(n), &user(0), seconds(2));
    }
    history.uninstall(client(0), &account(1), seconds(3));
    history.grant(3, client(0), &account(1), &user(0), seconds(4));
    let at = history.log.iter().position(|recorded| {
        matches!(recorded.event, Event::Installation(InstallationEvent::Uninstalled(_)))
    });
    let live = folded(&history.log, at);
    let StreamKind::Installation(id) = place(client(0), &account(1)) else { panic!() };
    let facts = live.installation(id, seconds(5)).unwrap();
    assert!(!facts.is_installed() && facts.installed_since.is_none() && facts.ended_at.is_none());
    assert_eq!(facts.quarantined.unwrap().reason, "nobody knows this type");
    assert_eq!(live.token_by_id(&token_id(1), seconds(5)), None);
    assert!(live.token_by_id(&token_id(2), seconds(5)).is_some(), "the other account is as it was");
    let streams: Vec<StreamName> = live.quarantined().iter().map(|poison| poison.stream.clone()).collect();
    assert_eq!(
        streams,
        [StreamName::from(StreamKind::Installation(id))],
        "what follows in it is passed over"
    );
    assert_eq!(live.counts().quarantined, 1);
}
