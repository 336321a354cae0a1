//! Three nodes on one ledger, and one grant that an app refreshes on all of them while it ends somewhere. Knows: what must
//! hold on every node afterwards. Must not know: how a node decides.
//!
//! Who begins is as the seed says: what ends the grant, or the app, or all at once.

mod suspended;

use std::collections::BTreeMap;
use std::sync::{Barrier, Mutex};
use std::thread;

use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::client::{Browser, Pairs, Reply};
use crate::cluster::{Cluster, Nodes};
use crate::html::HtmlForm;
use crate::process::{Serving, eventually};
use crate::wanted::{App, Pair, registration_with_refresh};

const ROUNDS: usize = 20;
const SEED: u64 = 0x7261_6365_7331_3700;
/// How many refreshes meet.
const CALLERS: usize = 64;
/// A lost reply is sent again for as long as any of these tests runs.
const GRACE: (&str, &str) = ("TOKENS_REFRESH_GRACE", "5m");
const NO_GRACE: (&str, &str) = ("TOKENS_REFRESH_GRACE", "0s");

/// Nodes that have one session key, so that each can send the reply of another one again.
struct Races {
    nodes: Nodes,
    app: App,
    random: StdRng,
    cluster: Cluster,
    _key: TempDir,
}

/// One approval, and all that was handed out for it.
struct Grant {
    account: String,
    code: String,
    pairs: Vec<Pair>,
    /// The form that ends it on ana's page of apps, as it was before anything was refreshed.
    form: HtmlForm,
}

/// Who begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum First {
    App,
    End,
    All,
}

impl Races {
    fn start(grace: (&str, &str)) -> Self {
        let cluster = Cluster::start(3);
        let urls = vec![cluster.url().to_owned(); 3];
        Self::at(cluster, &urls, &[grace])
    }

    fn at(cluster: Cluster, urls: &[String], settings: Pairs<'_>) -> Self {
        let key = tempfile::tempdir().unwrap();
        let file = key.path().join("session.key");
        let shared = [("SESSION_KEY_FILE", file.to_str().unwrap())];
        let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
        let nodes = Nodes::at(&urls, &[settings, &shared].concat());
        let app = app(&nodes.serving[0]);
        Self { nodes, app, random: StdRng::seed_from_u64(SEED), cluster, _key: key }
    }

    fn refresh(&self, node: usize, pair: &Pair) -> Reply {
        self.nodes.serving[node].try_refresh(&self.app, &pair.refresh).unwrap()
    }

    /// Ana of an account of its own installs the app.
    fn install(&self, node: usize, account: &str) -> Grant {
        let serving = &self.nodes.serving[node];
        let (ana, code) = self.approve(node, account);
        let first = Pair::of(&serving.exchange(&self.app, &code).expect(200));
        let page = ana.get("/account/apps").expect(200);
        let action = page.body.split('"').find(|text| text.starts_with("/account/tokens/")).unwrap();
        let form = page.form(action);
        Grant { account: account.to_owned(), code, pairs: vec![first], form }
    }

    fn approve(&self, node: usize, account: &str) -> (Browser, String) {
        let ana = self.nodes.serving[node].person("ana", account);
        let code = ana.approve(&self.app.query()).expect(303).param("code").unwrap();
        (ana, code)
    }

    fn first(&mut self) -> First {
        [First::App, First::End, First::All, First::All][self.random.random_range(0..4)]
    }

    /// Refreshes at every node, and ends at one of them, in the order that the seed says.
    fn race(&mut self, grant: &mut Grant, end: impl Fn(&Self, &Serving, &Grant) + Sync) -> First {
        let (first, at) = (self.first(), self.random.random_range(0..self.nodes.serving.len()));
        let (races, given, start) = (&*self, &*grant, &Barrier::new(4));
        let end = || end(races, &races.nodes.serving[at], given);
        let replies = match first {
            First::App => {
                let replies = races.refresh_at_once(&given.pairs[0], 3, &Barrier::new(3));
                end();
                replies
            }
            First::End => {
                end();
                races.refresh_at_once(&given.pairs[0], 3, &Barrier::new(3))
            }
            First::All => thread::scope(|scope| {
                scope.spawn(move || {
                    start.wait();
                    end();
                });
                races.refresh_at_once(&given.pairs[0], 3, start)
            }),
        };
        let (got, refused): (Vec<_>, Vec<_>) = replies.into_iter().partition(|reply| reply.status == 200);
        refused.iter().for_each(assert_invalid_grant);
        let pairs: Vec<Pair> = got.iter().map(Pair::of).collect();
        assert!(pairs.iter().all(|pair| *pair == pairs[0]), "one refresh, and two pairs: {pairs:?}");
        match first {
            First::App => assert!(refused.is_empty(), "nothing had ended: {refused:?}"),
            First::End => assert!(got.is_empty(), "it had ended: {got:?}"),
            First::All => {}
        }
        grant.pairs.extend(pairs.into_iter().next());
        first
    }

    /// Refreshes of one token, spread over the nodes, which begin with whatever else waits for the start.
    fn refresh_at_once(&self, pair: &Pair, callers: usize, start: &Barrier) -> Vec<Reply> {
        thread::scope(|scope| {
            let refresh = move |caller: usize| {
                start.wait();
                self.refresh(caller % 3, pair)
            };
            let callers: Vec<_> = (0..callers).map(|caller| scope.spawn(move || refresh(caller))).collect();
            callers.into_iter().map(|caller| caller.join().unwrap()).collect()
        })
    }

    /// Many rounds in which the grant ends.
    fn all_end(&mut self, end: impl Fn(&Self, &Serving, &Grant) + Sync) {
        let mut begun = BTreeMap::new();
        for round in 0..ROUNDS {
            let mut grant = self.install(round % 3, &format!("account-{round}"));
            let first = self.race(&mut grant, &end);
            *begun.entry(format!("{first:?}")).or_insert(0) += 1;
            self.assert_over(&grant);
        }
        assert_eq!(begun.len(), 3, "the seed leaves something out: {begun:?}");
        self.assert_sound();
    }

    /// Nothing of a grant is good for anything, whichever node is asked, and each says so of now and as of then.
    fn assert_over(&self, grant: &Grant) {
        for (number, node) in self.nodes.serving.iter().enumerate() {
            eventually("no token of the grant passes", || {
                let passes = grant.pairs.iter().any(|pair| node.lets_pass(&pair.access));
                (!passes).then_some(())
            });
            grant.pairs.iter().for_each(|pair| assert_invalid_grant(&self.refresh(number, pair)));
            eventually("the app is not installed", || {
                (!self.is_installed(node, &grant.account)).then_some(())
            });
            let path = format!("/audit/installations?account={}", grant.account);
            let now = node.ask("GET", &path, None).expect(200).json();
            let then = format!("{path}&as_of={}", now["as_of"]["position"]);
            let then = node.ask("GET", &then, None).expect(200).json();
            assert_eq!(
                (&now["items"][0]["tokens"], &now["items"][0]["installed"]),
                (&json!([]), &json!(false))
            );
            assert_eq!(then["items"], now["items"]);
        }
    }

    /// The last pair is good, whichever node is asked.
    fn assert_lives(&self, account: &str, pairs: &mut Vec<Pair>) {
        for number in 0..self.nodes.serving.len() {
            let pair = pairs.last().unwrap();
            for node in &self.nodes.serving {
                assert!(node.lets_pass(&pair.access));
                eventually("the app is installed", || self.is_installed(node, account).then_some(()));
            }
            let next = Pair::of(&self.refresh(number, pair).expect(200));
            pairs.push(next);
        }
    }

    fn is_installed(&self, node: &Serving, account: &str) -> bool {
        let path = format!("/installations?account={account}");
        let listed = node.ask("GET", &path, None).expect(200).json();
        listed["items"][0]["installed"] == true
    }

    /// The ledger is one that decisions can have written, and no refresh token was used twice.
    fn assert_sound(&self) -> Vec<Value> {
        for site in &self.nodes.sites {
            let verified = site.run(&["replay", "verify"]);
            assert_eq!(verified.code, Some(0), "{}{}", verified.stdout, verified.stderr);
        }
        let events = self.nodes.sites[0].events();
        let mut spent = BTreeMap::new();
        for event in events.iter().filter(|event| event["type"] == "token-refreshed") {
            let twice = spent.insert(event["data"]["spent_token_id"].to_string(), event);
            assert!(twice.is_none(), "{twice:?} {event}");
        }
        events
    }
}

fn app(node: &Serving) -> App {
    App::of(&node.ask("POST", "/apps", Some(&registration_with_refresh("Sample App"))).expect(201))
}

#[track_caller]
fn assert_invalid_grant(reply: &Reply) {
    assert_eq!(reply.error(), (400, "invalid_grant".to_owned()), "{reply:?}");
}

fn count(events: &[Value], kind: &str) -> usize {
    events.iter().filter(|event| event["type"] == kind).count()
}

#[test]
fn r2_of_64_refreshes_at_three_nodes_all_get_the_one_new_pair() {
    let races = Races::start(GRACE);
    for round in 0..3 {
        let mut grant = races.install(round, &format!("account-{round}"));
        let replies = races.refresh_at_once(&grant.pairs[0], CALLERS, &Barrier::new(CALLERS));
        let pairs: Vec<Pair> = replies.into_iter().map(|reply| Pair::of(&reply.expect(200))).collect();
        assert!(pairs.iter().all(|pair| *pair == pairs[0]), "{pairs:?}");
        grant.pairs.push(pairs[0].clone());
        races.assert_lives(&grant.account, &mut grant.pairs);
    }
    let events = races.assert_sound();
    // One of 64, and three afterwards.
    assert_eq!(count(&events, "token-refreshed"), 3 * 4);
    assert_eq!(count(&events, "refresh-replayed") + count(&events, "token-revoked"), 0, "nothing ends");
}

#[test]
fn r3_of_64_refreshes_at_three_nodes_without_a_grace_one_wins_and_the_grant_ends() {
    let races = Races::start(NO_GRACE);
    for round in 0..3 {
        let mut grant = races.install(round, &format!("account-{round}"));
        let replies = races.refresh_at_once(&grant.pairs[0], CALLERS, &Barrier::new(CALLERS));
        let (won, lost): (Vec<_>, Vec<_>) = replies.into_iter().partition(|reply| reply.status == 200);
        assert_eq!((won.len(), lost.len()), (1, CALLERS - 1));
        lost.iter().for_each(assert_invalid_grant);
        grant.pairs.push(Pair::of(&won[0]));
        races.assert_over(&grant);
    }
    let events = races.assert_sound();
    assert_eq!((count(&events, "token-refreshed"), count(&events, "refresh-replayed")), (3, 3));
}

#[test]
fn r3_a_lost_reply_at_a_node_with_another_key_is_refused_and_nothing_ends() {
    let cluster = Cluster::start(3);
    let nodes = Nodes::on(&cluster);
    let app = app(&nodes.serving[0]);
    let refresh = |node: usize, pair: &Pair| nodes.serving[node].try_refresh(&app, &pair.refresh).unwrap();
    let first = Pair::of(&nodes.serving[0].exchange(&app, &nodes.serving[0].code(&app)).expect(200));
    let second = Pair::of(&refresh(0, &first).expect(200));
    for node in [1, 2] {
        assert_invalid_grant(&refresh(node, &first));
    }
    assert_eq!(Pair::of(&refresh(0, &first).expect(200)), second);
    let third = Pair::of(&refresh(1, &second).expect(200));
    for node in &nodes.serving {
        assert!([&first, &second, &third].iter().all(|pair| node.lets_pass(&pair.access)));
    }
}

#[test]
fn r7_an_app_that_revokes_its_refresh_token_ends_what_it_refreshes_meanwhile() {
    Races::start(GRACE).all_end(|races, node, grant| {
        node.try_revoke(&races.app, &grant.pairs[0].refresh).unwrap().expect(200);
    });
}

#[test]
fn r7_a_user_who_revokes_ends_what_is_refreshed_meanwhile() {
    Races::start(GRACE).all_end(|_, node, grant| {
        // A browser that comes to this node is signed in there, and its page may be older than a refresh.
        let ana = node.person("ana", &grant.account);
        let csrf = ana.get("/account/apps").expect(200).form("/sign-out").field("csrf").to_owned();
        let done = ana.post(&grant.form.action, &[("csrf", &csrf)]).expect(303);
        let said = ana.get(done.location()).expect(200).body;
        assert!(said.contains("was revoked"), "{said}");
    });
}

#[test]
fn r3_an_uninstall_ends_what_is_refreshed_meanwhile() {
    Races::start(GRACE).all_end(|races, node, grant| {
        node.try_uninstall(&races.app, &grant.account).unwrap().expect(200);
    });
}

#[test]
fn r3_a_replayed_code_ends_what_is_refreshed_meanwhile() {
    Races::start(GRACE).all_end(|races, node, grant| {
        assert_invalid_grant(&node.exchange(&races.app, &grant.code));
    });
}

#[test]
fn r7_an_operator_ends_a_grant_by_its_refresh_token_or_hears_that_it_was_spent() {
    let mut races = Races::start(GRACE);
    for round in 0..ROUNDS {
        let mut grant = races.install(round % 3, &format!("account-{round}"));
        let path = format!("/tokens/{}", grant.form.action.split('/').nth(3).unwrap());
        let answer = Mutex::new(None);
        races.race(&mut grant, |_, node, _| {
            *answer.lock().unwrap() = Some(node.ask("DELETE", &path, None));
        });
        let reply = answer.into_inner().unwrap().unwrap();
        if reply.status == 204 {
            races.assert_over(&grant);
        } else {
            assert_eq!((&reply.json()["state"], grant.pairs.len()), (&json!("ended"), 2), "{reply:?}");
            races.assert_lives(&grant.account, &mut grant.pairs);
        }
    }
    races.assert_sound();
}

#[test]
fn r7_an_access_token_that_is_revoked_while_it_is_refreshed_ends_alone() {
    let mut races = Races::start(GRACE);
    for round in 0..ROUNDS {
        let mut grant = races.install(round % 3, &format!("account-{round}"));
        let first = grant.pairs[0].clone();
        let (node, start) = (races.random.random_range(0..3), &Barrier::new(4));
        let replies = thread::scope(|scope| {
            let node = &races.nodes.serving[node];
            let (app, token) = (&races.app, &first.access);
            scope.spawn(move || {
                start.wait();
                node.try_revoke(app, token).unwrap().expect(200);
            });
            races.refresh_at_once(&first, 3, start)
        });
        let pairs: Vec<Pair> = replies.into_iter().map(|reply| Pair::of(&reply.expect(200))).collect();
        assert!(pairs.iter().all(|pair| *pair == pairs[0]), "{pairs:?}");
        grant.pairs.push(pairs[0].clone());
        races.assert_lives(&grant.account, &mut grant.pairs);
        for node in &races.nodes.serving {
            eventually("the token that was revoked does not pass", || {
                (!node.lets_pass(&first.access)).then_some(())
            });
        }
    }
    races.assert_sound();
}
