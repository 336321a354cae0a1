//! A server of this process, with a key of its own. Knows: how to start and stop one. Must not know: what
//! it is asked.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::sync::Arc;

use grantbook_events::Role;
use tempfile::TempDir;

use super::failure::Failure;
use super::ledger_place::Opened;
use crate::clock::SystemClock;
use crate::config::Config;
use crate::secrets::{self, PlainSecret};
use crate::server::{Parts, ProcessKey, Server};
use crate::store::Lock;

/// The name of the key, which is the actor of its events if the user is not named.
pub(super) const KEY_NAME: &str = "command line";

/// A server of this process.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) server: Server,
    /// May do everything, for as long as this process runs.
    pub(super) key: PlainSecret,
    /// Where this machine reaches it, without a trailing slash.
    pub(super) url: String,
    /// Released when the server is gone.
    _held: (Option<Lock>, Option<TempDir>),
}

impl Running {
    /// Serves a ledger. `others` are further keys of this process that are accepted.
    pub(super) fn start(
        config: &Config,
        listener: TcpListener,
        others: Vec<ProcessKey>,
        Opened { store, lock, derived }: Opened,
    ) -> Result<Self, Failure> {
        let mut config = config.clone();
        if let Some(derived) = &derived {
            config.data_dir = derived.path().to_owned();
        }
        let key = secrets::mint_operator_key();
        let process_key = ProcessKey { name: KEY_NAME, role: Role::Admin, digest: key.digest() };
        let process_keys = others.into_iter().chain([process_key]).collect();
        let parts = Parts { listener, store, clock: Arc::new(SystemClock), process_keys };
        let server = Server::start(&config, parts)?;
        let url = format!("http://{}", reached_at(server.address()));
        Ok(Self { server, key, url, _held: (lock, derived) })
    }

    /// Waits until the ledger is folded.
    pub(super) async fn ready(&self) -> Result<(), Failure> {
        let folded = self.server.ledger().caught_up().await;
        folded.map_err(|progress| {
            let why = progress.stopped.map_or("folding it broke off".to_owned(), |why| why.to_string());
            Failure::new(format!("the ledger cannot be served: {why}"))
        })
    }
}

/// An address that stands for all of this machine is reached by loopback.
pub(super) fn reached_at(bound: SocketAddr) -> SocketAddr {
    let ip = match bound.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, bound.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_is_reached_where_this_machine_reaches_it() {
        for (bound, reached) in [
            ("0.0.0.0:8700", "127.0.0.1:8700"),
            ("[::]:8700", "[::1]:8700"),
            ("127.0.0.2:1", "127.0.0.2:1"),
            ("192.0.2.7:8700", "192.0.2.7:8700"),
        ] {
            assert_eq!(reached_at(bound.parse().unwrap()).to_string(), reached);
        }
    }
}
