//! One node: its port, what of the log it has, and whether it runs. Knows: its own gates and faults. Must not
//! know: the other nodes.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::faults::{Faults, ReadKind};
use crate::gates::Passage;

/// How many connections may wait to be accepted.
const BACKLOG: u32 = 1024;

/// A node of the cluster.
#[derive(Debug)]
pub(crate) struct Node {
    pub index: usize,
    pub id: Uuid,
    pub port: u16,
    pub faults: Faults,
    /// How much of the log the node has.
    pub visible: watch::Sender<usize>,
    /// Closed while the node does nothing at all.
    pub frozen: Passage,
    /// Closed while nothing new of the log reaches the node.
    pub replication: Passage,
    /// Closed while subscriptions hand over nothing.
    pub subscriptions: Passage,
    /// Closed while subscriptions hand over checkpoints only.
    pub events: Passage,
    reads: [Passage; 3],
    run: Mutex<Option<Run>>,
    /// Keeps the port ours while the node does not run: it is bound, and does not listen.
    _reserved: TcpSocket,
}

/// A node's time from its start to its stop.
#[derive(Debug)]
struct Run {
    /// Cancelled when the node stops.
    token: CancellationToken,
    /// Cancelled when the node stops, or is replaced as the leader while it is frozen.
    term: CancellationToken,
    serving: JoinHandle<()>,
}

/// A node that writes as the leader, until it has stopped or is replaced while it is frozen.
#[derive(Debug, Clone)]
pub(crate) struct Writer {
    term: CancellationToken,
    frozen: Passage,
}

impl Writer {
    /// One that nothing stops.
    pub fn unstoppable() -> Self {
        Self { term: CancellationToken::new(), frozen: Passage::default() }
    }

    pub fn has_ended(&self) -> bool {
        self.term.is_cancelled()
    }

    pub fn may_write(&self, appends: &Passage) -> bool {
        appends.is_open() && self.frozen.is_open() || self.has_ended()
    }

    /// Waits until the leader may write, or it is clear that it will not.
    pub async fn wait(&self, appends: &Passage) {
        while !self.may_write(appends) {
            self.unless_ended(async {
                appends.pass().await;
                self.frozen.pass().await;
            })
            .await;
        }
    }

    /// Waits for something; `None` if the leader ends before that.
    pub async fn unless_ended<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            () = self.term.cancelled() => None,
            done = work => Some(done),
        }
    }
}

impl Node {
    /// A node that does not run yet, with a port that the system chose.
    #[expect(clippy::disallowed_methods, reason = "nothing depends on which id a node has")]
    pub fn new(index: usize) -> io::Result<Self> {
        let reserved = socket(0)?;
        let port = reserved.local_addr()?.port();
        Ok(Self {
            index,
            id: Uuid::new_v4(),
            port,
            faults: Faults::default(),
            visible: watch::Sender::new(0),
            frozen: Passage::default(),
            replication: Passage::default(),
            subscriptions: Passage::default(),
            events: Passage::default(),
            reads: Default::default(),
            run: Mutex::default(),
            _reserved: reserved,
        })
    }

    /// Closed while reads of this kind do not begin.
    pub fn reads(&self, kind: ReadKind) -> &Passage {
        let [stream, all, subscription] = &self.reads;
        match kind {
            ReadKind::Stream => stream,
            ReadKind::All => all,
            ReadKind::Subscription => subscription,
        }
    }

    /// Listens on the node's port.
    pub fn listen(&self) -> io::Result<TcpListener> {
        socket(self.port)?.listen(BACKLOG)
    }

    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// What is cancelled when the node stops, if it runs.
    pub fn token(&self) -> Option<CancellationToken> {
        self.lock_run().as_ref().map(|run| run.token.clone())
    }

    /// The node as the leader, if it runs.
    pub fn writer(&self) -> Option<Writer> {
        let term = self.lock_run().as_ref()?.term.clone();
        Some(Writer { term, frozen: self.frozen.clone() })
    }

    /// What waits for the node as the leader is never written if the node is frozen.
    pub fn is_replaced(&self) {
        if let Some(run) = self.lock_run().as_mut().filter(|_| !self.frozen.is_open()) {
            run.term.cancel();
            run.term = run.token.child_token();
        }
    }

    pub fn is_running(&self) -> bool {
        self.lock_run().is_some()
    }

    /// From now on the node runs.
    pub fn runs(&self, token: CancellationToken, serving: JoinHandle<()>) {
        let term = token.child_token();
        *self.lock_run() = Some(Run { token, term, serving });
    }

    /// Breaks every connection and stops listening; the latter is done once what is returned has ended.
    pub fn stop(&self) -> Option<JoinHandle<()>> {
        let run = self.lock_run().take()?;
        run.token.cancel();
        run.serving.abort();
        Some(run.serving)
    }

    fn lock_run(&self) -> MutexGuard<'_, Option<Run>> {
        self.run.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A socket on a port of the loopback interface that another of ours may be bound to as well.
fn socket(port: u16) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind((Ipv4Addr::LOCALHOST, port).into())?;
    Ok(socket)
}
