//! A cluster that was put back to an older state. What a node has seen says so, and nothing is served until an operator
//! says so.

use crate::cluster::{Cluster, Nodes};
use crate::lost_tail::{accepted, assert_refused, loss_accepted};
use crate::process::{Serving, eventually};
use crate::read_only::read_only;
use crate::site::Site;
use crate::wanted::App;

/// A node that is stopped, and a token that was revoked through it.
struct Stopped {
    cluster: Cluster,
    site: Site,
    app: App,
    token: String,
    /// The position before the revocation, and that of the revocation.
    before: u64,
    end: u64,
}

impl Stopped {
    fn new() -> Self {
        let cluster = Cluster::double(1);
        let site = Site::with(&[("STORE_URL", cluster.url())]);
        let serving = site.serve();
        let app = serving.app();
        let token = serving.token(&app);
        let before = head(&site);
        revoke(&serving, &app, &token);
        serving.ask("POST", "/projections/live/snapshots", Some(&serde_json::json!({}))).expect(201);
        serving.ask("GET", "/audit/events?limit=1", None).expect(200);
        serving.stop();
        let end = head(&site);
        Self { cluster, site, app, token, before, end }
    }

    fn snapshot(&self) -> String {
        format!("snapshots/live-{:020}.snapshot", self.end)
    }
}

fn head(site: &Site) -> u64 {
    site.events().last().unwrap()["position"].as_u64().unwrap()
}

fn revoke(serving: &Serving, app: &App, token: &str) {
    serving.http.post_raw("/oauth/revoke", &[], &app.form(&[("token", token)])).expect(200);
    assert!(!serving.lets_pass(token));
}

#[test]
fn is_refused_until_an_operator_accepts_the_loss() {
    let stopped = Stopped::new();
    let (site, before) = (&stopped.site, stopped.before);
    stopped.cluster.put_back(before);
    let (ends, seen) = (format!("ends at position {before}"), format!("has seen position {}", stopped.end));
    for _ in 0..2 {
        assert_refused(site, &["the ledger in the cluster", &ends, &seen]);
    }
    // Commands that would serve it are refused as well, also where nothing can be written.
    let asked = site.run(&["app", "list"]);
    for asked in [Some(asked), read_only(site, &["app", "list"])].into_iter().flatten() {
        assert_eq!(asked.code, Some(1), "{}", asked.stderr);
        assert!(asked.stderr.contains(&ends), "{}", asked.stderr);
    }

    let serving = accepted(site);
    assert!(serving.lets_pass(&stopped.token), "what is missing is missing");
    let event = loss_accepted(site);
    assert_eq!(event["data"]["last_position"], before);
    assert_eq!(event["data"]["seen_position"], stopped.end);
    assert_eq!(event["actor"]["kind"], "operator");
    revoke(&serving, &stopped.app, &stopped.token);
    serving.stop();
    for name in ["history-1.db", &stopped.snapshot()] {
        let kept = format!("{name}.lost-after-{before}.1");
        assert!(site.file(&kept).exists(), "{kept}");
    }
    // From then on it is a ledger like any other.
    let serving = site.serve();
    assert!(!serving.lets_pass(&stopped.token));
    serving.stop();
    let verified = site.run(&["replay", "verify"]);
    assert_eq!(verified.code, Some(0), "{} {}", verified.stdout, verified.stderr);
}

/// A node that has seen nothing more has served it meanwhile, and the cluster is longer than it was.
#[test]
fn and_has_grown_again_is_refused() {
    let stopped = Stopped::new();
    stopped.cluster.put_back(stopped.before);
    let other = Site::with(&[("STORE_URL", stopped.cluster.url())]);
    let serving = other.serve();
    while head(&other) <= stopped.end {
        serving.app();
    }
    serving.stop();
    let words = format!("another event at position {}", stopped.end);
    assert_refused(&stopped.site, &["the ledger in the cluster", &words]);
    accepted(&stopped.site).stop();
    assert!(loss_accepted(&other)["data"]["last_position"].as_u64().unwrap() > stopped.end);
    stopped.site.serve().stop();
}

/// It does not become another ledger.
#[test]
fn to_nothing_is_refused() {
    let stopped = Stopped::new();
    stopped.cluster.put_back(0);
    assert_refused(&stopped.site, &["there is no ledger in the cluster", "has seen position"]);
    accepted(&stopped.site).stop();
    assert_eq!(loss_accepted(&stopped.site)["data"]["last_position"], 0);
}

#[test]
fn under_a_running_node_is_not_answered_from() {
    let cluster = Cluster::double(3);
    let nodes = Nodes::on(&cluster);
    let node = &nodes.serving[0];
    let app = node.app();
    let token = node.token(&app);
    let all = cluster.held().all();
    let issued = all.iter().rfind(|event| event.event_type == "code-exchanged").unwrap().position;
    node.http.post_raw("/oauth/revoke", &[], &app.form(&[("token", &token)])).expect(200);
    for node in &nodes.serving {
        eventually("the revocation is known", || (!node.lets_pass(&token)).then_some(()));
    }
    cluster.put_back(issued);
    for node in &nodes.serving {
        eventually("the node says that the ledger ends early", || {
            let reply = node.http.get("/readyz");
            (reply.status == 503 && reply.text("reason").contains("ends before what this node has seen"))
                .then_some(())
        });
        node.until_it_says("put back to an older state");
        assert_eq!(node.introspect(&token).status, 503);
        assert_eq!(node.ask("GET", "/apps", None).status, 503);
        assert_eq!(node.http.get("/account/apps").status, 503);
        assert_eq!(node.http.get("/healthz").status, 200);
    }
}
