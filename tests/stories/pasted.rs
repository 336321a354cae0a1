//! Tokens that are pasted at the command line: read from stdin, and printed nowhere.

use std::io::Write as _;
use std::process::{Output, Stdio};

use serde_json::Value;

use crate::client::{Browser, encode};
use crate::executable::{Place, Serving};
use crate::harness::touched;

/// Runs a command with this on its stdin.
fn piped(place: &Place, args: &[&str], stdin: &str) -> Output {
    let mut command = place.command(args);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A command that takes none may have ended.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    child.wait_with_output().unwrap()
}

/// What such a command prints that must go well; the token is not in it.
#[track_caller]
fn told(place: &Place, args: &[&str], token: &str) -> String {
    let output = piped(place, args, &format!("  {token}\r\nmore\n"));
    assert!(output.status.success(), "{args:?}: {output:?}");
    assert!(!format!("{output:?}").contains(token), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The one line on stderr of a command that must fail; the token is not in it.
#[track_caller]
fn refused(place: &Place, args: &[&str], stdin: &str) -> (i32, String) {
    let output = piped(place, args, stdin);
    assert!(!output.status.success() && output.stdout.is_empty(), "{output:?}");
    assert!(stdin.trim().is_empty() || !format!("{output:?}").contains(stdin.trim()), "{output:?}");
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

/// Two tokens of ana's on acme.
fn tokens(place: &Place, serving: &Serving) -> [String; 2] {
    let callback = "https://app.example/callback";
    let register = ["app", "register", "--json", "--name", "App", "--owner", "Owner", "--scope", "widgets"];
    let app = place.json(&[&register[..], &["--redirect-uri", callback]].concat());
    let text = |name: &str| app[name].as_str().unwrap();
    let browser = Browser::new(&serving.http);
    browser.sign_in("ana", "acme");
    let query = encode(&[("client_id", text("client_id")), ("scope", "widgets")]);
    [(); 2].map(|()| {
        let code = browser.approve(&query).param("code").unwrap();
        let form =
            [("client_id", text("client_id")), ("client_secret", text("client_secret")), ("code", &code)];
        serving.http.post("/oauth/token", &form).expect(200).text("access_token")
    })
}

#[test]
fn l1_a_found_token_is_ended_with_a_server_and_without() {
    let place = Place::empty();
    let serving = place.serve();
    let [one, other] = tokens(&place, &serving);
    let leaked = ["token", "leaked", "--stdin", "--reason", "in a ticket"];
    let told_of = told(&place, &leaked, &one);
    assert!(told_of.contains("not valid") && told_of.contains("because it had leaked. Reason: in a ticket."));
    assert!(told_of.contains("on account acme, user ana"), "{told_of}");
    assert_eq!(serving.introspect(&one)["active"], false);
    assert_eq!(serving.introspect(&other)["active"], true);
    let log = serving.stop();
    assert!(!log.contains(&one), "{log}");
    let ended: Value =
        serde_json::from_str(&told(&place, &[&leaked[..], &["--json"]].concat(), &other)).unwrap();
    assert_eq!(ended["state"], "ended");
    let serving = place.serve();
    assert_eq!(serving.introspect(&other)["active"], false);
    serving.stop();

    let (code, why) = refused(&place, &leaked, &touched(&one));
    assert!(code == 1 && why.contains("no such token was ever issued"), "{why}");
    let (code, why) = refused(&place, &leaked, " \n");
    assert!(code == 2 && why.contains("--stdin takes a token"), "{why}");
    let (code, why) = refused(&place, &["token", "leaked"], &one);
    assert!(code == 2 && why.contains("--stdin"), "{why}");
}

#[test]
fn a_pasted_token_is_asked_about_with_a_server_and_without() {
    let place = Place::empty();
    let serving = place.serve();
    let [token, _] = tokens(&place, &serving);
    let id = serving.introspect(&token)["jti"].as_str().unwrap().to_owned();
    let ask = || {
        let answer = told(&place, &["audit", "token", "--stdin", "--json"], &token);
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!((&answer["token_id"], &answer["valid"]), (&Value::from(id.as_str()), &Value::from(true)));
        let before = told(&place, &["audit", "token", "--stdin", "--as-of", "1"], &token);
        assert!(before.contains("not valid") && before.contains("was issued later"), "{before}");
        let story = told(&place, &["audit", "explain", "--stdin"], &token);
        assert_eq!(story, place.ok(&["audit", "explain", &id]));
        let (code, why) = refused(&place, &["audit", "token", "--stdin"], &touched(&token));
        assert!(code == 1 && why.contains("no such token was ever issued"), "{why}");
    };
    ask();
    let log = serving.stop();
    assert!(log.contains("the question is about this token") && !log.contains(&token), "{log}");
    ask();
    for args in [&["audit", "token"][..], &["audit", "explain"], &["audit", "token", &id, "--stdin"]] {
        assert_eq!(refused(&place, args, "").0, 2, "{args:?}");
    }
}
