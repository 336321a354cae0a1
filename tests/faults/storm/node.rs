//! One of grantbook's nodes while it is killed and frozen. Knows: where it is now, and what an answer says of what has
//! happened. Must not know: what is asked.

use std::fs::OpenOptions;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use rand::seq::IndexedRandom as _;

use crate::client::Reply;
use crate::process::{Address, Serving};
use crate::site::Site;

/// The pause before a request is sent again.
const AGAIN_AFTER: Duration = Duration::from_millis(20);
/// Within this every request is answered by some node, whatever is killed or frozen meanwhile.
const ANSWERED_WITHIN: Duration = Duration::from_secs(60);

pub struct Node {
    pub site: Site,
    log: PathBuf,
    serving: Mutex<Option<Serving>>,
    place: RwLock<Place>,
}

/// Where a node is, if it runs, and how often it was killed.
#[derive(Clone)]
struct Place {
    address: Option<Address>,
    kills: usize,
}

/// What came of a request.
enum Outcome {
    Answer(Reply),
    /// Nothing was changed.
    Nothing,
    /// The request may have been carried out.
    Unknown,
}

/// The answer to a request that was sent until there was one.
pub struct Answered {
    pub reply: Reply,
    /// When it came.
    pub at: Instant,
    /// Whether the same request may have been carried out before, without an answer.
    pub is_repeated: bool,
}

/// Ends the test soon if what holds this fails.
pub struct OverIfPanicking<'a>(pub &'a AtomicBool);

impl Drop for OverIfPanicking<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.store(true, Ordering::SeqCst);
        }
    }
}

impl Node {
    /// Serves, and waits until the node is ready.
    pub fn start(site: Site, log: PathBuf) -> Self {
        let place = RwLock::new(Place { address: None, kills: 0 });
        let node = Self { site, log, serving: Mutex::default(), place };
        node.serve();
        node
    }

    /// Starts a node that was killed.
    pub fn serve(&self) {
        let log = OpenOptions::new().create(true).append(true).open(&self.log).unwrap();
        let serving = self.site.serve_to(log);
        self.place.write().unwrap().address = Some(serving.address());
        *self.serving.lock().unwrap() = Some(serving);
    }

    pub fn kill(&self) {
        {
            let mut place = self.place.write().unwrap();
            place.address = None;
            place.kills += 1;
        }
        self.serving.lock().unwrap().take().unwrap().kill();
    }

    pub fn freeze(&self) {
        self.signal("STOP");
    }

    pub fn thaw(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        self.serving.lock().unwrap().as_ref().unwrap().signal(name);
    }

    fn place(&self) -> Place {
        self.place.read().unwrap().clone()
    }

    pub fn address(&self) -> Address {
        self.place().address.unwrap()
    }

    /// Sends a request, if the node runs. Only a node that is killed owes an answer.
    #[track_caller]
    pub fn ask(&self, send: impl FnOnce(&Address) -> Result<Reply, ureq::Error>) -> Option<Reply> {
        match self.outcome_of(send) {
            Outcome::Answer(reply) => Some(reply),
            Outcome::Nothing | Outcome::Unknown => None,
        }
    }

    #[track_caller]
    fn outcome_of(&self, send: impl FnOnce(&Address) -> Result<Reply, ureq::Error>) -> Outcome {
        let Place { address, kills } = self.place();
        let Some(address) = address else { return Outcome::Nothing };
        let sent = Instant::now();
        match send(&address) {
            Ok(reply) if reply.status == 503 => unavailable(&reply),
            Ok(reply) => Outcome::Answer(reply),
            Err(error) => {
                let is_killed = self.place().kills > kills && !matches!(error, ureq::Error::Timeout(_));
                assert!(
                    is_killed,
                    "no answer from a node that was not killed, after {:?}: {error}",
                    sent.elapsed()
                );
                Outcome::Unknown
            }
        }
    }
}

/// What an answer says that it is not possible now.
#[track_caller]
fn unavailable(reply: &Reply) -> Outcome {
    assert!(reply.header("retry-after").parse::<u8>().is_ok(), "no Retry-After: {reply:?}");
    if reply.header("content-type").starts_with("text/html") {
        return Outcome::Unknown;
    }
    let body = reply.json();
    match body["error"].as_str().or(body["code"].as_str()) {
        Some("temporarily_unavailable") => Outcome::Nothing,
        Some("outcome_unknown") => Outcome::Unknown,
        _ => panic!("no documented answer: {reply:?}"),
    }
}

/// Sends a request to one node after another until one answers.
#[track_caller]
pub fn until_answered(
    nodes: &[Node],
    first: usize,
    is_over: &AtomicBool,
    mut send: impl FnMut(&Address) -> Result<Reply, ureq::Error>,
) -> Answered {
    let (began, mut is_repeated, mut node) = (Instant::now(), false, &nodes[first]);
    loop {
        match node.outcome_of(&mut send) {
            Outcome::Answer(reply) => return Answered { reply, at: Instant::now(), is_repeated },
            Outcome::Nothing => {}
            Outcome::Unknown => is_repeated = true,
        }
        assert!(!is_over.load(Ordering::SeqCst), "the test has failed elsewhere");
        assert!(began.elapsed() < ANSWERED_WITHIN, "no node answered within {ANSWERED_WITHIN:?}");
        thread::sleep(AGAIN_AFTER);
        node = nodes.choose(&mut rand::rng()).unwrap();
    }
}
