//! `/oauth/userinfo`: an app asks whose the token is that it has.

use std::time::Duration;

use grantbook::secrets;
use serde_json::json;

use crate::client::{Pairs, Reply};
use crate::harness::{Grantbook, touched};

const PATH: &str = "/oauth/userinfo";

fn asked(grantbook: &Grantbook, method: &str, token: &str) -> Reply {
    grantbook.send(method, PATH, &[("authorization", &format!("Bearer {token}"))], None)
}

/// JSON that no cache keeps, and the challenge.
#[track_caller]
fn challenge(reply: &Reply) -> &str {
    assert_eq!(reply.header("content-type"), "application/json", "{reply:?}");
    assert_eq!(reply.header("cache-control"), "no-store", "{reply:?}");
    assert_eq!(reply.headers.get_all("www-authenticate").iter().count(), 1, "{reply:?}");
    reply.header("www-authenticate")
}

#[test]
fn u2_a_bearer_learns_whose_its_token_is() {
    let grantbook = Grantbook::start();
    let app = grantbook.app();
    let token = grantbook.token(&app);
    let whose = json!({
        "sub": "ana", "account_id": "acme", "client_id": app.client_id, "scope": "widgets",
        "installation_id": grantbook.introspect(&token)["installation_id"],
    });
    let bearer = format!("bEARER {token}");
    let header = ("authorization", bearer.as_str());
    let form = grantbook.post_with(PATH, &[header], &[("lang", "en")]);
    let other = grantbook.send("POST", PATH, &[header, ("content-type", "application/json")], Some(b"{}"));
    let query = grantbook.send("GET", "/oauth/userinfo?schema=openid", &[header], None);
    for reply in [asked(&grantbook, "GET", &token), asked(&grantbook, "POST", &token), form, other, query] {
        assert_eq!(reply.expect(200).json(), whose);
    }
    let reply = asked(&grantbook, "GET", &token);
    assert_eq!((reply.header("cache-control"), reply.header("pragma")), ("no-store", "no-cache"));
    assert_eq!(asked(&grantbook, "HEAD", &token).status, 200);
}

#[test]
fn u2_without_a_token_the_answer_is_the_challenge_alone() {
    let grantbook = Grantbook::start();
    let app = grantbook.app();
    let basic = app.basic();
    for headers in [&[][..], &[("authorization", basic.as_str())], &[("authorization", "Bearer")]] {
        for method in ["GET", "POST"] {
            let reply = grantbook.send(method, PATH, headers, None).expect(401);
            assert_eq!((challenge(&reply), reply.body.as_str()), ("Bearer realm=\"grantbook\"", "{}"));
        }
    }
    let reply = grantbook.send("PUT", PATH, &[], None);
    assert_eq!(reply.error(), (405, "invalid_request".to_owned()));
    assert_eq!(reply.header("allow"), "GET, HEAD, POST, OPTIONS");
}

#[test]
fn u2_a_token_that_is_not_valid_is_an_invalid_token() {
    let grantbook = Grantbook::start();
    let (app, other) = (grantbook.app(), grantbook.app());
    let short = grantbook.app_with(|app| app.token_policy.lifetime_seconds = Some(60));
    let (token, expired, suspended) =
        (grantbook.token(&app), grantbook.token(&short), grantbook.token(&other));
    let revoked = grantbook.token(&app);
    let form = [&app.credentials()[..], &[("token", &revoked)]].concat();
    grantbook.post("/oauth/revoke", &form).expect(200);
    let reason = json!({ "reason": "abuse" });
    grantbook.admin().post(&format!("/apps/{}/suspend", other.client_id), &reason).expect(200);
    grantbook.clock.advance(Duration::from_secs(60));
    let (code, changed, secret) = (grantbook.code(&app), touched(&token), app.secret.unwrap());
    let refresh = secrets::MintedRefresh::first(secrets::locate_token(&token).unwrap()).plain;
    for wrong in [
        &expired,
        &suspended,
        &revoked,
        &code,
        &changed,
        &secret,
        &grantbook.admin_key,
        refresh.expose(),
        "x",
        "a b",
    ] {
        for method in ["GET", "POST"] {
            let reply = asked(&grantbook, method, wrong);
            assert_eq!(reply.error(), (401, "invalid_token".to_owned()), "{wrong}");
            let description = reply.text("error_description");
            let says = format!(
                "Bearer realm=\"grantbook\", error=\"invalid_token\", error_description=\"{description}\""
            );
            assert_eq!(challenge(&reply), says, "{wrong}");
        }
    }
    asked(&grantbook, "GET", &token).expect(200);
}

#[test]
fn k2_a_token_anywhere_but_in_the_header_is_an_invalid_request() {
    let grantbook = Grantbook::start();
    let token = grantbook.token(&grantbook.app());
    let bearer = format!("Bearer {token}");
    let in_query = format!("{PATH}?access_token={token}");
    let twice: Pairs<'_> = &[("authorization", &bearer), ("authorization", &bearer)];
    let mut replies = vec![grantbook.send("GET", PATH, twice, None)];
    // Beside a header that does, too.
    for headers in [&[][..], &twice[..1]] {
        replies.push(grantbook.send("GET", &in_query, headers, None));
        replies.push(grantbook.send("POST", &in_query, headers, None));
        replies.push(grantbook.post_with(PATH, headers, &[("access_token", &token)]));
    }
    for reply in replies {
        assert_eq!(reply.error(), (400, "invalid_request".to_owned()));
        assert!(challenge(&reply).contains("error=\"invalid_request\", error_description=\""), "{reply:?}");
        assert!(!format!("{reply:?}").contains(&token), "{reply:?}");
    }
}
