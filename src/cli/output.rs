//! The one place that writes to stdout and stderr. Knows: that a reader may go away. Must not know: what
//! is written.

use std::io::{BufRead as _, ErrorKind, IsTerminal as _, Write as _, stderr, stdin, stdout};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::failure::Failure;

/// How long the last words of a process may take.
const COMPLAINED_WITHIN: Duration = Duration::from_secs(1);

/// Writes to stdout and flushes.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    print_bytes(text.as_bytes())
}

/// Prints an answer: as a JSON document for programs, or as text for people.
pub(super) fn answer(
    answer: &Value,
    as_json: bool,
    show: impl FnOnce(&Value) -> String,
) -> Result<(), Failure> {
    print(&if as_json { format!("{answer}\n") } else { show(answer) })
}

/// Writes bytes to stdout, which may be a part of a text, and flushes.
pub(super) fn print_bytes(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(|error| match error.kind() {
        ErrorKind::BrokenPipe => Failure::OutputClosed,
        _ => Failure::new(format!("the output cannot be written: {error}")),
    })
}

/// One line on stderr. A failure to write it cannot be reported anywhere; and a reader that has stalled must not keep
/// the process from ending.
pub(super) fn complain(text: &str) {
    let line = format!("grantbook: {}\n", one_line(text));
    let (written, is_written) = mpsc::channel();
    let writing = thread::Builder::new().spawn(move || {
        let _ = stderr().lock().write_all(line.as_bytes());
        let _ = written.send(());
    });
    if writing.is_ok() {
        let _ = is_written.recv_timeout(COMPLAINED_WITHIN);
    }
}

/// Whether stderr is a terminal, so that a person looks.
pub(super) fn is_watched() -> bool {
    stderr().is_terminal()
}

/// One line on stderr for a person, if stderr is a terminal.
pub(super) fn remark(text: &str) {
    if is_watched() {
        let _ = writeln!(stderr().lock(), "{}", one_line(text));
    }
}

/// Whether a person is there who can be asked.
pub(super) fn can_ask() -> bool {
    stdin().is_terminal() && is_watched()
}

/// Whether the person at the terminal says yes.
pub(super) fn ask(question: &str) -> bool {
    let mut out = stderr().lock();
    let asked = write!(out, "{}", one_line(question)).and_then(|()| out.flush());
    let mut answer = String::new();
    let answered = asked.and_then(|()| stdin().lock().read_line(&mut answer));
    answered.is_ok() && matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")
}

/// Replaces the last line of a terminal on stderr.
pub(super) fn same_line(text: &str) {
    let _ = write!(stderr().lock(), "\r\x1b[K{}", one_line(text));
}

/// Text from elsewhere must not break out of its line or control the terminal.
pub(super) fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
