//! The client crate, for what no request waits for: the identity of the ledger, the metadata of the heartbeats'
//! stream, and the heartbeats. Knows: how a client is made, and how it goes without leaving anything running. Must
//! not know: what is appended.
//!
//! A client that failed is replaced at the next call, because it goes back to a node that is gone, and ends for good when
//! it finds no node. Its task never ends, so each client has a runtime of its own, which ends with it. It waits for ever
//! for a node that is silent, and panics over replies that lack a part, so each call is a task with a time limit.

use std::sync::Arc;
use std::time::Duration;

use eventstore::{
    AppendToStreamOptions, ClientSettings, Credentials, EventData, ExpectedRevision, WriteResult,
};
use parking_lot::Mutex;
use tempfile::NamedTempFile;
use tokio::runtime::{Builder, Runtime};

use super::failure::Failure;
use super::nodes::CALL_WITHIN;
use super::target::Target;
use super::tls::check_provider;

/// The time for the way there and back, beyond the deadline at the node.
const WAY: Duration = Duration::from_millis(500);

/// Appends by a client that is replaced when it fails.
pub(super) struct Client {
    target: Arc<Target>,
    /// The certificates that the crate is to trust.
    certificates: NamedTempFile,
    current: Mutex<Option<Arc<Running>>>,
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
        Self { target, certificates, current: Mutex::default() }
    }

    /// Appends to a stream at a revision, once. `Broken` leaves open whether it was done.
    pub(super) async fn append(
        &self,
        stream: &str,
        expected: ExpectedRevision,
        events: Vec<EventData>,
    ) -> Result<WriteResult, Failure> {
        let running = self.running()?;
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
        if matches!(outcome, Err(Failure::NotDone(_) | Failure::Broken(_))) {
            self.current.lock().take_if(|current| Arc::ptr_eq(current, &running));
        }
        outcome
    }

    /// The client in use, or another one.
    fn running(&self) -> Result<Arc<Running>, Failure> {
        let mut current = self.current.lock();
        if let Some(running) = &*current {
            return Ok(Arc::clone(running));
        }
        let not_done = |error: &dyn std::fmt::Display| Failure::NotDone(error.to_string());
        check_provider().map_err(|error| not_done(&error))?;
        let url = self.target.crate_url(&self.certificates.path().to_string_lossy());
        // The crate's error contains the password.
        let settings: ClientSettings =
            url.parse().map_err(|_| not_done(&"the client crate does not understand store.url"))?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("ledger-client")
            .enable_all()
            .build()
            .map_err(|error| not_done(&format!("no thread for the ledger's client: {error}")))?;
        let client = eventstore::Client::with_runtime_handle(runtime.handle().clone(), settings)
            .map_err(|error| not_done(&error))?;
        let running = Arc::new(Running { client, runtime: Some(runtime) });
        *current = Some(Arc::clone(&running));
        Ok(running)
    }
}
