//! Secrets stay with those they were given to: not one of them is in a log, at whatever level, or in a
//! file.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::client::encode;
use crate::process::Serving;
use crate::site::Site;
use crate::wanted::{App, CALLBACK};

/// The files that are made to hold a secret.
const SECRET_FILES: &[&str] = &["control.json", "session.key"];

/// Does everything that hands out a secret or takes one, and returns all of them.
fn use_everything(serving: &Serving) -> Vec<(&'static str, String)> {
    let mut secrets = vec![("the key of the process", serving.key.clone())];
    let app = serving.app();
    secrets.push(("a client secret", app.secret.clone()));
    let rotated =
        serving.ask("POST", &format!("/apps/{}/secrets", app.client_id), Some(&json!({}))).expect(201);
    let new_secret = rotated.text("client_secret");
    secrets.push(("a new client secret", new_secret.clone()));
    let key = json!({ "name": "till", "role": "resource" });
    let operator_key = serving.ask("POST", "/keys", Some(&key)).expect(201).text("key");
    secrets.push(("an operator key", operator_key.clone()));

    // A person approves, with PKCE.
    let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    secrets.push(("a code verifier", verifier.to_owned()));
    let browser = serving.person("ana", "acme");
    let challenge = ("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    let query = [
        ("client_id", app.client_id.as_str()),
        ("scope", "widgets"),
        ("state", "a-state-that-the-app-relies-on"),
        ("redirect_uri", CALLBACK),
        challenge,
        ("code_challenge_method", "S256"),
    ];
    secrets.push(("the state", "a-state-that-the-app-relies-on".to_owned()));
    let form = browser.consent(&encode(&query));
    secrets.push(("a consent form's ticket", form.field("ticket").to_owned()));
    let code = browser.submit(&form, &[("decision", "approve")]).expect(303).param("code").unwrap();
    secrets.push(("a code", code.clone()));
    secrets.extend(browser.cookies().into_values().map(|cookie| ("a session cookie", cookie)));

    // Wrong, by Basic; then right, in the body; then again.
    let basic = STANDARD.encode(format!("{}:{new_secret}", app.client_id));
    secrets.push(("Basic credentials", basic.clone()));
    let authorization = format!("Basic {basic}");
    let wrong = [("code", code.as_str()), ("redirect_uri", CALLBACK), ("code_verifier", "wrong")];
    serving.http.post_with("/oauth/token", &[("authorization", &authorization)], &wrong).expect(400);
    let right = app.form(&[("code", &code), ("redirect_uri", CALLBACK), ("code_verifier", verifier)]);
    let token = serving.http.post_raw("/oauth/token", &[], &right).expect(200).text("access_token");
    secrets.push(("a token", token.clone()));
    let bearer = format!("Bearer {operator_key}");
    let asked = [("token", token.as_str())];
    let introspected = serving.http.post_with("/oauth/introspect", &[("authorization", &bearer)], &asked);
    assert_eq!(introspected.expect(200).json()["active"], true);
    serving.http.post_raw("/oauth/token", &[], &right).expect(400);

    // A token that is revoked; and what callers get wrong.
    let token = serving.token(&App { secret: new_secret.clone(), ..app.clone() });
    let account = browser.get("/account/apps").expect(200);
    for form in crate::html::forms(&account.body) {
        let csrf = form.hidden.into_iter().filter(|(name, _)| name == "csrf");
        secrets.extend(csrf.map(|(_, value)| ("a form's token", value)));
    }
    serving.http.post_raw("/oauth/revoke", &[], &app.form(&[("token", &token)])).expect(200);
    serving.http.get(&format!("/oauth/token?code={code}&client_secret={new_secret}"));
    serving.http.get(&format!("/apps?access_token={operator_key}"));
    serving.http.get(&format!("/{token}"));
    serving.http.post_raw("/oauth/token", &[], &format!("code={code}&code={code}"));
    let json = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let misplaced = json!({ "client_secret": new_secret }).to_string();
    serving.http.send("POST", "/apps", &json, Some(misplaced.as_bytes()));
    secrets.push(("a revoked token", token));
    secrets
}

#[test]
fn no_secret_is_in_a_log_or_a_file() {
    for (filter, format) in [("trace", "text"), ("trace", "json"), ("debug", "text")] {
        let site = Site::with(&[("LOG_FILTER", filter), ("LOG_FORMAT", format)]);
        let mut serving = site.serve();
        let secrets = use_everything(&serving);
        assert!(secrets.len() > 12, "{secrets:?}");
        for (what, secret) in &secrets {
            assert!(secret.len() > 16, "{what}: {secret:?}");
        }
        let look = |serving: &Serving| {
            let log = serving.log();
            assert!(log.contains("/oauth/token"), "it logs nothing: {log}");
            let files = fs::read_dir(site.data()).unwrap().map(|entry| entry.unwrap().path());
            let mut places = vec![("stderr".to_owned(), log.into_bytes())];
            for path in files {
                let name = path.file_name().unwrap().to_str().unwrap().to_owned();
                if !SECRET_FILES.contains(&name.as_str()) {
                    places.push((name, fs::read(&path).unwrap()));
                }
            }
            for (place, bytes) in places {
                let text = String::from_utf8_lossy(&bytes);
                for (what, secret) in &secrets {
                    let found = text.find(secret.as_str());
                    let around = |at: usize| text[..at].lines().last().unwrap_or_default().to_owned();
                    assert!(found.is_none(), "{what} is in {place} ({filter}) after {:?}", found.map(around));
                }
            }
        };
        look(&serving);
        serving.signal("TERM");
        serving.wait();
        look(&serving);
    }
}
