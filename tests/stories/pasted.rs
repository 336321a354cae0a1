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
