//! What the server logs, as a story reads it.

use std::io;
use std::sync::{Mutex, Once, PoisonError};

use tracing_subscriber::util::SubscriberInitExt as _;

/// All that this process logs, at the finest level, from the first time that somebody listens.
pub struct Log;

static LINES: Mutex<Vec<u8>> = Mutex::new(Vec::new());

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LINES.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    pub fn listen() {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            let lines = tracing_subscriber::fmt().with_env_filter("trace").with_writer(|| Self);
            lines.with_ansi(false).finish().try_init().unwrap();
        });
    }

    pub fn text() -> String {
        String::from_utf8_lossy(&LINES.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }

    /// The lines at WARN that have this in them.
    pub fn warnings_with(text: &str) -> Vec<String> {
        let is_one = |line: &&str| line.contains(" WARN ") && line.contains(text);
        Self::text().lines().filter(is_one).map(str::to_owned).collect()
    }
}
