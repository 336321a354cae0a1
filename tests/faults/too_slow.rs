//! A cluster that is too slow: nobody waits longer for an answer than `store.answer_within`, everybody hears what is known
//! of it in their own form, and what may have happened is found out afterwards.

use std::thread;
use std::time::{Duration, Instant};

use grantbook_events::InstallationId;
use grantbook_eventstore_double::ReadKind;

use crate::client::Reply;
use crate::cluster::Cluster;
use crate::process::{Serving, eventually};
use crate::site::Site;

/// A second is the setting. The cluster itself is waited for five seconds and more.
const BOUND: Duration = Duration::from_secs(4);

/// A node of grantbook at one node of a cluster.
fn given(cluster: &Cluster, node: usize) -> (Site, Serving) {
    let url = cluster.held().node_url(node);
    let site =
        Site::with(&[("STORE_URL", &url), ("STORE_ANSWER_WITHIN", "1s"), ("STORE_MAX_STALENESS", "1m")]);
    let serving = site.serve();
    (site, serving)
}

/// The refusal of a caller whose answer takes too long.
#[track_caller]
fn refused(ask: impl FnOnce() -> Reply) -> Reply {
    let began = Instant::now();
    let reply = ask().expect(503);
    assert!(began.elapsed() < BOUND, "after {:?}: {reply:?}", began.elapsed());
    assert_eq!(reply.header("retry-after"), "1", "{reply:?}");
    reply
}

#[test]
fn an_app_hears_that_an_exchange_is_open_and_the_truth_once_it_asks_again() {
    let cluster = Cluster::double(1);
    let (_site, serving) = given(&cluster, 0);
    let app = serving.app();
    let (written, waiting) = (serving.code(&app), serving.code(&app));
    let client = app.client_id.parse().unwrap();
    let stream = format!("installation-{}", InstallationId::of(&client, &"acme".parse().unwrap()));
    let recorded = || cluster.held().events_of(&stream).len();
    let before = recorded();
    let gate = cluster.held().hold_replies();
    thread::scope(|scope| {
        let first = scope.spawn(|| refused(|| serving.exchange(&app, &written)));
        eventually("the first exchange is written", || (recorded() > before).then_some(()));
        // It waits for the other one, and its caller has gone before it is decided.
        let second = refused(|| serving.exchange(&app, &waiting));
        for unknown in [first.join().unwrap(), second] {
            assert_eq!(unknown.header("content-type"), "application/json");
            assert_eq!(unknown.text("error"), "outcome_unknown");
        }
    });
    drop(gate);
    // The first was written, so its code is spent, and the token that nobody got ends with the second try.
    eventually("the first exchange is known here", || {
        (serving.metric("grantbook_live_tokens") == 1.0).then_some(())
    });
    assert_eq!(serving.exchange(&app, &written).error(), (400, "invalid_grant".to_owned()));
    let token = serving.exchange(&app, &waiting).expect(200).text("access_token");
    assert!(serving.lets_pass(&token));
    assert_eq!(serving.metric("grantbook_live_tokens"), 1.0);
    let log = serving.http.get("/metrics").expect(200).body;
    for (outcome, count) in [("granted", 1), ("failed", 2), ("refused", 1)] {
        let line =
            format!("grantbook_decisions_total{{command=\"exchange_code\",outcome=\"{outcome}\"}} {count}");
        assert!(log.lines().any(|known| known == line), "{line} is not in {log}");
    }
    let line = "grantbook_http_requests_total{route=\"/oauth/token\",status=\"5xx\"} 2";
    assert!(log.lines().any(|known| known == line), "{line} is not in {log}");
}

#[test]
fn a_person_gets_a_page_and_the_same_form_leads_on_later() {
    let cluster = Cluster::double(1);
    let (_site, serving) = given(&cluster, 0);
    let app = serving.app();
    let person = serving.person("ana", "acme");
    let form = person.consent(&app.query());
    let approve = || person.submit(&form, &[("decision", "approve")]);
    let gate = cluster.held().hold_appends();
    let page = refused(approve);
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    assert!(page.body.contains("It is not known whether this happened."), "{page:?}");
    drop(gate);
    let code = eventually("the form leads on", || approve().param("code"));
    serving.exchange(&app, &code).expect(200);
}

#[test]
fn an_operator_hears_that_a_change_is_open_and_sees_it_later() {
    let cluster = Cluster::double(1);
    let (_site, serving) = given(&cluster, 0);
    let app = serving.app();
    let path = format!("/apps/{}", app.client_id);
    let gate = cluster.held().hold_appends();
    let reason = serde_json::json!({ "reason": "it misbehaves" });
    let unknown = refused(|| serving.ask("POST", &format!("{path}/suspend"), Some(&reason)));
    assert_eq!(unknown.text("code"), "outcome_unknown");
    drop(gate);
    eventually("the app is suspended", || {
        (serving.ask("GET", &path, None).expect(200).json()["status"]["state"] == "suspended").then_some(())
    });
}

/// A node that has heard of nothing has to look everything up.
#[test]
fn what_only_reads_changes_nothing_and_says_so() {
    let cluster = Cluster::double(2);
    let ((_site, ahead), (_other, behind)) = (given(&cluster, 0), given(&cluster, 1));
    let late = cluster.held().hold_subscriptions(1);
    let app = ahead.app();
    let (token, code) = (ahead.token(&app), ahead.code(&app));
    let streams = cluster.held().hold_reads(ReadKind::Stream);
    for reply in [refused(|| behind.introspect(&token)), refused(|| behind.exchange(&app, &code))] {
        assert_eq!(reply.text("error"), "temporarily_unavailable", "{reply:?}");
    }
    let page = refused(|| behind.person("ana", "acme").get(&format!("/oauth/authorize?{}", app.query())));
    assert!(page.body.contains("Nothing was changed."), "{page:?}");
    drop(streams);
    let all = cluster.held().hold_reads(ReadKind::All);
    assert_eq!(refused(|| behind.ask("GET", "/apps", None)).text("code"), "temporarily_unavailable");
    drop(all);
    assert!(behind.lets_pass(&token));
    drop(late);
    behind.exchange(&app, &code).expect(200);
    behind.ask("GET", "/apps", None).expect(200);
}

/// What the log says is in words of our own, and once: the client crate's are not shown unless they are asked for.
#[test]
fn a_cluster_that_cannot_be_reached_is_said_once_and_in_plain_words() {
    let cluster = Cluster::double(1);
    let url = cluster.held().node_url(0);
    let plain = Site::with(&[("STORE_URL", &url)]);
    let all = Site::with(&[("STORE_URL", &url), ("LOG_FILTER", "info,eventstore=trace")]);
    cluster.stop_node(0);
    let [plain, all] = [&plain, &all].map(|site| Serving::spawn(site.command(&["serve"])));
    eventually("the crate has said something", || all.log().contains(" eventstore::").then_some(()));
    let said = "nothing listens there: check host and port in store.url";
    eventually("it says why", || plain.log().contains(said).then_some(()));
    cluster.start_node(0);
    eventually("both serve", || {
        [&plain, &all].iter().all(|it| it.log().contains("serving url=")).then_some(())
    });
    let log = plain.log();
    assert!(!log.contains(" eventstore::") && !log.contains("MetadataMap"), "{log}");
    for subscriber in ["live", "history"] {
        let said = format!("subscriber=\"{subscriber}\" reason=\"the ledger cannot be reached: localhost:");
        let said = log.lines().filter(|line| line.contains("cannot be followed now") && line.contains(&said));
        assert!(said.count() <= 3, "{log}");
    }
}
