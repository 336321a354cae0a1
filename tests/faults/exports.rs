//! Readers of everything who do not read: they cost little, hold up nobody, and are given up on.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use grantbook::secrets;
use grantbook::store::{Append, Expected, NewRecord, Record, SqliteOptions, SqliteStore, Store as _};
use grantbook_events::{Position, Revision, Timestamp};
use serde_json::json;

use crate::client::Pairs;
use crate::process::{PATIENCE, Serving, eventually};
use crate::site::Site;

/// Readers at once: more than a server may spend threads on.
const MANY: usize = 64;
/// Threads of a server that has that many readers, at the most.
#[cfg(target_os = "linux")]
const THREADS: usize = 40;
/// Suspensions of one app, each with the end of it: some 15 MB of rows. That is more than fits between a server and
/// a reader who does not read; the system alone takes 4 MB.
const SUSPENSIONS: usize = 3000;
/// Events in one append.
const AT_ONCE: usize = 200;

/// A ledger with more to tell than fits between a server and a reader who does not read, to be served with these
/// settings.
fn a_long_history(settings: Pairs<'_>) -> Site {
    // Its making is not what the settings are for.
    let site = Site::new();
    // Characters of four bytes, as many as a reason may have.
    let reason = "𝄞".repeat(500);
    let serving = site.serve();
    let app = serving.app();
    for what in ["suspend", "resume"] {
        let path = format!("/apps/{}/{what}", app.client_id);
        serving.ask("POST", &path, Some(&json!({ "reason": reason }))).expect(200);
    }
    serving.stop();
    // The same again and again, which would take a while over HTTP.
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let options = SqliteOptions { identity: secrets::new_ledger_identity(), now: Timestamp::EPOCH };
        let store = SqliteStore::open(site.data(), options).unwrap();
        let pair = store.read_all(Position::new(1), 2).await.unwrap();
        let (stream, last) = (pair[1].stream.clone(), pair[1].revision.as_u64());
        let again =
            |record: &Record| NewRecord { event_id: secrets::new_event_id(), ..record.clone().unplaced() };
        for begun in (0..SUSPENSIONS * 2).step_by(AT_ONCE) {
            let records = pair.iter().cycle().take(AT_ONCE).map(again).collect();
            let expected = Expected::Exactly(Revision::new(last + begun as u64));
            let appended = store.append(&stream, expected, records).await.unwrap();
            assert!(matches!(appended, Append::Appended { .. }), "{appended:?}");
        }
        store.close().await.unwrap();
    });
    let served = Site::with(settings);
    std::fs::rename(site.data(), served.data()).unwrap();
    served
}

/// Asks for everything, and reads no more than that it comes.
fn stalled(serving: &Serving) -> TcpStream {
    let head = format!(
        "GET /audit/events?format=ndjson HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {}\r\n\r\n",
        serving.key
    );
    // On a busy machine the history may not be there in time, or the answer.
    eventually("an export begins", || {
        let mut stream = serving.http.connect();
        stream.write_all(head.as_bytes()).unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).unwrap();
        (&status == b"HTTP/1.1 200").then_some(stream)
    })
}

/// Reads to the end of a connection or of an answer: how much there was, and whether it was all.
fn drained(mut stream: TcpStream) -> (usize, bool) {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let (mut rest, mut part) = (Vec::new(), [0; 65_536]);
    let is_whole = loop {
        // Cut off is cut off, whether by an end or by a reset; but silence is neither.
        match stream.read(&mut part) {
            Ok(0) => break false,
            Ok(read) => rest.extend_from_slice(&part[..read]),
            Err(error) => {
                assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
                break false;
            }
        }
        if rest.ends_with(b"\r\n0\r\n\r\n") {
            break true;
        }
    };
    (rest.len(), is_whole)
}

#[cfg(target_os = "linux")]
fn threads_of(serving: &Serving) -> usize {
    std::fs::read_dir(format!("/proc/{}/task", serving.pid())).unwrap().count()
}

#[test]
fn readers_who_read_nothing_hold_up_nobody() {
    // Longer than a test has patience.
    let site = a_long_history(&[("LIMITS_REQUEST_TIMEOUT", "10m")]);
    let serving = site.serve();
    let token = serving.token(&serving.app());
    let readers: Vec<TcpStream> = (0..MANY).map(|_| stalled(&serving)).collect();
    // Others are answered meanwhile: from memory, from the history, from the ledger, and everything at once.
    assert!(serving.is_active(&token));
    let page = serving.ask("GET", "/audit/events?limit=3", None).expect(200).json();
    assert_eq!(page["items"].as_array().unwrap().len(), 3);
    let issued = serving.ask("GET", "/audit/events?type=code-exchanged", None).expect(200).json();
    let installation = issued["items"][0]["installation_id"].as_str().unwrap();
    serving.ask("GET", &format!("/audit/installations/{installation}/timeline"), None).expect(200);
    let all = serving.ask("GET", "/audit/events?format=ndjson&type=app-registered", None).expect(200);
    assert_eq!(all.body.lines().count(), 2);
    // Threads that many readers at once needed end when they had nothing to do for a while.
    #[cfg(target_os = "linux")]
    eventually("readers hold no thread each", || (threads_of(&serving) < THREADS).then_some(()));
    // One who reads gets everything.
    let (length, is_whole) = drained(stalled(&serving));
    assert!(is_whole && length > 12_000_000, "{length} bytes");
    drop(readers);
    serving.stop();
}

#[test]
fn readers_who_read_nothing_are_given_up_on() {
    let site = a_long_history(&[("LIMITS_REQUEST_TIMEOUT", "2s")]);
    let serving = site.serve();
    let readers: Vec<TcpStream> = (0..MANY).map(|_| stalled(&serving)).collect();
    let given_up = || -> usize {
        let log = serving.log();
        let counts = log.lines().filter(|line| line.contains("connections were closed"));
        let unread = |line: &str| line.split(" unread=").nth(1)?.split(' ').next()?.parse::<usize>().ok();
        counts.filter_map(unread).sum()
    };
    eventually("all are given up on", || (given_up() >= MANY).then_some(()));
    for reader in readers {
        let (_, is_whole) = drained(reader);
        assert!(!is_whole, "what broke off is not taken for all there is");
    }
    serving.stop();
}

#[test]
fn a_server_that_stops_waits_for_no_reader() {
    // Longer than a test has patience.
    let site = a_long_history(&[("LIMITS_SHUTDOWN_TIMEOUT", "10m"), ("LIMITS_REQUEST_TIMEOUT", "10m")]);
    let serving = site.serve();
    let readers: Vec<TcpStream> = (0..3).map(|_| stalled(&serving)).collect();
    serving.stop();
    for reader in readers {
        assert!(!drained(reader).1, "what broke off is not taken for all there is");
    }
}
