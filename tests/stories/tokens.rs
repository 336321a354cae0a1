//! Tokens: how many there are, where they are shown, and that each ends alone.

use serde_json::json;

use crate::harness::Grantbook;

#[test]
fn k1_a_user_holds_ten_tokens_and_the_oldest_makes_way() {
    let grantbook = Grantbook::start();
    let (app, other_app) = (grantbook.app(), grantbook.app());
    let (ana, ben) = (grantbook.person("ana", "acme"), grantbook.person("ben", "acme"));
    let elsewhere = grantbook.person("ana", "globex");
    let token = |browser, app| {
        let code = grantbook.code_of(browser, app);
        grantbook.exchange(app, &code).expect(200).text("access_token")
    };
    let others = [token(&ben, &app), token(&elsewhere, &app), token(&ana, &other_app)];
    let anas: Vec<String> = (0..12).map(|_| token(&ana, &app)).collect();
    let live: Vec<bool> = anas.iter().map(|token| grantbook.is_active(token)).collect();
    assert_eq!(live, [vec![false; 2], vec![true; 10]].concat());
    assert!(others.iter().all(|token| grantbook.is_active(token)));
    let installation = grantbook.introspect(&anas[11])["installation_id"].as_str().unwrap().to_owned();
    let events = grantbook.admin().all(&format!("/installations/{installation}/events"), 50);
    let reasons: Vec<_> = events.iter().filter(|event| event["type"] == "token-revoked").collect();
    assert_eq!(reasons.len(), 2);
    assert!(reasons.iter().all(|event| event["data"]["reason"] == "superseded"), "{reasons:?}");
}

#[test]
fn k1_how_many_is_configurable() {
    let grantbook = Grantbook::with(&[("TOKENS_MAX_LIVE_PER_USER", "1")]);
    let app = grantbook.app();
    let (first, second) = (grantbook.token(&app), grantbook.token(&app));
    assert_eq!((grantbook.is_active(&first), grantbook.is_active(&second)), (false, true));
}

#[test]
fn k2_a_key_or_a_token_in_a_query_is_refused() {
    let grantbook = Grantbook::start();
    let token = grantbook.token(&grantbook.app());
    let key = &grantbook.admin_key;
    for path in [format!("/apps?access_token={key}"), format!("/apps?key={key}")] {
        grantbook.get(&path).problem(401, "invalid_key");
    }
    // With a good key beside it the query is still none that is known.
    grantbook.admin().get(&format!("/apps?access_token={key}")).problem(400, "invalid_request");
    let authorization = format!("Bearer {key}");
    let headers = [("authorization", authorization.as_str())];
    let asked = grantbook.post_with(&format!("/oauth/introspect?token={token}"), &headers, &[]);
    assert_eq!(asked.error(), (400, "invalid_request".to_owned()));
    let asked = grantbook.post(&format!("/oauth/introspect?access_token={key}"), &[("token", &token)]);
    assert_eq!(asked.error(), (400, "invalid_request".to_owned()));
}

#[test]
fn k2_a_key_is_a_bearer_and_a_token_is_no_key() {
    let grantbook = Grantbook::start();
    let app = grantbook.app();
    let token = grantbook.token(&app);
    let key = &grantbook.admin_key;
    for scheme in ["Bearer", "bearer", "BEARER"] {
        grantbook.send("GET", "/apps", &[("authorization", &format!("{scheme} {key}"))], None).expect(200);
    }
    let secret = app.secret.as_deref().unwrap();
    let wrong = [
        format!("Basic {key}"),
        key.clone(),
        format!("Bearer {token}"),
        format!("Bearer {secret}"),
        app.basic(),
    ];
    for authorization in &wrong {
        let reply = grantbook.send("GET", "/apps", &[("authorization", authorization)], None);
        reply.problem(401, "invalid_key");
        assert_eq!(reply.header("www-authenticate"), "Bearer", "{reply:?}");
    }
}

#[test]
fn k4_each_ending_ends_what_it_names_and_no_more() {
    let grantbook = Grantbook::start();
    let (app, other_app) = (grantbook.app(), grantbook.app());
    let people = [("ana", "acme"), ("ben", "acme"), ("chen", "globex")];
    let mut tokens = Vec::new();
    for (user, account) in people {
        let browser = grantbook.person(user, account);
        for app in [&app, &other_app] {
            let code = grantbook.code_of(&browser, app);
            tokens.push(grantbook.exchange(app, &code).expect(200).text("access_token"));
        }
    }
    let live = || tokens.iter().map(|token| grantbook.is_active(token)).collect::<Vec<_>>();
    let admin = grantbook.admin();
    // Of ana, ben, chen: each with the app and the other app.
    let token_id = grantbook.introspect(&tokens[1])["jti"].as_str().unwrap().to_owned();
    let installation = grantbook.introspect(&tokens[0])["installation_id"].as_str().unwrap().to_owned();
    admin.delete(&format!("/tokens/{token_id}")).expect(204);
    assert_eq!(live(), [true, false, true, true, true, true]);
    admin.delete(&format!("/installations/{installation}")).expect(200);
    assert_eq!(live(), [false, false, false, true, true, true]);
    admin.delete(&format!("/apps/{}?reason=gone", app.client_id)).expect(204);
    assert_eq!(live(), [false, false, false, true, false, true]);
}

#[test]
fn k4_all_is_never_meant_by_leaving_out() {
    let grantbook = Grantbook::start();
    let app = grantbook.app();
    let token = grantbook.token(&app);
    let admin = grantbook.admin();
    for path in ["/tokens", "/tokens/", "/installations/", "/apps/", "/keys/"] {
        assert_eq!(admin.delete(path).status, 404, "{path}");
    }
    for path in ["/installations", "/apps", "/keys", "/installations?account=acme"] {
        admin.delete(path).problem(405, "method_not_allowed");
    }
    for path in ["/tokens/*", "/tokens/all", "/installations/all", "/tokens/%20", "/apps/*?reason=x"] {
        admin.delete(path).problem(400, "invalid_request");
    }
    admin.get("/installations").problem(400, "invalid_request");
    assert!(grantbook.is_active(&token));
    let installations = admin.all("/installations?account=acme", 5);
    assert_eq!(installations[0]["valid_tokens"], json!(1));
}
