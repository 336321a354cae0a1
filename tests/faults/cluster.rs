//! Three nodes on one ledger in a cluster: nobody is told two things, whichever node is asked, however far behind it
//! is. With `GRANTBOOK_TEST_EVENTSTORE=esdb://…` on that cluster, as far as a test need not hold it back.

use std::collections::BTreeMap;
use std::process::{Command, Output};
use std::sync::Barrier;
use std::thread;

use grantbook_eventstore_double::{Double, Gate, Options};
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::client::{Pairs, Reply};
use crate::process::{Serving, eventually};
use crate::site::Site;
use crate::wanted::App;

/// Names a real cluster to run on.
const REAL: &str = "GRANTBOOK_TEST_EVENTSTORE";
/// How old an answer may be that lets something pass, in seconds.
const MAX_STALENESS: f64 = 2.0;

/// A cluster: a double of the server in this process, or a real one.
pub struct Cluster {
    url: String,
    double: Option<Double>,
    runtime: Runtime,
}

impl Cluster {
    /// A cluster of some nodes, or the real one.
    pub fn start(nodes: usize) -> Self {
        #[expect(clippy::disallowed_methods, reason = "a test is told by its environment where a cluster is")]
        match std::env::var(REAL).ok() {
            Some(url) => Self { url, double: None, runtime: Runtime::new().unwrap() },
            None => Self::double(nodes),
        }
    }

    /// A cluster that can be held back.
    pub fn double(nodes: usize) -> Self {
        let runtime = Runtime::new().unwrap();
        let double = runtime.block_on(Double::start(Options { nodes, ..Options::default() })).unwrap();
        Self { url: format!("{}&discoveryInterval=20", double.url()), double: Some(double), runtime }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// Whether its nodes can be stopped and held back.
    pub const fn is_double(&self) -> bool {
        self.double.is_some()
    }

    pub fn held(&self) -> &Double {
        self.double.as_ref().unwrap()
    }

    /// Puts it back to an older state: what follows a position is gone.
    pub fn put_back(&self, position: u64) {
        self.runtime.block_on(self.held().cut_after(position)).unwrap();
    }

    pub fn stop_node(&self, node: usize) {
        self.runtime.block_on(self.held().stop_node(node));
    }

    pub fn start_node(&self, node: usize) {
        self.runtime.block_on(self.held().start_node(node)).unwrap();
    }
}

/// Grantbook's nodes, each with a data directory of its own.
pub struct Nodes {
    pub sites: Vec<Site>,
    pub serving: Vec<Serving>,
}

impl Nodes {
    /// Three nodes that are told of the cluster as one.
    pub fn on(cluster: &Cluster) -> Self {
        Self::at(&[cluster.url(); 3], &[])
    }

    pub fn at(urls: &[&str], settings: Pairs<'_>) -> Self {
        let sites: Vec<Site> = urls
            .iter()
            .map(|url| {
                let own = [("STORE_URL", *url), ("STORE_MAX_STALENESS", "2s"), ("CODES_LIFETIME", "10m")];
                Site::with(&[&own, settings].concat())
            })
            .collect();
        let serving = sites.iter().map(Site::serve).collect();
        Self { sites, serving }
    }

    /// Kills a node and starts it again.
    fn kill(&mut self, node: usize) {
        self.serving.remove(node).kill();
        self.serving.insert(node, self.sites[node].serve());
    }
}

impl Serving {
    /// What a resource server hears of a token.
    #[track_caller]
    pub fn introspect(&self, token: &str) -> Reply {
        self.try_introspect(token).unwrap()
    }

    /// Whether a token passes here. One that does passes by what is no older than it may be.
    #[track_caller]
    pub fn lets_pass(&self, token: &str) -> bool {
        let reply = self.introspect(token).expect(200);
        reply.json()["active"] == true
    }

    pub fn metric(&self, name: &str) -> f64 {
        let text = self.http.get("/metrics").expect(200).body;
        let line = text.lines().find(|line| line.split(' ').next() == Some(name));
        line.unwrap_or_else(|| panic!("{name} is not in {text}")).rsplit(' ').next().unwrap().parse().unwrap()
    }

    fn uninstall(&self, app: &App, account: &str) {
        self.try_uninstall(app, account).unwrap().expect(200);
    }
}

#[test]
fn of_64_callers_at_three_nodes_one_gets_the_token() {
    const CALLERS: usize = 64;
    let cluster = Cluster::start(3);
    let nodes = Nodes::on(&cluster);
    for _ in 0..3 {
        let app = nodes.serving[0].app();
        let code = nodes.serving[0].code(&app);
        let start = Barrier::new(CALLERS);
        let mut answers: BTreeMap<String, usize> = BTreeMap::new();
        thread::scope(|scope| {
            let callers: Vec<_> = (0..CALLERS)
                .map(|caller| {
                    let (node, app, code, start) = (&nodes.serving[caller % 3], &app, &code, &start);
                    scope.spawn(move || {
                        start.wait();
                        node.exchange(app, code)
                    })
                })
                .collect();
            for caller in callers {
                let reply = caller.join().unwrap();
                let answer = match reply.status {
                    200 => "token".to_owned(),
                    status => format!("{status} {}", reply.text("error")),
                };
                *answers.entry(answer).or_default() += 1;
            }
        });
        let expected = [("400 invalid_grant".to_owned(), CALLERS - 1), ("token".to_owned(), 1)];
        assert_eq!(answers, BTreeMap::from(expected));
    }
}

#[test]
fn an_uninstall_on_one_node_ends_what_others_issue_meanwhile() {
    let cluster = Cluster::start(3);
    let nodes = Nodes::on(&cluster);
    let app = nodes.serving[0].app();
    for _ in 0..3 {
        // Nine approvals a round are fewer than one person may make in a minute.
        let codes: Vec<String> = (0..8).map(|_| nodes.serving[0].code(&app)).collect();
        // Somebody has to have installed it.
        let mut tokens = vec![nodes.serving[0].token(&app)];
        thread::scope(|scope| {
            let exchanges: Vec<_> = codes
                .iter()
                .zip([1, 2].into_iter().cycle())
                .map(|(code, node)| {
                    let (node, app) = (&nodes.serving[node], &app);
                    scope.spawn(move || node.exchange(app, code))
                })
                .collect();
            nodes.serving[0].uninstall(&app, "acme");
            for exchange in exchanges {
                let reply = exchange.join().unwrap();
                match reply.status {
                    200 => tokens.push(reply.text("access_token")),
                    _ => assert_eq!(reply.error(), (400, "invalid_grant".to_owned())),
                }
            }
        });
        // Codes are good once, and none of them is any more.
        for code in &codes {
            assert_eq!(nodes.serving[1].exchange(&app, code).error(), (400, "invalid_grant".to_owned()));
        }
        for node in &nodes.serving {
            eventually("no token of the installation passes", || {
                let passes = tokens.iter().any(|token| {
                    let reply = node.introspect(token).expect(200);
                    let staleness: f64 = reply.header("grantbook-staleness").parse().unwrap();
                    let is_active = reply.json()["active"] == true;
                    assert!(!is_active || staleness <= MAX_STALENESS, "{reply:?}");
                    is_active
                });
                (!passes).then_some(())
            });
        }
    }
}

/// A node of a cluster's node that pushes nothing.
fn lagging(cluster: &Cluster, settings: Pairs<'_>) -> (Nodes, Gate) {
    let url = |node| cluster.held().node_url(node);
    let nodes = Nodes::at(&[&url(0), &url(1)], settings);
    let gate = cluster.held().hold_subscriptions(1);
    (nodes, gate)
}

#[test]
fn a_node_that_lags_answers_right() {
    let cluster = Cluster::double(2);
    let (nodes, gate) = lagging(&cluster, &[]);
    let (ahead, behind) = (&nodes.serving[0], &nodes.serving[1]);
    // An app, a code and a token that it has not heard of.
    let app = ahead.app();
    let token = ahead.token(&app);
    assert_eq!(behind.userinfo(&token).expect(200).text("sub"), "ana");
    assert!(behind.lets_pass(&token));
    let reads = behind.metric("grantbook_strong_reads_total");
    assert!(reads >= 2.0, "{reads}");
    let mut garbage = token;
    let last = if garbage.ends_with('0') { '1' } else { '0' };
    garbage.replace_range(garbage.len() - 1.., &last.to_string());
    for _ in 0..3 {
        assert!(!behind.lets_pass(&garbage));
        behind.userinfo(&garbage).expect(401);
    }
    assert_eq!(behind.metric("grantbook_strong_reads_total"), reads, "garbage is not looked up");
    // Exchanged there: it is durable, so it is handed over, although it cannot be seen there.
    let token = behind.exchange(&app, &ahead.code(&app)).expect(200).text("access_token");
    assert!(ahead.lets_pass(&token) && behind.lets_pass(&token));
    // What is ended elsewhere does not pass for longer than it may.
    ahead.uninstall(&app, "acme");
    eventually("the token does not pass where the uninstall is not known", || {
        let reply = behind.introspect(&token).expect(200);
        let staleness: f64 = reply.header("grantbook-staleness").parse().unwrap();
        assert!(reply.json()["active"] == false || staleness <= MAX_STALENESS, "{reply:?}");
        (reply.json()["active"] == false).then_some(())
    });
    behind.userinfo(&token).expect(401);
    let ready = behind.http.get("/readyz").expect(503).json();
    assert!(ready["staleness"].as_f64().unwrap() > 0.0 && ready["reason"].is_string(), "{ready}");
    drop(gate);
    eventually("it has caught up", || (behind.http.get("/readyz").status == 200).then_some(()));
    assert!(behind.metric("grantbook_staleness_seconds") <= MAX_STALENESS);
}

#[test]
fn a_node_that_lags_may_refuse_instead() {
    let cluster = Cluster::double(2);
    let (nodes, gate) = lagging(&cluster, &[("STORE_BEYOND_STALENESS", "refuse")]);
    let (ahead, behind) = (&nodes.serving[0], &nodes.serving[1]);
    drop(gate);
    let app = ahead.app();
    let token = ahead.token(&app);
    eventually("the token is known there", || (behind.metric("grantbook_live_tokens") == 1.0).then_some(()));
    let gate = cluster.held().hold_subscriptions(1);
    let refused = eventually("the node is too far behind", || {
        let reply = behind.introspect(&token);
        (reply.status == 503).then_some(reply)
    });
    assert_eq!(refused.json()["error"], "temporarily_unavailable");
    assert_eq!(behind.userinfo(&token).error(), (503, "temporarily_unavailable".to_owned()));
    assert_eq!(behind.ask("GET", "/apps", None).status, 503);
    assert_eq!(behind.introspect("gbt_garbage").expect(200).json()["active"], Value::Bool(false));
    behind.userinfo("gbt_garbage").expect(401);
    drop(gate);
    eventually("it answers again", || (behind.introspect(&token).status == 200).then_some(()));
    assert!(behind.lets_pass(&token));
}

#[test]
fn nodes_and_store_come_and_go() {
    let cluster = Cluster::double(3);
    let mut nodes = Nodes::on(&cluster);
    let app = nodes.serving[0].app();
    let mut live = Vec::new();
    for round in 0..4 {
        let (here, there) = (round % 3, (round + 1) % 3);
        let code = nodes.serving[here].code(&app);
        nodes.kill(here);
        let leader = cluster.held().leader();
        cluster.stop_node(leader);
        cluster.held().elect((leader + 1) % 3);
        // Until it is known, it is not answered; then it is a token, or the code is spent.
        let reply = eventually("the exchange is answered", || {
            let reply = nodes.serving[there].exchange(&app, &code);
            (reply.status != 503).then_some(reply)
        });
        match reply.status {
            200 => live.push(reply.text("access_token")),
            _ => assert_eq!(reply.error(), (400, "invalid_grant".to_owned())),
        }
        cluster.start_node(leader);
    }
    assert!(!live.is_empty(), "nothing was issued");
    nodes.kill(2);
    for (number, node) in nodes.serving.iter().enumerate() {
        for token in &live {
            assert!(node.lets_pass(token), "at node {number}");
        }
    }
    let verified = nodes.sites[0].run(&["replay", "verify"]);
    assert_eq!(verified.code, Some(0), "{}{}", verified.stdout, verified.stderr);
    // With the whole store gone, nothing passes by what is too old.
    for node in 0..3 {
        cluster.stop_node(node);
    }
    eventually("nothing passes any more", || {
        let reply = nodes.serving[0].introspect(&live[0]);
        let staleness = reply.status == 503;
        assert!(staleness || reply.json()["active"] == true, "{reply:?}");
        staleness.then_some(())
    });
    for node in 0..3 {
        cluster.start_node(node);
    }
    eventually("it passes again", || {
        let reply = nodes.serving[0].introspect(&live[0]);
        (reply.status == 200).then(|| assert!(reply.json()["active"] == true, "{reply:?}"))
    });
}

#[test]
fn two_processes_do_not_keep_one_nodes_files() {
    let cluster = Cluster::double(1);
    let site = Site::with(&[("STORE_URL", cluster.url())]);
    let first = site.serve();
    site.refused().assert_says(&["is in use by", site.data().to_str().unwrap()]);
    let ended = site.run(&["backup", "there.db"]);
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    assert!(ended.stderr.contains("in a cluster"), "{}", ended.stderr);
    first.stop();
    site.serve().stop();
}

/// `grantbook ledger copy`, which is told where by its own arguments.
fn copy(from: &str, to: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_grantbook"));
    command.env_clear().args(["ledger", "copy", "--from", from, "--to", to]);
    command.output().unwrap()
}

#[test]
fn a_ledger_moves_into_a_cluster_and_back() {
    let cluster = Cluster::double(3);
    let (here, back) = (Site::new(), Site::new());
    let dir = |site: &Site| site.data().to_str().unwrap().to_owned();
    let serving = here.serve();
    let app = serving.app();
    let tokens = [serving.token(&app), serving.token(&app)];
    serving.stop();
    let moved = copy(&dir(&here), cluster.url());
    let said = String::from_utf8_lossy(&moved.stdout).into_owned();
    assert!(moved.status.success() && said.contains(": 5 events copied, 0 were there already"), "{moved:?}");

    let node = Site::with(&[("STORE_URL", cluster.url())]);
    let serving = node.serve();
    assert!(tokens.iter().all(|token| serving.lets_pass(token)));
    let third = serving.token(&app);
    // What auditors ask is answered there, too.
    let asked = |path: &str| serving.ask("GET", path, None).expect(200).json()["items"].clone();
    assert_eq!(asked("/audit/events?account=acme").as_array().unwrap().len(), 6);
    assert_eq!(asked("/audit/installations?account=acme")[0]["tokens"].as_array().unwrap().len(), 3);
    serving.stop();
    // What went on there is not the source's any more.
    let refused = copy(&dir(&here), cluster.url());
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(why.contains("the source has nothing more"), "{why}");

    let moved = copy(cluster.url(), &dir(&back));
    assert!(moved.status.success(), "{moved:?}");
    let again = copy(cluster.url(), &dir(&back));
    let said = String::from_utf8_lossy(&again.stdout).into_owned();
    assert!(said.contains(": 0 events copied, 7 were there already"), "{again:?}");
    let serving = back.serve();
    assert!(tokens.iter().chain([&third]).all(|token| serving.lets_pass(token)));
    serving.stop();
    let other = Site::new();
    other.serve().stop();
    let refused = copy(cluster.url(), &dir(&other));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("another ledger"), "{refused:?}");
    let mistaken = copy("esdb://u:hunter2@host:x", &dir(&other));
    assert_eq!(mistaken.status.code(), Some(2));
    assert!(!String::from_utf8_lossy(&mistaken.stderr).contains("hunter2"), "{mistaken:?}");
}
