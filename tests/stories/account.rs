//! `/account/apps`: what people see and end on their own account.

use crate::client::{Browser, Reply};
use crate::harness::{App, Grantbook};
use crate::html;

/// A token for the app, approved by the person of a browser, and its id.
#[track_caller]
fn installed(grantbook: &Grantbook, browser: &Browser, app: &App) -> (String, String) {
    let code = grantbook.code_of(browser, app);
    let token = grantbook.exchange(app, &code).expect(200).text("access_token");
    let id = grantbook.introspect(&token)["jti"].as_str().unwrap().to_owned();
    (token, id)
}

/// Where the forms of the page lead that contain this.
fn actions(browser: &Browser, part: &str) -> Vec<String> {
    let page = browser.get("/account/apps").expect(200);
    let forms = html::forms(&page.body).into_iter().map(|form| form.action);
    forms.filter(|action| action.contains(part)).collect()
}

#[track_caller]
fn assert_refused(reply: &Reply) {
    assert_eq!((reply.status, reply.location()), (400, ""), "{reply:?}");
    assert!(reply.header("content-type").starts_with("text/html"), "{reply:?}");
}

#[test]
fn people_see_what_is_on_their_account_and_who_let_it_in() {
    let grantbook = Grantbook::start();
    let app = grantbook.app_with(|app| app.name = "Chatty <i>Cathy</i>".to_owned());
    let (ana, ben, chen) = (
        grantbook.person("ana", "acme"),
        grantbook.person("ben", "acme"),
        grantbook.person("chen", "globex"),
    );
    for browser in [&ana, &ben, &chen] {
        let page = html::text(&browser.get("/account/apps").expect(200).body);
        assert!(page.contains("No app is installed"), "{page}");
    }
    let (_, anas) = installed(&grantbook, &ana, &app);
    let (_, bens) = installed(&grantbook, &ben, &app);
    let reply = ana.get("/account/apps").expect(200);
    assert!(!reply.body.contains("<i>Cathy"), "{reply:?}");
    let page = html::text(&reply.body);
    for part in ["Chatty <i>Cathy</i>", "Sample Owner", "widgets", "You", "ben"] {
        assert!(page.contains(part), "{part} in {page}");
    }
    // Each may revoke their own approval, all may uninstall, and others see nothing.
    assert_eq!(actions(&ana, "/revoke"), [format!("/account/tokens/{anas}/revoke")]);
    assert_eq!(actions(&ben, "/revoke"), [format!("/account/tokens/{bens}/revoke")]);
    assert_eq!(actions(&ana, "/uninstall"), actions(&ben, "/uninstall"));
    assert!(html::text(&chen.get("/account/apps").expect(200).body).contains("No app is installed"));
}

#[test]
fn k4_a_person_revokes_their_own_approval_and_no_other() {
    let grantbook = Grantbook::start();
    let app = grantbook.app();
    let (ana, ben) = (grantbook.person("ana", "acme"), grantbook.person("ben", "acme"));
    let elsewhere = grantbook.person("ana", "globex");
    let (anas, anas_id) = installed(&grantbook, &ana, &app);
    let (again, _) = installed(&grantbook, &ana, &app);
    let (bens, _) = installed(&grantbook, &ben, &app);
    let path = format!("/account/tokens/{anas_id}/revoke");
    for browser in [&ben, &elsewhere] {
        let csrf = browser.get("/account/apps").expect(200).form("/sign-out").field("csrf").to_owned();
        assert_refused(&browser.post(&path, &[("csrf", &csrf)]));
    }
    assert!(grantbook.is_active(&anas));
    let form = ana.get("/account/apps").expect(200).form(&path);
    assert_eq!(ana.submit(&form, &[]).expect(303).location(), "/account/apps");
    assert_eq!([&anas, &again, &bens].map(|token| grantbook.is_active(token)), [false, true, true]);
    assert_refused(&ana.submit(&form, &[]));
    assert_eq!(actions(&ana, "/revoke").len(), 1);
}

#[test]
fn k4_anybody_of_the_account_uninstalls_and_nobody_of_another() {
    let grantbook = Grantbook::start();
    let (app, other_app) = (grantbook.app(), grantbook.app());
    let (ana, ben) = (grantbook.person("ana", "acme"), grantbook.person("ben", "acme"));
    let chen = grantbook.person("chen", "globex");
    let (ended, _) = installed(&grantbook, &ana, &app);
    let path = actions(&ana, "/uninstall").remove(0);
    let kept = [installed(&grantbook, &ana, &other_app).0, installed(&grantbook, &chen, &app).0];
    let csrf = chen.get("/account/apps").expect(200).form("/sign-out").field("csrf").to_owned();
    assert_refused(&chen.post(&path, &[("csrf", &csrf)]));
    assert!(grantbook.is_active(&ended));
    let form = ben.get("/account/apps").expect(200).form(&path);
    assert_eq!(ben.submit(&form, &[]).expect(303).location(), "/account/apps");
    assert!(!grantbook.is_active(&ended));
    assert!(kept.iter().all(|token| grantbook.is_active(token)));
    // And it can be installed again.
    let (again, _) = installed(&grantbook, &ana, &app);
    assert_eq!((grantbook.is_active(&ended), grantbook.is_active(&again)), (false, true));
}

#[test]
fn k5_a_form_is_sent_by_who_it_was_made_for_or_not_at_all() {
    let grantbook = Grantbook::start();
    let app = grantbook.app();
    let (ana, ben) = (grantbook.person("ana", "acme"), grantbook.person("ben", "acme"));
    let (token, id) = installed(&grantbook, &ana, &app);
    let revoke = format!("/account/tokens/{id}/revoke");
    let uninstall = actions(&ana, "/uninstall").remove(0);
    let csrf = |browser: &Browser| {
        browser.get("/account/apps").expect(200).form("/sign-out").field("csrf").to_owned()
    };
    let (anas, bens) = (csrf(&ana), csrf(&ben));
    let again = grantbook.person("ana", "acme");
    let before = csrf(&again);
    again.sign_in("ana", "acme");
    for path in [&revoke, &uninstall] {
        for wrong in ["", "x", &bens, &before, &anas[1..]] {
            assert_refused(&ana.post(path, &[("csrf", wrong)]));
        }
        assert_refused(&ana.post(path, &[]));
        assert_refused(&again.post(path, &[("csrf", &anas)]));
        assert_refused(&grantbook.browser().post(path, &[("csrf", &anas)]));
        // By GET nothing happens at all.
        assert_eq!(ana.get(&format!("{path}?csrf={anas}")).status, 405);
    }
    assert!(grantbook.is_active(&token));
    ana.post(&revoke, &[("csrf", &anas)]).expect(303);
}

#[test]
fn k5_the_management_api_does_not_know_the_session() {
    let grantbook = Grantbook::start();
    let ana = grantbook.person("ana", "acme");
    let (token, id) = installed(&grantbook, &ana, &grantbook.app());
    for (method, path) in [("GET", "/apps"), ("POST", "/apps"), ("DELETE", &format!("/tokens/{id}"))] {
        let reply = ana.try_send(method, path, None).unwrap();
        reply.problem(401, "invalid_key");
    }
    assert!(grantbook.is_active(&token));
}

#[test]
fn k5_who_is_signed_in_signs_out_with_a_form_of_their_own() {
    let grantbook = Grantbook::start();
    let (ana, ben) = (grantbook.person("ana", "acme"), grantbook.person("ben", "acme"));
    let bens = ben.get("/account/apps").expect(200).form("/sign-out");
    ana.submit(&bens, &[]).expect(400);
    let anas = ana.get("/account/apps").expect(200).form("/sign-out");
    ana.submit(&anas, &[]).expect(200);
    assert!(ana.get("/account/apps").expect(303).location().contains("/sign-in"));
    ben.get("/account/apps").expect(200);
}
