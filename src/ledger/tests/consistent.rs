//! One node of several: what it answers while it is behind the others. Knows: commands, gates. Must not know:
//! how a stream is read.

use super::super::{Freshness, WhenStale};
use super::*;
use crate::store::MemoryStore;
use crate::store::lagging::LaggingStore;
use crate::store::lying::{LyingStore, Script};
use grantbook_events::Revision;
use grantbook_projections::live::TokenFacts;
use uuid::Uuid;

const FRESH: Freshness = Freshness { max_staleness: Duration::from_secs(5), when_stale: WhenStale::Read };

/// A node that is never behind, and one that is as far behind as a test wants.
struct Nodes {
    here: TestLedger,
    there: TestLedger,
    view: Arc<LaggingStore>,
}

impl Nodes {
    async fn with(freshness: Freshness) -> Self {
        let store = MemoryStore::new(Uuid::from_u128(7));
        let view = LaggingStore::new(store.clone(), START);
        let options = LedgerOptions { freshness, ..LedgerOptions::default() };
        let there = TestLedger::with(view.clone(), options).await;
        Self { here: TestLedger::over(store).await, there, view }
    }

    /// A token of an app of its own.
    async fn token(&self) -> Token {
        let client_id = self.here.app().await;
        self.token_of(client_id).await
    }

    /// Another token of the same installation.
    async fn another(&self, token: &Token) -> Token {
        let facts = self.here.ledger.live().token(&token.digest, START).unwrap();
        self.token_of(facts.client_id).await
    }

    async fn token_of(&self, client_id: ClientId) -> Token {
        let granted = grant(client_id, &"acme".parse().unwrap());
        self.here.settle(&granted).await.unwrap().unwrap();
        let exchanged = exchange(&granted);
        self.here.settle(&exchanged).await.unwrap().unwrap();
        let ExchangeCode { installation_id, token_id, token_digest, .. } = exchanged;
        Token { installation_id, token_id, digest: token_digest }
    }

    async fn there_has_folded_all(&self) {
        let head = self.here.ledger.head().await.unwrap();
        assert!(self.there.ledger.reached(head).await);
    }

    /// Looks up a token there, where all that is missing is folded once it is asked where the token belongs.
    async fn catching_up_while_it_looks_up(&self, token: &Token) -> Option<TokenFacts> {
        let (there, head) = (&self.there.ledger, self.here.ledger.head().await.unwrap());
        let within = || {
            self.view.push(true);
            self.view.beat(self.there.clock.now());
            while there.is_stale() || there.live().position() < head {
                std::thread::yield_now();
            }
            Some(token.installation_id)
        };
        there.token(&token.digest, within).await.unwrap()
    }

    async fn valid_there(&self, token: &Token) -> Result<bool, LedgerError> {
        let facts = self.there.ledger.token(&token.digest, || Some(token.installation_id)).await?;
        Ok(facts.is_some_and(|facts| facts.token_id == token.token_id))
    }
}

struct Token {
    installation_id: InstallationId,
    token_id: TokenId,
    digest: SecretDigest,
}

#[tokio::test]
async fn what_is_not_here_yet_is_looked_up_once() {
    let nodes = Nodes::with(FRESH).await;
    nodes.view.push(false);
    let token = nodes.token().await;
    let there = &nodes.there.ledger;
    let facts = there.token(&token.digest, || Some(token.installation_id)).await.unwrap().unwrap();
    let folded = nodes.here.ledger.live().token(&token.digest, START).unwrap();
    assert_eq!(facts, folded, "what the stream says is what the fold will say");
    assert_eq!(nodes.view.reads(), 2, "of the installation, and of its app");
    assert!(there.app(&folded.client_id).await.unwrap().is_some());
    assert!(there.live().app(&folded.client_id).is_none(), "nothing was folded out of turn");
}

#[tokio::test]
async fn what_is_nowhere_is_asked_for_once() {
    let nodes = Nodes::with(FRESH).await;
    let there = &nodes.there.ledger;
    let token = nodes.token().await;
    nodes.there_has_folded_all().await;
    let (unknown, nobody) = (secrets::mint_token(token.installation_id).digest(), secrets::new_client_id());
    for _ in 0..3 {
        assert_eq!(there.token(&unknown, || Some(token.installation_id)).await.unwrap(), None);
        assert!(there.app(&nobody).await.unwrap().is_none());
        assert_eq!(there.token(&unknown, || None).await.unwrap(), None, "garbage says no stream");
    }
    assert_eq!(nodes.view.reads(), 2);
    nodes.here.settle(&revoke(token.installation_id, token.token_id)).await.unwrap().unwrap();
    nodes.there_has_folded_all().await;
    for _ in 0..3 {
        assert!(!nodes.valid_there(&token).await.unwrap());
    }
    assert_eq!(nodes.view.reads(), 3, "a revoked token is looked up once");
}

/// A node that has not heard of a suspension exchanges a code that died with it: the token never counts, on no node, in
/// no replay, also once the app is resumed. One that was there before the suspension does.
#[tokio::test]
async fn a_code_that_died_with_a_suspension_elsewhere_makes_no_token() {
    let nodes = Nodes::with(FRESH).await;
    let before = nodes.token().await;
    let client_id = nodes.here.ledger.live().token(&before.digest, START).unwrap().client_id;
    let granted = grant(client_id, &"acme".parse().unwrap());
    nodes.here.settle(&granted).await.unwrap().unwrap();
    nodes.there_has_folded_all().await;
    nodes.view.push(false);
    let reason = "review".to_owned();
    let suspend = crate::decisions::SuspendApp { client_id, reason: reason.clone() };
    nodes.here.settle(&suspend).await.unwrap().unwrap();
    // It goes by the copy of the app that it has.
    let seen = nodes.there.ledger.live().app(&client_id).unwrap();
    let exchanged = ExchangeCode { codes_dead_until: seen.codes_dead_until, ..exchange(&granted) };
    let _ = nodes.there.settle(&exchanged).await.unwrap().unwrap();
    nodes.here.settle(&crate::decisions::ResumeApp { client_id, reason }).await.unwrap().unwrap();
    let ExchangeCode { installation_id, token_id, token_digest, .. } = exchanged;
    let after = Token { installation_id, token_id, digest: token_digest };
    let later = grant(client_id, &"acme".parse().unwrap());
    let not_before = nodes.here.ledger.live().app(&client_id).unwrap().first_grant_at();
    let later = GrantAccess { not_before, ..later };
    nodes.here.settle(&later).await.unwrap().unwrap();
    let good = exchange(&later);
    nodes.here.settle(&good).await.unwrap().unwrap();
    let good = Token { installation_id, token_id: good.token_id, digest: good.token_digest };
    // Looked up by the node that lags; and once it has heard of the suspension, folded by both.
    assert!(nodes.valid_there(&before).await.unwrap() && nodes.valid_there(&good).await.unwrap());
    nodes.view.push(true);
    nodes.there_has_folded_all().await;
    assert!(nodes.valid_there(&before).await.unwrap() && nodes.valid_there(&good).await.unwrap());
    assert!(!nodes.valid_there(&after).await.unwrap());
    let live = nodes.here.ledger.live();
    let is_valid = |token: &Token| live.is_valid(&token.digest, START);
    assert_eq!([&before, &after, &good].map(is_valid), [true, false, true]);
    let verified =
        crate::replay::verify(&**nodes.here.ledger.store(), crate::replay::Against::default(), |_| {})
            .await
            .unwrap();
    assert!(verified.is_sound(), "{:?}", verified.findings);
    assert!(!verified.live.is_valid(&after.digest, START) && verified.live.digest() == live.digest());
}

#[tokio::test]
async fn what_is_known_not_to_count_is_not_looked_up() {
    let nodes = Nodes::with(FRESH).await;
    let token = nodes.token().await;
    let client_id = nodes.here.ledger.live().token(&token.digest, START).unwrap().client_id;
    let suspend = crate::decisions::SuspendApp { client_id, reason: "spam".to_owned() };
    nodes.here.settle(&suspend).await.unwrap().unwrap();
    nodes.there_has_folded_all().await;
    assert!(!nodes.valid_there(&token).await.unwrap());
    assert_eq!(nodes.view.reads(), 0);
}

#[tokio::test]
async fn beyond_its_staleness_a_node_lets_nothing_pass_by_what_it_has_folded() {
    let nodes = Nodes::with(FRESH).await;
    let token = nodes.token().await;
    nodes.there_has_folded_all().await;
    nodes.view.push(false);
    nodes.here.settle(&revoke(token.installation_id, token.token_id)).await.unwrap().unwrap();
    nodes.there.clock.advance(FRESH.max_staleness);
    assert!(!nodes.there.ledger.is_stale());
    assert!(nodes.valid_there(&token).await.unwrap(), "as old as is allowed");
    nodes.there.clock.advance(Duration::from_micros(1));
    assert_eq!(nodes.there.ledger.staleness(), Some(FRESH.max_staleness + Duration::from_micros(1)));
    assert!(!nodes.valid_there(&token).await.unwrap(), "the store says it was revoked");
    let other = nodes.token().await;
    assert!(nodes.valid_there(&other).await.unwrap(), "and that this one was issued");
}

/// What was lost there may be a revocation, so what is known here does not count.
#[tokio::test]
async fn beyond_its_staleness_a_node_does_not_answer_from_what_the_store_does_not_have_any_more() {
    let nodes = Nodes::with(FRESH).await;
    let (kept, token) = (nodes.token().await, nodes.token().await);
    let end = nodes.here.ledger.head().await.unwrap();
    let token = nodes.another(&token).await;
    nodes.there_has_folded_all().await;
    nodes.view.push(false);
    nodes.view.put_back(end);
    assert!(nodes.valid_there(&token).await.unwrap(), "as old as is allowed");
    nodes.there.clock.advance(FRESH.max_staleness + Duration::from_micros(1));
    let refused = nodes.valid_there(&token).await.unwrap_err();
    assert!(refused.may_pass() && refused.to_string().contains("was read from it before"), "{refused}");
    assert!(nodes.valid_there(&kept).await.unwrap(), "its stream is whole");
}

#[tokio::test]
async fn beyond_its_staleness_a_node_may_refuse_instead() {
    let nodes = Nodes::with(Freshness { when_stale: WhenStale::Refuse, ..FRESH }).await;
    let token = nodes.token().await;
    nodes.there_has_folded_all().await;
    let (suspended, client_id) = (nodes.token().await, nodes.here.app().await);
    nodes.here.settle(&revoke(suspended.installation_id, suspended.token_id)).await.unwrap().unwrap();
    nodes.there_has_folded_all().await;
    assert!(!nodes.valid_there(&suspended).await.unwrap());
    nodes.view.push(false);
    nodes.there.clock.advance(Duration::from_secs(6));
    assert!(matches!(nodes.valid_there(&token).await, Err(LedgerError::Stale { .. })));
    assert!(matches!(nodes.there.ledger.app(&client_id).await, Err(LedgerError::Stale { .. })));
    assert!(!nodes.valid_there(&suspended).await.unwrap(), "a no may be old");
    nodes.view.push(true);
    nodes.view.beat(nodes.there.clock.now());
    nodes.there.ledger.become_current().await.unwrap();
    while nodes.there.ledger.is_stale() {
        tokio::task::yield_now().await;
    }
    assert!(nodes.valid_there(&token).await.unwrap());
}

/// The node was frozen after a revocation, and catches up while it answers.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_there_before_is_not_passed_off_as_new() {
    let nodes = Nodes::with(FRESH).await;
    let token = nodes.token().await;
    nodes.there_has_folded_all().await;
    nodes.view.push(false);
    nodes.here.settle(&revoke(token.installation_id, token.token_id)).await.unwrap().unwrap();
    nodes.there.clock.advance(Duration::from_secs(6));
    let facts = nodes.catching_up_while_it_looks_up(&token).await;
    assert_eq!(facts, None, "it ended longer ago than an answer may be old");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_becomes_known_during_a_look_up_is_not_taken_for_ended() {
    let nodes = Nodes::with(FRESH).await;
    nodes.view.push(false);
    let token = nodes.token().await;
    let facts = nodes.catching_up_while_it_looks_up(&token).await;
    assert_eq!(facts.map(|facts| facts.token_id), Some(token.token_id));
}

/// A caller that waits with others must not get what was true before it came.
#[tokio::test]
async fn a_read_is_shared_by_those_who_came_before_it_began() {
    let nodes = Nodes::with(FRESH).await;
    let folded = nodes.token().await;
    nodes.there_has_folded_all().await;
    nodes.view.push(false);
    let first = nodes.another(&folded).await;
    nodes.view.answer(false);
    let ask = |digest: SecretDigest| {
        let (ledger, within) = (Arc::clone(&nodes.there.ledger), folded.installation_id);
        tokio::spawn(async move { ledger.token(&digest, || Some(within)).await.unwrap().is_some() })
    };
    let early = ask(first.digest);
    nodes.view.held(1).await;
    // What happens now is not in the read that waits.
    let second = nodes.another(&folded).await;
    let late: Vec<_> = (0..50).map(|_| ask(second.digest)).collect();
    while nodes.there.ledger.waiting_readers(folded.installation_id) < 51 {
        tokio::task::yield_now().await;
    }
    nodes.view.answer(true);
    assert!(early.await.unwrap());
    for late in late {
        assert!(late.await.unwrap());
    }
    let counts = nodes.there.ledger.read_counts();
    assert_eq!((counts.reads, counts.shared, counts.running), (2, 49, 0));
    assert_eq!(nodes.there.ledger.running_reads(), 0, "nothing is left of those who waited");
}

#[tokio::test(start_paused = true)]
async fn only_so_many_streams_are_read_at_once() {
    let nodes = Nodes::with(FRESH).await;
    nodes.view.answer(false);
    let ask = || {
        let ledger = Arc::clone(&nodes.there.ledger);
        tokio::spawn(async move { ledger.app(&secrets::new_client_id()).await })
    };
    let asked: Vec<_> = (0..40).map(|_| ask()).collect();
    nodes.view.held(32).await;
    assert_eq!(nodes.there.ledger.read_counts().running, 32);
    let mut refused = 0;
    for asked in asked {
        match asked.await.unwrap() {
            Err(LedgerError::Shared(error)) => match *error {
                LedgerError::TooManyReads => refused += 1,
                LedgerError::Store(_) => {}
                ref other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((refused, nodes.view.reads()), (8, 32));
    assert_eq!(nodes.there.ledger.read_counts().running, 0);
}

#[tokio::test]
async fn an_answer_does_not_wait_for_a_node_that_is_too_far_behind_to_be_believed() {
    let short = Freshness { max_staleness: Duration::from_millis(20), ..FRESH };
    let nodes = Nodes::with(short).await;
    nodes.view.push(false);
    let client_id = nodes.there.app().await;
    assert!(nodes.there.ledger.live().app(&client_id).is_none());
    assert!(nodes.here.ledger.live().app(&client_id).is_some());
}

/// An app that hears that it is not known whether its code was exchanged asks another node, and gets the token. What is
/// left of the first request must not take that for a second use of the code.
#[tokio::test]
async fn a_request_that_was_given_up_does_not_end_what_came_of_asking_again() {
    let store = MemoryStore::new(Uuid::from_u128(7));
    let lying = LyingStore::new(store.clone(), Script::default(), 1);
    let view = LaggingStore::new(lying.clone(), START);
    let here = TestLedger::over(store.clone()).await;
    let there = TestLedger::over(view.clone()).await;
    let granted = grant(here.app().await, &"acme".parse().unwrap());
    here.settle(&granted).await.unwrap().unwrap();
    assert!(there.ledger.reached(here.ledger.head().await.unwrap()).await);
    lying.change(Script { unknown_and_lost: 1, ..Script::default() });
    view.answer(false);
    let (ledger, first) = (Arc::clone(&there.ledger), exchange(&granted));
    let given_up = tokio::spawn(async move {
        let origin = origin(&secrets::new_request_id());
        ledger.settle(&origin, &first).await
    });
    view.held(1).await;
    lying.repent();
    given_up.abort();
    assert!(given_up.await.unwrap_err().is_cancelled());
    let again = exchange(&granted);
    here.settle(&again).await.unwrap().unwrap();
    view.answer(true);
    // In line after what is left of the first request.
    let other = grant(granted.client_id, &granted.account_id);
    there.settle(&other).await.unwrap().unwrap();
    assert!(here.ledger.reached(here.ledger.head().await.unwrap()).await);
    assert!(here.is_valid(again.token_digest));
    let records = store.read_stream(&stream(again.installation_id), Revision::FIRST).await.unwrap();
    let types: Vec<_> = records.iter().map(|record| record.type_name.as_str()).collect();
    assert_eq!(types, ["access-granted", "code-exchanged", "access-granted"]);
}
