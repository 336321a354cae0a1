//! Ledgers of a grantbook that this one does not know yet: refused, and left as they are.

use std::fs;

use grantbook::secrets;
use grantbook::store::{Append, Expected, NewRecord, SqliteOptions, SqliteStore, Store as _};
use grantbook_events::{Position, Revision, StreamName, Timestamp};
use rusqlite::Connection;
use serde_json::Value;

use crate::site::Site;

/// A ledger with an app and a token, closed cleanly.
fn closed_ledger() -> Site {
    let site = Site::new();
    let serving = site.serve();
    serving.token(&serving.app());
    serving.stop();
    site
}

#[test]
fn a_newer_format_is_refused_and_left_as_it_is() {
    let site = closed_ledger();
    let ledger = site.file("ledger.db");
    let conn = Connection::open(&ledger).unwrap();
    conn.pragma_update(None, "user_version", 99).unwrap();
    conn.close().unwrap();
    let before = fs::read(&ledger).unwrap();
    let said = [ledger.to_str().unwrap(), "format 99", "up to 2", "use a newer grantbook"];
    site.refused().assert_says(&said);
    site.run(&["events"]).assert_says(&said);
    site.run(&["app", "list"]).assert_says(&said);
    assert_eq!(fs::read(&ledger).unwrap(), before);
    assert!(!site.file("control.json").exists());
}

/// Appends a record to the ledger as a newer grantbook would, chained to those before it.
fn append(site: &Site, type_name: &str, version: u16) -> Position {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let options = SqliteOptions { identity: secrets::new_ledger_identity(), now: Timestamp::EPOCH };
        let store = SqliteStore::open(site.data(), options).unwrap();
        let first = store.read_all(Position::START, 1).await.unwrap().remove(0);
        let stream: StreamName = first.stream.clone();
        let record = NewRecord {
            event_id: secrets::new_event_id(),
            type_name: type_name.to_owned(),
            version,
            recorded_at: first.recorded_at,
            metadata: first.metadata.clone(),
            payload: first.payload.clone(),
            moved: false,
        };
        let appended = store.append(&stream, Expected::Exactly(Revision::FIRST), vec![record]).await.unwrap();
        let Append::Appended { position, .. } = appended else { panic!("{appended:?}") };
        store.close().await.unwrap();
        position
    })
}

/// Every row of the log.
fn log(site: &Site) -> Vec<Vec<rusqlite::types::Value>> {
    let conn = Connection::open(site.file("ledger.db")).unwrap();
    let mut select = conn.prepare("SELECT * FROM log ORDER BY position").unwrap();
    let columns = select.column_count();
    let rows = select.query_map([], |row| (0..columns).map(|column| row.get(column)).collect()).unwrap();
    rows.map(Result::unwrap).collect()
}

const NEWER: [(&str, u16, &str); 2] = [
    ("app-certified", 1, "event type \"app-certified\" is unknown"),
    ("app-updated", 2, "app-updated version 2 is newer than version 1"),
];

#[test]
fn strictly_an_event_that_is_not_known_here_is_refused_and_left_as_it_is() {
    for (type_name, version, why) in NEWER {
        let site = closed_ledger();
        let position = append(&site, type_name, version);
        let before = log(&site);
        let at = format!("position {position}");
        site.refused_by(site.command(&["serve", "--strict"])).assert_says(&[
            &at,
            why,
            "use a newer grantbook",
        ]);
        let printed = site.run(&["events"]);
        assert_eq!(printed.code, Some(1));
        let last: Value = serde_json::from_str(printed.stdout.lines().last().unwrap()).unwrap();
        assert_eq!(last["position"], position.as_u64(), "{last}");
        assert!(last["unreadable"].as_str().unwrap().contains(why), "{last}");
        assert_eq!(log(&site), before);
        assert!(!site.file("control.json").exists());
    }
}

#[test]
fn an_event_that_is_not_known_here_puts_its_stream_in_quarantine_and_is_left_as_it_is() {
    for (type_name, version, why) in NEWER {
        let site = Site::new();
        let serving = site.serve();
        let (app, other) = (serving.app(), serving.app());
        let (poisoned, sound) = (serving.token(&app), serving.token(&other));
        serving.stop();
        let position = append(&site, type_name, version);
        let before = log(&site);
        let serving = site.serve();
        assert!(!serving.is_active(&poisoned), "a token of an app that is not understood is not active");
        assert!(serving.is_active(&sound), "every other app is as it was");
        let ready = serving.ask("GET", "/readyz", None).expect(200).json();
        assert_eq!(
            (&ready["quarantined"], &ready["quarantined_streams"][0]["position"]),
            (&1.into(), &position.as_u64().into())
        );
        assert!(ready["quarantined_streams"][0]["reason"].as_str().unwrap().contains(why), "{ready}");
        let listed = site.run(&["replay", "quarantine"]);
        assert_eq!(listed.code, Some(0), "{}", listed.stderr);
        let at = format!("position {position}");
        assert!(listed.stdout.contains(&at) && listed.stdout.contains(why), "{}", listed.stdout);
        let verified = site.run(&["replay", "verify"]);
        assert_eq!(verified.code, Some(1), "a ledger with an event nobody understands is not sound");
        assert!(!verified.stdout.contains("sound") && verified.stdout.contains(why), "{}", verified.stdout);
        serving.stop();
        assert_eq!(log(&site), before);
    }
}
