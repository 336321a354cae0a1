//! The ledger on a cluster that does what clusters do. Knows: commands, the double's faults and gates. Must not
//! know: how the ledger keeps its promises.

use grantbook_eventstore_double::{AppendFault, Double, Options};

use super::*;
use crate::replay::{Against, verify};
use crate::store::eventstore::tests::open_at;

async fn node(double: &Double) -> TestLedger {
    TestLedger::over(open_at(&double.url())).await
}

/// The cluster says "done" to a caller with ids that are there already. Were the ids of an exchange made from
/// its code, both would be told so.
#[tokio::test]
async fn two_nodes_that_exchange_one_code_at_once_are_not_both_told_that_it_is_done() {
    let double = Double::start(Options::default()).await.unwrap();
    let (one, two) = (node(&double).await, node(&double).await);
    let client_id = one.app().await;
    let granted = grant(client_id, &"acme".parse().unwrap());
    one.settle(&granted).await.unwrap().unwrap();
    let slow_leader = double.hold_appends();
    let (first, second) = (exchange(&granted), exchange(&granted));
    let release = async {
        let stream = stream(first.installation_id);
        let waiting = |counts: &grantbook_eventstore_double::Counts| counts.sum(|node| node.waiting_appends);
        // A heartbeat of each node waits, too, and no more than one.
        double.wait_for(|counts| waiting(counts) >= 4).await;
        assert_eq!(double.events_of(stream.as_str()).len(), 1);
        drop(slow_leader);
    };
    let (one_told, two_told, ()) = tokio::join!(one.settle(&first), two.settle(&second), release);
    let told = [one_told.unwrap().is_ok(), two_told.unwrap().is_ok()];
    assert_eq!(told.iter().filter(|granted| **granted).count(), 1, "{told:?}");
    let ids: std::collections::HashSet<_> =
        double.events_of(stream(first.installation_id).as_str()).iter().map(|event| event.id).collect();
    let count = double.events_of(stream(first.installation_id).as_str()).len();
    assert_eq!(ids.len(), count, "no id is there twice");
}

#[tokio::test]
async fn whatever_becomes_of_an_append_the_answer_is_the_truth() {
    let double = Double::start(Options { replays_say_position: false, ..Options::default() }).await.unwrap();
    let node = node(&double).await;
    let account = "acme".parse().unwrap();
    for fault in AppendFault::ALL {
        let client_id = node.app().await;
        double.next_append(fault);
        let granted = grant(client_id, &account);
        node.settle(&granted).await.unwrap().unwrap();
        double.next_append(fault);
        let exchanged = exchange(&granted);
        node.settle(&exchanged).await.unwrap().unwrap();
        assert!(node.is_valid(exchanged.token_digest), "{fault:?}");
        let events = double.events_of(stream(exchanged.installation_id).as_str());
        assert_eq!(events.len(), 2, "{fault:?}");
        let again = node.settle(&exchange(&granted)).await.unwrap();
        assert!(again.is_err(), "{fault:?}: the code was spent");
    }
}

#[tokio::test]
async fn a_reply_that_is_slow_is_waited_for() {
    let double = Double::start(Options::default()).await.unwrap();
    let node = node(&double).await;
    let client_id = node.app().await;
    let granted = grant(client_id, &"acme".parse().unwrap());
    let stream = stream(installation(client_id, &granted.account_id));
    let slow = double.hold_replies();
    let release = async {
        double.wait_for(|counts| counts.sum(|node| node.waiting_replies) > 0).await;
        while double.events_of(stream.as_str()).is_empty() {
            tokio::task::yield_now().await;
        }
        drop(slow);
    };
    let (told, ()) = tokio::join!(node.settle(&granted), release);
    told.unwrap().unwrap();
    assert_eq!(double.events_of(stream.as_str()).len(), 1);
}

/// An installation with a token.
async fn installed(node: &TestLedger, account: &str) -> ExchangeCode {
    let granted = grant(node.app().await, &account.parse().unwrap());
    node.settle(&granted).await.unwrap().unwrap();
    let exchanged = exchange(&granted);
    node.settle(&exchanged).await.unwrap().unwrap();
    exchanged
}

async fn in_quarantine(node: &TestLedger, count: usize) -> Vec<(StreamName, String)> {
    while node.ledger.live().counts().quarantined < count {
        tokio::task::yield_now().await;
    }
    let streams = node.ledger.live().quarantined();
    streams.iter().map(|poison| (poison.stream.clone(), poison.reason.clone())).collect()
}

/// In a stream of grantbook's, one that it never began, and one that was deleted for good.
#[tokio::test]
async fn what_others_do_to_one_stream_costs_that_stream_alone() {
    let double = Double::start(Options::default()).await.unwrap();
    let running = node(&double).await;
    let (foreign, deleted, sound) = (
        installed(&running, "acme").await,
        installed(&running, "globex").await,
        installed(&running, "initech").await,
    );
    let nobodys = stream(InstallationId::new(uuid::Uuid::from_u128(7)));
    let [foreign_stream, deleted_stream] = [&foreign, &deleted].map(|of| stream(of.installation_id));
    double.append_foreign(foreign_stream.as_str(), "order-placed", "{}", "");
    double.append_foreign(nobodys.as_str(), "order-placed", "{}", "");
    double.hard_delete(deleted_stream.as_str());
    let streams = [&foreign_stream, &nobodys, &deleted_stream];
    // Both on the node that was there and on one that starts.
    for node in [running, node(&double).await] {
        let quarantined = in_quarantine(&node, 3).await;
        assert!(quarantined.iter().map(|(stream, _)| stream).eq(streams), "{quarantined:?}");
        let says =
            ["grantbook did not write it", "grantbook did not write it", "deleted from the cluster for good"];
        for ((_, reason), says) in quarantined.iter().zip(says) {
            assert!(reason.contains(says), "{reason}");
        }
        let valid = [&foreign, &deleted, &sound].map(|of| node.is_valid(of.token_digest));
        assert_eq!(valid, [false, false, true]);
        for of in [&foreign, &deleted] {
            let refused = node.settle(&revoke(of.installation_id, of.token_id)).await.unwrap_err();
            assert!(matches!(refused, LedgerError::Quarantined(_)), "{refused:?}");
        }
        let another = installed(&node, "hooli").await;
        assert!(node.is_valid(another.token_digest));
    }
    let verified = verify(&*open_at(&double.url()), Against::default(), |_| {}).await.unwrap();
    let found = |stream: &StreamName, words: &str| {
        let is_it = |what: &str| what.contains(stream.as_str()) && what.contains(words);
        verified.findings.iter().any(|finding| finding.position.is_some() && is_it(&finding.what))
    };
    assert!(streams.iter().all(|stream| found(stream, "cannot be read")), "{:?}", verified.findings);
    assert_eq!(verified.found, 3, "{:?}", verified.findings);
    let options = LedgerOptions { strict: true, ..LedgerOptions::default() };
    let strict = Ledger::open_with(open_at(&double.url()), Arc::new(ManualClock::at(START)), options);
    let stopped = strict.caught_up().await.unwrap_err().stopped.unwrap().to_string();
    assert!(stopped.contains(foreign_stream.as_str()), "{stopped}");
}

#[tokio::test]
async fn a_deleted_stream_is_not_begun_again_and_what_was_scavenged_is_found() {
    let double = Double::start(Options::default()).await.unwrap();
    let running = node(&double).await;
    let gone = installed(&running, "acme").await;
    let stream = stream(gone.installation_id);
    double.soft_delete(stream.as_str());
    let again = |node: &TestLedger| {
        let client_id = node.ledger.live().app(&gone.client_id).unwrap().client_id;
        grant(client_id, &"acme".parse().unwrap())
    };
    let [(of, reason)] = in_quarantine(&running, 1).await.try_into().unwrap();
    assert!(of == stream && reason.contains("was deleted from the cluster"), "{of}: {reason}");
    assert!(!running.is_valid(gone.token_digest));
    let refused = running.settle(&again(&running)).await.unwrap_err();
    assert!(matches!(refused, LedgerError::Quarantined(_)), "{refused:?}");
    assert_eq!(double.events_of(stream.as_str()).len(), 2, "nothing was appended");
    double.scavenge();
    let later = node(&double).await;
    assert_eq!(in_quarantine(&later, 1).await.len(), 1);
    let refused = later.settle(&again(&later)).await.unwrap_err();
    assert!(matches!(refused, LedgerError::Quarantined(_)), "{refused:?}");
    let verified = verify(&*open_at(&double.url()), Against::default(), |_| {}).await.unwrap();
    let found: Vec<_> = verified.findings.iter().map(|finding| finding.what.as_str()).collect();
    assert!(found.iter().any(|what| what.contains("goes on with revision 1 where 0 is due")), "{found:?}");
}
