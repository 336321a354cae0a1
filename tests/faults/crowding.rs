//! Two that want the same: a port, or a ledger.

use std::fs;
use std::net::TcpListener;

use rusqlite::Connection;

use crate::process::{Serving, eventually};
use crate::site::Site;

#[test]
fn a_port_in_use_is_named_and_nothing_is_made() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let site = Site::with(&[("LISTEN", &address)]);
    let refused = site.refused();
    let port = taken.local_addr().unwrap().port() + 10;
    let instead = format!("choose another, such as --listen 127.0.0.1:{port}");
    refused.assert_says(&["cannot listen on", &address, "another program has the port", &instead]);
    assert!(!site.data().exists());
}

#[test]
fn a_second_server_on_one_ledger_is_refused_and_the_command_line_may_still_read() {
    let site = Site::new();
    let first = site.serve();
    let app = first.app();
    let holder = format!("process {}", first.pid());
    site.refused().assert_says(&["is in use by", &holder, site.data().to_str().unwrap(), "stop it"]);

    // The refused one took nothing away: the first is found, asked, and goes on writing.
    let token = first.token(&app);
    assert_eq!(site.events().len(), 3);
    let listed = site.run(&["app", "list", "--json"]);
    assert_eq!(listed.code, Some(0), "{}", listed.stderr);
    assert!(listed.stdout.contains(&app.client_id), "{}", listed.stdout);
    let backup = site.beside().join("backup.db");
    assert_eq!(site.run(&["backup", backup.to_str().unwrap()]).code, Some(0));
    assert!(first.is_active(&token));
    first.stop();

    // The lock ends with its holder.
    assert!(site.serve().is_active(&token));
}

/// The `sqlite3` tool opens a file to write it, even if somebody only looks. SQLite removes the write-ahead
/// log when the last one that uses a file goes, so the server must be seen to use it. Older
/// versions, such as 3.40, look for nothing but this lock.
#[cfg(target_os = "linux")]
#[track_caller]
fn until_it_holds_the_ledger(serving: &Serving, site: &Site) {
    use std::os::unix::fs::MetadataExt as _;
    const SHARED_LOCK_FIRST_BYTE: u32 = 0x4000_0002;
    let inode = fs::metadata(site.file("ledger.db")).unwrap().ino();
    let (holder, place) = (format!(" {} ", serving.pid()), format!(":{inode} {SHARED_LOCK_FIRST_BYTE} "));
    // The system lists locks page by page, and where others come and go at the same time a list may lack one.
    eventually("somebody can see that the server uses the ledger", || {
        let locks = fs::read_to_string("/proc/locks").unwrap();
        locks.lines().any(|lock| lock.contains(&holder) && lock.contains(&place)).then_some(())
    });
}

#[test]
fn somebody_who_looks_with_the_sqlite3_tool_takes_nothing_away() {
    let site = Site::new();
    let serving = site.serve();
    serving.app();
    let look = || {
        let conn = Connection::open(site.file("ledger.db")).unwrap();
        let count = conn.query_one("SELECT count(*) FROM events", [], |row| row.get::<_, u32>(0)).unwrap();
        conn.close().unwrap();
        count
    };
    for apps in 1..=3 {
        #[cfg(target_os = "linux")]
        until_it_holds_the_ledger(&serving, &site);
        assert_eq!(look(), apps);
        assert!(site.file("ledger.db-wal").exists(), "the log that the server writes to is gone");
        serving.app();
    }
    serving.kill();
    assert_eq!(site.events().len(), 4);
    let serving = site.serve();
    assert_eq!(serving.ask("GET", "/apps", None).expect(200).json()["items"].as_array().unwrap().len(), 4);
}
