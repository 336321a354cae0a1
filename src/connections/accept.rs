//! Accepts connections, while there is room. Knows: the listener and how many there may be. Must not know: who
//! serves them.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::open::Registry;

/// How long to wait before trying again where there is no room.
const PAUSE: Duration = Duration::from_millis(100);
/// The time after which lasting trouble is logged again.
const AGAIN: Duration = Duration::from_secs(60);

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

/// Trouble that lasts is logged once a minute, and not each time it is met.
#[derive(Debug, Default)]
struct Trouble {
    logged: Option<Instant>,
    lasts: bool,
}

impl Trouble {
    /// Notes that there is trouble. True if it should be logged.
    fn met(&mut self, now: Instant) -> bool {
        self.lasts = true;
        let is_due = self.logged.is_none_or(|logged| now.saturating_duration_since(logged) >= AGAIN);
        if is_due {
            self.logged = Some(now);
        }
        is_due
    }

    /// Notes that there is none. True if there was some until now.
    fn over(&mut self) -> bool {
        std::mem::take(&mut self.lasts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lasts_is_said_once_a_minute() {
        let start = Instant::now();
        let mut trouble = Trouble::default();
        assert!(!trouble.over());
        let said: Vec<_> = [0, 1, 59, 60, 61, 119, 120]
            .into_iter()
            .filter(|seconds| trouble.met(start + Duration::from_secs(*seconds)))
            .collect();
        assert_eq!(said, [0, 60, 120]);
        assert!(trouble.over());
        assert!(!trouble.over());
        // Trouble that comes and goes is logged as seldom as trouble that lasts.
        assert!(!trouble.met(start + Duration::from_secs(121)));
    }
}
