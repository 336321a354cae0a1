//! A server for tests, which answers as a test says.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;

/// How the answer with a document begins.
pub(crate) const JSON: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";

/// What a server does after it has read a request.
#[derive(Debug, Clone)]
pub(crate) enum Does {
    Answers(String),
    /// Answers, and then sends this again and again, as fast as it is read or with a pause.
    Repeats(String, &'static str, Duration),
    /// Answers once this many others have come, too.
    Waits(usize, String),
}

/// A server on 127.0.0.1 that counts connections and keeps what it was asked.
#[derive(Debug, Clone, Default)]
pub(crate) struct Server {
    pub port: u16,
    connections: Arc<AtomicUsize>,
    pub asked: Arc<Mutex<Vec<String>>>,
    does: Arc<Mutex<Option<Does>>>,
}

impl Server {
    pub async fn that(does: Does) -> Self {
        Self::on("127.0.0.1", does, None).await
    }

    pub async fn answering(head: &str, body: &str) -> Self {
        Self::that(Does::Answers(answer(head, body))).await
    }

    pub async fn on(ip: &str, does: Does, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind((ip, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = Self { port, does: Arc::new(Mutex::new(Some(does))), ..Self::default() };
        let serving = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                serving.connections.fetch_add(1, Ordering::SeqCst);
                let (serving, tls) = (serving.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serving.serve(stream).await,
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => serving.serve(stream).await,
                            Err(_) => Ok(()),
                        },
                    }
                });
            }
        });
        server
    }

    async fn serve(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(stream.read_u8().await?);
        }
        self.asked.lock().push(String::from_utf8(request).unwrap());
        let does = self.does.lock().clone();
        match does.unwrap() {
            Does::Answers(text) => stream.write_all(text.as_bytes()).await?,
            Does::Repeats(first, again, pause) => {
                stream.write_all(first.as_bytes()).await?;
                loop {
                    stream.write_all(again.as_bytes()).await?;
                    stream.flush().await?;
                    sleep(pause).await;
                }
            }
            Does::Waits(others, text) => {
                while self.asked.lock().len() < others {
                    sleep(Duration::from_millis(1)).await;
                }
                stream.write_all(text.as_bytes()).await?;
            }
        }
        stream.shutdown().await
    }

    pub fn does(&self, does: Does) {
        *self.does.lock() = Some(does);
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// An answer with its length.
pub(crate) fn answer(head: &str, body: &str) -> String {
    format!("{head}Content-Length: {}\r\n\r\n{body}", body.len())
}
