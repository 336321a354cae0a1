//! Files that are not what was written. The store's own tests go through every byte; here one of each kind
//! meets a whole server: it says where, and answers nothing that is not so.

use std::fs;
use std::process::Stdio;

use rusqlite::Connection;

use crate::site::{Ended, Site};
use crate::wanted::registration;

/// A ledger with a few apps and a token, closed cleanly.
fn closed_ledger() -> (Site, String) {
    let site = Site::new();
    let serving = site.serve();
    let app = serving.app();
    let token = serving.token(&app);
    for number in 0..40 {
        serving.ask("POST", "/apps", Some(&registration(&format!("Other App {number}")))).expect(201);
    }
    // Waits until the history has it all.
    serving.ask("GET", "/audit/events?limit=1", None).expect(200);
    serving.stop();
    (site, token)
}

#[track_caller]
fn assert_damaged(refused: &Ended, site: &Site, words: &[&str]) {
    let ledger = site.file("ledger.db");
    refused.assert_says(&[&["damaged", ledger.to_str().unwrap(), "backup"], words].concat());
    assert!(!site.file("control.json").exists());
}

#[test]
fn a_truncated_ledger_is_refused_and_left_as_it_is() {
    let (site, token) = closed_ledger();
    let ledger = site.file("ledger.db");
    let whole = fs::read(&ledger).unwrap();
    for keep in [0, 99, 4096, whole.len() / 2, whole.len() - 4096] {
        fs::write(&ledger, &whole[..keep]).unwrap();
        assert_damaged(&site.refused(), &site, &[]);
        assert_eq!(fs::read(&ledger).unwrap(), &whole[..keep], "cut at {keep}");
    }
    fs::write(&ledger, &whole).unwrap();
    assert!(site.serve().is_active(&token));
}

/// Changes a payload as a bit flip would: to another of the same length, past everything that SQLite checks.
fn falsify(site: &Site, position: i64, from: &str, to: &str) {
    let conn = Connection::open(site.file("ledger.db")).unwrap();
    let sql = "UPDATE log SET payload = replace(payload, ?1, ?2) WHERE position = ?3";
    assert_eq!(from.len(), to.len());
    let payload = |conn: &Connection| -> String {
        conn.query_one("SELECT payload FROM log WHERE position = ?1", [position], |row| row.get(0)).unwrap()
    };
    let before = payload(&conn);
    conn.execute(sql, (from, to, position)).unwrap();
    assert_ne!(payload(&conn), before);
    conn.close().unwrap();
}

#[test]
fn a_falsified_record_is_refused_by_its_position() {
    for position in [1, 20, 43] {
        let (site, _) = closed_ledger();
        falsify(&site, position, "app.example", "app.exbmple");
        let at = format!("position {position}");
        assert_damaged(&site.refused(), &site, &[&at]);
        let ended = site.run(&["backup", site.beside().join("backup.db").to_str().unwrap()]);
        ended.assert_says(&["damaged", &at]);
    }
}

/// A start from a snapshot does not read what is before it. A command that then meets damage has a server of its own, and
/// nobody has that one's log.
#[test]
fn a_command_without_a_server_says_itself_what_is_damaged() {
    let (site, _) = closed_ledger();
    let serving = site.serve();
    serving.ask("POST", "/projections/live/snapshots", Some(&serde_json::json!({}))).expect(201);
    let list = serving.ask("GET", "/installations?account=acme", None).expect(200).json();
    let installation = list["items"][0]["installation_id"].as_str().unwrap().to_owned();
    serving.stop();
    let granted = site.events().iter().position(|event| event["type"] == "access-granted").unwrap() + 1;
    let account = r#""account_id":"acme""#;
    falsify(&site, i64::try_from(granted).unwrap(), account, &account.replace("acme", "acne"));
    let explained = site.run(&["audit", "explain", &installation]);
    explained.assert_says(&["the ledger is damaged at position", "restore it from a backup"]);
    assert!(!explained.stderr.contains("log says why"), "{}", explained.stderr);
}

/// A record goes bad under a server that has folded it: what it holds in memory is right, and what it
/// reads again is an error of the server, for good, and not a different answer.
#[test]
fn a_record_that_goes_bad_under_a_running_server_is_never_shown() {
    let (site, token) = closed_ledger();
    let serving = site.serve();
    let installation =
        serving.try_introspect(&token).unwrap().json()["installation_id"].as_str().unwrap().to_owned();
    let history = format!("/installations/{installation}/events");
    serving.ask("GET", &history, None).expect(200);
    falsify(&site, 2, "acme", "evil");

    let reply = serving.ask("GET", &history, None);
    assert_eq!((reply.status, reply.text("code").as_str()), (500, "server_error"), "{reply:?}");
    assert!(!reply.body.contains("evil"), "{reply:?}");
    serving.until_it_says("damaged at position 2");
    assert!(serving.is_active(&token));
    assert_eq!(serving.try_introspect(&token).unwrap().json()["account_id"], "acme");
    // What does not build on it goes on.
    serving.app();
    serving.kill();
    assert_damaged(&site.refused(), &site, &["position 2"]);
}

#[test]
fn the_index_of_streams_is_made_again_whatever_happens_to_it() {
    let (site, token) = closed_ledger();
    let heads = site.file("ledger.heads");
    let whole = fs::read(&heads).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() - 100] ^= 1;
    for harmed in [&flipped[..], &whole[..whole.len() / 2], b""] {
        fs::write(&heads, harmed).unwrap();
        let serving = site.serve();
        assert!(serving.is_active(&token));
        assert!(serving.log().contains("rebuilding the index of streams"), "{}", serving.log());
        serving.stop();
    }
}

#[test]
fn a_new_ledger_has_no_index_to_make_again() {
    let serving = Site::new().serve();
    assert!(!serving.log().contains("rebuilding"), "{}", serving.log());
}

/// Verifying says that a ledger is sound only if it is, and else where it is not.
#[test]
fn a_falsified_record_is_found_by_a_verification() {
    let (site, _) = closed_ledger();
    let sound = site.run(&["replay", "verify"]);
    assert_eq!(sound.code, Some(0), "{}", sound.stderr);
    assert!(sound.stdout.starts_with("the ledger is sound: "), "{}", sound.stdout);
    for position in [1, 20, 43] {
        let (site, _) = closed_ledger();
        falsify(&site, position, "app.example", "app.exbmple");
        let verified = site.run(&["replay", "verify"]);
        assert_eq!(verified.code, Some(1));
        for said in [&verified.stdout, &verified.stderr] {
            assert!(said.contains(&format!("position {position}: the ledger is damaged")), "{said}");
        }
        assert!(!verified.stdout.contains("sound"), "{}", verified.stdout);
        let mut unread = site.command(&["replay", "verify"]);
        let mut unread = unread.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        drop(unread.stdout.take());
        assert_eq!(unread.wait().unwrap().code(), Some(1), "whether anybody reads it or not");
    }
}

/// No digest covers where the store looks for the record before one.
#[test]
fn a_link_that_leads_elsewhere_is_found_by_a_verification() {
    for wrong in ["1", "NULL", "position"] {
        let (site, _) = closed_ledger();
        let conn = Connection::open(site.file("ledger.db")).unwrap();
        let last = "SELECT max(position) FROM log WHERE previous > 1";
        let position: i64 = conn.query_one(last, (), |row| row.get(0)).unwrap();
        let sql = format!("UPDATE log SET previous = {wrong} WHERE position = {position}");
        assert_eq!(conn.execute(&sql, ()).unwrap(), 1);
        conn.close().unwrap();
        let verified = site.run(&["replay", "verify"]);
        assert_eq!(verified.code, Some(1), "{}", verified.stdout);
        let said = format!("position {position}: the store looks for the record before it in its stream at ");
        assert!(verified.stdout.contains(&said), "{}", verified.stdout);
    }
}

/// A verification goes on behind what is damaged, finds all of it, and says so to programs too.
#[test]
fn a_hole_and_a_falsified_record_are_both_found() {
    let (site, _) = closed_ledger();
    falsify(&site, 30, "app.example", "app.exbmple");
    let conn = Connection::open(site.file("ledger.db")).unwrap();
    assert_eq!(conn.execute("DELETE FROM log WHERE position BETWEEN 20 AND 23", ()).unwrap(), 4);
    conn.close().unwrap();
    let verified = site.run(&["replay", "verify", "--json"]);
    assert_eq!(verified.code, Some(1), "{}", verified.stderr);
    let said: serde_json::Value = serde_json::from_str(&verified.stdout).unwrap();
    assert_eq!((&said["sound"], &said["events"]), (&false.into(), &(43 - 4 - 1).into()), "{said}");
    let findings: Vec<_> = said["findings"].as_array().unwrap().iter().collect();
    let ledger = |position: u64, what: &str| {
        let found = findings.iter().filter(|found| found["position"] == position);
        let words = |found: &&&serde_json::Value| {
            let said = found["what"].as_str().unwrap();
            said.contains("the ledger is damaged") && said.contains("ledger.db") && said.contains(what)
        };
        assert_eq!(found.filter(words).count(), 1, "{position}: {said}");
    };
    ledger(19, "the record after it is missing; the next one is 24");
    let holes = findings.iter().filter(|found| found.to_string().contains("the record after it is missing"));
    assert_eq!(holes.count(), 1, "a hole is found once, however wide it is: {said}");
    ledger(30, "the record is not what was written: its digest differs");
    // What is missing of the ledger is there in the history, and so it differs.
    let surplus = "there are 4 rows from this position to 23, which the ledger does not have";
    assert!(
        findings.iter().any(|found| found["position"] == 20 && found.to_string().contains(surplus)),
        "{said}"
    );
    assert!(findings.iter().all(|found| found["position"].is_u64()), "{said}");

    // One that cannot even be opened.
    fs::write(site.file("ledger.db"), "nothing").unwrap();
    let verified = site.run(&["replay", "verify", "--json"]);
    assert_eq!(verified.code, Some(1), "{}", verified.stderr);
    let said: serde_json::Value = serde_json::from_str(&verified.stdout).unwrap();
    assert_eq!((&said["sound"], &said["found"]), (&false.into(), &1.into()), "{said}");
}

/// Whoever has the ledger may serve something else than what is in it.
#[test]
fn a_server_that_cannot_be_found_is_no_reason_to_call_a_ledger_sound() {
    let site = Site::new();
    let serving = site.serve();
    serving.app();
    let control = site.file("control.json");
    let kept = fs::read(&control).unwrap();
    fs::remove_file(&control).unwrap();
    let verified = site.run(&["replay", "verify"]);
    verified.assert_says(&["is in use by process", "does not lead to it"]);
    assert!(verified.stdout.is_empty(), "{}", verified.stdout);
    fs::write(&control, kept).unwrap();
    let verified = site.run(&["replay", "verify"]);
    assert_eq!(verified.code, Some(0), "{}", verified.stderr);
    assert!(verified.stdout.contains("the live projection of the running server"), "{}", verified.stdout);
    serving.stop();
    let verified = site.run(&["replay", "verify"]);
    assert!(verified.stdout.contains("no server serves this ledger here"), "{}", verified.stdout);
}
