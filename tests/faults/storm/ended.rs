//! Tokens whose end was acknowledged, and the resource servers that are shown them. Knows: for how long such a token may pass.
//! Must not know: what ended it, or what goes wrong meanwhile.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};

use super::node::{Node, OverIfPanicking};

/// How many tokens are shown at a time: of those that must not pass, the ones that ended last, which a node that lags would
/// let pass.
const LAST: usize = 10;
/// The pause between two requests, in milliseconds. They are sent whether or not earlier ones are answered: a node that is
/// frozen has requests from all of that time before it.
const PAUSE: std::ops::Range<u64> = 50..250;

pub struct Ended {
    /// How long after its end a token may pass.
    bound: Duration,
    tokens: Mutex<Vec<(String, Instant)>>,
    /// How often a token was refused that had to be.
    pub refused: AtomicUsize,
}

impl Ended {
    pub const fn new(bound: Duration) -> Self {
        Self { bound, tokens: Mutex::new(Vec::new()), refused: AtomicUsize::new(0) }
    }

    /// The end of a token was acknowledged.
    pub fn add(&self, token: &str, at: Instant) {
        self.tokens.lock().unwrap().push((token.to_owned(), at));
    }

    /// Shows tokens to a node.
    pub fn show(&self, seed: u64, number: usize, node: &Node, is_calm: &AtomicBool, is_over: &AtomicBool) {
        let mut random = StdRng::seed_from_u64(seed.rotate_left(32).wrapping_add(number as u64));
        thread::scope(|scope| {
            while !is_calm.load(Ordering::SeqCst) && !is_over.load(Ordering::SeqCst) {
                thread::sleep(Duration::from_millis(random.random_range(PAUSE)));
                let due: Vec<_> = {
                    let tokens = self.tokens.lock().unwrap();
                    let is_due = |(_, ended): &&(String, Instant)| ended.elapsed() > self.bound;
                    tokens.iter().rev().filter(is_due).take(LAST).cloned().collect()
                };
                if let Some((token, ended)) = due.choose(&mut random).cloned() {
                    scope.spawn(move || {
                        let _over = OverIfPanicking(is_over);
                        self.show_one(&token, ended, number, node);
                    });
                }
            }
        });
    }

    fn show_one(&self, token: &str, ended: Instant, number: usize, node: &Node) {
        // An answer counts from here, however long the node or the request is frozen.
        let sent = Instant::now();
        let Some(reply) = node.ask(|address| address.try_introspect(token)) else { return };
        let is_active = reply.expect(200).json()["active"] == true;
        assert!(!is_active, "{token} passes at node {number}, asked {:?} after its end", sent - ended);
        self.refused.fetch_add(1, Ordering::SeqCst);
    }
}
