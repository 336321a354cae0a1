//! The stored form is a contract: one golden file per type and version ever stored, append-only.

use std::fs;
use std::path::PathBuf;

use grantbook_events::codec::{self, DecodeError, STORED_TYPES};
use serde_json::Value;

fn golden_dir() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden")
}

#[expect(clippy::panic, reason = "a missing golden file fails the test that asks for it")]
fn golden(type_name: &str, version: u16) -> String {
    let path = golden_dir().join(format!("{type_name}.v{version}.json"));
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn every_version_ever_stored_has_a_golden_file_and_decodes() {
    for &(type_name, newest) in STORED_TYPES {
        for version in 1..=newest {
            let event = codec::decode(type_name, version, &golden(type_name, version));
            let event = event.unwrap_or_else(|error| panic!("{type_name} v{version}: {error:?}"));
            assert_eq!(codec::type_name(&event), type_name);
        }
    }
}

#[test]
fn the_version_in_force_is_written_exactly_as_its_golden_file() {
    for &(type_name, newest) in STORED_TYPES {
        let text = golden(type_name, newest);
        let event = codec::decode(type_name, newest, &text).expect("decodes");
        let written = codec::encode(&event).expect("encodes");
        assert_eq!((written.type_name, written.version), (type_name, newest));
        let (written, stored): (Value, Value) = (
            serde_json::from_str(&written.payload).expect("json"),
            serde_json::from_str(&text).expect("json"),
        );
        assert_eq!(written, stored, "{type_name}");
    }
}

/// An operator need not say why, and the golden files are of events without.
#[test]
fn a_note_of_an_operator_is_stored_and_read_back() {
    for type_name in ["token-revoked", "grant-revoked", "app-uninstalled", "app-secret-retired"] {
        let mut stored: Value = serde_json::from_str(&golden(type_name, 1)).expect("json");
        stored["note"] = "asked for by the customer".into();
        let event = codec::decode(type_name, 1, &stored.to_string()).expect("decodes");
        let written = codec::encode(&event).expect("encodes");
        assert_eq!(serde_json::from_str::<Value>(&written.payload).expect("json"), stored);
    }
}

/// What an app or a token does not have is not stored: the golden files are of those that have everything.
#[test]
fn what_is_not_there_is_not_stored() {
    let fields = [
        (
            "app-registered",
            &["default_scopes", "keys", "requires_pushed_requests", "source", "registration_digest"][..],
        ),
        ("access-granted", &["resources"]),
        ("code-exchanged", &["resources", "refresh"]),
    ];
    for (type_name, left_out) in fields {
        let mut stored: Value = serde_json::from_str(&golden(type_name, 1)).expect("json");
        for field in left_out {
            stored.as_object_mut().and_then(|fields| fields.remove(*field)).expect("there before");
        }
        let event = codec::decode(type_name, 1, &stored.to_string()).expect("decodes");
        let written = codec::encode(&event).expect("encodes");
        assert_eq!(serde_json::from_str::<Value>(&written.payload).expect("json"), stored);
    }
}

#[test]
fn no_golden_file_is_left_behind() {
    let known: Vec<String> = STORED_TYPES
        .iter()
        .flat_map(|&(name, newest)| (1..=newest).map(move |version| format!("{name}.v{version}.json")))
        .collect();
    for entry in fs::read_dir(golden_dir()).expect("golden/") {
        let name = entry.expect("entry").file_name().into_string().expect("utf-8");
        assert!(known.contains(&name), "{name} belongs to no stored type");
    }
}

#[test]
fn what_is_not_known_is_an_error_and_never_skipped() {
    let decode = |name, version, payload| codec::decode(name, version, payload).expect_err("refused");
    assert!(
        matches!(decode("app-painted", 1, "{}"), DecodeError::UnknownType(name) if name == "app-painted")
    );
    assert!(matches!(
        decode("app-resumed", 2, "{}"),
        DecodeError::NewerVersion { version: 2, newest: 1, .. }
    ));
    assert!(matches!(decode("app-resumed", 0, r#"{"reason":""}"#), DecodeError::Upcast { version: 0, .. }));
    assert!(matches!(decode("app-resumed", 1, "{}"), DecodeError::Payload { .. }));
    let widened = r#"{"reason":"x","colour":"red"}"#;
    assert!(matches!(decode("app-resumed", 1, widened), DecodeError::Payload { .. }));
}
