//! Accepts connections, while there is room. Knows: the listener and how many there may be. Must not know: who
//! serves them.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::open::Registry;
use super::trouble::Trouble;

/// How long to wait before trying again where there is no room.
const PAUSE: Duration = Duration::from_millis(100);

/// What accepts.
#[derive(Debug)]
pub(super) struct Acceptor {
    listener: TcpListener,
    /// One permit for each connection there may be.
    room: Arc<Semaphore>,
    registry: Arc<Registry>,
    full: Trouble,
    failing: Trouble,
}

impl Acceptor {
    pub(super) fn new(listener: TcpListener, room: Arc<Semaphore>, registry: Arc<Registry>) -> Self {
        Self { listener, room, registry, full: Trouble::default(), failing: Trouble::default() }
    }

    /// The next connection, and its place among those there may be.
    pub(super) async fn next(&mut self) -> (TcpStream, OwnedSemaphorePermit) {
        loop {
            let place = self.place().await;
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    if self.failing.over() {
                        tracing::info!("connections are accepted again");
                    }
                    return (stream, place);
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => self.make_room_after(&error).await,
            }
        }
    }

    /// A place for one more connection. Where there is none, the one that has waited longest for its client ends.
    async fn place(&mut self) -> OwnedSemaphorePermit {
        loop {
            if let Ok(place) = Arc::clone(&self.room).try_acquire_owned() {
                return place;
            }
            if self.full.met(Instant::now()) {
                tracing::warn!(
                    "as many connections are open as limits.max_connections allows: the ones that wait longest for their clients are closed, and others wait to be accepted"
                );
            }
            self.registry.close_longest_waiting();
            let place = tokio::time::timeout(PAUSE, Arc::clone(&self.room).acquire_owned());
            if let Ok(Ok(place)) = place.await {
                return place;
            }
        }
    }

    /// The system has no descriptor left, or no memory.
    async fn make_room_after(&mut self, error: &io::Error) {
        if self.failing.met(Instant::now()) {
            tracing::error!(
                %error,
                "connections cannot be accepted; those that wait longest for their clients are closed, until they can"
            );
        }
        self.registry.close_longest_waiting();
        tokio::time::sleep(PAUSE).await;
    }
}

/// The connection broke before it was accepted (accept(2)).
fn is_of_one_connection(error: &io::Error) -> bool {
    use ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
