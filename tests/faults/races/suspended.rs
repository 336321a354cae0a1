//! An app that is suspended on one node while it exchanges and refreshes on others, and a node that lags. Knows: what a
//! suspension ends for good, and what it only stops. Must not know: how a node decides.

use std::collections::BTreeMap;

use grantbook_events::InstallationId;
use grantbook_eventstore_double::Gate;

use super::*;

/// Long enough for a test to be over before a node that is held asks the leader.
const MAY_LAG: (&str, &str) = ("STORE_MAX_STALENESS", "10m");

/// Nodes that can be held: each is of one node of the cluster.
fn held() -> Races {
    let cluster = Cluster::double(3);
    let urls = [0, 1, 2].map(|node| cluster.held().node_url(node));
    Races::at(cluster, &urls, &[GRACE, MAY_LAG])
}

impl Races {
    /// From now on a node learns nothing of the ledger.
    fn hold(&self, node: usize) -> Gate {
        self.cluster.held().hold_subscriptions(node)
    }

    /// Asks a node that is held, which appends what it does not see: it answers once it is let go and has folded that.
    fn ask_held(&self, gate: Gate, account: &str, ask: impl FnOnce() -> Reply + Send) -> Reply {
        let id = InstallationId::of(&self.app.client_id.parse().unwrap(), &account.parse().unwrap());
        let appended = || self.cluster.held().events_of(&format!("installation-{id}")).len();
        let before = appended();
        thread::scope(|scope| {
            let asked = scope.spawn(ask);
            eventually("it has appended", || (appended() > before).then_some(()));
            drop(gate);
            asked.join().unwrap()
        })
    }

    fn change(&self, node: usize, what: &str) {
        let path = format!("/apps/{}/{what}", self.app.client_id);
        self.nodes.serving[node].ask("POST", &path, Some(&json!({ "reason": "a look" }))).expect(200);
    }

    fn exchange(&self, node: usize, code: &str) -> Reply {
        self.nodes.serving[node].exchange(&self.app, code)
    }

    /// Waits until every node has folded what is in the ledger now.
    fn settle(&self) {
        let position =
            |node: &Serving| node.ask("GET", "/projections", None).json()["items"][0]["position"].clone();
        let end = self.nodes.sites[0].events().last().unwrap()["position"].clone();
        for node in &self.nodes.serving {
            eventually("the node has caught up", || (position(node) == end).then_some(()));
        }
    }

    /// The code that became no token never becomes one, and tokens that came too late never count.
    fn assert_dead(&self, code: &str, pair: Option<&Pair>) {
        for (number, node) in self.nodes.serving.iter().enumerate() {
            match pair {
                Some(pair) => {
                    assert!(!node.lets_pass(&pair.access));
                    assert_invalid_grant(&self.refresh(number, pair));
                }
                None => assert_invalid_grant(&self.exchange(number, code)),
            }
        }
    }
}

#[test]
fn c5_a_code_that_died_with_a_suspension_stays_dead_and_what_it_became_before_lives() {
    let mut races = Races::start(GRACE);
    let mut rounds = Vec::new();
    for round in 0..ROUNDS {
        let account = format!("account-{round}");
        let (_, code) = races.approve(round % 3, &account);
        let (mut order, first) = ([0, 1, 2], races.first());
        order.shuffle(&mut races.random);
        let exchange = || {
            let reply = races.exchange(order[0], &code);
            if reply.status != 200 {
                let is_one = ["unauthorized_client", "invalid_grant"].contains(&&*reply.text("error"));
                assert!(is_one, "{reply:?}");
            }
            (reply.status == 200).then(|| Pair::of(&reply))
        };
        let suspend = || races.change(order[1], "suspend");
        let pair = match first {
            First::App => {
                let pair = exchange();
                suspend();
                assert!(pair.is_some(), "nothing was suspended");
                pair
            }
            First::End => {
                suspend();
                exchange()
            }
            First::All => thread::scope(|scope| {
                let exchange = scope.spawn(exchange);
                suspend();
                exchange.join().unwrap()
            }),
        };
        races.change(order[2], "resume");
        rounds.push((account, code, pair));
    }
    races.settle();
    // What the ledger says: when the code of an account was exchanged, and the suspension of its round.
    let events = races.assert_sound();
    let suspensions: Vec<u64> =
        events.iter().filter(|event| event["type"] == "app-suspended").map(position).collect();
    let exchanges: BTreeMap<String, u64> = events
        .iter()
        .filter(|event| event["type"] == "code-exchanged")
        .map(|event| (event["data"]["account_id"].as_str().unwrap().to_owned(), position(event)))
        .collect();
    for (number, (account, code, pair)) in rounds.into_iter().enumerate() {
        let lives = exchanges.get(&account).is_some_and(|at| *at < suspensions[number]);
        match pair {
            Some(pair) if lives => {
                races.assert_lives(&account, &mut vec![pair]);
            }
            pair => races.assert_dead(&code, pair.as_ref()),
        }
    }
    races.assert_sound();
}

fn position(event: &Value) -> u64 {
    event["position"].as_u64().unwrap()
}

#[test]
fn c5_what_a_node_that_lags_refreshes_of_a_code_that_had_died_never_counts() {
    let races = held();
    let mut other = races.install(0, "acme");
    let (_, code) = races.approve(0, "acme");
    races.settle();
    let gates = [1, 2].map(|node| races.hold(node));
    races.change(0, "suspend");
    let [one, two] = gates;
    // Neither knows that the code had died: the first learns it after it appended, the second after that.
    let first = races.ask_held(one, "acme", || races.exchange(1, &code));
    let first = Pair::of(&first.expect(200));
    let second = Pair::of(&races.ask_held(two, "acme", || races.refresh(2, &first)).expect(200));
    races.change(0, "resume");
    races.settle();
    for pair in [&first, &second] {
        races.assert_dead(&code, Some(pair));
    }
    let value = json!({ "token": second.access });
    let audited = races.nodes.serving[0].ask("POST", "/audit/token", Some(&value)).expect(200).json();
    assert_eq!(audited["state"], "never_valid", "{audited}");
    races.assert_lives(&other.account, &mut other.pairs);
    races.assert_sound();
}

#[test]
fn c5_what_a_node_that_lags_refreshes_for_a_suspended_app_counts_once_it_is_resumed() {
    let races = held();
    let mut grant = races.install(0, "acme");
    races.settle();
    let gate = races.hold(1);
    races.change(0, "suspend");
    let next = races.ask_held(gate, "acme", || races.refresh(1, &grant.pairs[0]));
    grant.pairs.push(Pair::of(&next.expect(200)));
    races.settle();
    for (number, node) in races.nodes.serving.iter().enumerate() {
        assert!(grant.pairs.iter().all(|pair| !node.lets_pass(&pair.access)));
        assert_eq!(races.refresh(number, &grant.pairs[1]).text("error"), "unauthorized_client");
    }
    races.change(0, "resume");
    races.settle();
    races.assert_lives(&grant.account, &mut grant.pairs);
    races.assert_sound();
}

#[test]
fn r2_r3_what_a_node_that_lags_grants_is_valid_and_what_it_refuses_has_ended() {
    let races = held();
    let mut grant = races.install(0, "acme");
    let others = ["uninstalled", "revoked"].map(|account| races.install(0, account));
    races.settle();
    let gate = races.hold(1);
    let [first, second] = [0, 1].map(|_| {
        let next = Pair::of(&races.refresh(0, grant.pairs.last().unwrap()).expect(200));
        grant.pairs.push(next.clone());
        next
    });
    // The reply of another node was lost.
    assert_eq!(Pair::of(&races.refresh(1, &first).expect(200)), second);
    // To this node it seems to be a token that was spent before.
    let third = races.ask_held(gate, "acme", || races.refresh(1, &second));
    grant.pairs.push(Pair::of(&third.expect(200)));
    races.settle();
    races.assert_lives(&grant.account, &mut grant.pairs);

    races.settle();
    let gate = races.hold(1);
    races.nodes.serving[0].try_uninstall(&races.app, &others[0].account).unwrap().expect(200);
    races.nodes.serving[0].try_revoke(&races.app, &others[1].pairs[0].refresh).unwrap().expect(200);
    for other in &others {
        assert_invalid_grant(&races.refresh(1, &other.pairs[0]));
    }
    // To this node it is the token that was used last.
    let [spent, last] = [2, 1].map(|before| grant.pairs[grant.pairs.len() - before].clone());
    let next = Pair::of(&races.refresh(0, &last).expect(200));
    grant.pairs.push(next);
    assert_invalid_grant(&races.ask_held(gate, "acme", || races.refresh(1, &spent)));
    races.settle();
    for grant in others.iter().chain([&grant]) {
        races.assert_over(grant);
    }
    races.assert_sound();
}
