//! Times as people write them, on the command line and in URLs.

use serde_json::{Value, json};

use crate::executable::Place;

#[test]
fn when_is_written_the_same_way_everywhere() {
    let place = Place::empty();
    let app =
        ["--name", "App", "--owner", "Me", "--redirect-uri", "https://app.example/cb", "--scope", "faqs"];
    place.json(&[&["app", "register", "--json"][..], &app].concat());
    let serving = place.serve();
    for (when, count) in [
        ("2026-01-31", 1),
        ("yesterday", 1),
        ("7d", 1),
        ("12h", 1),
        ("2026-01-31T12:00:00+02:00", 1),
        ("9999-12-31T23:59:59Z", 0),
        ("9999-12-31", 0),
    ] {
        let page = place.json(&["audit", "events", "--since", when, "--json"]);
        assert_eq!(page["items"].as_array().unwrap().len(), count, "{when}");
        let asked = serving.ask("GET", &format!("/audit/events?since={}", when.replace('+', "%2B")), None);
        assert_eq!(asked.expect(200).json()["items"].as_array().unwrap().len(), count, "{when}");
    }
    for when in ["2020-01-31", "30000d", "2020-01-31T12:00:00+02:00"] {
        let then = |answer: Value| (answer["as_of"]["position"].clone(), answer["items"].clone());
        let none = (json!(0), json!([]));
        let args = ["audit", "installations", "--account", "acme", "--as-of", when, "--json"];
        assert_eq!(then(place.json(&args)), none, "{when}");
        let path = format!("/audit/installations?account=acme&as_of={}", when.replace('+', "%2B"));
        assert_eq!(then(serving.ask("GET", &path, None).expect(200).json()), none, "{when}");
        assert_eq!(place.ok(&["replay", "run", "--until", when, "--dump"]), "", "{when}");
        place.ok(&["audit", "diff", "--account", "acme", "--from", when]);
    }
    let unencoded = serving.ask("GET", "/audit/events?since=2026-01-31T12:00:00+02:00", None).expect(400);
    let detail = unencoded.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("in a URL, write + as %2B"), "{detail}");
    let (code, said) = place.fails(&["audit", "events", "--since", "2026-01-31T12:00:00"]);
    assert!(code == 2 && said.contains("has no offset: end it with Z"), "{code}: {said}");
    let (code, said) = place.fails(&["replay", "run", "--until", "then"]);
    assert!(code == 2 && said.contains("or as how long ago, such as 7d"), "{code}: {said}");
    serving.stop();
}

#[test]
fn what_changed_is_not_asked_backwards() {
    let place = Place::empty();
    let app =
        ["--name", "App", "--owner", "Me", "--redirect-uri", "https://app.example/cb", "--scope", "faqs"];
    place.json(&[&["app", "register", "--json"][..], &app].concat());
    for [from, to] in [["1", "0"], ["1h", "2h"], ["today", "yesterday"], ["1", "2020-01-01"]] {
        let args = ["audit", "diff", "--account", "acme", "--from", from, "--to", to];
        let output = place.run(&args);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains("is after to ("), "{from} {to}: {said}");
    }
}
