//! A data directory on a read-only mount: everything that only reads works there, or says what to do.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::site::{Ended, Site};

/// Runs a command where a directory is mounted read-only, in a namespace of its own; `None` where that is not
/// allowed.
pub fn read_only(site: &Site, command: &[&str]) -> Option<Ended> {
    let script = r#"mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@""#;
    let within = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script];
    let allowed = Command::new(within[0]).args(&within[1..]).arg(site.data()).arg("true").status();
    // The tests say that they were not tried.
    if !allowed.is_ok_and(|status| status.success()) {
        return None;
    }
    let plain = site.command(command);
    let mut mounted = Command::new(within[0]);
    mounted.args(&within[1..]).arg(site.data()).arg(plain.get_program()).args(plain.get_args());
    for (name, value) in plain.get_envs() {
        mounted.env(name, value.unwrap());
    }
    let output = mounted.current_dir(site.beside()).output().unwrap();
    Some(Ended {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    })
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A ledger with a token, a history and a snapshot.
fn with_everything() -> Site {
    let site = Site::new();
    let serving = site.serve();
    serving.token(&serving.app());
    serving.ask("POST", "/projections/live/snapshots", Some(&serde_json::json!({}))).expect(201);
    serving.ask("GET", "/audit/events?limit=1", None).expect(200);
    serving.stop();
    site
}

const READING: [&[&str]; 10] = [
    &["events"],
    &["replay", "plan"],
    &["replay", "run"],
    &["replay", "run", "--projection", "history"],
    &["replay", "verify"],
    &["replay", "quarantine"],
    &["audit", "events"],
    &["audit", "installations", "--account", "acme"],
    &["app", "list"],
    &["installation", "list", "--account", "acme"],
];

#[test]
fn everything_that_only_reads_works_after_a_clean_stop() {
    let site = with_everything();
    let before = names(site.data());
    for command in READING {
        let Some(ended) = read_only(&site, command) else {
            return println!(
                "not tried: this machine lets nobody mount a directory in a namespace of their own"
            );
        };
        assert_eq!(ended.code, Some(0), "{command:?}: {} {}", ended.stdout, ended.stderr);
        assert!(!ended.stdout.is_empty() || command[1..] == ["quarantine"], "{command:?}");
    }
    let verified = read_only(&site, &["replay", "verify"]).unwrap();
    for what in ["the history, row by row", "snapshot live-", "the index of streams"] {
        assert!(verified.stdout.contains(what), "{what}: {}", verified.stdout);
    }
    assert_eq!(names(site.data()), before, "nothing was made there");
    // What would change something says why it cannot.
    let refused = read_only(&site, &["key", "new", "--name", "x", "--role", "auditor"]).unwrap();
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    assert!(refused.stderr.contains("the ledger cannot be written"), "{}", refused.stderr);
}

#[test]
fn a_write_ahead_log_that_was_left_over_is_named_with_what_to_do() {
    let site = with_everything();
    let serving = site.serve();
    serving.app();
    serving.kill();
    // As in a copy: the file that is shared between processes is made again where it can be.
    fs::remove_file(site.file("ledger.db-shm")).unwrap();
    for command in [&["events"][..], &["replay", "verify"], &["audit", "events"]] {
        let Some(ended) = read_only(&site, command) else {
            return println!(
                "not tried: this machine lets nobody mount a directory in a namespace of their own"
            );
        };
        assert_eq!(ended.code, Some(1), "{command:?}: {}", ended.stdout);
        for words in ["ledger.db", "write-ahead log", "copy the directory"] {
            assert!(ended.stderr.contains(words), "{command:?}: {}", ended.stderr);
        }
    }
    site.serve().stop();
    let ended = read_only(&site, &["events"]).unwrap();
    assert_eq!((ended.code, ended.stdout.lines().count()), (Some(0), 4), "{}", ended.stderr);
}
