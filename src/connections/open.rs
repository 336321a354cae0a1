//! The connections that are open. Knows: what each waits for, and since when. Must not know: sockets.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::oneshot;

/// How much longer than actix-http itself a connection gets that has sent part of a head, or nothing: it answers
/// a first head that is late with 408.
const MARGIN: Duration = Duration::from_secs(2);

/// What connections may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The most at once, of all threads together.
    pub connections: usize,
    /// How long a client may take to send a head.
    pub head: Duration,
    /// How long a client may take to read what was written of an answer, which is about 100 KB at a time.
    pub answer: Duration,
    /// How long a connection may be idle.
    pub idle: Duration,
    /// How long requests under way may take when serving ends.
    pub shutdown: Duration,
}

/// One connection, for those who must end it.
#[derive(Debug)]
pub struct Open {
    id: u64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Requests that are not answered to their end.
    requests: usize,
    /// When the last of them ended; at first, when the connection was made.
    idle_since: Instant,
    /// When the client began a head that is not complete.
    head_since: Option<Instant>,
    /// When the client stopped reading.
    unread_since: Option<Instant>,
    /// Tells the connection to end. None once it was used.
    cut: Option<oneshot::Sender<()>>,
}

/// What a connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waits {
    /// A client that reads.
    Unread,
    /// The rest of a head.
    Head,
    /// A request.
    Idle,
}

impl State {
    /// What it waits for its client to do, and since when. While a request is under way, it waits for us.
    fn waits(&self) -> Option<(Waits, Instant)> {
        match (self.unread_since, self.requests, self.head_since) {
            (Some(since), _, _) => Some((Waits::Unread, since)),
            (None, 0, Some(since)) => Some((Waits::Head, since)),
            (None, 0, None) => Some((Waits::Idle, self.idle_since)),
            (None, _, _) => None,
        }
    }
}

impl Open {
    /// Ends it, whether or not its client reads what was sent. False if that was done before.
    pub(crate) fn cut(&self) -> bool {
        let cut = self.state.lock().cut.take();
        // If there is no receiver, it has ended by itself.
        cut.map(|cut| cut.send(())).is_some()
    }

    /// A request begins. It ends when what is returned is dropped.
    pub(super) fn begin(self: &Arc<Self>) -> OpenRequest {
        let mut state = self.state.lock();
        state.requests += 1;
        state.head_since = None;
        OpenRequest(Arc::clone(self))
    }

    /// The client sent something.
    pub(super) fn heard(&self) {
        let mut state = self.state.lock();
        if state.requests == 0 && state.head_since.is_none() {
            state.head_since = Some(Instant::now());
        }
    }

    /// The client does not read on.
    pub(super) fn unread(&self) {
        self.state.lock().unread_since = Some(Instant::now());
    }

    /// The client has read all there was.
    pub(super) fn read(&self) {
        self.state.lock().unread_since = None;
    }
}

/// A request of a connection.
#[derive(Debug)]
pub(super) struct OpenRequest(Arc<Open>);

impl Drop for OpenRequest {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.requests -= 1;
        state.idle_since = Instant::now();
    }
}

/// All connections.
#[derive(Debug, Default)]
pub(super) struct Registry {
    last_id: AtomicU64,
    open: Mutex<HashMap<u64, Arc<Open>>>,
}

/// A connection that is in the registry until this is dropped.
#[derive(Debug)]
pub(super) struct Registered {
    pub(super) open: Arc<Open>,
    registry: Arc<Registry>,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.registry.open.lock().remove(&self.open.id);
    }
}

/// How many connections were closed, and what they waited for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Closed {
    pub(super) unread: usize,
    pub(super) head: usize,
    pub(super) idle: usize,
}

impl Registry {
    /// A new connection, and what tells it to end.
    pub(super) fn add(self: &Arc<Self>) -> (Registered, oneshot::Receiver<()>) {
        let (sender, cut) = oneshot::channel();
        let id = self.last_id.fetch_add(1, Ordering::Relaxed);
        let state = State {
            requests: 0,
            idle_since: Instant::now(),
            head_since: None,
            unread_since: None,
            cut: Some(sender),
        };
        let open = Arc::new(Open { id, state: Mutex::new(state) });
        self.open.lock().insert(id, Arc::clone(&open));
        (Registered { open, registry: Arc::clone(self) }, cut)
    }

    /// Closes the connection that has waited longest for its client. False if none waits.
    pub(super) fn close_longest_waiting(&self) -> bool {
        let open = self.all();
        let waiting = open.iter().filter_map(|open| {
            let state = open.state.lock();
            // One that was cut may not have ended yet: it must not be chosen again.
            if state.cut.is_some() { Some((state.waits()?.1, open)) } else { None }
        });
        let longest = waiting.min_by_key(|(since, _)| *since);
        longest.is_some_and(|(_, open)| open.cut())
    }

    /// Closes every connection that has waited for its client for too long.
    pub(super) fn close_overdue(&self, now: Instant, limits: &Limits) -> Closed {
        let mut closed = Closed::default();
        for open in self.all() {
            let Some((waits, since)) = open.state.lock().waits() else { continue };
            let (most, count) = match waits {
                Waits::Unread => (limits.answer, &mut closed.unread),
                Waits::Head => (limits.head + MARGIN, &mut closed.head),
                Waits::Idle => (limits.idle + MARGIN, &mut closed.idle),
            };
            if now.saturating_duration_since(since) > most && open.cut() {
                *count += 1;
            }
        }
        closed
    }

    /// Closes every connection, and says how many there were.
    pub(super) fn close_all(&self) -> usize {
        self.all().iter().filter(|open| open.cut()).count()
    }

    fn all(&self) -> Vec<Arc<Open>> {
        self.open.lock().values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        connections: 8,
        head: Duration::from_secs(5),
        answer: Duration::from_secs(30),
        idle: Duration::from_secs(75),
        shutdown: Duration::ZERO,
    };

    fn is_cut(cut: &mut oneshot::Receiver<()>) -> bool {
        cut.try_recv().is_ok()
    }

    #[test]
    fn each_kind_of_waiting_has_its_own_end() {
        let registry = Arc::new(Registry::default());
        let (idle, mut idle_cut) = registry.add();
        let (slow, mut slow_cut) = registry.add();
        let (unread, mut unread_cut) = registry.add();
        let (busy, mut busy_cut) = registry.add();
        slow.open.heard();
        let answer = unread.open.begin();
        unread.open.unread();
        busy.open.heard();
        let request = busy.open.begin();
        let start = Instant::now();
        let closed = |seconds| registry.close_overdue(start + Duration::from_secs(seconds), &LIMITS);
        assert_eq!(closed(4), Closed::default());
        assert_eq!(closed(8).head, 1);
        assert!(is_cut(&mut slow_cut));
        drop(slow);
        assert_eq!(closed(29), Closed::default());
        assert_eq!(closed(31), Closed { unread: 1, ..Closed::default() });
        assert!(is_cut(&mut unread_cut));
        drop((answer, unread));
        assert_eq!(closed(80), Closed { idle: 1, ..Closed::default() });
        assert!(is_cut(&mut idle_cut));
        drop(idle);
        // A request that takes its time is limited elsewhere.
        assert_eq!(closed(1_000_000), Closed::default());
        assert!(!is_cut(&mut busy_cut));
        drop(request);
        assert_eq!(closed(1_000_000).idle, 1);
        drop(busy);
        assert!(registry.all().is_empty());
    }

    #[test]
    fn what_a_client_has_read_it_is_not_closed_for() {
        let registry = Arc::new(Registry::default());
        let (connection, mut cut) = registry.add();
        let answer = connection.open.begin();
        connection.open.unread();
        connection.open.read();
        registry.close_overdue(Instant::now() + Duration::from_secs(1_000), &LIMITS);
        assert!(!is_cut(&mut cut));
        drop(answer);
    }

    #[test]
    fn the_one_that_has_waited_longest_makes_room_and_no_request_is_broken_off() {
        let registry = Arc::new(Registry::default());
        let mut made: Vec<_> = (0..3).map(|_| registry.add()).collect();
        let request = made[0].0.open.begin();
        assert!(registry.close_longest_waiting());
        assert_eq!(made.iter_mut().map(|(_, cut)| is_cut(cut)).collect::<Vec<_>>(), [false, true, false]);
        // It is not cut twice, though it may take a moment to end.
        assert!(registry.close_longest_waiting());
        assert!(is_cut(&mut made[2].1));
        assert!(!registry.close_longest_waiting());
        drop(request);
        assert!(registry.close_longest_waiting());
        assert!(is_cut(&mut made[0].1));
    }
}
