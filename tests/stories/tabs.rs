//! Several tabs of one browser, and answers that come more than once, in the handoff.

use std::time::Duration;

use serde_json::json;

use crate::harness::START;
use crate::platform::{Platform, come_back};

#[test]
fn an_answer_is_taken_once_and_a_repeat_of_it_leads_on() {
    let platform = Platform::start();
    let browser = platform.grantbook.browser();
    let query = platform.grantbook.app().query(&[]);
    let (nonce, path) = platform.set_out(&browser, &format!("/oauth/authorize?{query}"));
    // Before it came back, somebody copied what the browser has.
    let (copy, answer) = (browser.copy(), platform.sign(&platform.claims(&nonce)));
    come_back(&browser, &path, &answer).expect(303);
    browser.get("/account/apps").expect(200);
    let cookies = browser.cookies();
    // The same link again, and a second answer for the same nonce, sign nobody in and undo no sign-in.
    for again in [&answer, &platform.sign(&platform.claims(&nonce))] {
        let reply = come_back(&browser, &path, again).expect(303);
        assert_eq!(reply.location(), format!("/oauth/authorize?{query}"));
        assert_eq!((reply.header("set-cookie"), browser.cookies()), ("", cookies.clone()));
    }
    // Who asked twice before the first answer came goes on as well; a thief has nothing of it.
    let reply = come_back(&copy, &path, &answer).expect(303);
    assert_eq!((reply.location(), reply.header("set-cookie")), (&*format!("/oauth/authorize?{query}"), ""));
    copy.get("/account/apps").expect(303);
    browser.get("/account/apps").expect(200);
}

#[test]
fn an_answer_is_not_taken_again_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let key = directory.path().join("session.key");
    let before = Platform::started_at(START, &key);
    let browser = before.grantbook.browser();
    let (nonce, path) = before.set_out(&browser, "/account/apps");
    let copy = before.grantbook.browser();
    copy.merge(&browser);
    let answer = before.sign(&before.claims(&nonce));
    come_back(&browser, &path, &answer).expect(303);

    let after = Platform::started_at(START.plus(Duration::from_secs(5)), &key);
    let thief = after.grantbook.browser();
    thief.merge(&copy);
    let reply = come_back(&thief, &path, &answer);
    assert_eq!((reply.status, reply.header("set-cookie")), (400, ""), "{reply:?}");
    thief.get("/account/apps").expect(303);
    // Who was signed in still is, and somebody who was under way begins again with one click.
    let owner = after.grantbook.browser();
    owner.merge(&browser);
    owner.get("/account/apps").expect(200);
    let (nonce, path) = after.set_out(&thief, "/account/apps");
    come_back(&thief, &path, &after.sign(&after.claims(&nonce))).expect(303);
    thief.get("/account/apps").expect(200);
}

#[test]
fn every_tab_that_went_to_the_platform_arrives() {
    let platform = Platform::start();
    let query = platform.grantbook.app().query(&[]);
    let browser = platform.grantbook.browser();
    let tabs: Vec<_> = (0..20)
        .map(|tab| platform.set_out(&browser, &format!("/oauth/authorize?{query}&state={tab}")))
        .collect();
    let mut forms = Vec::new();
    for (tab, (nonce, path)) in tabs.iter().enumerate() {
        let onward = come_back(&browser, path, &platform.sign(&platform.claims(nonce))).expect(303);
        assert_eq!(onward.location(), format!("/oauth/authorize?{query}&state={tab}"));
        forms.push(browser.get(onward.location()).expect(200).form("/oauth/authorize"));
    }
    // And what was opened first is still good: the same person signed in again.
    for form in &forms {
        assert!(browser.submit(form, &[("decision", "approve")]).expect(303).param("code").is_some());
    }
}

#[test]
fn tabs_that_ask_at_the_same_moment_all_arrive() {
    let platform = Platform::start();
    let query = platform.grantbook.app().query(&[]);
    let page = format!("/oauth/authorize?{query}");
    let browser = platform.grantbook.browser();
    // Each asks with what the browser had before the other was answered, there and back.
    let others = browser.copy();
    let (first, second) = (platform.set_out(&browser, &page), platform.set_out(&others, &page));
    browser.merge(&others);
    let others = browser.copy();
    for (browser, (nonce, path)) in [(&browser, first), (&others, second)] {
        come_back(browser, &path, &platform.sign(&platform.claims(&nonce))).expect(303);
    }
    let form = browser.get(&page).expect(200).form("/oauth/authorize");
    browser.merge(&others);
    let second = browser.get(&page).expect(200).form("/oauth/authorize");
    for form in [form, second] {
        assert!(browser.submit(&form, &[("decision", "approve")]).expect(303).param("code").is_some());
    }
}

#[test]
fn another_person_who_comes_back_is_another_session() {
    let platform = Platform::start();
    let query = platform.grantbook.app().query(&[]);
    let browser = platform.grantbook.browser();
    let sign_in = |user: &str| {
        let to_sign_in = "/sign-in?continue=".to_owned();
        let out = browser.get(&to_sign_in).expect(303);
        let mut claims = platform.claims(&out.param("request").unwrap());
        claims["sub"] = json!(user);
        come_back(&browser, "/sign-in/handoff", &platform.sign(&claims)).expect(303);
    };
    sign_in("ana");
    let form = browser.consent(&query);
    sign_in("ben");
    assert_eq!(browser.submit(&form, &[("decision", "approve")]).status, 400);
    // Nor is it good again when she is back.
    sign_in("ana");
    assert_eq!(browser.submit(&form, &[("decision", "approve")]).status, 400);
}
