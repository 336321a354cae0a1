//! What is handed over once is nowhere else: not in the log, the metrics, the events or the files.

use std::path::Path;

use grantbook::secrets;
use grantbook::store::{SqliteOptions, SqliteStore};
use serde_json::json;

use crate::client::{Pairs, encode};
use crate::harness::{App, Given, Grantbook, START};
use crate::log::Log;

/// All bytes of the files in a directory.
fn bytes_of(dir: &Path) -> Vec<u8> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| std::fs::read(path).unwrap()).collect()
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// The parts of a URI and of headers that are nobody else's business, in requests that go wrong.
fn go_wrong(grantbook: &Grantbook, app: &App, secrets: &[&str]) {
    let guessed = App { secret: Some(secrets[0].to_owned()), ..app.clone() };
    for secret in secrets {
        let query = encode(&[("client_secret", secret)]);
        let bearer = format!("Bearer {secret}");
        let headers: Pairs<'_> = &[("authorization", &bearer), ("x-request-id", "plain")];
        grantbook.post(&format!("/oauth/token?{query}"), &[("code", secret)]);
        grantbook.post_with("/oauth/token", headers, &[("code", secret)]);
        grantbook.exchange(&guessed, secret);
        grantbook.exchange_with(app, secret, &[("code_verifier", secret), ("redirect_uri", secret)]);
        grantbook.exchange_with(app, secret, &[("grant_type", secret)]);
        grantbook
            .post("/oauth/revoke", &[("client_id", secret), ("client_secret", secret), ("token", secret)]);
        grantbook.post("/oauth/introspect", &[("token", secret)]);
        grantbook.send("GET", &format!("/apps/{secret}?key={secret}"), headers, None);
        grantbook.send("GET", &format!("/{secret}"), headers, None);
        grantbook.send(
            "GET",
            &format!("/oauth/authorize?{query}"),
            &[("cookie", &format!("grantbook={secret}"))],
            None,
        );
        let admin = grantbook.admin();
        admin.get(&format!("/installations?account={secret}"));
        admin.post("/keys", &json!({ "name": "x", "role": secret, "key": secret }));
        admin.delete(&format!("/tokens/{secret}?reason={secret}"));
        for path in ["/audit/token", "/audit/token/timeline"] {
            admin.post(path, &json!({ "token": secret }));
            admin.post(path, &json!({ "token": [secret] }));
        }
        grantbook.send("POST", &format!("/oauth/userinfo?access_token={secret}"), headers, None);
        grantbook.send("GET", "/oauth/userinfo", headers, None);
    }
}

#[test]
fn t8_no_secret_is_logged_counted_recorded_or_kept() {
    Log::listen();
    let ledger = tempfile::tempdir().unwrap();
    let options = SqliteOptions { identity: secrets::new_ledger_identity(), now: START };
    let store = SqliteStore::open(ledger.path(), options).unwrap();
    let grantbook = Grantbook::given(Given { store: Some(store), ..Given::default() });
    let verifier = "the-verifier-of-this-story-dBjftJeZ4CVP-mB92K27uhbU";
    let challenge = secrets::s256_challenge(verifier);
    let operator = grantbook.operator("resource");
    let registered = grantbook.admin().post(
        "/apps",
        &json!({
            "name": "App", "owner": "Owner", "redirect_uris": ["https://app.example/callback"],
            "scopes": ["widgets"],
        }),
    );
    let app = App { client_id: registered.text("client_id"), secret: Some(registered.text("client_secret")) };
    let rotated = grantbook.admin().post(&format!("/apps/{}/secrets", app.client_id), &json!({})).expect(201);
    let browser = grantbook.person("ana", "acme");
    let query = app.query(&[
        ("state", "the-state-of-this-story"),
        ("code_challenge", &challenge.to_string()),
        ("code_challenge_method", "S256"),
    ]);
    let form = browser.consent(&query);
    let code = browser.submit(&form, &[("decision", "approve")]).expect(303).param("code").unwrap();
    let verified = [("code_verifier", verifier)];
    let token = grantbook.exchange_with(&app, &code, &verified).expect(200).text("access_token");
    let bearer = format!("Bearer {}", operator.key);
    let asked = grantbook.post_with("/oauth/introspect", &[("authorization", &bearer)], &[("token", &token)]);
    assert_eq!(asked.expect(200).json()["active"], true);
    let (secret, cookie) = (app.secret.clone().unwrap(), browser.cookies().remove("grantbook").unwrap());
    let all = [
        secret.as_str(),
        &rotated.text("client_secret"),
        &code,
        &token,
        &operator.key,
        verifier,
        &cookie,
        form.field("ticket"),
    ];
    go_wrong(&grantbook, &app, &all);
    grantbook.exchange_with(&app, &code, &verified).expect(400);
    assert!(!grantbook.is_active(&token), "the replay is an event, too");
    for secret in &all {
        grantbook.post(&format!("/oauth/leaked?token={secret}"), &[("token", secret)]);
        grantbook.admin().post("/tokens/leaked", &json!({ "token": secret, "note": "found" }));
    }

    let metrics = grantbook.get("/metrics").expect(200).body;
    let pages =
        [browser.get("/account/apps"), grantbook.admin().get("/apps"), grantbook.admin().get("/keys")];
    let shown: String = pages.into_iter().map(|reply| reply.expect(200).body).collect();
    let events = format!("{:?}", grantbook.events());
    let debug = format!("{:?}", grantbook.ledger());
    let installation = grantbook.admin().all("/installations?account=acme", 9).remove(0);
    let id = installation["installation_id"].as_str().unwrap();
    let history = json!(grantbook.admin().all(&format!("/installations/{id}/events"), 50)).to_string();
    drop(grantbook);
    let (log, files) = (Log::text(), bytes_of(ledger.path()));
    // There is something to look in.
    assert!(log.contains("route=\"/oauth/token\"") && log.contains("TRACE"), "{log}");
    assert!(
        contains(&files, &app.client_id) && events.contains("acme") && history.contains("access-granted")
    );

    let texts = [
        ("log", &log),
        ("metrics", &metrics),
        ("pages", &shown),
        ("events", &events),
        ("history", &history),
        ("debug", &debug),
    ];
    for secret in all.iter().chain(&["the-state-of-this-story"]) {
        // Its end alone is enough to know it: the beginning of a code or a token says where it belongs.
        let tail = &secret[secret.len().saturating_sub(24)..];
        for (place, text) in texts {
            assert!(!text.contains(tail), "{secret} is in the {place}");
        }
        assert!(!contains(&files, tail), "{secret} is in the files");
    }
}
