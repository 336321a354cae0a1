//! Clients that take connections and give nothing back: they cost little, they are given up on, and where there is
//! no room for others, they make it.

use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;

use crate::process::{PATIENCE, Serving, eventually};
use crate::site::Site;
use crate::wanted::registration;

/// Small requests at once on one connection, as in the report of this fault.
const PIPELINED: usize = 1200;

/// A request without a body.
fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
}

/// Reads one answer, whose body has a known length, from a connection that stays open.
fn answer(stream: &mut TcpStream) -> std::io::Result<String> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let (mut said, mut byte) = (Vec::new(), [0]);
    while !said.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte)? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        said.push(byte[0]);
    }
    let head = String::from_utf8(said).unwrap().to_lowercase();
    let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()).unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut body)?;
    Ok(head + &String::from_utf8(body).unwrap())
}

/// A connection that has had an answer and is idle.
fn idle(serving: &Serving) -> TcpStream {
    let mut stream = serving.http.connect();
    stream.write_all(get("/healthz").as_bytes()).unwrap();
    assert!(answer(&mut stream).unwrap().starts_with("http/1.1 200"));
    stream
}

/// Whether the server has closed a connection.
fn is_closed(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let seen = stream.peek(&mut [0]);
    stream.set_nonblocking(false).unwrap();
    match seen {
        Ok(read) => read == 0,
        Err(error) => error.kind() != ErrorKind::WouldBlock,
    }
}

/// The sockets that a server has open.
#[cfg(target_os = "linux")]
fn sockets(serving: &Serving) -> usize {
    let open = fs::read_dir(format!("/proc/{}/fd", serving.pid())).unwrap();
    let links = open.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    links.filter(|link| link.to_string_lossy().starts_with("socket:")).count()
}

/// The most memory that a server has had, in MB.
#[cfg(target_os = "linux")]
fn memory(serving: &Serving) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", serving.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() / 1024
}

#[cfg(target_os = "linux")]
#[test]
fn clients_that_read_nothing_cost_little_and_are_given_up_on() {
    const MANY: usize = 60;
    let site = Site::with(&[("LIMITS_REQUEST_TIMEOUT", "3s")]);
    let serving = site.serve();
    idle(&serving);
    let (before, sockets_before) = (memory(&serving), sockets(&serving));
    let asked = get("/assets/grantbook.css").repeat(PIPELINED);
    let mut clients: Vec<TcpStream> = (0..MANY).map(|_| serving.http.connect()).collect();
    for client in &mut clients {
        // What the system does not take is not sent.
        client.set_nonblocking(true).unwrap();
        let _ = client.write(asked.as_bytes()).unwrap();
    }
    // 4 KB for each request under way would be 280 MB.
    serving.until_it_says("connections were closed");
    eventually("all are closed", || (sockets(&serving) <= sockets_before).then_some(()));
    let cost = memory(&serving) - before;
    assert!(cost < 60, "{cost} MB for {MANY} clients");
    idle(&serving);
    serving.stop();
}

#[test]
fn a_client_that_reads_gets_every_answer_in_order() {
    let site = Site::new();
    let serving = site.serve();
    let mut client = serving.http.connect();
    let paths = ["/healthz", "/nothing", "/assets/grantbook.css"];
    let asked: String = paths.iter().cycle().take(PIPELINED).map(|path| get(path)).collect();
    let mut sender = client.try_clone().unwrap();
    let sending = std::thread::spawn(move || sender.write_all(asked.as_bytes()).unwrap());
    for path in paths.iter().cycle().take(PIPELINED) {
        let answer = answer(&mut client).unwrap();
        let status = if *path == "/nothing" { "404" } else { "200" };
        assert_eq!(answer.get(9..12), Some(status), "{path}: {answer}");
        assert_eq!(answer.contains("text/css"), path.ends_with(".css"), "{path}: {answer}");
    }
    sending.join().unwrap();
    // Empty lines in a body are no ends of heads.
    let body = registration("Spacious App").to_string().replace(',', &format!(",{}", "\r\n\r\n".repeat(500)));
    let head = format!(
        "POST /apps HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n",
        serving.key,
        body.len()
    );
    client.write_all(format!("{head}{body}{}", get("/healthz")).as_bytes()).unwrap();
    assert!(answer(&mut client).unwrap().starts_with("http/1.1 201"));
    assert!(answer(&mut client).unwrap().ends_with("ok\n"));
}

#[test]
fn a_second_head_that_does_not_end_is_cut_off_as_a_first_one_is() {
    let site = Site::with(&[("LIMITS_CLIENT_HEAD_TIMEOUT", "1s"), ("LIMITS_KEEP_ALIVE", "1h")]);
    let serving = site.serve();
    let mut client = idle(&serving);
    client.write_all(b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n").unwrap();
    eventually("the connection is closed", || is_closed(&client).then_some(()));
    // One that has begun nothing is idle.
    let client = idle(&serving);
    serving.until_it_says("connections were closed");
    assert!(!is_closed(&client));
}

#[cfg(target_os = "linux")]
#[test]
fn a_connection_takes_one_descriptor() {
    const MANY: usize = 50;
    let site = Site::new();
    let serving = site.serve();
    let mut clients = Vec::new();
    // Others may still be closing: those of the harness.
    eventually("each connection takes one", || {
        let before = sockets(&serving);
        clients.extend((0..MANY).map(|_| idle(&serving)));
        (sockets(&serving) == before + MANY).then_some(())
    });
}

#[test]
fn the_most_connections_are_all_together_and_idle_ones_make_room() {
    const MOST: usize = 6;
    let site = Site::with(&[("LIMITS_MAX_CONNECTIONS", "6"), ("LIMITS_REQUEST_TIMEOUT", "10m")]);
    let serving = site.serve();
    // A request under way is not broken off, however many others come.
    let body = registration("Patient App").to_string();
    let mut patient = serving.http.connect();
    let head = format!(
        "POST /apps HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nexpect: 100-continue\r\n\r\n",
        serving.key,
        body.len()
    );
    patient.write_all(head.as_bytes()).unwrap();
    let mut goes_on = [0; 25];
    patient.read_exact(&mut goes_on).unwrap();
    assert!(goes_on.starts_with(b"HTTP/1.1 100"));

    let clients: Vec<TcpStream> = (0..MOST * 5).map(|_| idle(&serving)).collect();
    eventually("no more are open than may be", || {
        (clients.iter().filter(|client| !is_closed(client)).count() < MOST).then_some(())
    });
    // The one that came last has waited least.
    assert!(!is_closed(clients.last().unwrap()));
    patient.write_all(body.as_bytes()).unwrap();
    assert!(answer(&mut patient).unwrap().starts_with("http/1.1 201"));
    let said = serving.log().matches("limits.max_connections allows").count();
    assert_eq!(said, 1, "{}", serving.log());
}

#[test]
fn a_server_that_may_open_few_files_takes_fewer_connections_and_says_so() {
    let site = Site::new();
    let serving = site.serve_by(site.command_behind(r#"ulimit -n 120; exec "$@""#));
    let log = serving.log();
    assert!(log.contains("open_files=120") && log.contains("connections=60"), "{log}");
    let clients: Vec<TcpStream> = (0..200).map(|_| idle(&serving)).collect();
    assert!(clients.iter().filter(|client| !is_closed(client)).count() <= 60);
    serving.app();
    drop(serving);

    let serving = site.serve_by(site.command_behind(r#"ulimit -n 1024; exec "$@""#));
    assert!(!serving.log().contains("open_files"), "{}", serving.log());
}

/// The limit is lowered beneath a server that runs, as if something else took the descriptors.
#[cfg(target_os = "linux")]
#[test]
fn a_server_without_descriptors_says_so_makes_room_and_recovers() {
    let site = Site::new();
    let serving = site.serve();
    let few: Vec<TcpStream> = (0..10).map(|_| idle(&serving)).collect();
    let limit = |soft: u64| {
        let hard = rlimit::getrlimit(rlimit::Resource::NOFILE).unwrap().1;
        let pid = i32::try_from(serving.pid()).unwrap();
        rlimit::prlimit(pid, rlimit::Resource::NOFILE, Some((soft, hard)), None).unwrap();
    };
    let open = fs::read_dir(format!("/proc/{}/fd", serving.pid())).unwrap().count();
    limit(open as u64);
    // Each finds room, although there is none: those that are idle make it.
    for _ in 0..5 {
        drop(idle(&serving));
    }
    let newer: Vec<TcpStream> = (0..25).map(|_| idle(&serving)).collect();
    assert!(few.iter().any(is_closed));
    serving.until_it_says("connections cannot be accepted");
    limit(1024);
    let many: Vec<TcpStream> = (0..30).map(|_| idle(&serving)).collect();
    serving.until_it_says("connections are accepted again");
    assert_eq!(serving.log().matches("connections cannot be accepted").count(), 1, "{}", serving.log());
    drop((newer, many));
    serving.stop();
}
