//! Who may read the files of a ledger, and what happens to a server that may not write them.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::site::Site;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// Makes a ledger with an app and a token, closed cleanly.
fn closed_ledger(site: &Site) {
    let serving = site.serve();
    serving.token(&serving.app());
    serving.stop();
}

#[test]
fn only_the_owner_can_read_what_grantbook_makes() {
    let site = Site::new();
    let permissive = site.command_behind(r#"umask 000; exec "$@""#);
    let serving = site.serve_by(permissive);
    serving.token(&serving.app());
    let backup = site.beside().join("backup.db");
    let ended = site.run(&["backup", backup.to_str().unwrap()]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(mode(&backup), 0o600);
    assert_eq!(mode(site.data()), 0o700);
    let mut names = Vec::new();
    for entry in fs::read_dir(site.data()).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
        names.push(path.file_name().unwrap().to_str().unwrap().to_owned());
    }
    for expected in
        ["ledger.db", "ledger.db-wal", "ledger.heads", "ledger.lock", "session.key", "control.json"]
    {
        assert!(names.iter().any(|name| name == expected), "{expected} is not in {names:?}");
    }
}

#[test]
fn the_mode_of_a_directory_that_is_there_is_its_owners_business() {
    let site = Site::new();
    fs::create_dir(site.data()).unwrap();
    set_mode(site.data(), 0o750);
    closed_ledger(&site);
    assert_eq!(mode(site.data()), 0o750);
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let site = Site::new().unprivileged();
    set_mode(site.beside(), 0o500);
    let refused = site.refused();
    set_mode(site.beside(), 0o700);
    refused.assert_says(&[
        "the ledger cannot be written",
        site.data().to_str().unwrap(),
        "Permission denied",
    ]);
}

#[test]
fn a_ledger_that_may_not_be_written_is_not_served_and_can_still_be_read() {
    let site = Site::new().unprivileged();
    closed_ledger(&site);
    let events = site.events();
    let ledger = site.file("ledger.db");
    let before = fs::read(&ledger).unwrap();
    set_mode(&ledger, 0o400);
    site.refused().assert_says(&["the ledger cannot be written", ledger.to_str().unwrap()]);
    assert_eq!(site.events(), events);
    assert_eq!(fs::read(&ledger).unwrap(), before);
    set_mode(&ledger, 0o600);
    // What the reader put beside the ledger has the mode that the ledger had, and is named as well.
    let beside = site.file("ledger.db-wal");
    site.refused().assert_says(&["the ledger cannot be written", beside.to_str().unwrap()]);
    for name in ["ledger.db-wal", "ledger.db-shm"] {
        set_mode(&site.file(name), 0o600);
    }
    site.serve().stop();
    assert_eq!(site.events(), events);
}

/// A crash leaves nothing to write at the opening, which must not hide that nothing can be written.
#[test]
fn a_ledger_that_may_not_be_written_is_not_served_after_a_crash() {
    let site = Site::new().unprivileged();
    let serving = site.serve();
    serving.app();
    serving.kill();
    set_mode(&site.file("ledger.db"), 0o400);
    let refused = site.refused();
    refused.assert_says(&["the ledger cannot be written", site.file("ledger.db").to_str().unwrap()]);
    set_mode(&site.file("ledger.db"), 0o600);
    let serving = site.serve();
    assert_eq!(site.events().len(), 1);
    serving.app();
}

#[test]
fn a_directory_that_may_not_be_written_is_named() {
    let site = Site::new().unprivileged();
    closed_ledger(&site);
    set_mode(site.data(), 0o500);
    let refused = site.refused();
    refused.assert_says(&["the ledger cannot be written", site.file("ledger.db").to_str().unwrap()]);
    set_mode(site.data(), 0o700);
    site.serve().stop();
    assert_eq!(site.events().len(), 3);
}

#[test]
fn a_ledger_of_somebody_else_is_named() {
    let site = Site::new().unprivileged();
    closed_ledger(&site);
    set_mode(&site.file("ledger.db"), 0o000);
    site.refused().assert_says(&[site.file("ledger.db").to_str().unwrap()]);
}
