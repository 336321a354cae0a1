//! A cluster under load while its servers and grantbook's nodes are killed and frozen, as a seed says. Knows: what has to hold
//! during that and at the end of it. Must not know: how any of it is done.
//!
//! `GRANTBOOK_TEST_STORM` says for how many seconds, `GRANTBOOK_TEST_SEED` names another seed, and with
//! `GRANTBOOK_TEST_EVENTSTORE` only grantbook's nodes are killed and frozen.

mod caller;
mod ended;
mod faults;
mod node;

use std::io::Write as _;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::cluster::Cluster;
use crate::ledger::Recorded;
use crate::process::eventually;
use crate::site::Site;
use caller::{Caller, Counts};
use ended::Ended;
use faults::{Faults, NODES};
use node::{Node, OverIfPanicking};

const SECONDS: u64 = 10;
const SEED: u64 = 0x7374_6f72_6d31_3600;
/// As many as two processors can serve.
const CALLERS: u64 = 5;
/// How long after its end a token may pass.
const MAX_STALENESS: Duration = Duration::from_secs(2);

fn number(name: &str) -> Option<u64> {
    #[expect(clippy::disallowed_methods, reason = "how a longer run or another one is asked for")]
    let asked = std::env::var(name).ok();
    asked.map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a whole number")))
}

#[test]
fn what_was_acknowledged_holds_while_nodes_are_killed_and_frozen() {
    let (seed, seconds) =
        (number("GRANTBOOK_TEST_SEED").unwrap_or(SEED), number("GRANTBOOK_TEST_STORM").unwrap_or(SECONDS));
    let is_over = AtomicBool::new(false);
    let faults = Faults {
        seed,
        length: Duration::from_secs(seconds),
        began: Instant::now(),
        is_over: &is_over,
        done: Mutex::default(),
    };
    let story = Story { faults: &faults, logs: Some(tempfile::tempdir().unwrap()) };
    let cluster = Cluster::start(NODES);
    let nodes = nodes(&cluster, story.logs());
    let ended = Ended::new(MAX_STALENESS);
    let caller = |number| Caller::new(number, seed, &nodes, &is_over, &ended);
    let mut callers: Vec<_> = (0..CALLERS).map(caller).collect();
    storm(&cluster, &nodes, &mut callers, &ended, &faults);

    same_digests(&nodes);
    let recorded = Recorded::by(&nodes[0].site.events());
    let counts = compare(&nodes, &callers, &recorded);
    refresh_all(&nodes, &callers);
    for node in &nodes {
        let verified = node.site.run(&["replay", "verify"]);
        assert_eq!(verified.code, Some(0), "{}{}", verified.stdout, verified.stderr);
    }
    report(&faults, counts, ended.refused.into_inner());
}

/// Nodes that let people and codes of each other in.
fn nodes(cluster: &Cluster, logs: &Path) -> Vec<Node> {
    let key = logs.join("session.key");
    let settings = [
        ("STORE_URL", cluster.url()),
        ("STORE_MAX_STALENESS", "2s"),
        ("CODES_LIFETIME", "10m"),
        ("TOKENS_MAX_LIVE_PER_USER", "1000"),
        // A reply that was lost is sent again however long nodes are frozen meanwhile.
        ("TOKENS_REFRESH_GRACE", "5m"),
        ("SESSION_KEY_FILE", key.to_str().unwrap()),
    ];
    let node = |number| Node::start(Site::with(&settings), logs.join(format!("node{number}.log")));
    (0..NODES).map(node).collect()
}

/// Lets the callers loose until the last fault is over.
fn storm(cluster: &Cluster, nodes: &[Node], callers: &mut [Caller<'_>], ended: &Ended, faults: &Faults<'_>) {
    let (is_calm, is_over) = (&AtomicBool::new(false), faults.is_over);
    thread::scope(|scope| {
        for caller in callers {
            scope.spawn(move || {
                let _over = OverIfPanicking(is_over);
                caller.call_until(is_calm);
            });
        }
        for (number, node) in nodes.iter().enumerate() {
            scope.spawn(move || {
                let _over = OverIfPanicking(is_over);
                ended.show(faults.seed, number, node, is_calm, is_over);
            });
        }
        let mut causes = vec![scope.spawn(|| {
            let _over = OverIfPanicking(is_over);
            faults.of_nodes(nodes);
        })];
        if cluster.is_double() {
            causes.push(scope.spawn(|| {
                let _over = OverIfPanicking(is_over);
                faults.of_cluster(cluster);
            }));
        }
        let ended: Vec<_> = causes.into_iter().map(|cause| cause.join()).collect();
        is_calm.store(true, Ordering::SeqCst);
        assert!(ended.iter().all(Result::is_ok), "the faults broke off");
    });
}

/// Says what happened if the test fails.
struct Story<'a> {
    faults: &'a Faults<'a>,
    logs: Option<TempDir>,
}

impl Story<'_> {
    fn logs(&self) -> &Path {
        self.logs.as_ref().map_or(Path::new(""), TempDir::path)
    }
}

impl Drop for Story<'_> {
    #[expect(clippy::print_stdout, reason = "what a test prints is shown if it fails")]
    fn drop(&mut self) {
        if thread::panicking() {
            let kept = self.logs.take().map(TempDir::keep).unwrap_or_default();
            let (seed, story) = (self.faults.seed, self.faults.story());
            let logs = kept.display();
            println!("{story}failed with GRANTBOOK_TEST_SEED={seed}; the logs of the nodes are in {logs}");
        }
    }
}

/// Every projection of every node is what the ledger says, and where the others are.
#[track_caller]
fn same_digests(nodes: &[Node]) {
    let state = |node: &Node| {
        let listed = node.address().ask("GET", "/projections", None);
        let listed = (listed.status == 200).then(|| listed.json())?;
        let of = |item: &Value| (item["name"].clone(), item["position"].clone(), item["digest"].clone());
        Some(listed["items"].as_array().unwrap().iter().map(of).collect::<Vec<_>>())
    };
    let states = eventually("all nodes are at one position", || {
        let states = nodes.iter().map(state).collect::<Option<Vec<_>>>()?;
        let positions =
            |state: &[(Value, Value, Value)]| state.iter().map(|(_, at, _)| at.clone()).collect::<Vec<_>>();
        let first = positions(&states[0]);
        let is_one =
            first.iter().all(|at| *at == first[0]) && states.iter().all(|state| positions(state) == first);
        is_one.then_some(states)
    });
    assert!(
        states
            .iter()
            .all(|state| *state == states[0] && state.iter().all(|(_, _, digest)| digest.is_string())),
        "{states:?}"
    );
}

/// Holds what was acknowledged against the ledger, and against what every node says.
#[track_caller]
fn compare(nodes: &[Node], callers: &[Caller<'_>], recorded: &Recorded) -> Counts {
    let mut counts = Counts::default();
    for caller in callers {
        for token in &caller.tokens {
            let asked =
                nodes[0].address().ask("POST", "/audit/token", Some(&json!({ "token": token.token })));
            let id = &asked.expect(200).text("token_id");
            assert!(recorded.access_tokens.contains(id), "{id} of request {} is not there", token.request);
            assert_eq!(recorded.is_live(id), token.ended.is_none(), "{id} of request {}", token.request);
            for (number, node) in nodes.iter().enumerate() {
                let is_active = node.address().is_active(&token.token);
                assert_eq!(
                    is_active,
                    token.ended.is_none(),
                    "{id} of request {} at node {number}",
                    token.request
                );
            }
        }
        let (granted, exchanged) = recorded.of_app(&caller.app.client_id);
        let Counts { approvals, exchanges, .. } = caller.counts;
        assert_eq!(granted, approvals, "each form that was approved is one grant");
        assert!(exchanged >= exchanges + caller.refused, "{exchanged} {exchanges} {}", caller.refused);
        counts += caller.counts;
    }
    counts
}

/// A grant that nothing has ended can be refreshed at any node, and no other can at any.
#[track_caller]
fn refresh_all(nodes: &[Node], callers: &[Caller<'_>]) {
    for caller in callers {
        for (number, renewal) in caller.renewals.iter().enumerate() {
            let node = nodes[number % nodes.len()].address();
            let reply = node.try_refresh(&caller.app, renewal.tokens.last().unwrap()).unwrap();
            match renewal.is_ended {
                true => assert_eq!(reply.error(), (400, "invalid_grant".to_owned()), "{reply:?}"),
                false => drop(reply.expect(200)),
            }
        }
    }
}

/// Says what there was. Too little of it means nothing.
fn report(faults: &Faults<'_>, counts: Counts, refused: usize) {
    let (seconds, number) = (faults.length.as_secs(), faults.count());
    let said = writeln!(
        std::io::stderr(),
        "storm: seed {}, {seconds} s: {number} faults, {} approvals, {} exchanges, {} refreshes, {} replays, \
         {} revocations, {} uninstalls, {} tokens that passed as they had to, {} that were refused as they had to",
        faults.seed,
        counts.approvals,
        counts.exchanges,
        counts.refreshes,
        counts.replays,
        counts.revocations,
        counts.uninstalls,
        counts.introspections,
        refused,
    );
    said.unwrap();
    // One of each in so many seconds.
    let least = [
        ("faults", number, 4),
        ("exchanges", counts.exchanges, 1),
        ("refreshes", counts.refreshes, 2),
        ("replays", counts.replays, 15),
        ("revocations", counts.revocations, 4),
        ("tokens that passed", counts.introspections, 1),
        ("tokens that were refused", refused, 1),
    ];
    for (what, number, each) in least {
        assert!(number as u64 >= seconds / each, "only {number} {what} in {seconds} s: that proves nothing");
    }
}
