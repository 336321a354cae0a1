//! Refresh tokens at `/oauth/token`: R1 to R7.

use std::time::Duration;

use grantbook::decisions::Registration;
use grantbook_events::{Event, InstallationEvent, RefreshPolicy, RevocationReason, TokenPolicy};
use serde_json::{Value, json};

use crate::client::{Pairs, Reply};
use crate::harness::{App, Grantbook, touched};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// An access token of an hour, and a refresh token that may go unused for ten days, for thirty days in all.
fn refreshes(app: &mut Registration) {
    let refresh = RefreshPolicy { idle_seconds: Some(10 * 86_400), lifetime_seconds: Some(30 * 86_400) };
    app.token_policy = TokenPolicy { lifetime_seconds: Some(3600), refresh: Some(refresh) };
    app.scopes = vec!["widgets".to_owned(), "faqs".to_owned()];
}

/// An access token and the refresh token that came with it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pair {
    access: String,
    refresh: String,
}

impl Pair {
    fn of(reply: Reply) -> Self {
        let reply = reply.expect(200);
        Self { access: reply.text("access_token"), refresh: reply.text("refresh_token") }
    }
}

fn install(grantbook: &Grantbook, app: &App) -> Pair {
    Pair::of(grantbook.exchange(app, &grantbook.code(app)))
}

fn refresh_with(grantbook: &Grantbook, app: &App, token: &str, added: Pairs<'_>) -> Reply {
    let grant = [("grant_type", "refresh_token"), ("refresh_token", token)];
    grantbook.post("/oauth/token", &[&app.credentials()[..], &grant, added].concat())
}

fn refresh(grantbook: &Grantbook, app: &App, token: &str) -> Reply {
    refresh_with(grantbook, app, token, &[])
}

#[track_caller]
fn assert_invalid_grant(reply: &Reply) {
    assert_eq!(reply.error(), (400, "invalid_grant".to_owned()), "{reply:?}");
}

fn installation(grantbook: &Grantbook) -> Value {
    grantbook.operator("admin").get("/installations?account=acme").json()["items"][0].clone()
}

#[test]
fn r1_only_an_app_that_asked_for_it_gets_refresh_tokens() {
    let grantbook = Grantbook::start();
    let (plain, app) = (grantbook.app(), grantbook.app_with(refreshes));
    let reply = grantbook.exchange(&plain, &grantbook.code(&plain)).expect(200);
    assert!(reply.json()["refresh_token"].is_null() && reply.json()["expires_in"].is_null(), "{reply:?}");
    let reply = grantbook.exchange(&app, &grantbook.code(&app)).expect(200);
    assert!(reply.text("refresh_token").starts_with("gbr_"), "{reply:?}");
    assert_eq!(reply.json()["expires_in"], 3600);
    let refused = refresh(&grantbook, &plain, &reply.text("refresh_token"));
    assert_invalid_grant(&refused);
}

#[test]
fn r1_a_refresh_token_ends_unused_and_with_its_grant() {
    let grantbook = Grantbook::start();
    let app = grantbook.app_with(refreshes);
    let unused = install(&grantbook, &app);
    grantbook.clock.advance(10 * DAY);
    assert_invalid_grant(&refresh(&grantbook, &app, &unused.refresh));
    let mut used = install(&grantbook, &app);
    for _ in 0..3 {
        grantbook.clock.advance(9 * DAY);
        used = Pair::of(refresh(&grantbook, &app, &used.refresh));
    }
    grantbook.clock.advance(3 * DAY);
    assert_invalid_grant(&refresh(&grantbook, &app, &used.refresh));
}

#[test]
fn r2_each_use_gives_a_new_pair_and_the_access_token_before_lives_to_its_end() {
    let grantbook = Grantbook::start();
    let app = grantbook.app_with(refreshes);
    let first = install(&grantbook, &app);
    grantbook.clock.advance(HOUR / 2);
    let reply = refresh(&grantbook, &app, &first.refresh).expect(200);
    let (facts, second) = (grantbook.introspect(&first.access), Pair::of(reply.clone()));
    assert_eq!(
        reply.json(),
        json!({
            "access_token": second.access, "refresh_token": second.refresh, "token_type": "Bearer",
            "expires_in": 3600, "scope": "widgets", "account_id": "acme",
            "installation_id": facts["installation_id"],
        })
    );
    assert!(first.access != second.access && first.refresh != second.refresh);
    assert!(grantbook.is_active(&first.access) && grantbook.is_active(&second.access));
    grantbook.clock.advance(HOUR / 2);
    assert!(!grantbook.is_active(&first.access) && grantbook.is_active(&second.access));
    // Never what a resource takes.
    assert!(!grantbook.is_active(&second.refresh));
}

#[test]
fn r2_of_64_refreshes_at_once_all_get_the_one_new_pair() {
    let grantbook = Grantbook::start();
    let app = grantbook.app_with(refreshes);
    let first = install(&grantbook, &app);
    let replies = at_once(&grantbook, &app, &first.refresh);
    let pairs: Vec<Pair> = replies.into_iter().map(Pair::of).collect();
    assert!(pairs.iter().all(|pair| *pair == pairs[0]), "{pairs:?}");
    assert!(grantbook.is_active(&pairs[0].access));
    let count = |is_it: fn(&InstallationEvent) -> bool| {
        let events = grantbook.events();
        let all = events.iter().filter(|it| matches!(&it.event, Event::Installation(event) if is_it(event)));
        all.count()
    };
    assert_eq!(count(|event| matches!(event, InstallationEvent::TokenRefreshed(_))), 1);
    assert_eq!(count(InstallationEvent::is_end), 0, "nothing ends");
}

#[test]
fn r3_of_64_refreshes_at_once_without_a_grace_one_wins_and_the_next_ends_all() {
    let grantbook = Grantbook::with(&[("TOKENS_REFRESH_GRACE", "0s")]);
    let app = grantbook.app_with(refreshes);
    let first = install(&grantbook, &app);
    let replies = at_once(&grantbook, &app, &first.refresh);
    let (won, lost): (Vec<_>, Vec<_>) = replies.into_iter().partition(|reply| reply.status == 200);
    assert_eq!((won.len(), lost.len()), (1, 63));
    lost.iter().for_each(assert_invalid_grant);
    let pair = Pair::of(won.into_iter().next().unwrap());
    assert!(!grantbook.is_active(&pair.access) && !grantbook.is_active(&first.access));
    assert_invalid_grant(&refresh(&grantbook, &app, &pair.refresh));
    assert_eq!(installation(&grantbook)["installed"], false);
}

fn at_once(grantbook: &Grantbook, app: &App, token: &str) -> Vec<Reply> {
    let start = std::sync::Barrier::new(64);
    let form =
        [&app.credentials()[..], &[("grant_type", "refresh_token"), ("refresh_token", token)]].concat();
    let http = &grantbook.http;
    std::thread::scope(|scope| {
        let refresh = || {
            start.wait();
            http.post("/oauth/token", &form)
        };
        let threads: Vec<_> = (0..64).map(|_| scope.spawn(refresh)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn r3_a_lost_reply_is_sent_again_and_reuse_after_that_ends_every_token_of_the_grant() {
    let grantbook = Grantbook::start();
    let app = grantbook.app_with(refreshes);
    let (first, other) = (install(&grantbook, &app), install(&grantbook, &app));
    let second = Pair::of(refresh(&grantbook, &app, &first.refresh));
    grantbook.clock.advance(Duration::from_secs(9));
    assert_eq!(Pair::of(refresh(&grantbook, &app, &first.refresh)), second);
    grantbook.clock.advance(Duration::from_secs(1));
    let replay = refresh(&grantbook, &app, &first.refresh);
    assert_invalid_grant(&replay);
    assert!(replay.text("error_description").contains("used twice"), "{replay:?}");
    for access in [&first.access, &second.access] {
        assert!(!grantbook.is_active(access));
    }
    assert_invalid_grant(&refresh(&grantbook, &app, &second.refresh));
    assert!(grantbook.is_active(&other.access), "another approval is not touched");
    assert_eq!(installation(&grantbook)["installed"], true);
}

#[test]
fn r4_scope_narrows_and_never_widens() {
    let grantbook = Grantbook::start();
    let app = grantbook.app_with(refreshes);
    let query = app.query(&[]).replace("scope=widgets", "scope=widgets+faqs");
    let code = grantbook.person("ana", "acme").approve(&query).param("code").unwrap();
    let first = Pair::of(grantbook.exchange(&app, &code));
    let narrowed = refresh_with(&grantbook, &app, &first.refresh, &[("scope", "faqs")]).expect(200);
    assert_eq!(narrowed.text("scope"), "faqs");
    assert_eq!(grantbook.introspect(&narrowed.text("access_token"))["scope"], "faqs");
    let next = narrowed.text("refresh_token");
    for wider in ["contacts", "faqs contacts", "nothing"] {
        let refused = refresh_with(&grantbook, &app, &next, &[("scope", wider)]);
        assert_eq!(refused.error(), (400, "invalid_scope".to_owned()), "{wider}");
    }
    let whole = refresh(&grantbook, &app, &next).expect(200);
    assert_eq!(whole.text("scope"), "widgets faqs", "the grant is what it was, and a refusal spends nothing");
}

#[test]
fn r5_a_refresh_token_is_its_apps_alone() {
    let grantbook = Grantbook::start();
    let (app, other) = (grantbook.app_with(refreshes), grantbook.app_with(refreshes));
    let first = install(&grantbook, &app);
    assert_invalid_grant(&refresh(&grantbook, &other, &first.refresh));
    let no_secret = App { secret: None, ..app.clone() };
    assert_eq!(refresh(&grantbook, &no_secret, &first.refresh).error().1, "invalid_client");
    let second = Pair::of(refresh(&grantbook, &app, &first.refresh));
    grantbook.clock.advance(HOUR);
    assert_invalid_grant(&refresh(&grantbook, &other, &first.refresh));
    Pair::of(refresh(&grantbook, &app, &second.refresh));
    for wrong in [&touched(&second.refresh)[..], &first.access, "gbr_", "\u{1f511}"] {
        assert_invalid_grant(&refresh(&grantbook, &app, wrong));
    }
    let missing = refresh(&grantbook, &app, "");
    assert_eq!(missing.error(), (400, "invalid_request".to_owned()));
}

#[test]
fn r6_an_app_is_installed_while_a_refresh_token_lives() {
    let grantbook = Grantbook::start();
    let app = grantbook.app_with(refreshes);
    let first = install(&grantbook, &app);
    let since = installation(&grantbook)["installed_since"].clone();
    grantbook.clock.advance(5 * DAY);
    assert!(!grantbook.is_active(&first.access));
    let found = installation(&grantbook);
    assert_eq!((&found["installed"], &found["installed_since"]), (&json!(true), &since));
    Pair::of(refresh(&grantbook, &app, &first.refresh));
    assert_eq!(installation(&grantbook)["installed_since"], since, "there was no gap");
    grantbook.clock.advance(10 * DAY);
    let found = installation(&grantbook);
    assert_eq!((&found["installed"], &found["installed_since"]), (&json!(false), &Value::Null));
}

#[test]
fn r6_the_page_of_installed_apps_says_until_when_an_approval_can_be_renewed() {
    let grantbook = Grantbook::start();
    let app = grantbook.app_with(refreshes);
    let first = install(&grantbook, &app);
    grantbook.clock.advance(DAY);
    Pair::of(refresh(&grantbook, &app, &first.refresh));
    let page = grantbook.person("ana", "acme").get("/account/apps").expect(200).body;
    assert_eq!(page.matches("It can renew this until").count(), 1, "{page}");
    assert!(page.contains("13 January 2026"), "ten days after the last use: {page}");
}

#[test]
fn r7_revoking_a_refresh_token_ends_its_grant_and_an_access_token_ends_alone() {
    let grantbook = Grantbook::start();
    let app = grantbook.app_with(refreshes);
    let revoke = |token: &str| {
        grantbook.post("/oauth/revoke", &[&app.credentials()[..], &[("token", token)]].concat()).expect(200)
    };
    let first = install(&grantbook, &app);
    let second = Pair::of(refresh(&grantbook, &app, &first.refresh));
    revoke(&second.access);
    assert!(grantbook.is_active(&first.access) && !grantbook.is_active(&second.access));
    grantbook.clock.advance(Duration::from_secs(20));
    let third = Pair::of(refresh(&grantbook, &app, &second.refresh));
    // The app may not have got the last reply.
    revoke(&second.refresh);
    assert!(!grantbook.is_active(&first.access) && !grantbook.is_active(&third.access));
    assert_invalid_grant(&refresh(&grantbook, &app, &third.refresh));
    assert_eq!(installation(&grantbook)["installed"], false);
    let events = grantbook.events();
    let ended = events.iter().find_map(|recorded| match &recorded.event {
        Event::Installation(InstallationEvent::GrantRevoked(event)) => Some(event),
        _ => None,
    });
    assert_eq!(ended.map(|event| (event.reason, event.tokens.len())), Some((RevocationReason::App, 3)));
}

#[test]
fn r7_a_user_ends_the_whole_approval() {
    let grantbook = Grantbook::start();
    let app = grantbook.app_with(refreshes);
    let first = install(&grantbook, &app);
    let ana = grantbook.person("ana", "acme");
    let page = ana.get("/account/apps").expect(200);
    let action = page.body.split('"').find(|text| text.starts_with("/account/tokens/")).unwrap();
    // The app may refresh while the page is open.
    let second = Pair::of(refresh(&grantbook, &app, &first.refresh));
    let done = ana.submit(&page.form(action), &[]);
    assert_eq!(done.status, 303, "{done:?}");
    assert!(!grantbook.is_active(&first.access) && !grantbook.is_active(&second.access));
    assert_invalid_grant(&refresh(&grantbook, &app, &second.refresh));
}

#[test]
fn c5_a_suspended_app_refreshes_nothing_and_goes_on_once_it_is_resumed() {
    let grantbook = Grantbook::start();
    let app = grantbook.app_with(refreshes);
    let first = install(&grantbook, &app);
    let operator = grantbook.operator("admin");
    let path = |what: &str| format!("/apps/{}/{what}", app.client_id);
    operator.post(&path("suspend"), &json!({ "reason": "a look" })).expect(200);
    assert_eq!(refresh(&grantbook, &app, &first.refresh).error().1, "unauthorized_client");
    let found = installation(&grantbook);
    assert_eq!((&found["installed"], &found["dormant_tokens"]), (&json!(false), &json!(2)));
    operator.post(&path("resume"), &json!({ "reason": "fine" })).expect(200);
    Pair::of(refresh(&grantbook, &app, &first.refresh));
}

#[test]
fn t8_no_refresh_token_is_in_the_ledger_or_in_what_operators_see() {
    let grantbook = Grantbook::start();
    let app = grantbook.app_with(refreshes);
    let first = install(&grantbook, &app);
    let second = Pair::of(refresh(&grantbook, &app, &first.refresh));
    let operator = grantbook.operator("admin");
    let id = installation(&grantbook)["installation_id"].as_str().unwrap().to_owned();
    let seen = [
        format!("{:?}", grantbook.events()),
        operator.get(&format!("/installations/{id}")).body,
        operator.get(&format!("/installations/{id}/events")).body,
        operator.get("/audit/events").body,
    ];
    for secret in [&first.refresh, &second.refresh, &first.access, &second.access] {
        assert!(seen.iter().all(|text| !text.contains(&secret[4..20])), "{seen:?}");
    }
    let tokens = operator.get(&format!("/installations/{id}")).json()["tokens"].clone();
    let kinds: Vec<_> = tokens.as_array().unwrap().iter().map(|token| token["kind"].clone()).collect();
    assert_eq!(kinds, ["access", "access", "refresh"]);
}
