//! Two servers in this process, grantbook and a bare handler, and callers that ask each the same. The
//! callers send bytes that were made before and count the bytes that come back, so that they cost little.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use actix_web::web::{self, Bytes};
use actix_web::{App, HttpResponse, HttpServer};
use grantbook::clock::SystemClock;
use grantbook::config::{Config, ConfigFile, ConfigFlags, Sources};
use grantbook::secrets::{self, PlainSecret};
use grantbook::server::{Parts, ProcessKey, Server, listen};
use grantbook::store::Store;
use grantbook_events::Role;
use serde::de::DeserializeOwned;

use super::Failure;

/// The start of every reply that counts.
const OK: &[u8] = b"HTTP/1.1 200 OK\r\n";
const END_OF_HEAD: &[u8] = b"\r\n\r\n";

/// grantbook, serving.
pub struct Grantbook {
    pub server: Server,
    pub address: SocketAddr,
    /// A key of the role `resource`.
    pub key: PlainSecret,
}

impl Grantbook {
    /// Serves a store as it would be served by default, with its log at the default level to nowhere.
    pub async fn serve(store: Arc<dyn Store>, data_dir: &Path) -> Result<Self, Failure> {
        let settings = [
            ("GRANTBOOK_LISTEN".to_owned(), "127.0.0.1:0".to_owned()),
            ("GRANTBOOK_DATA_DIR".to_owned(), data_dir.display().to_string()),
        ];
        let environment = settings.into_iter().collect();
        let sources = Sources { file: ConfigFile::Nowhere, environment, flags: ConfigFlags::default() };
        let (config, listener) = listen(Config::load(sources)?)?;
        let key = secrets::mint_operator_key();
        let process_key = ProcessKey { name: "bench", role: Role::Resource, digest: key.digest() };
        let parts = Parts { listener, store, clock: Arc::new(SystemClock), process_keys: vec![process_key] };
        let server = Server::start(&config, parts)?;
        server.ledger().caught_up().await.map_err(|progress| format!("{progress:?}"))?;
        // What it still does for itself would be measured with it.
        let head = server.ledger().store().head().await?.position;
        while server.history().reached(head).await.is_err() {}
        Ok(Self { address: server.address(), server, key })
    }
}

/// A reply that is always the same.
#[derive(Debug, Clone)]
pub struct Reply {
    /// Names and values, without those that every server adds by itself.
    headers: Vec<(String, String)>,
    body: Bytes,
}

impl Reply {
    /// A body, and no header but its type.
    pub fn of_body(body: &'static str) -> Self {
        let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        Self { headers, body: Bytes::from_static(body.as_bytes()) }
    }

    pub fn body(&self) -> &[u8] {
        &self.body
    }
}

/// Serves a handler that parses a form and gives a reply that is always the same.
pub fn serve_bare<F: DeserializeOwned + 'static>(
    path: &'static str,
    reply: Reply,
) -> Result<SocketAddr, Failure> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let server = HttpServer::new(move || {
        let reply = Arc::new(reply.clone());
        let bare = move |_form: web::Form<F>| {
            let reply = Arc::clone(&reply);
            async move {
                let mut response = HttpResponse::Ok();
                for (name, value) in &reply.headers {
                    response.insert_header((name.as_str(), value.as_str()));
                }
                response.body(reply.body.clone())
            }
        };
        App::new().route(path, web::post().to(bare))
    });
    tokio::spawn(server.disable_signals().listen(listener)?.run());
    Ok(address)
}

/// A form as it goes over the wire, on a connection that is kept.
pub fn post(path: &str, headers: &str, form: &str) -> Vec<u8> {
    let length = form.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}Content-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: {length}\r\n\r\n{form}"
    )
    .into_bytes()
}

/// The reply to one request, which must be 200.
pub fn ask(address: SocketAddr, request: &[u8]) -> Result<Reply, Failure> {
    let mut caller = Caller::connect(address)?;
    caller.ask(request)?;
    let (head, body) = caller.received[..caller.filled].split_at(caller.head);
    let lines = std::str::from_utf8(head)?.lines().filter_map(|line| line.split_once(": "));
    let ours = lines.filter(|(name, _)| !matches!(*name, "content-length" | "date"));
    let headers = ours.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    Ok(Reply { headers, body: Bytes::copy_from_slice(body) })
}

/// How long callers take, one connection and one share of the requests each. Every reply must be 200.
pub fn callers(address: SocketAddr, shares: &[&[Vec<u8>]]) -> Result<Duration, Failure> {
    callers_that(address, shares, |_| ())
}

/// The same, by callers that look at the body of each reply.
pub fn callers_that(
    address: SocketAddr,
    shares: &[&[Vec<u8>]],
    look: impl Fn(&[u8]) + Sync,
) -> Result<Duration, Failure> {
    let look = &look;
    let barrier = Barrier::new(shares.len() + 1);
    std::thread::scope(|scope| {
        let running: Vec<_> = shares
            .iter()
            .map(|share| {
                scope.spawn(|| {
                    let caller = Caller::connect(address);
                    barrier.wait();
                    let mut caller = caller?;
                    share.iter().try_for_each(|request| {
                        caller.ask(request)?;
                        look(&caller.received[caller.head..caller.filled]);
                        Ok::<_, Failure>(())
                    })
                })
            })
            .collect();
        barrier.wait();
        let started = Instant::now();
        for caller in running {
            caller.join().map_err(|_| "a caller panicked")??;
        }
        Ok(started.elapsed())
    })
}

struct Caller {
    stream: TcpStream,
    received: Vec<u8>,
    filled: usize,
    head: usize,
}

impl Caller {
    fn connect(address: SocketAddr) -> Result<Self, Failure> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        Ok(Self { stream, received: vec![0; 16 * 1024], filled: 0, head: 0 })
    }

    fn ask(&mut self, request: &[u8]) -> Result<(), Failure> {
        self.stream.write_all(request)?;
        self.filled = 0;
        loop {
            let read = self.stream.read(&mut self.received[self.filled..])?;
            if read == 0 {
                return Err("the server closed the connection".into());
            }
            self.filled += read;
            let reply = &self.received[..self.filled];
            let Some(end) = reply.windows(END_OF_HEAD.len()).position(|bytes| bytes == END_OF_HEAD) else {
                continue;
            };
            self.head = end + END_OF_HEAD.len();
            if !reply.starts_with(OK) {
                return Err(String::from_utf8_lossy(reply).into_owned().into());
            }
            if self.filled >= self.head + content_length(&reply[..end])? {
                return Ok(());
            }
        }
    }
}

fn content_length(head: &[u8]) -> Result<usize, Failure> {
    const NAME: &[u8] = b"\r\ncontent-length: ";
    let at = head.windows(NAME.len()).position(|bytes| bytes == NAME).ok_or("no content-length")?;
    let digits = head[at + NAME.len()..].iter().take_while(|byte| byte.is_ascii_digit());
    Ok(digits.fold(0, |length, digit| length * 10 + usize::from(digit - b'0')))
}
