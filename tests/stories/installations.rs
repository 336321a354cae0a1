//! `/installations` and `/tokens`: an operator sees which apps are on which accounts, and ends that.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::Grantbook;

fn accounts(items: &[Value]) -> Vec<&str> {
    items.iter().map(|item| item["account_id"].as_str().unwrap()).collect()
}

#[test]
fn an_app_is_installed_exactly_while_a_token_of_it_is_valid() {
    let grantbook = Grantbook::start();
    let (app, admin) = (grantbook.app(), grantbook.admin());
    let of_app = format!("/installations?app={}", app.client_id);
    let read = || {
        let installation = &admin.all(&of_app, 10)[0];
        (
            installation["installed"].clone(),
            installation["installed_since"].clone(),
            installation["valid_tokens"].clone(),
        )
    };
    assert_eq!(admin.all(&of_app, 10), [] as [Value; 0]);
    // Approved, but not exchanged: nothing is installed.
    let code = grantbook.code(&app);
    assert_eq!(read(), (json!(false), Value::Null, json!(0)));
    let first = grantbook.exchange(&app, &code).expect(200).text("access_token");
    let since = json!("2026-01-02T03:04:05.000000Z");
    assert_eq!(read(), (json!(true), since.clone(), json!(1)));
    grantbook.clock.advance(Duration::from_secs(1));
    let second = grantbook.token(&app);
    assert_eq!(read(), (json!(true), since.clone(), json!(2)));
    let revoke = |token: &str| {
        grantbook.post("/oauth/revoke", &[&app.credentials()[..], &[("token", token)]].concat()).expect(200)
    };
    revoke(&first);
    assert_eq!(read(), (json!(true), since, json!(1)));
    revoke(&second);
    assert_eq!(read(), (json!(false), Value::Null, json!(0)));
    grantbook.clock.advance(Duration::from_secs(1));
    grantbook.token(&app);
    assert_eq!(read(), (json!(true), json!("2026-01-02T03:04:07.000000Z"), json!(1)));
}

#[test]
fn installations_are_listed_by_app_or_by_account_in_pages() {
    let grantbook = Grantbook::start();
    let (app, other, admin) = (grantbook.app(), grantbook.app(), grantbook.admin());
    let names: Vec<String> = (0..5).map(|n| format!("account-{n}")).collect();
    for account in &names {
        let code = grantbook.code_of(&grantbook.person("ana", account), &app);
        grantbook.exchange(&app, &code).expect(200);
    }
    let code = grantbook.code_of(&grantbook.person("ana", &names[3]), &other);
    grantbook.exchange(&other, &code).expect(200);

    let of_app = format!("/installations?app={}", app.client_id);
    for a_page in [1, 2, 5, 200] {
        let mut listed = admin.all(&of_app, a_page);
        listed.sort_by_key(|item| item["account_id"].to_string());
        assert_eq!(accounts(&listed), names, "{a_page}");
    }
    let on_account = admin.all(&format!("/installations?account={}", names[3]), 1);
    let mut apps: Vec<_> = on_account.iter().map(|item| item["client_id"].as_str().unwrap()).collect();
    let mut expected = [app.client_id.as_str(), &other.client_id];
    apps.sort_unstable();
    expected.sort_unstable();
    assert_eq!(apps, expected);

    let id = admin.all(&of_app, 10)[2]["installation_id"].as_str().unwrap().to_owned();
    admin.delete(&format!("/installations/{id}")).expect(200);
    assert_eq!(admin.all(&format!("{of_app}&installed=true"), 2).len(), 4);
    let ended = admin.all(&format!("{of_app}&installed=false"), 2);
    assert_eq!(ended.iter().map(|item| item["installation_id"].as_str().unwrap()).collect::<Vec<_>>(), [id]);
}

#[test]
fn which_installations_is_said_in_one_way() {
    let grantbook = Grantbook::start();
    let (app, admin) = (grantbook.app(), grantbook.admin());
    for query in [
        String::new(),
        format!("?app={}&account=acme", app.client_id),
        "?app=x".to_owned(),
        "?account=".to_owned(),
        "?account=a%20b".to_owned(),
        "?account=acme&installed=maybe".to_owned(),
        "?account=acme&limit=0".to_owned(),
        "?account=acme&cursor=%21".to_owned(),
        "?account=acme&user=ana".to_owned(),
    ] {
        let detail = admin.get(&format!("/installations{query}")).problem(400, "invalid_request");
        assert!(!detail.is_empty(), "{query}");
    }
    assert_eq!(admin.get("/installations?account=nobody").expect(200).json(), json!({ "items": [] }));
}

#[test]
fn an_uninstall_ends_the_tokens_and_the_app_can_come_back() {
    let grantbook = Grantbook::start();
    let (app, admin) = (grantbook.app(), grantbook.admin());
    let tokens = [grantbook.token(&app), grantbook.token(&app)];
    let facts = tokens.each_ref().map(|token| grantbook.introspect(token));
    let path = format!("/installations/{}", facts[0]["installation_id"].as_str().unwrap());
    let mut ended = admin.delete(&path).expect(200).json()["token_ids"].as_array().unwrap().clone();
    let mut expected = facts.map(|facts| facts["jti"].clone()).to_vec();
    ended.sort_by_key(Value::to_string);
    expected.sort_by_key(Value::to_string);
    assert_eq!(ended, expected);
    assert!(tokens.iter().all(|token| !grantbook.is_active(token)));
    let before = grantbook.events().len();
    let again = admin.delete(&path).expect(200).json();
    assert_eq!((&again["token_ids"], &again["already"]), (&json!([]), &json!(true)));
    assert_eq!(grantbook.events().len(), before);

    let again = grantbook.token(&app);
    assert_eq!(
        format!("/installations/{}", grantbook.introspect(&again)["installation_id"].as_str().unwrap()),
        path
    );
    let read = admin.get(&path).expect(200).json();
    assert_eq!(
        (&read["installed"], &read["epoch"], &read["valid_tokens"]),
        (&json!(true), &json!(1), &json!(1))
    );
    assert!(tokens.iter().all(|token| !grantbook.is_active(token)));
}

#[test]
fn the_history_of_an_installation_says_who_did_what() {
    let grantbook = Grantbook::start();
    let (app, admin) = (grantbook.app(), grantbook.admin());
    let (token, other) = (grantbook.token(&app), grantbook.token(&app));
    let facts = grantbook.introspect(&token);
    let text = |name: &str| facts[name].as_str().unwrap().to_owned();
    admin.delete(&format!("/tokens/{}?reason=leaked", text("jti"))).expect(204);
    let path = format!("/installations/{}", text("installation_id"));
    admin.delete(&path).expect(200);
    let events = admin.all(&format!("{path}/events"), 2);
    let told: Vec<_> = events
        .iter()
        .map(|event| (event["type"].as_str().unwrap(), event["actor"]["kind"].as_str().unwrap()))
        .collect();
    assert_eq!(
        told,
        [
            ("access-granted", "user"),
            ("code-exchanged", "app"),
            ("access-granted", "user"),
            ("code-exchanged", "app"),
            ("token-revoked", "operator"),
            ("app-uninstalled", "operator"),
        ]
    );
    assert_eq!((&events[0]["actor"]["id"], &events[4]["data"]["reason"]), (&json!("ana"), &json!("leaked")));
    let shown = json!(events).to_string();
    for secret in [token.as_str(), &other, app.secret.as_deref().unwrap(), "gbc_", "gbt_", "gbs_"] {
        assert!(!shown.contains(secret), "{secret}");
    }
}

#[test]
fn one_token_is_revoked_once() {
    let grantbook = Grantbook::start();
    let (app, admin) = (grantbook.app(), grantbook.admin());
    let (token, other) = (grantbook.token(&app), grantbook.token(&app));
    let path = format!("/tokens/{}", grantbook.introspect(&token)["jti"].as_str().unwrap());
    for query in ["?reason=user", "?reason=", "?all=true"] {
        admin.delete(&format!("{path}{query}")).problem(400, "invalid_request");
    }
    assert!(grantbook.is_active(&token));
    admin.delete(&path).expect(204);
    assert_eq!((grantbook.is_active(&token), grantbook.is_active(&other)), (false, true));
    let again = admin.delete(&path).expect(200).json();
    assert_eq!((&again["state"], &again["event"]["actor"]["id"]), (&json!("ended"), &json!("stories")));
    admin.delete("/tokens/019a0000-0000-7000-8000-000000000000").problem(404, "not_found");
}
