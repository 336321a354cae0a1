//! One consent form sent more than once: a double click, a second tab, the way back in the browser's history.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use async_trait::async_trait;
use grantbook::http::oauth::rate_limits::APPROVALS_PER_MINUTE;
use grantbook::secrets;
use grantbook::store::{
    Append, Expected, Head, MemoryStore, NewRecord, Record, Store, StoreError, Subscription,
};
use grantbook_events::{Event, InstallationEvent, Position, Revision, StreamName};
use serde_json::json;
use tokio::sync::watch;

use crate::client::{Browser, Reply};
use crate::harness::{App, CALLBACK, Given, Grantbook};
use crate::html::{self, HtmlForm};

const APPROVE: &[(&str, &str)] = &[("decision", "approve")];

fn grants(grantbook: &Grantbook) -> usize {
    let is_grant = |event: &Event| matches!(event, Event::Installation(InstallationEvent::AccessGranted(_)));
    grantbook.events().iter().filter(|recorded| is_grant(&recorded.event)).count()
}

/// All lead to the same place with the same code: that code.
#[track_caller]
fn assert_the_same(replies: &[Reply]) -> String {
    for reply in replies {
        assert_eq!((reply.status, reply.location()), (303, replies[0].location()), "{replies:?}");
    }
    assert!(replies[0].location().starts_with(CALLBACK), "{replies:?}");
    replies[0].param("code").unwrap()
}

/// Nothing is granted, and the page leads on: to a new form for the same request, among others.
#[track_caller]
fn assert_leads_on(browser: &Browser, reply: &Reply, query: &str) {
    assert_eq!((reply.status, reply.location()), (400, ""), "{reply:?}");
    let links = html::links(&reply.body);
    let link = |text: &str| links.iter().find(|(_, said)| said == text).map(|(href, _)| href.as_str());
    assert_eq!(link("Go to Sample App"), Some("https://app.example/"), "{links:?}");
    assert_eq!(link("See the apps on your account"), Some("/account/apps"), "{links:?}");
    let again = link("Start again").unwrap();
    assert_eq!(again, format!("/oauth/authorize?{query}"));
    browser.get(again).expect(200).form("/oauth/authorize");
}

fn with_homepage(grantbook: &Grantbook) -> App {
    grantbook.app_with(|app| app.homepage = Some("https://app.example/".to_owned()))
}

fn sent_at_once(browser: &Browser, form: &HtmlForm, times: usize) -> Vec<Reply> {
    thread::scope(|scope| {
        let send = |browser: Browser| scope.spawn(move || browser.submit(form, APPROVE));
        let threads: Vec<_> = (0..times).map(|_| send(browser.copy())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn a11_a_form_posted_many_times_at_once_leads_to_one_code() {
    let grantbook = Grantbook::start();
    let app = with_homepage(&grantbook);
    let browser = grantbook.person("ana", "acme");
    let query = app.query(&[("state", "s 1")]);
    let form = browser.consent(&query);
    let code = assert_the_same(&sent_at_once(&browser, &form, 8));
    assert_eq!(grants(&grantbook), 1);
    // Until the code is exchanged, and not later: a spent code would end the token that it became.
    assert_eq!(assert_the_same(&[browser.submit(&form, APPROVE)]), code);
    let token = grantbook.exchange(&app, &code).expect(200).text("access_token");
    assert_leads_on(&browser, &browser.submit(&form, APPROVE), &query);
    assert_eq!((grants(&grantbook), grantbook.is_active(&token)), (1, true));
    // Another form for the same request is another approval.
    let another = browser.approve(&query).expect(303);
    assert_ne!(another.param("code"), Some(code));
}

#[test]
fn a11_a_code_that_was_not_exchanged_in_time_is_not_sent_again() {
    let grantbook = Grantbook::start();
    let app = with_homepage(&grantbook);
    let browser = grantbook.person("ana", "acme");
    let query = app.query(&[]);
    let form = browser.consent(&query);
    let code = assert_the_same(&[browser.submit(&form, APPROVE)]);
    grantbook.clock.advance(Duration::from_secs(59));
    assert_eq!(assert_the_same(&[browser.submit(&form, APPROVE)]), code);
    grantbook.clock.advance(Duration::from_secs(1));
    assert_leads_on(&browser, &browser.submit(&form, APPROVE), &query);
    assert_eq!(grants(&grantbook), 1);
}

#[test]
fn a11_a_code_that_died_with_a_suspension_is_not_sent_again() {
    let grantbook = Grantbook::start();
    let app = with_homepage(&grantbook);
    let browser = grantbook.person("ana", "acme");
    let query = app.query(&[]);
    let form = browser.consent(&query);
    browser.submit(&form, APPROVE).expect(303);
    for what in ["suspend", "resume"] {
        grantbook.clock.advance(Duration::from_secs(1));
        let path = format!("/apps/{}/{what}", app.client_id);
        grantbook.admin().post(&path, &json!({ "reason": "looked into" })).expect(200);
    }
    assert_leads_on(&browser, &browser.submit(&form, APPROVE), &query);
    assert_eq!(grants(&grantbook), 1);
}

/// Two nodes share a ledger and the session key: whichever a form is sent to, it is one code.
#[test]
fn a11_a_form_posted_to_two_nodes_leads_to_one_code() {
    let files = tempfile::tempdir().unwrap();
    let key = files.path().join("session.key");
    let store = MemoryStore::new(secrets::new_ledger_identity());
    let node = || {
        let settings = [("SESSION_KEY_FILE", key.to_str().unwrap()), ("ISSUER", "http://127.0.0.1:1")];
        Grantbook::given(Given {
            settings: &settings,
            store: Some(Arc::clone(&store) as _),
            ..Given::default()
        })
    };
    let nodes = [node(), node()];
    let app = nodes[0].app();
    nodes[1].block_on(nodes[1].ledger().reached(Position::new(1)));
    let browser = nodes[0].person("ana", "acme");
    let form = browser.consent(&app.query(&[]));
    let browsers = [browser.copy(), browser.copy_at(&nodes[1].http)];
    let replies = thread::scope(|scope| {
        let threads: [_; 2] = browsers.map(|browser| {
            let form = &form;
            scope.spawn(move || (0..4).map(|_| browser.submit(form, APPROVE)).collect::<Vec<_>>())
        });
        threads.map(|thread| thread.join().unwrap()).concat()
    });
    let code = assert_the_same(&replies);
    assert_eq!(grants(&nodes[0]), 1);
    nodes[1].exchange(&app, &code).expect(200);
}

/// A store whose appends take as long as a test wants.
#[derive(Debug)]
struct SlowStore {
    inner: Arc<MemoryStore>,
    is_open: watch::Sender<bool>,
    waiting: watch::Sender<u64>,
}

#[async_trait]
impl Store for SlowStore {
    async fn append(
        &self,
        stream: &StreamName,
        expected: Expected,
        records: Vec<NewRecord>,
    ) -> Result<Append, StoreError> {
        self.waiting.send_modify(|waiting| *waiting += 1);
        let _ = self.is_open.subscribe().wait_for(|is_open| *is_open).await;
        self.inner.append(stream, expected, records).await
    }

    async fn read_stream(&self, stream: &StreamName, from: Revision) -> Result<Vec<Record>, StoreError> {
        self.inner.read_stream(stream, from).await
    }

    async fn read_all(&self, after: Position, limit: usize) -> Result<Vec<Record>, StoreError> {
        self.inner.read_all(after, limit).await
    }

    async fn subscribe(&self, after: Position) -> Result<Subscription, StoreError> {
        self.inner.subscribe(after).await
    }

    async fn head(&self) -> Result<Head, StoreError> {
        self.inner.head().await
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.inner.close().await
    }
}

/// What a double click does: the second is sent while the first is not answered.
#[test]
fn a11_a_second_click_while_the_first_is_slow_leads_to_the_same_code() {
    let store = Arc::new(SlowStore {
        inner: MemoryStore::new(secrets::new_ledger_identity()),
        is_open: watch::Sender::new(true),
        waiting: watch::Sender::new(0),
    });
    let grantbook = Grantbook::given(Given { store: Some(Arc::clone(&store) as _), ..Given::default() });
    let app = grantbook.app();
    let browser = grantbook.person("ana", "acme");
    let form = browser.consent(&app.query(&[]));
    store.is_open.send_replace(false);
    let before = *store.waiting.borrow();
    let replies = thread::scope(|scope| {
        let click = |browser: Browser| {
            let form = &form;
            scope.spawn(move || browser.submit(form, APPROVE))
        };
        let first = click(browser.copy());
        let _ = grantbook.block_on(store.waiting.subscribe().wait_for(|waiting| *waiting > before));
        let second = click(browser.copy());
        // A person's second click; whether it is on its way by now makes no difference to what must follow.
        thread::sleep(Duration::from_millis(80));
        store.is_open.send_replace(true);
        [first, second].map(|thread| thread.join().unwrap())
    });
    let code = assert_the_same(&replies);
    assert_eq!(grants(&grantbook), 1);
    grantbook.exchange(&app, &code).expect(200);
}

#[test]
fn who_approves_too_often_is_asked_to_wait_and_the_same_form_is_good_then() {
    let grantbook = Grantbook::start();
    let app = grantbook.app();
    let (ana, ben) = (grantbook.person("ana", "acme"), grantbook.person("ben", "acme"));
    let query = app.query(&[]);
    let last = ana.consent(&query);
    for _ in 1..APPROVALS_PER_MINUTE {
        ana.approve(&query).expect(303);
    }
    let code = assert_the_same(&[ana.submit(&last, APPROVE)]);
    let one_more = ana.consent(&query);
    let refused = ana.submit(&one_more, APPROVE).expect(429);
    assert_eq!((refused.location(), refused.header("retry-after")), ("", "60"));
    let text = html::text(&refused.body);
    assert!(text.contains("You approved too many times within a minute, so nothing was granted."), "{text}");
    assert_eq!(grants(&grantbook), APPROVALS_PER_MINUTE);
    // A double click leads where the first one did, and others are not held up.
    assert_eq!(assert_the_same(&[ana.submit(&last, APPROVE)]), code);
    ben.approve(&query).expect(303);
    grantbook.clock.advance(Duration::from_secs(60));
    assert_the_same(&[ana.submit(&one_more, APPROVE)]);
    assert_eq!(grants(&grantbook), APPROVALS_PER_MINUTE + 2);
}
