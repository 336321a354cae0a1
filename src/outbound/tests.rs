//! Attacks on the one way out (X1): hosts that lead elsewhere, names whose answers change, answers that never end.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;

use super::testing::{Does, JSON, Server, answer};
use super::*;

const MINUTE: Duration = Duration::from_secs(60);
/// For what is to end by itself, however slow the machine is.
const LONG: Duration = MINUTE;
/// For what would never end.
const SHORT: Duration = Duration::from_secs(1);

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000)
}

fn loopback() -> Rules {
    Rules { allowed: Allowed::parse("127.0.0.1").unwrap(), ..Rules::default() }
}

fn outbound(within: Duration) -> Outbound {
    Outbound::with(loopback(), Arc::new(SystemResolver), within)
}

/// Gives each answer once, and then the last one again.
#[derive(Debug)]
struct Answers(Mutex<VecDeque<Vec<IpAddr>>>, AtomicUsize);

impl Answers {
    fn new(answers: &[&[&str]]) -> Arc<Self> {
        let parsed = answers.iter().map(|ips| ips.iter().map(|ip| ip.parse().unwrap()).collect());
        Arc::new(Self(Mutex::new(parsed.collect()), AtomicUsize::default()))
    }
}

#[async_trait]
impl Resolver for Answers {
    async fn addresses(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        self.1.fetch_add(1, Ordering::SeqCst);
        let mut answers = self.0.lock();
        Ok(if answers.len() > 1 { answers.pop_front().unwrap() } else { answers[0].clone() })
    }
}

#[tokio::test]
async fn x1_a_fetch_says_nothing_of_us_and_brings_nothing_but_the_document() {
    let server = Server::answering(&format!("{JSON}Set-Cookie: a=b\r\n"), r#"{"a": 1}"#).await;
    let outbound = outbound(LONG);
    for path in ["/one?b=c", "/two"] {
        assert_eq!(outbound.document(&server.url(path), at(0)).await.unwrap(), r#"{"a": 1}"#);
    }
    let port = server.port;
    let request = |path: &str| {
        format!(
            "GET {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nuser-agent: grantbook/{}\r\naccept: application/json\r\n\
             accept-encoding: identity\r\nconnection: close\r\n\r\n",
            env!("CARGO_PKG_VERSION")
        )
    };
    assert_eq!(*server.asked.lock(), [request("/one?b=c"), request("/two")]);
}

#[tokio::test]
async fn x1_no_redirect_is_followed_and_nothing_but_200_is_a_document() {
    let trap = Server::answering(JSON, "{}").await;
    let outbound = outbound(LONG);
    for status in [201, 204, 206, 301, 302, 303, 307, 308, 401, 404, 500] {
        let head = format!(
            "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nLocation: {}\r\nRefresh: 0; url={0}\r\n",
            trap.url("/")
        );
        let server = Server::answering(&head, "").await;
        assert_eq!(outbound.document(&server.url("/"), at(0)).await, Err(FetchError::Status(status)));
    }
    assert_eq!(trap.connections(), 0);
}

#[tokio::test]
async fn x1_a_name_is_looked_up_once_and_only_what_was_checked_is_connected_to() {
    let right = Server::answering(JSON, "{}").await;
    let other = Server::on("127.0.0.2", Does::Answers(answer(JSON, r#""trap""#)), None).await;
    // Only 127.0.0.1 may be asked.
    let resolver = Answers::new(&[&["127.0.0.2", "10.0.0.1", "127.0.0.1"], &["127.0.0.2"]]);
    let outbound = Outbound::with(loopback(), Arc::clone(&resolver) as Arc<dyn Resolver>, LONG);
    let url = |server: &Server| format!("http://app.example:{}/", server.port);
    assert_eq!(outbound.document(&url(&right), at(0)).await.unwrap(), "{}");
    assert_eq!(resolver.1.load(Ordering::SeqCst), 1, "one look-up, whatever a second one would say");
    assert_eq!(outbound.document(&url(&other), at(0)).await, Err(FetchError::Refused));
    assert_eq!((right.connections(), other.connections()), (1, 0));
}

#[tokio::test]
async fn x1_what_a_name_leads_to_is_judged_by_its_addresses() {
    for addresses in [
        &["127.0.0.1"][..],
        &["::1"],
        &["::ffff:127.0.0.1"],
        &["::7f00:1"],
        &["64:ff9b::7f00:1"],
        &["2002:7f00:1::"],
        &["10.0.0.1", "192.168.0.1", "100.64.0.1", "0.0.0.0"],
        &["169.254.169.254"],
        &["fe80::1", "fd00:ec2::254"],
        &[],
    ] {
        let outbound = Outbound::with(Rules::default(), Answers::new(&[addresses]), LONG);
        let refused = outbound.document("https://app.example/", at(0)).await;
        assert_eq!(refused, Err(FetchError::Refused), "{addresses:?}");
    }
    let outbound = Outbound::new(Rules::default());
    for url in [
        "https://localhost/",
        "https://localhost./",
        "https://127.1/",
        "https://2130706433/",
        "https://0x7f.0.0.1/",
        "https://017700000001/",
        "https://[::ffff:127.0.0.1]/",
        "https://[::]/",
        "https://0/",
        "https://name.invalid/",
    ] {
        assert_eq!(outbound.document(url, at(0)).await, Err(FetchError::Refused), "{url}");
    }
}

#[tokio::test]
async fn x1_what_does_not_end_is_cut() {
    let outbound = outbound(SHORT);
    let pause = Duration::from_millis(20);
    for (does, why) in [
        (Does::Waits(usize::MAX, String::new()), FetchError::TooSlow),
        (Does::Repeats(JSON.to_owned(), "X-A: b\r\n", pause), FetchError::TooSlow),
        (Does::Repeats(format!("{JSON}\r\n{{"), " ", pause), FetchError::TooSlow),
        (Does::Repeats(format!("{JSON}Content-Length: 100\r\n\r\n{{"), "", pause), FetchError::TooSlow),
        (
            Does::Repeats(format!("{JSON}\r\n{{"), " ".repeat(4096).leak(), Duration::ZERO),
            FetchError::TooLarge,
        ),
        (
            Does::Repeats(
                format!("{JSON}Transfer-Encoding: chunked\r\n\r\n"),
                "4\r\n    \r\n".repeat(500).leak(),
                Duration::ZERO,
            ),
            FetchError::TooLarge,
        ),
        (Does::Answers(format!("{JSON}Content-Length: 99999999999\r\n\r\n")), FetchError::TooLarge),
    ] {
        let server = Server::that(does.clone()).await;
        assert_eq!(outbound.document(&server.url("/"), at(0)).await, Err(why), "{does:?}");
    }
}

#[tokio::test]
async fn x1_a_document_has_64_kib() {
    let outbound = outbound(LONG);
    let (fits, more) = ("x".repeat(64 * 1024), "x".repeat(64 * 1024 + 1));
    let server = Server::answering(JSON, &fits).await;
    assert_eq!(outbound.document(&server.url("/"), at(0)).await.unwrap().len(), 64 * 1024);
    for head in [answer(JSON, &more), format!("{JSON}\r\n{more}")] {
        let server = Server::that(Does::Answers(head)).await;
        assert_eq!(outbound.document(&server.url("/"), at(0)).await, Err(FetchError::TooLarge));
    }
}

#[tokio::test]
async fn x1_only_plain_json_with_a_short_head_is_read() {
    let outbound = outbound(LONG);
    let ok = "HTTP/1.1 200 OK\r\n";
    for right in ["application/json", "Application/JSON; charset=utf-8", "application/jwk-set+json"] {
        let server = Server::answering(&format!("{ok}Content-Type: {right}\r\n"), "{}").await;
        assert_eq!(outbound.document(&server.url("/"), at(0)).await.unwrap(), "{}", "{right}");
    }
    let typed = |value: &str| format!("{ok}Content-Type: {value}\r\n");
    let flood = |count: usize| format!("{JSON}{}", "X-A: b\r\n".repeat(count));
    for (head, why) in [
        (ok.to_owned(), FetchError::ContentType),
        (typed("text/html"), FetchError::ContentType),
        (typed("text/json"), FetchError::ContentType),
        (typed("application/jsonp"), FetchError::ContentType),
        (typed("text/html; application/json"), FetchError::ContentType),
        (typed("application/json\r\nContent-Type: text/html"), FetchError::ContentType),
        (format!("{JSON}Content-Encoding: gzip\r\n"), FetchError::Compressed),
        (format!("{JSON}Content-Encoding: identity\r\nContent-Encoding: br\r\n"), FetchError::Compressed),
        (flood(65), FetchError::Broken),
        (flood(100_000), FetchError::Broken),
        (format!("{JSON}X-A: {}\r\n", "b".repeat(17 * 1024)), FetchError::Broken),
        ("HTTP/1.1 100 Continue\r\n\r\n".repeat(3) + "nonsense\r\n\r\n", FetchError::Broken),
        ("SSH-2.0-OpenSSH_9.2\r\n".to_owned(), FetchError::Broken),
    ] {
        let server = Server::answering(&head, "{}").await;
        let shown: String = head.chars().take(100).collect();
        assert_eq!(outbound.document(&server.url("/"), at(0)).await, Err(why), "{shown}");
    }
}

/// An authority, and what its server for `localhost` speaks.
fn authority() -> (CertificateDer<'static>, TlsAcceptor) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let signed =
        CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let private = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
    let config = builder.with_single_cert(vec![signed.der().clone()], private).unwrap();
    (issuer.der().clone(), TlsAcceptor::from(Arc::new(config)))
}

#[tokio::test]
async fn x1_https_is_trusted_by_the_system_and_by_an_authority_of_the_operator() {
    let (trusted, acceptor) = authority();
    let server = Server::on("127.0.0.1", Does::Answers(answer(JSON, "{}")), Some(acceptor)).await;
    let fetch = async |authorities: &[CertificateDer<'static>], host: &str, port: u16| {
        let rules = Rules { authorities: authorities.to_vec(), ..loopback() };
        let outbound = Outbound::with(rules, Answers::new(&[&["127.0.0.1"]]), LONG);
        outbound.document(&format!("https://{host}:{port}/"), at(0)).await
    };
    assert_eq!(fetch(std::slice::from_ref(&trusted), "localhost", server.port).await.unwrap(), "{}");
    for (authorities, host, port) in [
        (std::slice::from_ref(&trusted), "other.example", server.port),
        (std::slice::from_ref(&trusted), "127.0.0.1", server.port),
        (&[authority().0], "localhost", server.port),
        (&[], "localhost", server.port),
    ] {
        assert_eq!(fetch(authorities, host, port).await, Err(FetchError::Unreachable), "{host}:{port}");
    }
}

#[tokio::test]
async fn x1_many_who_want_one_document_share_one_fetch() {
    let server = Server::that(Does::Waits(1, answer(JSON, "{}"))).await;
    let (outbound, url) = (Arc::new(outbound(LONG)), server.url("/"));
    let waiting: Vec<_> = (0..64)
        .map(|_| {
            let (outbound, url) = (Arc::clone(&outbound), url.clone());
            tokio::spawn(async move { outbound.document(&url, at(0)).await })
        })
        .collect();
    for one in waiting {
        assert_eq!(one.await.unwrap().unwrap(), "{}");
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn x1_who_gives_up_leaves_the_fetch_to_the_next() {
    let server = Server::that(Does::Waits(2, answer(JSON, "{}"))).await;
    let (outbound, url) = (Arc::new(outbound(LONG)), server.url("/"));
    let first = tokio::spawn({
        let (outbound, url) = (Arc::clone(&outbound), url.clone());
        async move { outbound.document(&url, at(0)).await }
    });
    while server.asked.lock().is_empty() {
        sleep(Duration::from_millis(1)).await;
    }
    first.abort();
    assert_eq!(outbound.document(&url, at(0)).await.unwrap(), "{}");
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn x1_answers_and_failures_are_kept_for_their_time() {
    let server =
        Server::that(Does::Answers(answer(&format!("{JSON}Cache-Control: max-age=3600\r\n"), "1"))).await;
    let (outbound, url) = (outbound(LONG), server.url("/"));
    let asked = || server.connections();
    assert_eq!(outbound.document(&url, at(0)).await.unwrap(), "1");
    server.does(Does::Answers(answer("HTTP/1.1 500 X\r\n", "")));
    assert_eq!(outbound.document(&url, at(3599)).await.unwrap(), "1");
    assert_eq!(asked(), 1);

    // Asked for again in between: a failure costs nothing that is known, and counts as asked.
    assert_eq!(outbound.document_no_older(&url, MINUTE, at(60)).await.unwrap(), "1");
    assert_eq!(asked(), 2);
    assert_eq!(outbound.document_no_older(&url, MINUTE, at(119)).await.unwrap(), "1");
    assert_eq!(asked(), 2);

    // At its end the document is gone, and the failure counts for half a minute.
    assert_eq!(outbound.document(&url, at(3600)).await, Err(FetchError::Status(500)));
    assert_eq!(outbound.document(&url, at(3629)).await, Err(FetchError::Status(500)));
    assert_eq!(asked(), 3);
    server.does(Does::Answers(answer(JSON, "2")));
    assert_eq!(outbound.document(&url, at(3630)).await.unwrap(), "2");
    server.does(Does::Answers(answer(JSON, "3")));
    assert_eq!(outbound.document_no_older(&url, MINUTE, at(3690)).await.unwrap(), "3");
    assert_eq!(asked(), 5);
}

/// Hangs until it is let go.
#[derive(Debug)]
struct Hangs(AtomicUsize, Semaphore);

#[async_trait]
impl Resolver for Hangs {
    async fn addresses(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        self.0.fetch_add(1, Ordering::SeqCst);
        let _let_go = self.1.acquire().await;
        Ok(Vec::new())
    }
}

#[tokio::test]
async fn x1_there_are_never_more_look_ups_and_fetches_than_turns() {
    let resolver = Arc::new(Hangs(AtomicUsize::new(0), Semaphore::new(0)));
    let outbound = Outbound::with(Rules::default(), Arc::clone(&resolver) as Arc<dyn Resolver>, SHORT);
    let outbound = Arc::new(outbound);
    let all: Vec<_> = (0..MAX_AT_ONCE)
        .map(|i| {
            let outbound = Arc::clone(&outbound);
            tokio::spawn(async move { outbound.document(&format!("https://app{i}.example/"), at(0)).await })
        })
        .collect();
    for one in all {
        assert_eq!(one.await.unwrap(), Err(FetchError::TooSlow));
    }
    // Nobody waits for these look-ups any more, but they are still there.
    assert_eq!(outbound.document("https://more.example/", at(0)).await, Err(FetchError::Busy));
    assert_eq!(resolver.0.load(Ordering::SeqCst), MAX_AT_ONCE);
    resolver.1.add_permits(1000);
    assert_eq!(outbound.document("https://more.example/", at(0)).await, Err(FetchError::Refused));
}
