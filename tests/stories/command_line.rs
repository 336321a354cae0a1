//! The command line as operators and their scripts use it: what it prints, and how it ends.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::executable::Place;

const APP: [&str; 8] = [
    "--name",
    "Story App",
    "--owner",
    "Story Owner",
    "--redirect-uri",
    "https://app.example/callback",
    "--scope",
    "widgets",
];

fn register(place: &Place) -> Value {
    place.json(&[&["app", "register", "--json"][..], &APP].concat())
}

/// The commands work on a ledger that nobody serves, and ask the server where one does.
#[test]
fn an_app_is_managed_with_a_server_and_without() {
    let place = Place::empty();
    let app = register(&place);
    let id = app["client_id"].as_str().unwrap();
    assert!(app["client_secret"].as_str().unwrap().starts_with("gbs_"));
    let manage = || {
        let rotated = place.json(&["app", "rotate-secret", id, "--json"]);
        let retired = rotated["secret_id"].as_str().unwrap();
        place.ok(&["app", "retire-secret", id, retired]);
        let changed = place.json(&["app", "update", id, "--owner", "Other", "--json"]);
        assert_eq!((&changed["owner"], &changed["name"]), (&json!("Other"), &json!("Story App")));
        let suspended = place.json(&["app", "suspend", id, "--reason", "abuse", "--json"]);
        assert_eq!(suspended["status"]["state"], "suspended");
        let resumed = place.json(&["app", "resume", id, "--reason", "sorry", "--json"]);
        assert_eq!(resumed["status"]["state"], "active");
        assert!(place.ok(&["app", "list"]).contains(id));
        assert!(place.ok(&["app", "show", id]).contains("Other"));
    };
    manage();
    let serving = place.serve();
    manage();
    let control = place.data().join("control.json");
    assert!(control.exists());
    serving.stop();
    assert!(!control.exists(), "a server that has stopped leads nobody to itself");
    place.ok(&["app", "delete", id, "--reason", "done"]);
    assert_eq!(place.json(&["app", "show", id, "--json"])["status"]["state"], "deleted");
}

#[test]
fn r1_an_app_gets_refresh_tokens_by_its_flags_or_by_the_configuration() {
    let place = Place::empty();
    let flags =
        ["--refresh", "--access-lifetime", "2h", "--refresh-idle", "30d", "--refresh-lifetime", "365d"];
    let app = place.json(&[&["app", "register", "--json"][..], &flags, &APP].concat());
    let policy = |seconds: u64, idle: u64| json!({ "lifetime_seconds": seconds, "refresh": { "idle_seconds": idle, "lifetime_seconds": null } });
    let refresh = json!({ "idle_seconds": 2_592_000, "lifetime_seconds": 31_536_000 });
    assert_eq!(app["token_policy"], json!({ "lifetime_seconds": 7200, "refresh": refresh }));
    let id = app["client_id"].as_str().unwrap();
    let update = |flags: &[&str]| {
        place.json(&[&["app", "update", id, "--json"][..], flags].concat())["token_policy"].clone()
    };
    assert_eq!(update(&["--refresh"]), policy(3600, 7_776_000));
    assert_eq!(update(&["--access-lifetime", "5m"]), json!({ "lifetime_seconds": 300 }));
    assert_eq!(update(&["--no-token-lifetime"]), json!({ "lifetime_seconds": null }));
    assert_eq!(place.fails(&[&["app", "register", "--refresh-idle", "30d"][..], &APP].concat()).0, 2);
}

#[test]
fn an_app_may_have_default_scopes_and_may_have_to_push_its_requests() {
    let place = Place::empty();
    let app = place.json(
        &[&["app", "register", "--json", "--default-scope", "brands", "--require-par"][..], &APP].concat(),
    );
    let id = app["client_id"].as_str().unwrap();
    let facts = |app: &Value| (app["default_scopes"].clone(), app["requires_pushed_requests"].clone());
    assert_eq!(facts(&app), (json!(["widgets"]), json!(true)));
    let update = |change: &[&str]| place.json(&[&["app", "update", id, "--json"], change].concat());
    assert_eq!(facts(&update(&["--no-require-par"])), (json!(["widgets"]), json!(false)));
    assert_eq!(facts(&update(&["--no-default-scopes", "--require-par"])), (json!([]), json!(true)));
    assert_eq!(facts(&update(&["--default-scope", "faqs"])), (json!(["faqs"]), json!(true)));
}

/// Whoever copies the directory of a server that runs works on the copy.
#[test]
fn a_copy_of_a_served_directory_is_not_the_served_one() {
    let (place, copy) = (Place::empty(), Place::empty());
    let id = register(&place)["client_id"].as_str().unwrap().to_owned();
    std::fs::create_dir(copy.data()).unwrap();
    std::fs::copy(place.data().join("ledger.db"), copy.data().join("ledger.db")).unwrap();
    let serving = place.serve();
    std::fs::copy(place.data().join("control.json"), copy.data().join("control.json")).unwrap();
    copy.ok(&["app", "suspend", &id, "--reason", "only here"]);
    let state = |place: &Place| place.json(&["app", "show", &id, "--json"])["status"]["state"].clone();
    assert_eq!((state(&place), state(&copy)), (json!("active"), json!("suspended")));
    serving.stop();
}

#[test]
fn a_secret_is_shown_once_to_people_too() {
    let place = Place::empty();
    let shown = place.ok(&[&["app", "register"][..], &APP].concat());
    assert!(shown.contains("gbs_") && shown.contains("it will not be shown again"), "{shown}");
    let key = place.ok(&["key", "new", "--name", "our API", "--role", "resource"]);
    assert!(key.contains("gbk_"), "{key}");
    for later in [&["app", "list", "--json"][..], &["key", "list", "--json"], &["events"]] {
        let said = place.ok(later);
        assert!(!said.contains("gbs_") && !said.contains("gbk_"), "{said}");
    }
}

#[test]
fn a_key_of_the_ledger_reaches_a_server_by_its_address() {
    let place = Place::empty();
    let auditor = place.json(&["key", "new", "--name", "audit", "--role", "auditor", "--json"]);
    let key = auditor["key"].as_str().unwrap();
    let serving = place.serve();
    let ask = |args: &[&str], key: &str| {
        let mut command = place.command(args);
        command.args(["--server", serving.http.base()]).env("GRANTBOOK_KEY", key).output().unwrap()
    };
    assert!(ask(&["app", "list"], key).status.success());
    let refused = ask(&["key", "retire", auditor["key_id"].as_str().unwrap(), "--reason", "x"], key);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&refused.stderr).contains("the role of this operator key"),
        "{refused:?}"
    );
    let unknown = ask(&["app", "list"], "gbk_unknown");
    assert_eq!(unknown.status.code(), Some(1), "{unknown:?}");
    place.ok(&["key", "retire", auditor["key_id"].as_str().unwrap(), "--reason", "left"]);
    assert_eq!(ask(&["app", "list"], key).status.code(), Some(1));
    serving.stop();
}

#[test]
fn a_question_about_history_is_logged_where_no_server_runs_too() {
    let place = Place::empty();
    register(&place);
    let logged = |args: &[&str]| {
        let output = place.run(args);
        let [stdout, stderr] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        assert!(!stdout.contains("history was asked about"), "{args:?}: {stdout}");
        let lines: Vec<String> = stderr.lines().map(str::to_owned).collect();
        (stdout, lines)
    };
    let asked = ["audit", "events", "--account", "acme", "--reason", "gbt_oops", "--json"];
    let (stdout, lines) = logged(&asked);
    assert_eq!(stdout, "", "a reason that no event has");
    assert_eq!(lines.len(), 2, "{lines:?}");
    let user = crate::who_and_why::os_user();
    assert!(lines[0].contains(&format!("history was asked about operator=\"{user}\"")), "{lines:?}");
    let question = "path=\"/audit/events\" question=\"account=acme&reason=%28a+secret%29\" request_id=";
    assert!(lines[0].contains(question), "{lines:?}");
    for asked in [
        &["audit", "events", "--format", "csv"][..],
        &["audit", "events", "--json"],
        &["audit", "installations", "--account", "acme", "--json"],
        &["audit", "diff", "--account", "acme", "--from", "1"],
    ] {
        let (stdout, lines) = logged(asked);
        assert!(lines.len() == 1 && lines[0].contains("history was asked about"), "{asked:?}: {lines:?}");
        if asked.contains(&"--json") {
            serde_json::from_str::<Value>(&stdout).unwrap();
        }
    }
    // What a server that is started for it changes or reads is not logged, and no key is.
    for other in [&["key", "new", "--name", "k", "--role", "auditor"][..], &["app", "list"]] {
        assert_eq!(logged(other).1, [""; 0], "{other:?}");
    }
    let json = place.command(&["audit", "events"]).env("GRANTBOOK_LOG_FORMAT", "json").output().unwrap();
    let line: Value = serde_json::from_slice(&json.stderr).unwrap();
    assert_eq!((&line["operator"], &line["path"]), (&json!(user), &json!("/audit/events")));
    // The server that runs has the line, and the command has none.
    let serving = place.serve();
    assert_eq!(logged(&["audit", "events"]).1, [""; 0]);
    assert!(serving.stop().contains("history was asked about"));
}

#[test]
fn events_are_one_object_a_line_and_go_on_when_followed() {
    let place = Place::empty();
    register(&place);
    let serving = place.serve();
    let mut following = place.command(&["events", "--follow"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(following.stdout.take().unwrap()).lines();
    let mut next = || serde_json::from_str::<Value>(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!(next()["type"], "app-registered");
    let app = register(&place);
    let seen = next();
    assert_eq!(seen["data"]["client_id"], app["client_id"]);
    assert_eq!((&seen["position"], &seen["revision"]), (&json!(2), &json!(0)));
    following.kill().unwrap();
    following.wait().unwrap();
    let all = place.ok(&["events"]);
    assert_eq!(all.lines().count(), 2);
    assert_eq!(place.ok(&["events", "--after", "1"]).lines().count(), 1);
    assert!(!all.contains("digest"), "{all}");
    serving.stop();
}

#[test]
fn a_backup_made_beside_a_server_is_a_ledger_elsewhere() {
    let (place, elsewhere) = (Place::empty(), Place::empty());
    register(&place);
    let serving = place.serve();
    register(&place);
    let file = elsewhere.dir.path().join("backup.db");
    let file = file.to_str().unwrap();
    assert_eq!(place.json(&["backup", file, "--json"])["position"], 2);
    assert_eq!(place.fails(&["backup", file]).0, 1, "nothing is replaced");
    register(&place);
    assert_eq!(elsewhere.json(&["restore", file, "--json"])["position"], 2);
    assert_eq!(elsewhere.fails(&["restore", file]).0, 1, "nothing is replaced");
    let kept: Vec<_> = place.ok(&["events"]).lines().take(2).map(str::to_owned).collect();
    assert_eq!(elsewhere.ok(&["events"]).lines().collect::<Vec<_>>(), kept);
    serving.stop();
    let serving = elsewhere.serve();
    assert_eq!(serving.ask("GET", "/apps", None).json()["items"].as_array().unwrap().len(), 2);
    serving.stop();
}

#[test]
fn what_is_wrong_is_said_in_one_line_with_an_exit_code() {
    let place = Place::empty();
    let (code, said) = place.fails(&["events"]);
    assert_eq!((code, said.lines().count()), (1, 1), "{said}");
    assert!(!place.data().exists(), "looking makes nothing");
    register(&place);
    let nobody = "0".repeat(32);
    assert_eq!(
        place.fails(&["app", "show", &nobody]),
        (1, "grantbook: no such app (not_found)\n".to_owned())
    );
    assert_eq!(place.fails(&["app", "show", "x"]).0, 2);
    assert_eq!(place.fails(&["nonsense"]).0, 2);
    std::fs::write(place.dir.path().join("grantbook.toml"), "[limits]\nbody = \"1\"\n").unwrap();
    let (code, said) = place.fails(&["config", "check"]);
    assert_eq!(code, 2);
    assert!(said.contains("grantbook.toml:2:8: limits.body is"), "{said}");
    std::fs::write(place.dir.path().join("grantbook.toml"), "[codes]\nlifetime = \"90s\"\n").unwrap();
    assert!(place.ok(&["config", "check"]).contains("90s"));
}

#[test]
fn a_configuration_is_checked_to_its_end_for_people_and_for_programs() {
    let place = Place::empty();
    let right = place.json(&["config", "check", "--json"]);
    assert_eq!(right["ok"], true);
    let settings = right["settings"].as_array().unwrap();
    let of = |key: &str| settings.iter().find(|setting| setting["key"] == key).unwrap();
    assert_eq!((&of("sign_in.mode")["value"], &of("issuer")["source"]), (&json!("dev"), &json!("default")));
    assert_eq!(of("sign_in.key_file")["value"], Value::Null);
    assert_eq!(right["scopes"][0]["name"], "widgets");

    std::fs::write(place.dir.path().join("grantbook.toml"), "[limits]\nbody = \"1\"\nheed = \"1\"\n")
        .unwrap();
    let check = |args: &[&str]| place.command(args).env("GRANTBOOK_LOG_FORMAT", "xml").output().unwrap();
    let places = ["grantbook.toml:2:8", "grantbook.toml:3:1", "GRANTBOOK_LOG_FORMAT"];
    for args in [&["config", "check"][..], &["config", "check", "--json"], &["app", "list"], &["serve"]] {
        let output = check(args);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), said.lines().count()), (Some(2), 3), "{args:?}: {said}");
        for (line, place) in said.lines().zip(places) {
            assert!(line.starts_with(&format!("grantbook: {place}: ")), "{args:?}: {line}");
        }
    }
    let wrong: Value = serde_json::from_slice(&check(&["config", "check", "--json"]).stdout).unwrap();
    assert_eq!((&wrong["ok"], &wrong["mistakes"][0]["place"]), (&json!(false), &json!(places[0])));
    assert_eq!(wrong["mistakes"].as_array().unwrap().len(), 3);
}

/// A pod beside a service of our name has variables that look like ours.
#[test]
fn links_to_a_service_and_empty_variables_are_no_settings() {
    let place = Place::empty();
    let mut command = place.command(&["config", "check"]);
    for (name, value) in [
        ("GRANTBOOK_SERVICE_HOST", "10.0.0.1"),
        ("GRANTBOOK_SERVICE_PORT", "8700"),
        ("GRANTBOOK_PORT", "tcp://10.0.0.1:8700"),
        ("GRANTBOOK_PORT_8700_TCP_ADDR", "10.0.0.1"),
        ("GRANTBOOK_ISSUER", ""),
    ] {
        command.env(name, value);
    }
    let output = command.output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let empty = place.command(&["config", "check"]).env("GRANTBOOK_CONFIG", "").output().unwrap();
    assert_eq!(empty.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&empty.stderr).starts_with("grantbook: GRANTBOOK_CONFIG: it is empty"));
}

#[test]
fn one_ledger_is_served_once_and_a_port_is_taken_once() {
    let place = Place::empty();
    let serving = place.serve();
    let second = place.fails(&["serve"]);
    assert_eq!(second.0, 1, "{second:?}");
    assert!(second.1.contains("is in use by process"), "{second:?}");
    let other = Place::empty();
    let taken = serving.http.base().trim_start_matches("http://");
    let (code, said) = other.fails(&["serve", "--listen", taken]);
    assert_eq!(code, 1);
    assert!(said.contains(&format!("cannot listen on {taken}: another program has the port")), "{said}");
    let mut elsewhere = other.command(&["serve", "--listen", "192.0.2.1:0", "--issuer", "https://a.example"]);
    let refused = elsewhere.env("GRANTBOOK_SIGN_IN_MODE", "none").output().unwrap();
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("192.0.2.1 is no address of this machine"), "{said}");
    assert!(!other.data().exists(), "a taken port changes nothing");
    place.ok(&["app", "list"]);
    serving.stop();
}

/// A replay reads what is there, beside a server or without one, and changes nothing.
#[test]
fn a_replay_goes_back_in_time_and_comes_to_the_same_beside_a_server() {
    let place = Place::empty();
    let id = register(&place)["client_id"].as_str().unwrap().to_owned();
    place.ok(&["app", "suspend", &id, "--reason", "abuse"]);
    let alone = place.json(&["replay", "run", "--json"]);
    assert_eq!((&alone["events"], &alone["live"]["apps"]), (&json!(2), &json!(1)));
    let serving = place.serve();
    assert_eq!(place.json(&["replay", "run", "--json"]), alone);
    let state = |until: &str| -> Value {
        serde_json::from_str(&place.ok(&["replay", "run", "--until", until, "--dump"])).unwrap()
    };
    assert_eq!(
        (state("1")["status"].as_str(), state("2")["status"].as_str()),
        (Some("active"), Some("suspended"))
    );
    assert_eq!(place.ok(&["replay", "run", "--until", "2020-01-01T00:00:00Z", "--dump"]), "");
    let plan = place.json(&["replay", "plan", "--json"]);
    assert_eq!((&plan["events"], &plan["position"]), (&json!(2), &json!(2)));
    serving.stop();
    let said = place.ok(&["replay", "run"]);
    assert!(said.contains("2 events folded, up to position 2") && said.contains("app-suspended"), "{said}");
    assert!(place.ok(&["replay", "plan"]).contains("app-registered (version 1)"));
    let (code, said) = place.fails(&["replay", "run", "--until", "then"]);
    assert!(code == 2 && said.contains("nor a time: a time is"), "{code}: {said}");
}
