//! A server that serves what does not follow from its ledger: it is found out from beside it, named, and put right.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use grantbook::clock::SystemClock;
use grantbook::ledger::{Ledger, LedgerOptions, SnapshotOptions};
use grantbook::store::{Append, Expected, MemoryStore, NewRecord, SqliteStore, Store};
use grantbook_events::{Position, Timestamp};
use serde_json::Value;

use crate::process::Serving;
use crate::site::Site;

/// How much too late an installation is said to have begun.
const TOO_LATE: Duration = Duration::from_secs(3600);

/// Writes a snapshot in order in every way, of a ledger in which codes were exchanged later than in this one. Gives
/// when that was, here and there.
fn forge_a_snapshot(site: &Site) -> (Timestamp, Timestamp) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let real = SqliteStore::open_read_only(site.data()).unwrap();
        let identity = real.head().await.unwrap().identity;
        let forged = MemoryStore::new(identity);
        let mut times = None;
        for record in real.read_all(Position::START, usize::MAX).await.unwrap() {
            let (stream, expected) = (record.stream.clone(), Expected::before(record.revision));
            let mut new: NewRecord = record.unplaced();
            if new.type_name == "code-exchanged" {
                let later = new.recorded_at.plus(TOO_LATE);
                times = Some((new.recorded_at, later));
                new.recorded_at = later;
            }
            let appended = forged.append(&stream, expected, vec![new]).await.unwrap();
            assert!(matches!(appended, Append::Appended { .. }), "{appended:?}");
        }
        let snapshots = Some(SnapshotOptions { dir: site.file("snapshots"), every: 1_000_000 });
        let options = LedgerOptions { snapshots, ..LedgerOptions::default() };
        let ledger = Ledger::open_with(forged as Arc<dyn Store>, Arc::new(SystemClock), options);
        ledger.caught_up().await.unwrap();
        let written = ledger.take_snapshot().await.unwrap();
        assert_eq!(written, Some(real.head().await.unwrap().position));
        ledger.close().await.unwrap();
        times.unwrap()
    })
}

/// Every file below a directory.
fn files_in(dir: &Path) -> BTreeSet<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files_in(&path) } else { [path].into() }).collect()
}

/// The exit code of `verify` beside a server, and what it said.
fn verified(site: &Site, more: &[&str]) -> (Option<i32>, String) {
    let ended = site.run(&[&["replay", "verify"], more].concat());
    (ended.code, ended.stdout)
}

fn installed_since(serving: &Serving, installation: &str) -> String {
    let shown = serving.ask("GET", &format!("/installations/{installation}"), None).expect(200).json();
    shown["installed_since"].as_str().unwrap().to_owned()
}

#[test]
fn a_server_with_a_wrong_copy_is_named_field_by_field_and_put_right() {
    let site = Site::new();
    let serving = site.serve();
    let app = serving.app();
    let token = serving.token(&app);
    let installation =
        serving.try_introspect(&token).unwrap().json()["installation_id"].as_str().unwrap().to_owned();
    serving.stop();
    let (right, wrong) = forge_a_snapshot(&site);

    // It cannot know.
    let serving = site.serve();
    serving.until_it_says("snapshot loaded");
    assert_eq!(installed_since(&serving, &installation), wrong.to_string());
    // It goes on from there.
    serving.app();
    let projections = serving.ask("GET", "/projections", None).expect(200).json();
    assert_eq!(projections["items"][0]["position"], 4);

    // Asking waits until the history has caught up.
    serving.ask("GET", "/audit/events?limit=1", None).expect(200);
    let before = files_in(site.data());
    let (code, said) = verified(&site, &[]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("the live projection of the running server has digest"), "{said}");
    let since = |whose: &str| {
        format!("installation {installation}: changed_at is {wrong} {whose} and {right} replayed")
    };
    assert!(said.contains(&format!("position 4: {}", since("live"))), "{said}");
    let kept = "snapshot live-00000000000000000003.snapshot";
    assert!(said.contains(&format!("position 3: {kept}: {}", since("in the snapshot"))), "{said}");
    assert!(said.contains("the same at position 4: the history, row by row"), "{said}");
    assert!(!said.contains("sound"), "{said}");
    let (code, said) = verified(&site, &["--json"]);
    let told: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, &told["sound"], &told["found"]), (Some(1), &false.into(), &3.into()), "{told}");
    // What was written to be compared is gone, and what there was is there.
    assert_eq!(files_in(site.data()), before);
    assert_eq!(installed_since(&serving, &installation), wrong.to_string(), "to look is not to mend");

    let rebuilt = site.run(&["replay", "rebuild", "--projection", "live"]);
    assert_eq!(rebuilt.code, Some(0), "{rebuilt:?}");
    assert!(rebuilt.stdout.contains("was not what the ledger folds to, and is replaced"), "{rebuilt:?}");
    assert_eq!(installed_since(&serving, &installation), right.to_string());
    let all_is_well = || {
        let (code, said) = verified(&site, &[]);
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("the ledger is sound: 4 events"), "{said}");
        assert!(said.contains("the same at position 4: the live projection of the running server"), "{said}");
    };
    all_is_well();
    assert!(!site.file("snapshots/live-00000000000000000003.snapshot").exists());
    serving.stop();
    // Also for the next start: what it would have begun with is gone.
    let serving = site.serve();
    assert_eq!(installed_since(&serving, &installation), right.to_string());
    all_is_well();
    assert!(serving.is_active(&token));
    serving.stop();
}
