//! `/account/apps`: what people see and end on their own account.

use std::time::Duration;

use serde_json::json;

use crate::client::{Browser, Reply};
use crate::harness::{App, Grantbook, touched};
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

/// What the page says that the reply to a form leads to.
#[track_caller]
fn said(browser: &Browser, reply: &Reply) -> String {
    assert_eq!(reply.status, 303, "{reply:?}");
    let page = browser.get(reply.location()).expect(200).body;
    let notice = page.split_once("role=\"status\"").and_then(|(_, rest)| rest.split_once("</p>"));
    html::text(&format!("<p {}</p>", notice.unwrap_or_else(|| panic!("nothing: {page}")).0))
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
fn what_was_done_is_said_once_to_who_did_it() {
    let grantbook = Grantbook::start();
    let app = grantbook.app_with(|app| app.name = "Chatty <i>Cathy</i>".to_owned());
    let (ana, ben) = (grantbook.person("ana", "acme"), grantbook.person("ben", "acme"));
    installed(&grantbook, &ana, &app);
    assert!(!ana.get("/account/apps").expect(200).body.contains("role=\"status\""));
    let form = ana.get("/account/apps").expect(200).form(&actions(&ana, "/uninstall")[0]);
    let reply = ana.submit(&form, &[]).expect(303);
    let page = ana.get(reply.location()).expect(200);
    // It is spoken, and where the reading goes on.
    assert!(page.body.contains("role=\"status\" tabindex=\"-1\" autofocus"), "{page:?}");
    assert!(!page.body.contains("<i>Cathy"), "{page:?}");
    assert_eq!(said(&ana, &reply), "Chatty <i>Cathy</i> was uninstalled from acme.");
    // Not in another browser, not if a letter of it was changed, and not for ever.
    let silent = |browser: &Browser, location: &str| {
        assert!(!browser.get(location).expect(200).body.contains("role=\"status\""), "{location}");
    };
    silent(&ben, reply.location());
    silent(&ana, &touched(reply.location()));
    silent(&ana, "/account/apps?notice=Sample+App+was+uninstalled");
    grantbook.clock.advance(Duration::from_secs(60));
    silent(&ana, reply.location());
}

#[test]
fn a_suspended_app_is_shown_and_can_be_removed_so_that_it_does_not_come_back() {
    let grantbook = Grantbook::start();
    let app = grantbook.app();
    let (ana, ben) = (grantbook.person("ana", "acme"), grantbook.person("ben", "acme"));
    let tokens = [
        installed(&grantbook, &ana, &app),
        installed(&grantbook, &ana, &app),
        installed(&grantbook, &ben, &app),
    ];
    let admin = grantbook.admin();
    let suspend = |what: &str| {
        let path = format!("/apps/{}/{what}", app.client_id);
        admin.post(&path, &json!({ "reason": "under review" })).expect(200);
    };
    let on_acme = || admin.get("/installations?account=acme").expect(200).json()["items"][0].clone();
    suspend("suspend");
    let page = ana.get("/account/apps").expect(200);
    let text = html::text(&page.body);
    assert!(text.contains("This app is suspended by the operator"), "{text}");
    assert!(text.contains("widgets") && !text.contains("under review"), "{text}");
    let listed = on_acme();
    assert_eq!(
        (&listed["installed"], &listed["valid_tokens"], &listed["dormant_tokens"]),
        (&json!(false), &json!(0), &json!(3))
    );
    let shown = admin
        .get(&format!("/installations/{}", listed["installation_id"].as_str().unwrap()))
        .expect(200)
        .json();
    let ids: Vec<_> =
        shown["dormant"].as_array().unwrap().iter().map(|token| token["token_id"].clone()).collect();
    assert_eq!(ids.len(), 3);
    assert!(tokens.iter().all(|(_, id)| ids.contains(&json!(id))), "{shown}");
    assert_eq!(shown["tokens"], json!([]));
    let audited = admin.get("/audit/installations?account=acme").expect(200).json()["items"][0].clone();
    assert_eq!((&audited["app_status"], &audited["dormant"][0]["token_id"]), (&json!("suspended"), &ids[0]));

    let revoke = page.form(&format!("/account/tokens/{}/revoke", tokens[0].1));
    assert_eq!(said(&ana, &ana.submit(&revoke, &[])), "Your approval of Sample App was revoked.");
    assert_eq!(on_acme()["dormant_tokens"], json!(2));
    suspend("resume");
    assert_eq!(tokens.each_ref().map(|(token, _)| grantbook.is_active(token)), [false, true, true]);
    suspend("suspend");
    let uninstall = page.form(&actions(&ana, "/uninstall")[0]);
    assert_eq!(said(&ana, &ana.submit(&uninstall, &[])), "Sample App was uninstalled from acme.");
    assert!(html::text(&ana.get("/account/apps").expect(200).body).contains("No app is installed"));
    suspend("resume");
    assert!(tokens.iter().all(|(token, _)| !grantbook.is_active(token)));
    // What was deleted has nothing to come back.
    grantbook.clock.advance(Duration::from_secs(1));
    installed(&grantbook, &ana, &app);
    admin.delete(&format!("/apps/{}?reason=gone", app.client_id)).expect(204);
    assert_eq!(on_acme()["dormant_tokens"], json!(0));
    assert!(html::text(&ana.get("/account/apps").expect(200).body).contains("No app is installed"));
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
    assert_eq!(said(&ana, &ana.submit(&form, &[])), "Your approval of Sample App was revoked.");
    assert_eq!([&anas, &again, &bens].map(|token| grantbook.is_active(token)), [false, true, true]);
    assert_eq!(said(&ana, &ana.submit(&form, &[])), "Your approval of Sample App had ended before.");
    assert_eq!(actions(&ana, "/revoke").len(), 1);
    // A stranger is not even told that it ended.
    for browser in [&ben, &elsewhere] {
        let csrf = browser.get("/account/apps").expect(200).form("/sign-out").field("csrf").to_owned();
        assert_refused(&browser.post(&path, &[("csrf", &csrf)]));
    }
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
    assert_eq!(said(&ben, &ben.submit(&form, &[])), "Sample App was uninstalled from acme.");
    assert!(!grantbook.is_active(&ended));
    assert!(kept.iter().all(|token| grantbook.is_active(token)));
    // In a tab that was open since before.
    let again = said(&ben, &ben.submit(&form, &[]));
    assert_eq!(again, "Sample App was not installed on acme any more, so nothing had to be done.");
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
