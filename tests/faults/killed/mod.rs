//! Killed at any moment: what was acknowledged is there after the restart, once, and means the same.
//!
//! `GRANTBOOK_TEST_KILLS` says how often, for a longer run than the usual one.

mod caller;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::Value;

#[cfg(feature = "eventstore")]
use crate::cluster::Cluster;
use crate::ledger::Recorded;
use crate::process::{PATIENCE, Serving};
use crate::site::Site;
use caller::{Caller, Ears};

const KILLS: usize = 10;
const CALLERS: u64 = 8;
const SEED: u64 = 0x6772_616e_7462_6f6f;
/// The most replies that are heard before a kill.
const MAX_REPLIES: usize = 240;
/// How many restarts of a hundred are killed too, while they open the ledger.
const KILLED_OPENING: u32 = 30;

/// Settings under which nothing ends by itself while the test runs.
const SETTINGS: &[(&str, &str)] = &[("TOKENS_MAX_LIVE_PER_USER", "1000"), ("CODES_LIFETIME", "10m")];

fn kills() -> usize {
    #[expect(clippy::disallowed_methods, reason = "how whoever runs the tests asks for a longer run")]
    let asked = std::env::var("GRANTBOOK_TEST_KILLS");
    asked.map_or(KILLS, |kills| kills.parse().expect("GRANTBOOK_TEST_KILLS is a number"))
}

#[test]
fn what_was_acknowledged_survives_a_kill_at_any_moment() {
    let (events, acknowledged) = survives(&Site::with(SETTINGS), kills(), Where::Directory);
    println!("{events} events, {acknowledged} acknowledged");
}

/// The same with the ledger in a cluster, where what is killed is a node.
#[cfg(feature = "eventstore")]
#[test]
fn what_was_acknowledged_survives_a_kill_of_a_node() {
    let cluster = Cluster::double(1);
    let settings = [SETTINGS, &[("STORE_URL", cluster.url())]].concat();
    let (events, acknowledged) = survives(&Site::with(&settings), kills().div_ceil(4), Where::Cluster);
    println!("{events} events, {acknowledged} acknowledged");
}

/// Where the ledger rests.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Where {
    Directory,
    #[cfg_attr(not(feature = "eventstore"), expect(dead_code, reason = "there is no store for it"))]
    Cluster,
}

/// Says how many events there are, and how many replies were heard.
fn survives(site: &Site, kills: usize, place: Where) -> (usize, usize) {
    let mut random = StdRng::seed_from_u64(SEED);
    let mut callers: Vec<Caller> = (0..CALLERS).map(|number| Caller::new(number, SEED)).collect();
    let mut before = Vec::new();
    for round in 0..kills {
        let serving = site.serve();
        kill_under_load(serving, &mut callers, random.random_range(0..MAX_REPLIES));
        if random.random_ratio(KILLED_OPENING, 100) {
            site.killed_when(if place == Where::Directory { "ledger.lock" } else { "node.lock" });
        }

        let serving = site.serve();
        let events = site.events();
        assert!(events.starts_with(&before), "round {round}: what was recorded once has changed");
        let recorded = Recorded::by(&events);
        if place == Where::Directory {
            let positions = events.iter().map(|event| event["position"].as_u64().unwrap());
            assert!(positions.eq(1..=events.len() as u64), "a position is missing");
        }
        for caller in &mut callers {
            caller.compare(&serving, &recorded);
        }
        compare_installations(&serving, &callers, &recorded);
        for caller in &mut callers {
            caller.ask_again(&serving, &recorded);
        }
        let state = state(&serving, &callers);
        // A fold of the same ledger says the same, however the server before it ended.
        if random.random_ratio(1, 2) {
            serving.stop();
        } else {
            serving.kill();
        }
        let serving = site.serve();
        assert_eq!(self::state(&serving, &callers), state, "round {round}");
        serving.kill();
        before = site.events();
    }
    let acknowledged: usize = callers.iter().map(Caller::acknowledged).sum();
    assert!(acknowledged > kills * MAX_REPLIES / 6, "only {acknowledged} replies: nothing was tried");
    (before.len(), acknowledged)
}

/// Lets all callers loose, and kills the server once so many replies were heard.
fn kill_under_load(serving: Serving, callers: &mut [Caller], replies: usize) {
    let is_killed = AtomicBool::new(false);
    let (heard, hear) = mpsc::channel();
    thread::scope(|scope| {
        for caller in callers {
            let ears = Ears { heard: heard.clone(), server: serving.address(), is_killed: &is_killed };
            scope.spawn(move || caller.call_until_killed(&ears));
        }
        for _ in 0..replies {
            hear.recv_timeout(PATIENCE).unwrap();
        }
        is_killed.store(true, Ordering::SeqCst);
        serving.kill();
    });
}

/// Which apps are installed where, by which tokens, is what follows from the ledger.
#[track_caller]
fn compare_installations(serving: &Serving, callers: &[Caller], recorded: &Recorded) {
    let mut seen = BTreeSet::new();
    for installation in installations(serving, callers) {
        let id = installation["installation_id"].as_str().unwrap().to_owned();
        let tokens: BTreeSet<String> = installation["tokens"]
            .as_array()
            .unwrap()
            .iter()
            .map(|token| token["token_id"].as_str().unwrap().to_owned())
            .collect();
        let expected = &recorded.live_tokens[&id];
        assert_eq!(&tokens, expected, "{installation}");
        assert_eq!(installation["installed"], !expected.is_empty(), "{installation}");
        seen.insert(id);
    }
    let recorded: BTreeSet<String> = recorded.live_tokens.keys().cloned().collect();
    assert_eq!(seen, recorded);
}

/// Everything operators are shown of the apps of these callers.
fn state(serving: &Serving, callers: &[Caller]) -> (Value, Vec<Value>) {
    (serving.ask("GET", "/apps?limit=200", None).expect(200).json(), installations(serving, callers))
}

fn installations(serving: &Serving, callers: &[Caller]) -> Vec<Value> {
    let mut found = Vec::new();
    for client_id in callers.iter().filter_map(Caller::client_id) {
        let path = format!("/installations?app={client_id}&limit=200");
        for listed in serving.ask("GET", &path, None).expect(200).json()["items"].as_array().unwrap() {
            let path = format!("/installations/{}", listed["installation_id"].as_str().unwrap());
            let whole = serving.ask("GET", &path, None).expect(200).json();
            assert_eq!(whole["valid_tokens"], listed["valid_tokens"]);
            found.push(whole);
        }
    }
    found
}

/// A server that is killed while it makes its files leaves nothing that the next one stumbles over.
#[test]
fn the_first_start_may_be_killed_at_any_step() {
    for step in ["ledger.lock", "ledger.db.new", "ledger.db", "ledger.heads", "session.key", "control.json"] {
        let site = Site::new();
        site.killed_when(step);
        let serving = site.serve();
        let app = serving.app();
        serving.token(&app);
        serving.kill();
        assert_eq!(site.events().len(), 3, "killed at {step}");
    }
}
