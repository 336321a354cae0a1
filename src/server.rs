//! The server: every room wired together. Knows: all of them, and the configuration. Must not know: any
//! rule.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use actix_web::middleware::{Condition, from_fn};
use actix_web::{App, web};

use crate::audit::History;
use crate::clock::Clock;
use crate::config::Config;
use crate::connections::{self, Connections};
use crate::http;
use crate::http::audit::export::Exports;
use crate::http::browser::Browser;
pub use crate::http::operator::PERSON_HEADER;
pub use crate::http::service::ProcessKey;
use crate::http::service::Service;
use crate::identity::pending::SignIns;
use crate::identity::session::Sessions;
use crate::identity::tickets::Tickets;
use crate::identity::{Sealer, SessionKey, SessionKeyError};
use crate::ledger::{Freshness, Ledger, LedgerOptions, SnapshotOptions, WhenStale};
use crate::secrets::{CodeKey, RefreshKey};
use crate::store::{Store, StoreError};
use crate::telemetry::Metrics;
use crate::unapproved::Unapproved;

/// The file with the session key, in the data directory.
const SESSION_KEY_FILE: &str = "session.key";
/// The directory with the snapshots, in the data directory.
pub const SNAPSHOT_DIR: &str = "snapshots";
/// The fewest events between two snapshots: a second's folding or so.
const SNAPSHOT_EVERY: u64 = 100_000;
/// The most connections that may wait to be accepted.
const BACKLOG: i32 = 1024;

/// Why the server cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("cannot listen on {address}: {}", cannot_listen(address, source))]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error(transparent)]
    SessionKey(#[from] SessionKeyError),
    #[error("the web server could not be started: {0}")]
    Server(std::io::Error),
}

/// Why, and what to do.
fn cannot_listen(address: &SocketAddr, error: &std::io::Error) -> String {
    let (ip, port) = (address.ip(), address.port());
    match error.kind() {
        ErrorKind::AddrInUse => {
            let other = SocketAddr::new(ip, port.checked_add(10).unwrap_or(8710));
            format!(
                "another program has the port, perhaps another grantbook; stop it, or choose another, such as --listen {other}"
            )
        }
        ErrorKind::PermissionDenied => {
            format!("only root may take port {port}; set listen to a higher one, with a proxy in front of it")
        }
        ErrorKind::AddrNotAvailable => {
            format!("{ip} is no address of this machine; set listen to one, such as 127.0.0.1:{port}")
        }
        _ => format!("{error}; set listen to another address"),
    }
}

/// A server that is running.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    ledger: Arc<Ledger>,
    history: Arc<History>,
    exports: Arc<Exports>,
    unapproved: Unapproved,
    connections: Connections,
}

/// What a server is started with beside its configuration.
#[derive(Debug)]
pub struct Parts {
    pub listener: TcpListener,
    pub store: Arc<dyn Store>,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
    /// Keys that live only as long as the process.
    pub process_keys: Vec<ProcessKey>,
}

/// Takes the configured address. Before anything else, so that a taken port changes nothing.
pub fn listen(config: Config) -> Result<(Config, TcpListener), StartError> {
    let address = config.listen;
    let taken = |source| StartError::Listen { address, source };
    let listener = TcpListener::bind(address).map_err(taken)?;
    // What the standard library asks for is less, and too few for a burst.
    socket2::SockRef::from(&listener).listen(BACKLOG).map_err(taken)?;
    let bound = listener.local_addr().map_err(taken)?;
    Ok((config.bound_to(bound), listener))
}

impl Server {
    /// Starts serving. Requests are answered 503 until the ledger is folded. Must be called within a
    /// Tokio runtime.
    pub fn start(config: &Config, parts: Parts) -> Result<Self, StartError> {
        let address = parts.listener.local_addr().map_err(StartError::Server)?;
        let key_file = config.session.key_file.clone();
        let session_key =
            SessionKey::load_or_create(&key_file.unwrap_or_else(|| config.data_dir.join(SESSION_KEY_FILE)))?;
        let https = config.issuer.is_https();
        let browser = web::Data::new(Browser {
            sign_ins: SignIns::new(&session_key, https, parts.clock.now()),
            sessions: Sessions::new(&session_key, https),
            tickets: Tickets::new(&session_key),
            pushed: Sealer::new(&session_key, "grantbook pushed requests, v1"),
            code_key: CodeKey::new(session_key.derive("grantbook authorization codes, v1")),
        });
        let refresh_key = RefreshKey::new(session_key.derive("grantbook refresh tokens, v1"));
        let metrics = Arc::new(Metrics::new(parts.clock.now()));
        let snapshots = SnapshotOptions { dir: config.data_dir.join(SNAPSHOT_DIR), every: SNAPSHOT_EVERY };
        let options = LedgerOptions {
            strict: config.strict,
            snapshots: Some(snapshots),
            data_dir: Some(config.data_dir.clone()),
            freshness: Freshness {
                max_staleness: config.max_staleness,
                when_stale: if config.refuse_when_stale { WhenStale::Refuse } else { WhenStale::Read },
            },
        };
        let ledger = Ledger::open_with(parts.store, parts.clock, options);
        let history = History::start(&ledger, config.data_dir.clone());
        let unapproved = Unapproved::start(&ledger, &metrics, config.registration.lifetime_unapproved);
        let mut service =
            Service::new(config.clone(), &ledger, &history, parts.process_keys, refresh_key, metrics);
        service.upkeep = Arc::clone(unapproved.tasks());
        let service = web::Data::new(service);
        let exports = Arc::clone(&service.exports);
        let limits = config.limits.clone();
        let has_prefix = !service.prefix.as_str().is_empty();
        let connections = connections::Limits {
            connections: limits.max_connections,
            head: limits.client_head_timeout,
            answer: limits.request_timeout,
            idle: limits.keep_alive,
            shutdown: limits.shutdown_timeout,
        };
        let connections = Connections::serve(parts.listener, connections, move || {
            App::new()
                .app_data(service.clone())
                .app_data(browser.clone())
                .app_data(web::PayloadConfig::new(limits.body))
                .app_data(http::input::path_config())
                .wrap(from_fn(http::observe::observe))
                .wrap(Condition::new(has_prefix, from_fn(http::prefix::under_the_issuer)))
                .default_service(web::to(http::endpoint::no_such_path))
                .configure(http::endpoints::serve)
        });
        let connections = connections.map_err(StartError::Server)?;
        Ok(Self { address, ledger, history, exports, unapproved, connections })
    }

    /// What it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    pub fn history(&self) -> &Arc<History> {
        &self.history
    }

    /// Waits until it stops serving by itself.
    pub async fn ended(&self) {
        self.connections.ended().await;
    }

    /// Takes no more requests, lets those under way finish, then closes the ledger.
    pub async fn stop(self) -> Result<(), StoreError> {
        // An export may have no end.
        self.exports.stop();
        self.unapproved.stop();
        self.connections.stop().await;
        self.history.close().await;
        self.ledger.close().await
    }
}
