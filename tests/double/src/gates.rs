//! Gates that hold work up until they are opened. Knows: how many gates stand. Must not know: what is held up.

use std::sync::Arc;

use tokio::sync::watch;

/// A place that can be closed by any number of gates.
#[derive(Debug, Clone)]
pub(crate) struct Passage(Arc<watch::Sender<usize>>);

impl Default for Passage {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(0)))
    }
}

impl Passage {
    /// Closes it until the gate is opened or dropped.
    pub fn close(&self) -> Gate {
        self.0.send_modify(|standing| *standing += 1);
        Gate(vec![Held { passage: self.clone(), at_last: None }])
    }

    /// Closes it, and does something once no gate stands any more.
    pub fn close_and(&self, at_last: impl FnOnce() + Send + Sync + 'static) -> Gate {
        self.0.send_modify(|standing| *standing += 1);
        Gate(vec![Held { passage: self.clone(), at_last: Some(Box::new(at_last)) }])
    }

    /// Whether no gate stands.
    pub fn is_open(&self) -> bool {
        *self.0.borrow() == 0
    }

    /// Waits until no gate stands.
    pub async fn pass(&self) {
        if !self.is_open() {
            // It cannot fail: we hold the sender.
            let _ = self.0.subscribe().wait_for(|standing| *standing == 0).await;
        }
    }
}

struct Held {
    passage: Passage,
    at_last: Option<Box<dyn FnOnce() + Send + Sync>>,
}

impl std::fmt::Debug for Held {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("Held").field(&self.passage).finish()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.passage.0.send_modify(|standing| *standing -= 1);
        if let Some(at_last) = self.at_last.take().filter(|_| self.passage.is_open()) {
            at_last();
        }
    }
}

/// Holds something up until it is opened or dropped.
#[derive(Debug)]
#[must_use = "a gate that is dropped is open"]
pub struct Gate(Vec<Held>);

impl Gate {
    /// Lets through what was held up, and what comes later.
    pub fn open(self) {
        drop(self.0);
    }

    pub(crate) fn all(gates: impl IntoIterator<Item = Gate>) -> Self {
        Self(gates.into_iter().flat_map(|gate| gate.0).collect())
    }
}
