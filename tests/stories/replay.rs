//! Operators who prove that the present follows from the past: verifying, rebuilding, and what becomes of a
//! snapshot that cannot be trusted.

use std::fs;

use serde_json::json;

use crate::executable::Place;

fn register(place: &Place) {
    let uri = "https://app.example/callback";
    let app = ["--name", "A", "--owner", "O", "--redirect-uri", uri, "--scope", "widgets"];
    place.ok(&[&["app", "register"][..], &app].concat());
}

#[test]
fn what_is_served_is_proven_and_built_again_while_it_is_served() {
    let place = Place::empty();
    register(&place);
    let alone = place.ok(&["replay", "verify"]);
    assert!(alone.contains("the ledger is sound: 1 events"), "{alone}");
    assert!(alone.contains("no server serves this ledger here"), "{alone}");
    assert!(place.ok(&["replay", "plan"]).contains("no snapshots"));

    let serving = place.serve();
    register(&place);
    let written = serving.ask("POST", "/projections/live/snapshots", None).expect(201).json();
    assert_eq!(written, json!({ "position": 2 }));
    let verified = place.json(&["replay", "verify", "--json"]);
    let whats: Vec<_> =
        verified["compared"].as_array().unwrap().iter().map(|same| same["what"].as_str().unwrap()).collect();
    let snapshot = "snapshot live-00000000000000000002.snapshot";
    assert_eq!((&verified["sound"], &verified["served"]), (&json!(true), &json!(true)));
    assert!(
        whats.contains(&"the live projection of the running server") && whats.contains(&snapshot),
        "{whats:?}"
    );

    let rebuilt = place.ok(&["replay", "rebuild", "--projection", "live"]);
    assert_eq!(rebuilt, "live is rebuilt of 2 events, up to position 2: the old copy was the same\n");
    let projections = serving.ask("GET", "/projections", None).expect(200).json();
    let live = &projections["items"][0];
    assert_eq!((&live["name"], &live["position"]), (&json!("live"), &json!(2)));
    assert_eq!(live["digest"], place.json(&["replay", "run", "--json"])["live"]["digest"]);
    assert_eq!(live["rebuild"]["state"], "same");
    assert!(place.ok(&["replay", "plan"]).contains("a start folds only what is after position 2"));
    let (code, said) = place.fails(&["replay", "rebuild", "--projection", "dead"]);
    assert!(code == 2 && said.contains("use live or history"), "{code}: {said}");
    let (code, said) = place.fails(&["replay", "verify", "--server", "http://127.0.0.1:1"]);
    assert!(code == 2 && said.contains("run it where the ledger is"), "{code}: {said}");
    serving.stop();
    assert_eq!(place.ok(&["replay", "quarantine"]), "no stream is in quarantine\n");
    // Without a server, one is started for it.
    assert_eq!(place.json(&["replay", "rebuild", "--projection", "live", "--json"])["state"], "same");
}

#[test]
fn a_snapshot_that_was_changed_is_named_and_not_used() {
    let place = Place::empty();
    register(&place);
    let serving = place.serve();
    serving.ask("POST", "/projections/live/snapshots", None).expect(201);
    serving.stop();
    let path = place.data().join("snapshots/live-00000000000000000001.snapshot");
    let mut bytes = fs::read(&path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&path, bytes).unwrap();
    let verify = || {
        let output = place.run(&["replay", "verify"]);
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, said) = verify();
    assert!(code == Some(1) && said.contains("live-0000") && said.contains("it is damaged"), "{said}");
    assert!(!said.contains("sound"), "{said}");
    let planned = place.ok(&["replay", "plan"]);
    assert!(planned.contains("is skipped: it is damaged"), "{planned}");
    let serving = place.serve();
    let projections = serving.ask("GET", "/projections", None).expect(200).json();
    assert_eq!(projections["items"][0]["position"], 1);
    let (code, said) = verify();
    assert_eq!(code, Some(1), "it is there still, beside a server that is right");
    assert!(said.contains("the same at position 1: the live projection of the running server"), "{said}");
    serving.stop();
}
