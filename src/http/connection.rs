//! The connection that a request came by, for those who must end it. Knows: sockets. Must not know: what is
//! sent.

use std::any::Any;
use std::net::{Shutdown, TcpStream};
#[cfg(unix)]
use std::os::fd::AsFd as _;
use std::sync::Arc;

use actix_web::HttpRequest;
use actix_web::dev::Extensions;

/// A second handle of a connection.
#[derive(Debug)]
pub struct Connection(TcpStream);

impl Connection {
    /// Keeps a handle with what belongs to the connection.
    #[cfg(unix)]
    pub fn remember(io: &dyn Any, data: &mut Extensions) {
        let stream = io.downcast_ref::<actix_web::rt::net::TcpStream>();
        // Without a handle, the connection ends when its peer ends it.
        if let Some(Ok(handle)) = stream.map(|stream| stream.as_fd().try_clone_to_owned()) {
            data.insert(Arc::new(Self(TcpStream::from(handle))));
        }
    }

    /// Elsewhere a connection ends when its peer ends it.
    #[cfg(not(unix))]
    pub fn remember(_io: &dyn Any, _data: &mut Extensions) {}

    /// The connection of a request.
    pub(crate) fn of(request: &HttpRequest) -> Option<Arc<Self>> {
        request.conn_data::<Arc<Self>>().cloned()
    }

    /// Ends it, whether or not its peer reads what was sent.
    pub(crate) fn cut(&self) {
        // It fails if the peer was faster.
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

#[cfg(test)]
mod tests {
    use std::future::ready;
    use std::io::Write as _;
    use std::net::{Ipv4Addr, TcpListener};
    use std::pin::Pin;
    use std::task::{Context, Poll};
    use std::time::Duration;

    use actix_web::web::{self, Bytes};
    use actix_web::{App, HttpResponse, HttpServer};
    use futures_core::Stream;
    use tokio::sync::mpsc;

    use super::*;

    /// A body without end.
    struct Endless;

    impl Stream for Endless {
        type Item = Result<Bytes, std::io::Error>;

        fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
            Poll::Ready(Some(Ok(Bytes::from_static(&[b'x'; 65_536]))))
        }
    }

    #[tokio::test]
    async fn a_connection_that_nobody_reads_can_be_ended() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (sender, mut asked) = mpsc::unbounded_channel();
        let server = HttpServer::new(move || {
            let sender = sender.clone();
            let endless = move |request: HttpRequest| {
                sender.send(Connection::of(&request).unwrap()).unwrap();
                ready(HttpResponse::Ok().streaming(Endless))
            };
            App::new().default_service(web::to(endless))
        });
        let server = server.workers(1).on_connect(Connection::remember).shutdown_timeout(600);
        let server = server.disable_signals().listen(listener).unwrap().run();
        let handle = server.handle();
        let task = tokio::spawn(server);
        client.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
        asked.recv().await.unwrap().cut();
        // It waits for requests under way, and there is none any more.
        tokio::time::timeout(Duration::from_secs(30), handle.stop(true)).await.unwrap();
        task.await.unwrap().unwrap();
    }
}
