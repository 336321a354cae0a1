//! A copy of the state of one stream answers for that stream as the whole does, and goes on with its later records.

use std::collections::BTreeSet;

use grantbook_events::{ClientId, Recorded, StreamKind, StreamName, Timestamp};
use grantbook_projections::live::{Live, Poison, State as _};
use grantbook_projections::{App, Installation, OperatorKey};
use proptest::prelude::*;
use proptest::sample::Index;

use super::history::{History, account, client, created, digest, key_id, place, replay, seconds, user};
use super::steps::{config, grow, steps};

/// Everything that is asked about one stream.
fn answers(live: &Live, kind: &StreamKind, now: Timestamp) -> impl PartialEq + std::fmt::Debug {
    let installed = Installation::look(live, kind, |state| state.cloned());
    let held =
        installed.as_ref().map(|state| state.held().into_iter().map(|(_, held)| *held.token).collect());
    let held: Vec<_> = held.unwrap_or_default();
    let tokens: Vec<_> = held
        .iter()
        .map(|token| {
            let belongs = live.installation_of_token(&token.token_id);
            let facts = (live.token(&token.digest, now), live.token_by_id(&token.token_id, now));
            (live.is_valid(&token.digest, now), live.has_token(&token.digest), belongs, facts)
        })
        .collect();
    let facts = match kind {
        StreamKind::Installation(id) => live.installation(*id, now),
        StreamKind::App(_) | StreamKind::OperatorKey(_) | StreamKind::Ledger(_) => None,
    };
    let app = App::look(live, kind, |app| app.cloned());
    let key = OperatorKey::look(live, kind, |key| key.cloned());
    let accepted = key.as_ref().and_then(|key| live.operator_key(&key.digest));
    let stream = StreamName::from(*kind);
    let known = (live.has_stream(&stream), live.quarantine_of(&stream));
    (installed, facts, tokens, app, key, accepted, known)
}

fn app_of(live: &Live, kind: &StreamKind) -> Option<ClientId> {
    Installation::look(live, kind, |state| state.map(|state| state.client_id))
}

proptest! {
    #![proptest_config(config(48))]

    #[test]
    fn a_copy_answers_and_goes_on_as_the_whole(steps in steps(), cut in any::<Index>()) {
        let log = grow(&steps, |_| {}).log;
        let now = seconds(2_000);
        let cut = cut.index(log.len() + 1);
        let whole = replay(&log[..cut]);
        let (copied_at, end) = (replay(&log[..cut]), replay(&log));
        let kinds: BTreeSet<_> = log.iter().map(|recorded| recorded.envelope.stream.kind().unwrap()).collect();
        for kind in &kinds {
            let copy = whole.copy_of(kind, None);
            prop_assert_eq!(answers(&copy, kind, now), answers(&whole, kind, now));
            // An app may be known further than here.
            let app = app_of(&end, kind).and_then(|id| end.app(&id));
            let further = whole.copy_of(kind, app.as_deref());
            for recorded in log[cut..].iter().filter(|recorded| recorded.envelope.stream.kind() == Ok(*kind)) {
                further.apply(recorded).unwrap();
            }
            prop_assert_eq!(answers(&further, kind, now), answers(&end, kind, now));
        }
        // Nothing that a copy does is seen in the whole.
        prop_assert_eq!(whole.digest(), copied_at.digest());
        prop_assert_eq!(whole.difference(&copied_at), None);
    }

    #[test]
    fn each_record_changes_a_copy_as_it_changes_the_whole(steps in steps(), cut in any::<Index>()) {
        let history = grow(&steps, |_| {});
        let cut = cut.index(history.log.len() + 1);
        let whole = replay(&history.log[..cut]);
        let later: Vec<_> = history.log.iter().zip(&history.effects).skip(cut).collect();
        let kinds: BTreeSet<_> = later.iter().map(|(recorded, _)| recorded.envelope.stream.kind().unwrap()).collect();
        for kind in kinds {
            let app = app_of(&history.live, &kind).and_then(|id| history.live.app(&id));
            let copy = whole.copy_of(&kind, app.as_deref());
            for (recorded, effects) in &later {
                if recorded.envelope.stream.kind() == Ok(kind) {
                    prop_assert_eq!(&copy.apply(recorded).unwrap(), *effects);
                }
            }
        }
    }
}

fn poison(recorded: &Recorded) -> Poison {
    Poison {
        position: recorded.envelope.position,
        event_id: recorded.envelope.event_id,
        stream: recorded.envelope.stream.clone(),
        event_type: "app-exploded".to_owned(),
        reason: "nobody knows this type".to_owned(),
    }
}

#[test]
fn a_copy_of_a_quarantined_stream_is_quarantined() {
    let mut history = History::default();
    history.register(client(0));
    history.grant(1, client(0), &account(0), &user(0), seconds(1));
    history.exchange(1, client(0), &account(0), &user(0), seconds(1));
    let kinds = [
        StreamKind::App(client(0)),
        place(client(0), &account(0)),
        StreamKind::OperatorKey(key_id(7)),
        // Of which nothing else is known.
        place(client(0), &account(5)),
    ];
    history.record(kinds[2], seconds(1), created(7));
    for kind in kinds {
        let live = history.replayed();
        let next = history.next(kind, seconds(2), created(9));
        live.quarantine(poison(&next));
        let copy = live.copy_of(&kind, None);
        assert_eq!(answers(&copy, &kind, seconds(3)), answers(&live, &kind, seconds(3)));
        assert!(!copy.is_valid(&digest(1), seconds(3)));
        assert_eq!(copy.operator_key(&digest(7)), None);
    }
}
