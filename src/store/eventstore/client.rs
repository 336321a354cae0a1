//! The client crate, supervised. Knows: how a client is made, when it must be replaced, and how it goes without
//! leaving anything running. Must not know: what is appended.
//!
//! What has to be kept from callers, found by reading the crate:
//!
//! - After `Unavailable` it goes back to the same dead node; only "not the leader" moves it. So after a few broken
//!   calls in a row a new client takes its place, which discovers the cluster again.
//! - A failed discovery ends it for good, and every call after that. So that, too, makes a new one.
//! - Its task holds a sender to itself and never ends, however many clients are dropped. So each client has a
//!   runtime of its own, which ends with it.
//! - It sends deadlines to the server, and waits for ever for one that has gone silent. So each call has a
//!   time limit here.
//! - It panics over replies that lack a part. So each call is a task of its own, whose panic is a broken call.

use std::sync::Arc;
use std::time::Duration;

use eventstore::{
    AppendToStreamOptions, ClientSettings, Credentials, EventData, ExpectedRevision, WriteResult,
};
use parking_lot::Mutex;
use tempfile::NamedTempFile;
use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;

use super::failure::{FIRST_PAUSE, Failure, LONGEST_PAUSE};
use super::nodes::CALL_WITHIN;
use super::target::Target;
use super::tls::check_provider;

/// The time for the way there and back, beyond the deadline at the node.
const WAY: Duration = Duration::from_millis(500);
/// After how many broken calls in a row a client is replaced.
const MAX_BROKEN: u32 = 3;

/// Appends by a client that is replaced when it fails.
pub(super) struct Client {
    target: Arc<Target>,
    /// The certificates that the crate is to trust.
    certificates: NamedTempFile,
    state: Mutex<State>,
}

struct State {
    current: Option<Arc<Running>>,
    made: u64,
    broken: u32,
    not_before: Instant,
    pause: Duration,
}

/// A client of the crate, and the runtime that its task is on.
struct Running {
    client: eventstore::Client,
    runtime: Option<Runtime>,
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Client {
    pub(super) fn new(target: Arc<Target>, certificates: NamedTempFile) -> Self {
        let (not_before, pause) = (Instant::now(), FIRST_PAUSE);
        let state = Mutex::new(State { current: None, made: 0, broken: 0, not_before, pause });
        Self { target, certificates, state }
    }

    /// How many clients were made after the first.
    pub(super) fn replaced(&self) -> u64 {
        self.state.lock().made.saturating_sub(1)
    }

    /// Appends to a stream at a revision, once. `Broken` leaves open whether it was done.
    pub(super) async fn append(
        &self,
        stream: &str,
        expected: ExpectedRevision,
        events: Vec<EventData>,
    ) -> Result<WriteResult, Failure> {
        let running = tokio::time::timeout(CALL_WITHIN, self.running())
            .await
            .unwrap_or_else(|_| Err(Failure::Dead("no client could be made in time".to_owned())))?;
        let mut options = AppendToStreamOptions::default()
            .expected_revision(expected)
            .requires_leader(true)
            .deadline(CALL_WITHIN);
        if let Some(login) = &self.target.login {
            let password = login.password.expose().to_owned();
            options = options.authenticated(Credentials::new(login.user.clone(), password));
        }
        let (client, stream) = (running.client.clone(), stream.to_owned());
        let task = tokio::spawn(async move { client.append_to_stream(stream, &options, events).await });
        let abort = task.abort_handle();
        let outcome = match tokio::time::timeout(CALL_WITHIN + WAY, task).await {
            Ok(Ok(outcome)) => outcome.map_err(Failure::from),
            Ok(Err(_)) => Err(Failure::broken("the reply could not be understood")),
            Err(_) => {
                abort.abort();
                Err(Failure::broken("the node did not answer in time"))
            }
        };
        self.note(&running, outcome.as_ref().err());
        outcome
    }

    /// The client in use. Waits for the pause that is kept between two of them.
    async fn running(&self) -> Result<Arc<Running>, Failure> {
        loop {
            let not_before = {
                let mut state = self.state.lock();
                match &state.current {
                    Some(running) => return Ok(Arc::clone(running)),
                    None if state.not_before <= Instant::now() => return self.make(&mut state),
                    None => state.not_before,
                }
            };
            tokio::time::sleep_until(not_before).await;
        }
    }

    fn make(&self, state: &mut State) -> Result<Arc<Running>, Failure> {
        let dead = |error: &dyn std::fmt::Display| Failure::Dead(error.to_string());
        check_provider().map_err(|error| dead(&error))?;
        let url = self.target.crate_url(&self.certificates.path().to_string_lossy());
        // The crate's error contains the password.
        let settings: ClientSettings =
            url.parse().map_err(|_| dead(&"the client crate does not understand store.url"))?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("ledger-client")
            .enable_all()
            .build()
            .map_err(|error| dead(&format!("no thread for the ledger's client: {error}")))?;
        let client = eventstore::Client::with_runtime_handle(runtime.handle().clone(), settings)
            .map_err(|error| dead(&error))?;
        let running = Arc::new(Running { client, runtime: Some(runtime) });
        state.made += 1;
        state.broken = 0;
        state.current = Some(Arc::clone(&running));
        Ok(running)
    }

    /// Takes note of how a call went, and drops a client that must be replaced.
    fn note(&self, running: &Arc<Running>, failure: Option<&Failure>) {
        let mut state = self.state.lock();
        if !state.current.as_ref().is_some_and(|current| Arc::ptr_eq(current, running)) {
            return;
        }
        match failure {
            Some(Failure::Dead(why) | Failure::Broken(why)) => {
                state.broken += 1;
                if state.broken >= MAX_BROKEN || matches!(failure, Some(Failure::Dead(_))) {
                    tracing::warn!(why, again_in = ?state.pause, "a new connection to the ledger is made");
                    state.current = None;
                    state.not_before = Instant::now() + state.pause;
                    state.pause = (state.pause * 2).min(LONGEST_PAUSE);
                }
            }
            None | Some(Failure::Conflict(_) | Failure::Deleted) => {
                state.broken = 0;
                state.pause = FIRST_PAUSE;
            }
            Some(Failure::NotLeader(_) | Failure::Refused(_) | Failure::Unusable(_)) => {}
        }
    }
}
