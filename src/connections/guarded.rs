//! A connection as actix-http reads and writes it, with what actix-http does not bound. Knows: bytes, and the ends of
//! heads. Must not know: what a request is about.
//!
//! - actix-http parses all requests that have arrived and keeps them, about 4 KB each, until they are answered: a
//!   client that sends many small ones at once and reads nothing costs megabytes. Here it gets two heads at a
//!   time, so that its own bound of 16 requests holds, and none while the client does not read.
//! - actix-http waits for ever for a client that does not read, or that has sent half of its second head. Here the
//!   registry knows what a connection waits for, and can end it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::open::Registered;

/// How many heads are handed on before other connections of the thread have their turn.
const HEADS_AT_ONCE: usize = 2;

/// A connection that can be ended from elsewhere.
#[derive(Debug)]
pub(super) struct Guarded<S = TcpStream> {
    stream: S,
    pub(super) registered: Registered,
    /// None once it was cut.
    cut: Option<oneshot::Receiver<()>>,
    heads: Heads,
    /// Ends of heads that were handed on in this turn.
    heads_out: usize,
    /// What was read and not handed on yet.
    kept: Bytes,
    /// The client does not read on.
    is_unread: bool,
    /// actix-http wanted to read while the client did not.
    is_read_put_off: bool,
}

impl<S> Guarded<S> {
    pub(super) fn new(stream: S, registered: Registered, cut: oneshot::Receiver<()>) -> Self {
        Self {
            stream,
            registered,
            cut: Some(cut),
            heads: Heads::default(),
            heads_out: 0,
            kept: Bytes::new(),
            is_unread: false,
            is_read_put_off: false,
        }
    }

    /// An error once the connection was cut, which wakes the task that waits.
    fn check_cut(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        if self.cut.as_mut().is_none_or(|cut| Pin::new(cut).poll(context).is_ready()) {
            self.cut = None;
            return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "this connection was ended here"));
        }
        Ok(())
    }

    /// How many of these bytes may be handed on in this turn: all up to the last head that may.
    fn allowed(&mut self, bytes: &[u8]) -> usize {
        let (allowed, ends) = self.heads.up_to(HEADS_AT_ONCE - self.heads_out, bytes);
        self.heads_out += ends;
        if allowed > 0 {
            self.registered.open.heard();
        }
        allowed
    }

    /// Hands on what was kept; false if there is nothing.
    fn hand_on_kept(&mut self, buffer: &mut ReadBuf<'_>) -> bool {
        let kept = std::mem::take(&mut self.kept);
        let next = kept.get(..buffer.remaining()).unwrap_or(&kept);
        let allowed = self.allowed(next);
        buffer.put_slice(kept.get(..allowed).unwrap_or_default());
        self.kept = kept.slice(allowed..);
        allowed > 0
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.check_cut(context)?;
        if this.is_unread {
            this.is_read_put_off = true;
            return Poll::Pending;
        }
        if this.heads_out >= HEADS_AT_ONCE {
            this.heads_out = 0;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        if this.hand_on_kept(buffer) {
            return Poll::Ready(Ok(()));
        }
        let from = buffer.filled().len();
        let Poll::Ready(read) = Pin::new(&mut this.stream).poll_read(context, buffer) else {
            this.heads_out = 0;
            return Poll::Pending;
        };
        read?;
        let new = buffer.filled().get(from..).unwrap_or_default();
        let allowed = this.allowed(new);
        if let Some(later) = new.get(allowed..).filter(|later| !later.is_empty()) {
            this.kept = Bytes::copy_from_slice(later);
            buffer.set_filled(from + allowed);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.check_cut(context)?;
        let written = Pin::new(&mut this.stream).poll_write(context, bytes);
        if written.is_pending() && !this.is_unread {
            this.is_unread = true;
            this.registered.open.unread();
        }
        written
    }

    /// actix-http asks for it when all that it wanted to write was taken.
    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(Pin::new(&mut this.stream).poll_flush(context))?;
        if std::mem::take(&mut this.is_unread) {
            this.registered.open.read();
            if std::mem::take(&mut this.is_read_put_off) {
                context.waker().wake_by_ref();
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

/// What there is of the current line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Line {
    /// No byte of it yet.
    #[default]
    Empty,
    /// A carriage return alone.
    Return,
    /// A byte that makes it a line with something in it.
    Begun,
}

/// Finds where heads of requests end in bytes that come in pieces: with an empty line. One in a body counts as well, which
/// does no harm.
#[derive(Debug, Default)]
struct Heads(Line);

impl Heads {
    /// Looks for at most so many ends of heads: how many bytes were looked at, and how many ends are in them. The next
    /// call must begin with the bytes that were not.
    fn up_to(&mut self, most: usize, bytes: &[u8]) -> (usize, usize) {
        let (mut at, mut ends) = (0, 0);
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            if ends == most {
                return (at, ends);
            }
            at += line.len();
            let is_empty = matches!((self.0, line), (Line::Empty, b"\n" | b"\r\n") | (Line::Return, b"\n"));
            ends += usize::from(is_empty);
            self.0 = match (self.0, line) {
                (_, [.., b'\n']) => Line::Empty,
                (Line::Empty, b"\r") => Line::Return,
                _ => Line::Begun,
            };
        }
        (at, ends)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::Arc;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

    use super::super::open::Registry;
    use super::*;

    const HEAD: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";

    /// A connection with a client, and so much room between them.
    fn connected(room: usize) -> (Guarded<DuplexStream>, DuplexStream) {
        let (ours, theirs) = duplex(room);
        let (registered, cut) = Arc::new(Registry::default()).add();
        (Guarded::new(ours, registered, cut), theirs)
    }

    /// What one turn of actix-http reads: until there is nothing more for now.
    async fn one_turn(connection: &mut Guarded<DuplexStream>) -> Vec<u8> {
        let mut read = Vec::new();
        poll_fn(|context| {
            let mut space = [0; 4096];
            loop {
                let mut buffer = ReadBuf::new(&mut space);
                match Pin::new(&mut *connection).poll_read(context, &mut buffer) {
                    Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                        read.extend_from_slice(buffer.filled());
                    }
                    _ => return Poll::Ready(()),
                }
            }
        })
        .await;
        read
    }

    #[tokio::test]
    async fn two_heads_are_given_out_at_a_time_and_nothing_is_lost() {
        let (mut connection, mut client) = connected(65_536);
        client.write_all(&HEAD.repeat(7)).await.unwrap();
        for heads in [2, 2, 2, 1, 0] {
            assert_eq!(one_turn(&mut connection).await, HEAD.repeat(heads));
        }
        // A head and its body come at once.
        let whole = [HEAD, &b"a=b&c=d".repeat(100)].concat();
        client.write_all(&whole).await.unwrap();
        assert_eq!(one_turn(&mut connection).await, whole);
        drop(client);
        let mut rest = Vec::new();
        connection.read_to_end(&mut rest).await.unwrap();
        assert!(rest.is_empty());
    }

    #[tokio::test]
    async fn nothing_is_read_from_a_client_that_does_not_read() {
        let (mut connection, mut client) = connected(64);
        client.write_all(HEAD).await.unwrap();
        let answer = [b'x'; 200];
        let written = poll_fn(|context| {
            let mut written = 0;
            while let Poll::Ready(more) = Pin::new(&mut connection).poll_write(context, &answer[written..]) {
                written += more.unwrap();
            }
            Poll::Ready(written)
        })
        .await;
        assert_eq!(written, 64);
        assert!(one_turn(&mut connection).await.is_empty());
        // It goes on by itself as soon as the client has read all there is.
        let reading = tokio::spawn(async move {
            let mut heard = vec![0; 200];
            client.read_exact(&mut heard).await.unwrap();
            client
        });
        let mut buffer = [0; HEAD.len()];
        let (mut at, mut is_put_off) = (written, false);
        poll_fn(|context| {
            // As actix-http does: it reads first, then writes on.
            let mut space = ReadBuf::new(&mut buffer);
            if Pin::new(&mut connection).poll_read(context, &mut space).is_ready() {
                assert_eq!(space.filled(), HEAD);
                return Poll::Ready(());
            }
            is_put_off = true;
            while at < answer.len() {
                match Pin::new(&mut connection).poll_write(context, &answer[at..]) {
                    Poll::Ready(more) => at += more.unwrap(),
                    Poll::Pending => return Poll::Pending,
                }
            }
            assert!(Pin::new(&mut connection).poll_flush(context).is_ready());
            Poll::Pending
        })
        .await;
        assert!(is_put_off);
        drop(reading.await.unwrap());
    }

    #[tokio::test]
    async fn a_connection_is_ended_from_elsewhere_whatever_it_waits_for() {
        let (mut connection, _client) = connected(8);
        let open = Arc::clone(&connection.registered.open);
        let ending = tokio::spawn(async move { assert!(open.cut()) });
        let error = connection.read(&mut [0; 8]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
        ending.await.unwrap();
        // And it stays ended.
        assert!(connection.read(&mut [0; 8]).await.is_err());
        assert!(connection.write(b"x").await.is_err());

        let (mut connection, _client) = connected(8);
        let open = Arc::clone(&connection.registered.open);
        let ending = tokio::spawn(async move { open.cut() });
        assert!(connection.write_all(&[0; 64]).await.is_err());
        assert!(ending.await.unwrap());
    }

    #[test]
    fn a_head_ends_with_an_empty_line() {
        for (bytes, most, found) in [
            (&b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"[..], 2, (27, 1)),
            (b"GET / HTTP/1.1\nhost: a\n\n", 2, (24, 1)),
            (b"GET / HTTP/1.1\r\nhost: a\r\n", 2, (25, 0)),
            (b"POST / HTTP/1.1\r\nhost: a\r\n\r\na=b", 2, (31, 1)),
            (b"A\r\n\r\nB\r\n\r\nC\r\n\r\n", 2, (10, 2)),
            (b"A\r\n\r\nB\r\n\r\nC\r\n\r\n", 1, (5, 1)),
            (b"A\r\n\r\nB\r\n\r\n", 0, (0, 0)),
            (b"\r\n\r\n\r\n", 2, (4, 2)),
            (b"a\r\r\n\r\r\n", 2, (7, 0)),
            (b"", 2, (0, 0)),
        ] {
            assert_eq!(Heads::default().up_to(most, bytes), found, "{:?}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn however_it_is_cut_into_pieces() {
        let sent = b"GET /a HTTP/1.1\r\nhost: a\r\n\r\nGET /b HTTP/1.1\nhost: b\n\nGET /c";
        for size in 1..sent.len() {
            let mut heads = Heads::default();
            let ends: usize = sent.chunks(size).map(|piece| heads.up_to(9, piece).1).sum();
            assert_eq!(ends, 2, "{size}");
        }
    }
}
