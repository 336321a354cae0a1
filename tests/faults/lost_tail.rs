//! The end of a ledger is missing: a write-ahead log that was damaged or cut, an older copy put back. Nothing in
//! the ledger tells; what other files of the directory have seen does, and nothing is served until an operator
//! says so.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};

use crate::process::Serving;
use crate::site::{Ended, Site};
use crate::wanted::App;

const SEED: u64 = 0x6772_616e_7462_6f6f;
/// How many damages are done to the end of the write-ahead log, each in a copy of its own.
const DAMAGES: usize = 16;
/// Every file that sees where the ledger ends.
const WITNESSES: [&str; 4] = ["ledger.seen", "ledger.heads", "history-1.db", "snapshots"];

/// A ledger that ends with a revocation that was acknowledged right before the server was killed.
struct Revoked {
    site: Site,
    app: App,
    token: String,
    /// Where the revocation begins in the write-ahead log, in bytes.
    from: u64,
    /// The last position before it, and the last of all.
    before: usize,
    end: usize,
}

fn wal_length(site: &Site) -> u64 {
    fs::metadata(site.file("ledger.db-wal")).unwrap().len()
}

impl Revoked {
    /// `settle` is done after the revocation.
    fn then(settle: impl FnOnce(&Serving)) -> Self {
        let site = Site::new();
        let serving = site.serve();
        let app = serving.app();
        let token = serving.token(&app);
        let before = site.events().len();
        let from = wal_length(&site);
        serving.http.post_raw("/oauth/revoke", &[], &app.form(&[("token", &token)])).expect(200);
        assert!(!serving.is_active(&token));
        settle(&serving);
        serving.kill();
        let end = site.events().len();
        Self { site, app, token, from, before, end }
    }

    fn is_active(&self, serving: &Serving) -> bool {
        serving.is_active(&self.token)
    }
}

/// Every file below a directory but those that any reader makes, and what is in it.
fn contents(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            let below = contents(&path).into_iter();
            found.extend(below.map(|(inner, bytes)| (format!("{name}/{inner}"), bytes)));
            continue;
        }
        let bytes = fs::read(&path).unwrap();
        let of_a_reader = name.ends_with("-shm") || name.ends_with("-wal") && bytes.is_empty();
        if !of_a_reader && !name.ends_with(".lock") {
            found.insert(name, bytes);
        }
    }
    found
}

#[track_caller]
pub fn assert_refused(site: &Site, words: &[&str]) {
    let before = contents(site.data());
    let refused: Ended = site.refused();
    refused.assert_says(&[&["--accept-loss", "Nothing was changed"], words].concat());
    assert_eq!(refused.code, Some(1));
    assert!(contents(site.data()) == before, "a refusal leaves everything as it is");
    assert!(!site.file("control.json").exists() || before.contains_key("control.json"));
}

#[track_caller]
pub fn accepted(site: &Site) -> Serving {
    site.serve_by(site.command(&["serve", "--accept-loss"]))
}

/// The one event that says that a loss was accepted.
#[track_caller]
pub fn loss_accepted(site: &Site) -> Value {
    let mut events = site.events();
    events.retain(|event| event["type"] == "loss-accepted");
    assert_eq!(events.len(), 1, "{events:?}");
    events.remove(0)
}

#[test]
fn no_damage_to_the_end_of_the_write_ahead_log_brings_a_revoked_token_back() {
    // Nothing is waited for: the server is killed right after it answered.
    let revoked = Revoked::then(|_| {});
    let mut random = StdRng::seed_from_u64(SEED);
    let (mut refused, last) = (0, wal_length(&revoked.site));
    for damage in 0..DAMAGES {
        let site = revoked.site.copy();
        let wal = site.file("ledger.db-wal");
        let mut bytes = fs::read(&wal).unwrap();
        let at = usize::try_from(random.random_range(revoked.from..last)).unwrap();
        if damage % 4 == 0 {
            bytes.truncate(at);
        } else {
            bytes[at] ^= 1 << random.random_range(0..8);
        }
        fs::write(&wal, bytes).unwrap();
        let before = contents(site.data());
        let mut serving = Serving::spawn(site.command(&["serve"]));
        let status = serving.wait();
        assert_eq!(status.code(), Some(1), "damage {damage} at {at}: {}", serving.log());
        assert!(contents(site.data()) == before, "damage {damage} at {at}");
        refused += 1;
    }
    assert_eq!(refused, DAMAGES);
}

#[test]
fn a_ledger_without_its_end_is_served_on_an_operators_word_only() {
    let revoked = Revoked::then(|serving| {
        serving.ask("GET", "/audit/events?limit=1", None).expect(200);
    });
    let site = &revoked.site;
    let wal = site.file("ledger.db-wal");
    let mut bytes = fs::read(&wal).unwrap();
    bytes[usize::try_from(revoked.from).unwrap() + 40] ^= 4;
    fs::write(&wal, &bytes).unwrap();
    let (ends, seen) =
        (format!("ends at position {}", revoked.before), format!("seen position {}", revoked.end));
    assert_refused(site, &[&ends, &seen]);
    assert_refused(site, &[&ends, &seen]);
    // Commands that would serve it are refused as well.
    let asked = site.run(&["app", "list"]);
    assert_eq!(asked.code, Some(1), "{}", asked.stderr);
    assert!(asked.stderr.contains(&ends), "{}", asked.stderr);

    let serving = accepted(site);
    serving.until_it_says("the operator said to go on without them");
    assert!(revoked.is_active(&serving), "what is missing is missing");
    let form = revoked.app.form(&[("token", &revoked.token)]);
    serving.http.post_raw("/oauth/revoke", &[], &form).expect(200);
    let listed = serving.ask("GET", "/audit/events?limit=200", None).expect(200).json();
    assert_eq!(listed["items"].as_array().unwrap().len(), revoked.before + 2);
    serving.stop();
    let event = loss_accepted(site);
    assert_eq!(event["position"], revoked.before + 1, "before anything else");
    assert_eq!(event["data"]["last_position"], revoked.before);
    assert_eq!(event["data"]["seen_position"], revoked.end);
    assert_eq!((&event["actor"]["kind"], event["actor"]["id"].is_string()), (&json!("operator"), true));
    let asked = site.run(&["audit", "events"]);
    let words = ["loss-accepted", "events were missing", event["data"]["seen_by"].as_str().unwrap()];
    assert!(words.iter().all(|word| asked.stdout.contains(word)), "{}", asked.stdout);
    let kept = contents(site.data());
    for name in ["ledger.db-wal", "ledger.seen", "history-1.db"] {
        let aside = format!("{name}.lost-after-{}.1", revoked.before);
        assert!(kept.contains_key(&aside), "{aside} is not in {:?}", kept.keys());
    }
    assert_eq!(kept[&format!("ledger.db-wal.lost-after-{}.1", revoked.before)], bytes);
    // From then on it is a ledger like any other.
    let serving = site.serve();
    assert!(!revoked.is_active(&serving));
    serving.kill();
    let verified = site.run(&["replay", "verify"]);
    assert_eq!(verified.code, Some(0), "{} {}", verified.stdout, verified.stderr);
}

/// Puts an older ledger back, and leaves one witness of the newer.
#[test]
fn each_file_alone_tells_that_an_older_ledger_was_put_back() {
    let site = Site::new();
    let serving = site.serve();
    let app = serving.app();
    serving.token(&app);
    serving.stop();
    let older = fs::read(site.file("ledger.db")).unwrap();
    let serving = site.serve();
    serving.app();
    serving.ask("POST", "/projections/live/snapshots", Some(&serde_json::json!({}))).expect(201);
    serving.ask("GET", "/audit/events?limit=1", None).expect(200);
    serving.stop();
    let newer = fs::read(site.file("ledger.db")).unwrap();
    fs::write(site.file("ledger.db"), &older).unwrap();
    for witness in WITNESSES {
        let one = Site::new();
        fs::create_dir(one.data()).unwrap();
        for name in ["ledger.db", witness] {
            let copied =
                std::process::Command::new("cp").arg("-r").arg(site.file(name)).arg(one.data()).status();
            assert!(copied.unwrap().success());
        }
        assert_refused(&one, &["ends at position 3", witness, "seen position 4"]);
        fs::write(one.file("ledger.db"), &newer).unwrap();
        one.serve().stop();
        assert_eq!(one.events().len(), 4, "{witness}");
    }
}

/// A copy that went on by itself is not the ledger that the other files have seen.
#[test]
fn a_ledger_that_went_another_way_is_refused() {
    let site = Site::new();
    let serving = site.serve();
    serving.app();
    serving.stop();
    let other = site.copy();
    for (site, apps) in [(&site, 1), (&other, 3)] {
        let serving = site.serve();
        (0..apps).for_each(|_| drop(serving.app()));
        serving.ask("GET", "/audit/events?limit=1", None).expect(200);
        serving.stop();
    }
    fs::copy(other.file("ledger.db"), site.file("ledger.db")).unwrap();
    assert_refused(&site, &["another event at position 2"]);
    accepted(&site).stop();
    assert_eq!(site.events().len(), 5);
    assert_eq!(loss_accepted(&site)["data"]["last_position"], 4);
}

#[test]
fn a_ledger_that_is_gone_is_not_begun_again() {
    let site = Site::new();
    let serving = site.serve();
    serving.app();
    serving.stop();
    fs::remove_file(site.file("ledger.db")).unwrap();
    assert_refused(&site, &["there is no", "ledger.db", "seen position 1"]);
    accepted(&site).stop();
    assert_eq!(site.events().len(), 1);
    assert_eq!(loss_accepted(&site)["data"]["last_position"], 0);
}

/// Whenever the process ends, the operator's word is recorded, once.
#[test]
fn a_word_is_not_lost_in_a_kill() {
    let revoked = Revoked::then(|_| {});
    let wal = revoked.site.file("ledger.db-wal");
    fs::write(&wal, &fs::read(&wal).unwrap()[..usize::try_from(revoked.from).unwrap()]).unwrap();
    for name in ["loss.accepted", "ledger.heads", "control.json"] {
        let site = revoked.site.copy();
        site.killed_by(site.command(&["serve", "--accept-loss"]), name);
        // If the files that have seen more were not moved yet, it has to be said again.
        let mut serving = Serving::spawn(site.command(&["serve"]));
        serving.until_it_ends_or_says("serving url=");
        let is_refused = serving.log().contains("--accept-loss");
        serving.kill();
        if is_refused {
            accepted(&site).stop();
        }
        assert_eq!(loss_accepted(&site)["data"]["last_position"], revoked.before, "{name}");
    }
}

/// A file that is damaged proves nothing.
#[test]
fn a_damaged_witness_is_none() {
    let site = Site::new();
    let serving = site.serve();
    serving.app();
    serving.ask("POST", "/projections/live/snapshots", Some(&serde_json::json!({}))).expect(201);
    serving.ask("GET", "/audit/events?limit=1", None).expect(200);
    serving.stop();
    let seen = site.file("ledger.seen");
    let mut bytes = fs::read(&seen).unwrap();
    // The position, in both places.
    for place in [0, 4096] {
        bytes[place + 20] ^= 0x40;
    }
    fs::write(&seen, bytes).unwrap();
    let history = rusqlite::Connection::open(site.file("history-1.db")).unwrap();
    history.execute("UPDATE state SET position = 65", ()).unwrap();
    history.close().unwrap();
    let snapshot = site.file("snapshots/live-00000000000000000001.snapshot");
    let text = fs::read(&snapshot).unwrap();
    let at = text.windows(12).position(|window| window == b"\"position\":1").unwrap() + 11;
    let mut bytes = text;
    bytes[at] = b'5';
    fs::write(&snapshot, bytes).unwrap();
    let serving = site.serve();
    serving.ask("GET", "/audit/events?limit=1", None).expect(200);
    serving.stop();
}
