//! The way of log lines to stderr: a bounded queue, and a thread that writes. Knows: bytes, and how many lines were
//! lost. Must not know: what a line says.
//!
//! Logging never waits, and no request fails for its log line: what finds no room in the queue, or cannot be
//! written, is lost and counted, and the count is logged once writing works again.

use std::io::{self, ErrorKind, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tracing_subscriber::fmt::MakeWriter;

/// How many lines may wait to be written.
const QUEUED_MAX: usize = 8192;

/// The end of the queue that lines are put into.
#[derive(Debug, Clone)]
pub(super) struct Queue {
    lines: SyncSender<Vec<u8>>,
    shared: Arc<Shared>,
}

/// How many lines were lost since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LostLines {
    /// The queue was full.
    pub queue_full: u64,
    /// They could not be written.
    pub not_written: u64,
}

#[derive(Debug, Default)]
struct Shared {
    queued: AtomicU64,
    /// How many that were queued have been written, or could not be.
    over: Mutex<u64>,
    is_over: Condvar,
    queue_full: AtomicU64,
    not_written: AtomicU64,
}

impl Queue {
    /// Starts the thread, which lives as long as the process.
    ///
    /// # Errors
    /// If there can be no thread.
    pub(super) fn start(out: impl Write + Send + 'static) -> io::Result<Self> {
        let (lines, queued) = sync_channel(QUEUED_MAX);
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        thread::Builder::new().name("log".to_owned()).spawn(move || theirs.write(&queued, out))?;
        Ok(Self { lines, shared })
    }

    /// How many lines were lost so far.
    pub(super) fn lost(&self) -> LostLines {
        self.shared.lost()
    }

    /// Waits until what is queued now is written, but not for longer than this: it may never be.
    pub(super) fn flush(&self, within: Duration) {
        let queued = self.shared.queued.load(Ordering::Acquire);
        let mut over = self.shared.over.lock();
        self.shared.is_over.wait_while_for(&mut over, |over| *over < queued, within);
    }
}

impl Write for Queue {
    /// Takes a line; it never fails.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // Counted first, or a flush between could miss it.
        self.shared.queued.fetch_add(1, Ordering::AcqRel);
        if self.lines.try_send(line.to_vec()).is_err() {
            self.shared.queue_full.fetch_add(1, Ordering::Relaxed);
            self.shared.one_is_over();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Queue {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Shared {
    fn lost(&self) -> LostLines {
        LostLines {
            queue_full: self.queue_full.load(Ordering::Relaxed),
            not_written: self.not_written.load(Ordering::Relaxed),
        }
    }

    fn one_is_over(&self) {
        *self.over.lock() += 1;
        self.is_over.notify_all();
    }

    /// Writes lines as they come.
    fn write(&self, lines: &Receiver<Vec<u8>>, mut out: impl Write) {
        let (mut reported, mut is_torn) = (LostLines::default(), false);
        for line in lines {
            if is_torn {
                is_torn = write_some(&mut out, b"\n").is_err();
            }
            let written = if is_torn { Err(Torn(true)) } else { write_some(&mut out, &line) };
            if let Err(Torn(torn)) = written {
                is_torn = torn;
                self.not_written.fetch_add(1, Ordering::Relaxed);
            }
            self.one_is_over();
            let lost = self.lost();
            if written.is_ok() && lost != reported {
                reported = lost;
                let LostLines { queue_full, not_written } = lost;
                tracing::warn!(queue_full, not_written, "log lines were lost since the start");
            }
        }
    }
}

/// It could not be written; whether a part of it was.
#[derive(Debug, Clone, Copy)]
struct Torn(bool);

fn write_some(out: &mut impl Write, line: &[u8]) -> Result<(), Torn> {
    let mut rest = line;
    while !rest.is_empty() {
        match out.write(rest) {
            Ok(0) => return Err(Torn(rest.len() < line.len())),
            Ok(written) => rest = &rest[written..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return Err(Torn(rest.len() < line.len())),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};

    use super::*;

    /// Takes so many bytes, then none until there is room again.
    struct Disk {
        written: Arc<Mutex<Vec<u8>>>,
        room: Arc<Mutex<usize>>,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut room = self.room.lock();
            let taken = bytes.len().min(*room);
            if taken == 0 {
                return Err(ErrorKind::StorageFull.into());
            }
            *room -= taken;
            self.written.lock().extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Never comes back from writing until it is let.
    struct Stalled(Receiver<()>);

    impl Write for Stalled {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_cannot_be_written_is_counted_and_the_next_line_begins_on_its_own() {
        let (written, room) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(6)));
        let disk = Disk { written: Arc::clone(&written), room: Arc::clone(&room) };
        let mut queue = Queue::start(disk).unwrap();
        for line in ["one\n", "two\n", "three\n"] {
            queue.write_all(line.as_bytes()).unwrap();
        }
        queue.flush(Duration::from_secs(60));
        assert_eq!(queue.lost(), LostLines { queue_full: 0, not_written: 2 });
        *room.lock() = 100;
        queue.write_all(b"four\n").unwrap();
        Queue::flush(&queue, Duration::from_secs(60));
        assert_eq!(String::from_utf8(written.lock().clone()).unwrap(), "one\ntw\nfour\n");
        assert_eq!(queue.lost().not_written, 2);
    }

    #[test]
    fn nobody_waits_for_a_reader_that_stalls() {
        let (reads, stalled): (Sender<()>, _) = channel();
        let mut queue = Queue::start(Stalled(stalled)).unwrap();
        for _ in 0..QUEUED_MAX + 100 {
            queue.write_all(b"line\n").unwrap();
        }
        // One may be on its way out.
        let lost = queue.lost().queue_full;
        assert!((99..=100).contains(&lost), "{lost}");
        Queue::flush(&queue, Duration::from_millis(1));
        drop(reads);
        Queue::flush(&queue, Duration::from_secs(60));
        assert_eq!(queue.lost(), LostLines { queue_full: lost, not_written: 0 });
    }
}
