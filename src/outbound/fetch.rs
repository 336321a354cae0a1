//! One fetch: resolve, check, connect, ask, read. Knows: sockets, TLS and HTTP/1.1. Must not know: what is kept, or what is in a
//! body.
//!
//! The connection is made here, to an address that was checked, so no second look-up, redirect, proxy of the environment,
//! cookie or kept connection can lead elsewhere.

use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1;
use hyper::header::{
    ACCEPT, ACCEPT_ENCODING, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, USER_AGENT,
};
use hyper::{HeaderMap, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use url::Host;

use super::error::{FetchError, MAX_BODY_KIB};
use super::freshness;
use super::rules::Target;

const MAX_BODY_BYTES: usize = MAX_BODY_KIB * 1024;
/// The largest head of an answer, in bytes, and how many headers it may have.
const MAX_HEAD_BYTES: usize = 16 * 1024;
const MAX_HEADERS: usize = 64;
/// How long one of several addresses of a host is tried.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);
const WHO_ASKS: &str = concat!("grantbook/", env!("CARGO_PKG_VERSION"));

/// Fetches a JSON document from the first of these addresses that can be reached: its bytes, and how long they may be kept.
pub(super) async fn fetch(
    target: &Target,
    addresses: &[IpAddr],
    tls: Option<Arc<ClientConfig>>,
) -> Result<(Bytes, Duration), FetchError> {
    let stream = connect(target, addresses).await?;
    let Some(tls) = tls else { return ask(target, stream).await };
    let name = match &target.host {
        Host::Domain(name) => ServerName::try_from(name.clone()).map_err(|_| FetchError::Url)?,
        Host::Ipv4(address) => ServerName::from(IpAddr::V4(*address)),
        Host::Ipv6(address) => ServerName::from(IpAddr::V6(*address)),
    };
    let stream = TlsConnector::from(tls).connect(name, stream).await.map_err(|error| {
        tracing::info!(host = %target.host, %error, "a host that an app names does not speak TLS that is trusted");
        FetchError::Unreachable
    })?;
    ask(target, stream).await
}

async fn connect(target: &Target, addresses: &[IpAddr]) -> Result<TcpStream, FetchError> {
    for address in addresses {
        let address = SocketAddr::new(*address, target.port);
        match timeout(CONNECT_WITHIN, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => {
                tracing::info!(host = %target.host, %error, "a host that an app names cannot be reached");
            }
            Err(_) => {
                tracing::info!(host = %target.host, "a host that an app names does not take a connection");
            }
        }
    }
    Err(FetchError::Unreachable)
}

async fn ask<S: AsyncRead + AsyncWrite + Unpin>(
    target: &Target,
    stream: S,
) -> Result<(Bytes, Duration), FetchError> {
    let broken = |error: hyper::Error| {
        tracing::info!(host = %target.host, %error, "a host that an app names answers wrongly");
        FetchError::Broken
    };
    let request = Request::get(target.path())
        .header(HOST, target.authority())
        .header(USER_AGENT, WHO_ASKS)
        .header(ACCEPT, "application/json")
        .header(ACCEPT_ENCODING, "identity")
        .header(CONNECTION, "close")
        .body(String::new())
        .map_err(|_| FetchError::Url)?;
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(MAX_HEAD_BYTES)
        .max_header_size(MAX_HEAD_BYTES)
        .max_headers(MAX_HEADERS)
        .handshake::<_, String>(TokioIo::new(stream))
        .await
        .map_err(broken)?;
    let mut answered = pin!(async {
        let response = sender.send_request(request).await.map_err(broken)?;
        check_head(&response)?;
        let kept_for = freshness::kept_for(response.headers());
        Ok((read(response.into_body()).await?, kept_for))
    });
    // Both are polled here and end with this future, so that a fetch leaves no task and no connection.
    tokio::select! {
        biased;
        result = &mut answered => result,
        ended = connection => match ended {
            Ok(()) => answered.await,
            Err(error) => Err(broken(error)),
        },
    }
}

fn check_head(response: &Response<Incoming>) -> Result<(), FetchError> {
    if response.status() != StatusCode::OK {
        return Err(FetchError::Status(response.status().as_u16()));
    }
    let headers = response.headers();
    // What is compressed may be a thousand times as large.
    if headers.get_all(CONTENT_ENCODING).iter().any(|encoding| encoding != "identity") {
        return Err(FetchError::Compressed);
    }
    if !is_json(headers) {
        return Err(FetchError::ContentType);
    }
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if length.is_some_and(|length| length > MAX_BODY_BYTES) { Err(FetchError::TooLarge) } else { Ok(()) }
}

/// `application/json` or `application/…+json`.
fn is_json(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let (Some(first), None) = (types.next(), types.next()) else { return false };
    let essence =
        first.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence
        .strip_prefix("application/")
        .is_some_and(|subtype| subtype == "json" || subtype.ends_with("+json"))
}

async fn read(mut body: Incoming) -> Result<Bytes, FetchError> {
    let mut read = Vec::new();
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let frame = frame.map_err(|_| FetchError::Broken)?;
        let Ok(data) = frame.into_data() else { continue };
        if read.len() + data.len() > MAX_BODY_BYTES {
            return Err(FetchError::TooLarge);
        }
        read.extend_from_slice(&data);
    }
    Ok(read.into())
}
