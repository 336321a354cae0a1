//! Codes: exchanged once, by the app they were made for, in time.

use std::collections::HashSet;
use std::time::Duration;

use grantbook_events::{Event, InstallationEvent};
use serde_json::json;

use crate::client::Reply;
use crate::harness::{App, Grantbook};
use crate::log::Log;

#[track_caller]
fn assert_invalid_grant(reply: &Reply) {
    assert_eq!(reply.error(), (400, "invalid_grant".to_owned()), "{reply:?}");
}

fn replays(grantbook: &Grantbook) -> usize {
    let is_replay = |event: &Event| matches!(event, Event::Installation(InstallationEvent::CodeReplayed(_)));
    grantbook.events().iter().filter(|recorded| is_replay(&recorded.event)).count()
}

#[test]
fn c1_a_code_is_long_and_its_own() {
    let grantbook = Grantbook::start();
    let app = grantbook.app();
    let browser = grantbook.person("ana", "acme");
    let codes: HashSet<String> = (0..20).map(|_| grantbook.code_of(&browser, &app)).collect();
    assert_eq!(codes.len(), 20);
    for code in &codes {
        // 32 random bytes and 17 that say where it belongs, in base62, and a checksum.
        assert!(code.starts_with("gbc_") && code.len() > 70, "{code}");
        assert!(code[4..].bytes().all(|byte| byte.is_ascii_alphanumeric()), "{code}");
    }
}

#[test]
fn c1_a_code_is_good_for_a_minute() {
    let grantbook = Grantbook::start();
    let app = grantbook.app();
    let (in_time, late) = (grantbook.code(&app), grantbook.code(&app));
    grantbook.clock.advance(Duration::from_micros(60_000_000 - 1));
    grantbook.exchange(&app, &in_time).expect(200);
    grantbook.clock.advance(Duration::from_micros(1));
    assert_invalid_grant(&grantbook.exchange(&app, &late));
}

#[test]
fn c1_a_code_is_good_for_as_long_as_configured() {
    let grantbook = Grantbook::with(&[("CODES_LIFETIME", "10m")]);
    let app = grantbook.app();
    let (in_time, late) = (grantbook.code(&app), grantbook.code(&app));
    grantbook.clock.advance(Duration::from_secs(599));
    grantbook.exchange(&app, &in_time).expect(200);
    grantbook.clock.advance(Duration::from_secs(1));
    assert_invalid_grant(&grantbook.exchange(&app, &late));
}

#[test]
fn c1_a_code_is_for_the_user_the_account_and_the_scope_it_was_made_for() {
    let grantbook = Grantbook::start();
    let app = grantbook.app();
    for (user, account, scope) in
        [("ana", "acme", "faqs"), ("ben", "acme", "widgets"), ("ana", "globex", "contacts")]
    {
        let browser = grantbook.person(user, account);
        let query = crate::client::encode(&[("client_id", &app.client_id), ("scope", scope)]);
        let code = browser.approve(&query).expect(303).param("code").unwrap();
        // What the app says now changes nothing.
        let claimed = [("scope", "conversations"), ("user", "dana"), ("account", "initech")];
        let reply = grantbook.exchange_with(&app, &code, &claimed).expect(200);
        assert_eq!(reply.text("scope"), scope);
        let facts = grantbook.introspect(&reply.text("access_token"));
        assert_eq!(
            (&facts["sub"], &facts["account_id"], &facts["scope"], &facts["client_id"]),
            (&json!(user), &json!(account), &json!(scope), &json!(app.client_id))
        );
    }
}

#[test]
fn c1_what_is_nearly_a_code_is_none() {
    let grantbook = Grantbook::start();
    let app = grantbook.app();
    let code = grantbook.code(&app);
    let token = grantbook.token(&app);
    let touched = |at: usize| {
        let mut bytes = code.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        String::from_utf8(bytes).unwrap()
    };
    let nearly = [
        touched(4),
        touched(code.len() / 2),
        touched(code.len() - 1),
        code[..code.len() - 1].to_owned(),
        format!("{code}A"),
        format!(" {code}"),
        format!("{code}\0"),
        code.replacen("gbc_", "gbt_", 1),
        token.replacen("gbt_", "gbc_", 1),
        token,
        "x".repeat(8000),
        "\u{1f511}".to_owned(),
    ];
    for code in &nearly {
        assert_invalid_grant(&grantbook.exchange(&app, code));
    }
    let missing = grantbook.post("/oauth/token", &app.credentials());
    assert_eq!(missing.error(), (400, "invalid_request".to_owned()));
    grantbook.exchange(&app, &code).expect(200);
}

#[test]
fn c2_of_64_exchanges_at_once_one_gets_the_token() {
    let grantbook = Grantbook::start();
    let app = grantbook.app();
    let code = grantbook.code(&app);
    let start = std::sync::Barrier::new(64);
    let replies: Vec<Reply> = std::thread::scope(|scope| {
        let exchange = || {
            start.wait();
            grantbook.http.post("/oauth/token", &[&app.credentials()[..], &[("code", &code)]].concat())
        };
        // The server stays here: its runtime is not for many threads to share.
        let threads: Vec<_> = (0..64).map(|_| scope.spawn(exchange)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let (won, lost): (Vec<_>, Vec<_>) = replies.iter().partition(|reply| reply.status == 200);
    assert_eq!(won.len(), 1, "{replies:?}");
    lost.into_iter().for_each(assert_invalid_grant);
    // Those who lost replayed a spent code: who won may be the thief (C3).
    assert!(!grantbook.is_active(&won[0].text("access_token")));
    let is_exchange =
        |event: &Event| matches!(event, Event::Installation(InstallationEvent::CodeExchanged(_)));
    assert_eq!(grantbook.events().iter().filter(|recorded| is_exchange(&recorded.event)).count(), 1);
    assert_eq!(replays(&grantbook), 1);
}

#[test]
fn c3_a_replay_ends_the_tokens_of_that_code_and_no_others() {
    let grantbook = Grantbook::start();
    let app = grantbook.app();
    let (code, other) = (grantbook.code(&app), grantbook.token(&app));
    let token = grantbook.exchange(&app, &code).expect(200).text("access_token");
    let replay = grantbook.exchange(&app, &code);
    assert_invalid_grant(&replay);
    let said = replay.text("error_description");
    assert!(said.contains("revoked") && said.contains("presented twice"), "{said}");
    assert!(!grantbook.is_active(&token));
    assert!(grantbook.is_active(&other));
    // Again and again, and the ledger does not grow.
    for _ in 0..3 {
        assert_invalid_grant(&grantbook.exchange(&app, &code));
    }
    assert_eq!(replays(&grantbook), 1);
}

#[test]
fn c3_who_lost_a_race_is_told_why_the_winners_token_is_dead() {
    Log::listen();
    let grantbook = Grantbook::start();
    let app = grantbook.app();
    let code = grantbook.code(&app);
    let replies = [(); 3].map(|()| grantbook.exchange(&app, &code));
    let request_id = replies[1].header("x-request-id");
    let events = grantbook.events();
    let grant_id = events.iter().find_map(|recorded| match &recorded.event {
        Event::Installation(InstallationEvent::CodeReplayed(replayed)) => Some(replayed.grant_id.to_string()),
        _ => None,
    });
    // One line, on the one that ended something.
    let lines = Log::warnings_with(&app.client_id);
    let [line] = &lines[..] else { panic!("{lines:?}") };
    assert!(line.contains(&grant_id.unwrap()) && line.contains(request_id), "{line}");
    assert!(!line.contains(&code) && !line.contains("gbt_"), "{line}");
    // All who came after are told.
    for reply in &replies[1..] {
        assert!(reply.text("error_description").contains("presented"), "{reply:?}");
    }
}

#[test]
fn c3_a_replay_that_is_wrong_otherwise_burns_nothing() {
    let grantbook = Grantbook::start();
    let (app, other) = (grantbook.app(), grantbook.app());
    let challenge = [
        ("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"),
        ("code_challenge_method", "S256"),
    ];
    let verifier = ("code_verifier", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
    let reply = grantbook.person("ana", "acme").approve(&app.query(&challenge)).expect(303);
    let code = reply.param("code").unwrap();
    let token = grantbook.exchange_with(&app, &code, &[verifier]).expect(200).text("access_token");

    let guessed = App { secret: Some("guess".to_owned()), ..app.clone() };
    assert_eq!(grantbook.exchange_with(&guessed, &code, &[verifier]).status, 401);
    assert_invalid_grant(&grantbook.exchange_with(&other, &code, &[verifier]));
    assert_invalid_grant(&grantbook.exchange(&app, &code));
    assert_invalid_grant(&grantbook.exchange_with(&app, &code, &[("code_verifier", &"x".repeat(43))]));
    let elsewhere = [verifier, ("redirect_uri", "https://evil.example/")];
    assert_invalid_grant(&grantbook.exchange_with(&app, &code, &elsewhere));
    assert_eq!(grantbook.exchange_with(&app, &code, &[verifier, ("grant_type", "x")]).status, 400);
    assert!(grantbook.is_active(&token));
    assert_eq!(replays(&grantbook), 0);

    assert_invalid_grant(&grantbook.exchange_with(&app, &code, &[verifier]));
    assert!(!grantbook.is_active(&token));
}

#[test]
fn c4_another_apps_code_is_refused_and_stays_good() {
    let grantbook = Grantbook::start();
    let (app, other, public) = (grantbook.app(), grantbook.app(), grantbook.public_app());
    let code = grantbook.code(&app);
    assert_invalid_grant(&grantbook.exchange(&other, &code));
    assert_invalid_grant(&grantbook.exchange(&public, &code));
    grantbook.exchange(&app, &code).expect(200);
}

#[test]
fn b2_a_public_client_has_no_secret_and_gets_its_own_codes_with_its_own_verifier_alone() {
    let grantbook = Grantbook::start();
    let (public, other, app) = (grantbook.public_app(), grantbook.public_app(), grantbook.app());
    let challenge = [
        ("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"),
        ("code_challenge_method", "S256"),
    ];
    let verifier = [("code_verifier", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")];
    let code = grantbook.person("ana", "acme").approve(&public.query(&challenge)).param("code").unwrap();
    assert_invalid_grant(&grantbook.exchange(&public, &code));
    assert_invalid_grant(&grantbook.exchange_with(&other, &code, &verifier));
    assert_invalid_grant(&grantbook.exchange_with(&app, &code, &verifier));
    let with_secret = App { secret: Some("guess".to_owned()), ..public.clone() };
    let refused = grantbook.exchange_with(&with_secret, &code, &verifier);
    assert_eq!(refused.error(), (401, "invalid_client".to_owned()));
    let token = grantbook.exchange_with(&public, &code, &verifier).expect(200).text("access_token");
    assert!(grantbook.is_active(&token));
}

#[test]
fn c5_a_code_dies_with_a_suspension_and_resuming_does_not_bring_it_back() {
    let grantbook = Grantbook::start();
    let app = grantbook.app();
    let code = grantbook.code(&app);
    let admin = grantbook.admin();
    for what in ["suspend", "resume"] {
        grantbook.clock.advance(Duration::from_secs(1));
        admin
            .post(&format!("/apps/{}/{what}", app.client_id), &json!({ "reason": "looked into" }))
            .expect(200);
    }
    assert_invalid_grant(&grantbook.exchange(&app, &code));
    grantbook.clock.advance(Duration::from_secs(1));
    grantbook.exchange(&app, &grantbook.code(&app)).expect(200);
}

#[test]
fn c5_a_code_dies_with_an_uninstall_of_its_account() {
    let grantbook = Grantbook::start();
    let app = grantbook.app();
    let token = grantbook.token(&app);
    let (ended, kept) = (grantbook.code(&app), grantbook.code_of(&grantbook.person("chen", "globex"), &app));
    let installation = grantbook.introspect(&token)["installation_id"].as_str().unwrap().to_owned();
    grantbook.admin().delete(&format!("/installations/{installation}")).expect(200);
    assert_invalid_grant(&grantbook.exchange(&app, &ended));
    grantbook.exchange(&app, &kept).expect(200);
    grantbook.exchange(&app, &grantbook.code(&app)).expect(200);
}

#[test]
fn c5_a_code_dies_with_its_app() {
    let grantbook = Grantbook::start();
    let app = grantbook.app();
    let code = grantbook.code(&app);
    grantbook.admin().delete(&format!("/apps/{}?reason=gone", app.client_id)).expect(204);
    assert_eq!(grantbook.exchange(&app, &code).error(), (401, "invalid_client".to_owned()));
}
