//! The ledger on a cluster that does what clusters do. Knows: commands, the double's faults and gates. Must not
//! know: how the ledger keeps its promises.

use grantbook_eventstore_double::{AppendFault, Double, Options};

use super::*;
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
