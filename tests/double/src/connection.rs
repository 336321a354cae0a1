//! Connections that can be torn down at any moment. Knows: sockets. Must not know: what is said over them.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::{fmt, io};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::server::Connected;

use crate::gates::Passage;

/// A text that tells a connection to break in front of it. It is sent in a message of its own, so it stands in one
/// piece in what is written, and behind everything that was to arrive.
pub(crate) const MARK: &str = "the connection breaks here: 4f8a2c9e61d7";

/// What tears a connection down.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    /// Cancelled when the node stops.
    run: CancellationToken,
    is_cut: CancellationToken,
    breaks_at_mark: Arc<AtomicBool>,
}

impl Line {
    /// A line that is cut when another token says so, too.
    pub fn below(run: &CancellationToken) -> Self {
        Self { run: run.clone(), is_cut: run.child_token(), breaks_at_mark: Arc::default() }
    }

    /// Tears the connection down at once.
    pub fn cut(&self) {
        self.is_cut.cancel();
    }

    /// Tears the connection down once all that is in front of the next mark is written.
    pub fn cut_at_mark(&self) {
        self.breaks_at_mark.store(true, Ordering::SeqCst);
    }

    /// How much of this may be written: `None` if the connection is to break here.
    fn may_write(&self, bytes: &[u8]) -> Option<usize> {
        if self.is_cut.is_cancelled() {
            return None;
        }
        if !self.breaks_at_mark.load(Ordering::SeqCst) {
            return Some(bytes.len());
        }
        let mark = bytes.windows(MARK.len()).position(|window| window == MARK.as_bytes());
        mark.map_or(Some(bytes.len()), |before| (before > 0).then_some(before))
    }
}

/// A connection with a line that can be cut.
#[derive(Debug)]
pub(crate) struct Connection {
    /// Until it has broken.
    stream: Option<TcpStream>,
    line: Line,
    is_cut: Pin<Box<WaitForCancellationFutureOwned>>,
    /// Closed while nothing is read or written.
    frozen: Passage,
    /// Waits until that is over.
    thaw: Option<Thaw>,
    acknowledges_at_once: bool,
}

impl Connection {
    pub fn new(stream: TcpStream, line: Line, frozen: Passage, acknowledges_at_once: bool) -> Self {
        let is_cut = Box::pin(line.is_cut.clone().cancelled_owned());
        acknowledge(&stream, acknowledges_at_once);
        Self { stream: Some(stream), line, is_cut, frozen, thaw: None, acknowledges_at_once }
    }

    /// The socket, for as long as it is to be used.
    fn stream(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        self.stream.as_mut().map(Pin::new).ok_or_else(broken)
    }

    /// Is ready while something may be read and written: when it is torn down, or not frozen.
    fn poll_thawed(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while !self.frozen.is_open() && self.is_cut.as_mut().poll(context).is_pending() {
            let frozen = &self.frozen;
            let thaw = self.thaw.get_or_insert_with(|| {
                let frozen = frozen.clone();
                Thaw(Box::pin(async move { frozen.pass().await }))
            });
            std::task::ready!(thaw.0.as_mut().poll(context));
            self.thaw = None;
        }
        Poll::Ready(())
    }

    /// Breaks off, and lets what was written before still arrive.
    fn break_off(&mut self) -> io::Error {
        if let Some(stream) = self.stream.take().filter(|_| !self.line.is_cut.is_cancelled()) {
            tokio::spawn(leave(stream, self.line.run.clone()));
        }
        self.line.cut();
        broken()
    }
}

struct Thaw(Pin<Box<dyn Future<Output = ()> + Send>>);

impl fmt::Debug for Thaw {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Thaw")
    }
}

/// Says that nothing more comes, and waits until the client has gone, too: a socket that is closed while there is
/// something to be read from it drops what is still to be sent.
async fn leave(mut stream: TcpStream, run: CancellationToken) {
    let gone = async {
        let mut ignored = [0; 4096];
        let mut is_there = stream.shutdown().await.is_ok();
        while is_there {
            is_there = stream.read(&mut ignored).await.is_ok_and(|length| length > 0);
        }
    };
    tokio::select! {
        () = run.cancelled() => {}
        () = gone => {}
    }
}

/// Has what is read acknowledged at once, or up to 40 ms later: not before another full segment has arrived, or
/// something goes back. Linux acknowledges the first segments of a connection at once, and goes over from one to the
/// other as it likes, so it is told again and again.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn acknowledge(stream: &TcpStream, at_once: bool) {
    // If it cannot be done, calls take more or less time, and nothing else.
    let _ = stream.set_quickack(at_once);
}

/// Other systems do as they like.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn acknowledge(_: &TcpStream, _: bool) {}

fn broken() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, "the connection was torn down")
}

impl Connected for Connection {
    type ConnectInfo = Line;

    fn connect_info(&self) -> Line {
        self.line.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        std::task::ready!(self.poll_thawed(context));
        if self.is_cut.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(broken()));
        }
        let acknowledges_at_once = self.acknowledges_at_once;
        let mut stream = self.stream()?;
        let read = stream.as_mut().poll_read(context, buffer);
        acknowledge(&stream, acknowledges_at_once);
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        std::task::ready!(self.poll_thawed(context));
        let Some(length) = self.line.may_write(bytes) else {
            return Poll::Ready(Err(self.break_off()));
        };
        self.stream()?.poll_write(context, &bytes[..length])
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        std::task::ready!(self.poll_thawed(context));
        self.stream()?.poll_shutdown(context)
    }
}
