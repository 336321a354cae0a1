//! The client crate, supervised. Knows: how a client is made, when it is of no more use, and how it goes
//! without leaving anything behind. Must not know: what is asked of it.
//!
//! What has to be kept from callers, found by reading the crate:
//!
//! - After `Unavailable` it goes back to the same dead node; only "not the leader" moves it. So after a few broken
//!   calls in a row a new client takes its place, which discovers the cluster anew.
//! - A failed discovery ends it for good, and every call after that. So that, too, makes a new one.
//! - Its task holds a sender to itself and never ends, however many clients are dropped. So each client has a
//!   runtime of its own, which ends with it.
//! - It sends deadlines to the server, and waits for ever for one that has gone silent. So each call has a
//!   time in which it must be done here.
//! - It panics over replies that lack a part. So each call is a task of its own, whose panic is a broken call.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use eventstore::{Client, ClientSettings, Credentials};
use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;

use super::failure::Failure;
use super::target::Target;
use super::tls::{Tls, check_provider};
use crate::store::StoreError;

/// How long a call may take, at the node and here.
pub(super) const CALL_WITHIN: Duration = Duration::from_secs(5);
/// What the way there and back is given beyond that.
const WAY: Duration = Duration::from_millis(500);
/// How many broken calls in a row make a client useless.
const MAX_BROKEN: u32 = 3;
/// How often a call that surely did nothing, or may be done twice, is tried.
const MAX_TRIES: u32 = 4;
/// The pause before a client takes the place of another, doubled up to the longest.
pub(super) const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The client in use, and its successors.
#[derive(Debug)]
pub(super) struct Clients {
    target: Arc<Target>,
    tls: Tls,
    state: Mutex<State>,
    /// How many clients were made after the first.
    rebuilt: AtomicU64,
}

#[derive(Debug)]
struct State {
    lease: Option<Arc<Lease>>,
    made: u64,
    broken: u32,
    not_before: Option<Instant>,
    pause: Duration,
    is_closed: bool,
}

/// A client, and the runtime that its task is on.
pub(super) struct Lease {
    pub client: Client,
    number: u64,
    runtime: Option<Runtime>,
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lease").field("number", &self.number).finish_non_exhaustive()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Tries something until it does not fail so that another try may do better, a few times at the most.
pub(super) async fn again<T, F>(
    may_do_better: impl Fn(&Failure) -> bool,
    attempt: impl Fn() -> F,
) -> Result<T, Failure>
where
    F: Future<Output = Result<T, Failure>>,
{
    let mut tries = 1;
    loop {
        match attempt().await {
            Err(failure) if tries < MAX_TRIES && may_do_better(&failure) => {
                tokio::time::sleep(FIRST_PAUSE * tries).await;
                tries += 1;
            }
            outcome => return outcome,
        }
    }
}

impl Clients {
    pub(super) fn new(target: Arc<Target>, tls: Tls) -> Self {
        let state =
            State { lease: None, made: 0, broken: 0, not_before: None, pause: FIRST_PAUSE, is_closed: false };
        Self { target, tls, state: Mutex::new(state), rebuilt: AtomicU64::new(0) }
    }

    pub(super) fn target(&self) -> &Target {
        &self.target
    }

    pub(super) fn tls(&self) -> &Tls {
        &self.tls
    }

    /// How many clients were made after the first.
    pub(super) fn rebuilt(&self) -> u64 {
        self.rebuilt.load(Ordering::Relaxed)
    }

    /// The options of a call, with who asks. The crate has no trait for what all its options can be told, so
    /// they come with how they are told.
    pub(super) fn signed<O>(&self, options: O, tell: impl FnOnce(O, Credentials) -> O) -> O {
        match &self.target.login {
            Some(login) => {
                let (user, password) = (login.user.clone(), login.password.expose().to_owned());
                tell(options, Credentials::new(user, password))
            }
            None => options,
        }
    }

    /// Lets the client go; there will be no other.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.is_closed = true;
        state.lease = None;
    }

    /// Makes one call. `Broken` leaves open whether it was done.
    pub(super) async fn call<T, F>(&self, call: impl FnOnce(Arc<Lease>) -> F + Send) -> Result<T, Failure>
    where
        F: Future<Output = eventstore::Result<T>> + Send + 'static,
        T: Send + 'static,
    {
        let lease = tokio::time::timeout(CALL_WITHIN, self.lease())
            .await
            .unwrap_or_else(|_| Err(Failure::Dead("no client could be made in time".to_owned())))?;
        let number = lease.number;
        let task = tokio::spawn(call(lease));
        let abort = task.abort_handle();
        let outcome = match tokio::time::timeout(CALL_WITHIN + WAY, task).await {
            Ok(Ok(Ok(done))) => Ok(done),
            Ok(Ok(Err(error))) => Err(Failure::from(error)),
            Ok(Err(_)) => Err(Failure::Broken("the reply could not be understood".to_owned())),
            Err(_) => {
                abort.abort();
                Err(Failure::Broken("the node did not answer in time".to_owned()))
            }
        };
        self.note(number, outcome.as_ref().err());
        outcome
    }

    /// Makes a call that may be made again, a few times if it must be.
    pub(super) async fn call_again<T, F>(
        &self,
        call: impl Fn(Arc<Lease>) -> F + Send + Sync,
    ) -> Result<T, Failure>
    where
        F: Future<Output = eventstore::Result<T>> + Send + 'static,
        T: Send + 'static,
    {
        again(|failure| failure.is_of_transport() || *failure == Failure::NotLeader, || self.call(&call))
            .await
    }

    /// The client in use. Waits for the pause that is kept between two of them.
    async fn lease(&self) -> Result<Arc<Lease>, Failure> {
        loop {
            let not_before = {
                let mut state = self.lock();
                if state.is_closed {
                    return Err(Failure::Dead(StoreError::Closed.to_string()));
                }
                if let Some(lease) = &state.lease {
                    return Ok(Arc::clone(lease));
                }
                match state.not_before.filter(|time| *time > Instant::now()) {
                    None => return self.make(&mut state),
                    Some(time) => time,
                }
            };
            tokio::time::sleep_until(not_before).await;
        }
    }

    fn make(&self, state: &mut State) -> Result<Arc<Lease>, Failure> {
        check_provider().map_err(|error| Failure::Dead(error.to_string()))?;
        let url = self.target.crate_url(&self.tls.bundle.path().to_string_lossy());
        // What the crate says of a wrong one holds the password.
        let settings: ClientSettings = url
            .parse()
            .map_err(|_| Failure::Dead("the client cannot be told where the cluster is".to_owned()))?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("ledger-client")
            .enable_all()
            .build()
            .map_err(|error| Failure::Dead(format!("no thread for the ledger's client: {error}")))?;
        let client = Client::with_runtime_handle(runtime.handle().clone(), settings)
            .map_err(|error| Failure::Dead(error.to_string()))?;
        if state.made > 0 {
            self.rebuilt.fetch_add(1, Ordering::Relaxed);
        }
        state.made += 1;
        state.broken = 0;
        let lease = Arc::new(Lease { client, number: state.made, runtime: Some(runtime) });
        state.lease = Some(Arc::clone(&lease));
        Ok(lease)
    }

    /// Takes note of how a call went, and lets a client go that is of no more use.
    fn note(&self, number: u64, failure: Option<&Failure>) {
        let mut state = self.lock();
        if state.made != number || state.lease.is_none() {
            return;
        }
        match failure {
            Some(Failure::Dead(why)) => self.let_go(&mut state, why),
            Some(Failure::Broken(why)) => {
                state.broken += 1;
                if state.broken >= MAX_BROKEN {
                    self.let_go(&mut state, why);
                }
            }
            None | Some(Failure::Conflict(_) | Failure::NotFound | Failure::Deleted) => {
                state.broken = 0;
                state.pause = FIRST_PAUSE;
            }
            Some(Failure::NotLeader | Failure::Refused(_)) => {}
        }
    }

    fn let_go(&self, state: &mut State, why: &str) {
        tracing::warn!(why, again_in = ?state.pause, "the connection to the ledger is made anew");
        state.lease = None;
        state.not_before = Some(Instant::now() + state.pause);
        state.pause = (state.pause * 2).min(LONGEST_PAUSE);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
