//! Who acts on the command line, why, and what it stops: said before, recorded, and said again when it is done twice.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::client::{Browser, encode};
use crate::executable::{Place, Serving};

/// What the operating system calls the user of these tests.
pub fn os_user() -> String {
    let output = Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn register(place: &Place) -> Value {
    let app = [
        "--name",
        "Story App",
        "--owner",
        "Owner",
        "--redirect-uri",
        "https://app.example/cb",
        "--scope",
        "faqs",
    ];
    place.json(&[&["app", "register", "--json"][..], &app].concat())
}

/// Installs the app on an account: the id of the installation and of its token.
fn install(serving: &Serving, app: &Value, account: &str) -> (String, String) {
    let browser = Browser::new(&serving.http);
    browser.sign_in("ana", account);
    let [id, secret] = ["client_id", "client_secret"].map(|name| app[name].as_str().unwrap());
    let code =
        browser.approve(&encode(&[("client_id", id), ("scope", "faqs")])).expect(303).param("code").unwrap();
    let form = [("client_id", id), ("client_secret", secret), ("code", &code)];
    let token = serving.http.post("/oauth/token", &form).expect(200).text("access_token");
    let facts = serving.introspect(&token);
    ["installation_id", "jti"].map(|name| facts[name].as_str().unwrap().to_owned()).into()
}

/// The events of a type, oldest first.
fn events(place: &Place, kind: &str) -> Vec<Value> {
    let all = place.ok(&["events"]);
    let all = all.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    all.filter(|event| event["type"] == kind).collect()
}

#[test]
fn who_acts_on_the_command_line_is_the_user_of_the_system() {
    let place = Place::empty();
    register(&place);
    let serving = place.serve();
    register(&place);
    let sudo = |name: &str| {
        let key = ["key", "new", "--name", "k", "--role", "auditor", "--json"];
        let output = place.command(&key).env("SUDO_USER", name).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    // Who called sudo; not what could be taken for an operator key.
    let auditor = sudo("zoë smith");
    sudo("019a0000-0000-7000-8000-000000000000");
    let actors =
        |kind: &str| events(&place, kind).into_iter().map(|event| event["actor"].clone()).collect::<Vec<_>>();
    let me = json!({ "kind": "operator", "id": os_user() });
    assert_eq!(actors("app-registered"), [me.clone(), me]);
    let names: Vec<_> = actors("operator-key-created").iter().map(|actor| actor["id"].clone()).collect();
    assert_eq!(names, [json!("zoë smith"), json!("command line")]);
    // A key that the ledger knows is who asks, whatever is sent along.
    let bearer = format!("Bearer {}", auditor["key"].as_str().unwrap());
    let headers = [("authorization", bearer.as_str()), ("x-grantbook-person", "mallory")];
    serving.http.send("GET", "/audit/events", &headers, None).expect(200);
    let log = serving.stop();
    assert!(log.contains(&format!("operator=\"{}\"", auditor["key_id"].as_str().unwrap())), "{log}");
    assert!(!log.contains("mallory"), "{log}");
}

#[test]
fn what_is_ended_takes_a_reason_and_ending_it_again_says_when_and_by_whom() {
    let place = Place::empty();
    let serving = place.serve();
    let app = register(&place);
    let id = app["client_id"].as_str().unwrap();
    let (on_acme, token) = install(&serving, &app, "acme");
    let (on_globex, _) = install(&serving, &app, "globex");
    let because = ["--reason", "asked for by the customer"];
    let first = place.ok(&[&["token", "revoke", &token][..], &because].concat());
    assert_eq!(first, "The token is refused from now on.\n");
    place.ok(&[&["installation", "uninstall", &on_globex][..], &because].concat());
    let rotated = place.json(&["app", "rotate-secret", id, "--json"]);
    let retired = rotated["secrets"][0]["secret_id"].as_str().unwrap();
    place.ok(&[&["app", "retire-secret", id, retired][..], &because].concat());
    for kind in ["token-revoked", "app-uninstalled"] {
        assert_eq!(events(&place, kind)[0]["data"]["note"], "asked for by the customer", "{kind}");
    }
    assert_eq!(
        events(&place, "app-secret-retired").last().unwrap()["data"]["note"],
        "asked for by the customer"
    );
    assert!(place.ok(&["audit", "explain", &token]).contains("Reason: asked for by the customer."));
    assert_eq!(place.fails(&["token", "revoke", &token, "--reason", " "]).0, 1);

    let by = format!("by operator {}.\n", os_user());
    let time = |kind: &str| events(&place, kind)[0]["recorded_at"].as_str().unwrap().to_owned();
    let again = place.ok(&["token", "revoke", &token]);
    assert!(again.starts_with(&format!("Already revoked at {} {by}", time("token-revoked"))), "{again}");
    assert!(again.contains("asked for by the customer"), "{again}");
    let again = place.ok(&["installation", "uninstall", &on_globex]);
    assert!(
        again.starts_with(&format!("Already uninstalled at {} {by}", time("app-uninstalled"))),
        "{again}"
    );
    let again = place.ok(&["app", "retire-secret", id, retired]);
    assert!(again.starts_with("Already retired at 2") && again.ends_with(&by), "{again}");
    let key = place.json(&["key", "new", "--name", "k", "--role", "auditor", "--json"])["key_id"].clone();
    let retire = ["key", "retire", key.as_str().unwrap(), "--reason", "left"];
    assert_eq!(place.ok(&retire), "The key is refused from now on.\n");
    assert_eq!(place.ok(&retire), format!("Already retired at {} {by}", time("operator-key-retired")));
    // Its last token was revoked, so there is nothing to uninstall: what ended it is said.
    let revoked = place.json(&["installation", "uninstall", &on_acme, "--json"]);
    assert_eq!((&revoked["already"], &revoked["token_ids"]), (&json!(true), &json!([])));
    assert!(revoked["ended_by"]["sentence"].as_str().unwrap().contains(&token), "{revoked}");
    assert_eq!(events(&place, "app-uninstalled").len(), 1, "nothing happened twice");
    assert_eq!(place.fails(&["token", "revoke", "019a0000-0000-7000-8000-000000000000"]).0, 1);
    serving.stop();
}

/// Runs a command on a terminal where somebody types an answer.
fn at_a_terminal(place: &Place, args: &[&str], answer: &str) -> Output {
    let quoted = |arg: &&str| format!("'{arg}'");
    let line = [env!("CARGO_BIN_EXE_grantbook")].iter().chain(args).map(quoted).collect::<Vec<_>>().join(" ");
    let plain = place.command(&[]);
    let mut script = Command::new("script");
    script.args(["-qec", &line, "/dev/null"]).current_dir(place.dir.path());
    script.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut running =
        script.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    running.stdin.take().unwrap().write_all(answer.as_bytes()).unwrap();
    running.wait_with_output().unwrap()
}

#[test]
fn a_person_at_a_terminal_is_told_what_it_stops_and_asked() {
    let place = Place::empty();
    let serving = place.serve();
    let app = register(&place);
    let id = app["client_id"].as_str().unwrap();
    install(&serving, &app, "acme");
    install(&serving, &app, "acme");
    install(&serving, &app, "globex");
    let state = || place.json(&["app", "show", id, "--json"])["status"]["state"].clone();
    let ask = |what: &str, more: &[&str], answer: &str| {
        let output =
            at_a_terminal(&place, &[&["app", what, id, "--reason", "review"][..], more].concat(), answer);
        (output.status.code().unwrap(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (code, said) = ask("suspend", &[], "n\n");
    assert!(
        code == 1 && said.contains("This stops 2 installations, 3 tokens. Go on? [y/N]"),
        "{code}: {said}"
    );
    assert!(said.contains("nothing was done"), "{said}");
    assert_eq!(state(), "active");
    let (code, said) = ask("suspend", &[], "y\n");
    assert_eq!((code, state()), (0, json!("suspended")), "{said}");
    let (code, said) = ask("resume", &[], "yes\n");
    assert!(code == 0 && said.contains("This brings back 2 installations, 3 tokens."), "{code}: {said}");
    let (code, said) = ask("delete", &["--yes"], "");
    assert!(code == 0 && !said.contains("Go on?"), "{code}: {said}");
    assert_eq!(state(), "deleted");
    serving.stop();
}
