//! The threads and tasks that must run for as long as the server does: none may end unnoticed. Knows: their names,
//! and which have ended. Must not know: what they do.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use parking_lot::{Mutex, MutexGuard};

/// Some threads and tasks, by name.
#[derive(Debug, Default)]
pub struct Tasks(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Whether each runs.
    tasks: BTreeMap<&'static str, bool>,
    is_stopping: bool,
}

/// Held by a thread or task as long as it runs: what ends lets go of it, however it ends.
#[derive(Debug)]
pub struct Running {
    tasks: Arc<Tasks>,
    name: &'static str,
}

impl Tasks {
    /// A thread or task begins. It holds what this returns while it runs.
    #[must_use]
    pub fn begin(self: &Arc<Self>, name: &'static str) -> Running {
        self.lock().tasks.insert(name, true);
        Running { tasks: Arc::clone(self), name }
    }

    /// Starts a thread.
    ///
    /// # Errors
    /// If there can be none.
    pub fn thread<T: Send + 'static>(
        self: &Arc<Self>,
        name: &'static str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<JoinHandle<T>> {
        let running = self.begin(name);
        thread::Builder::new().name(name.to_owned()).spawn(move || {
            let _running = running;
            work()
        })
    }

    /// From here on they end on purpose.
    pub fn stop(&self) {
        self.lock().is_stopping = true;
    }

    /// Whether [`Self::stop`] was called.
    pub fn is_stopping(&self) -> bool {
        self.lock().is_stopping
    }

    /// All that ever began, and whether each runs.
    pub fn all(&self) -> Vec<(&'static str, bool)> {
        self.lock().tasks.iter().map(|(name, runs)| (*name, *runs)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut state = self.tasks.lock();
        if !state.is_stopping {
            state.tasks.insert(self.name, false);
            drop(state);
            tracing::error!(task = self.name, "a task that the server needs has ended: restart the server");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn what_ends_without_being_told_to_is_named() {
        let tasks = Arc::new(Tasks::default());
        let one = tasks.begin("one");
        let (goes_on, waits) = mpsc::channel();
        let other = tasks.thread("other", move || waits.recv().map(|()| panic!("on purpose")));
        assert_eq!(tasks.all(), [("one", true), ("other", true)]);
        goes_on.send(()).unwrap();
        other.unwrap().join().unwrap_err();
        assert_eq!(tasks.all(), [("one", true), ("other", false)]);
        tasks.stop();
        drop(one);
        assert_eq!(tasks.all(), [("one", true), ("other", false)]);
    }
}
