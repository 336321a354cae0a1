//! Why a node could not be asked, in plain words, and which setting to change. Knows: what sockets, TLS and HTTP/2 report.
//! Must not know: what was asked.

use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use hyper_util::client::legacy;
use parking_lot::Mutex;
use rustls::CertificateError;
use tonic::Status;
use tonic::body::BoxBody;
use tonic::codegen::http::Request;
use tonic::codegen::http::uri::Scheme;
use tonic::codegen::{BoxFuture, Service};

/// Sends requests, and says in plain words why a node could not be asked.
#[derive(Clone)]
pub(super) struct Http<C> {
    client: C,
    /// Whether any node has answered. Until then, one that breaks off may speak TLS where we do not, or the other way round.
    is_heard: Arc<AtomicBool>,
    /// Why the last attempt to connect to a node failed, for requests that waited for an attempt of another one.
    failed: Arc<Mutex<HashMap<String, String>>>,
}

impl<C> Http<C> {
    pub(super) fn new(client: C) -> Self {
        Self { client, is_heard: Arc::default(), failed: Arc::default() }
    }
}

impl<C> Service<Request<BoxBody>> for Http<C>
where
    C: Service<Request<BoxBody>, Error = legacy::Error>,
    C::Future: Send + 'static,
{
    type Response = C::Response;
    type Error = Unreachable;
    type Future = BoxFuture<C::Response, Unreachable>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Unreachable>> {
        self.client
            .poll_ready(context)
            .map_err(|error| Unreachable { is_sent: false, text: error.to_string() })
    }

    fn call(&mut self, request: Request<BoxBody>) -> Self::Future {
        let is_tls = request.uri().scheme() == Some(&Scheme::HTTPS);
        let node = request.uri().authority().map(ToString::to_string).unwrap_or_default();
        let (is_heard, failed) = (Arc::clone(&self.is_heard), Arc::clone(&self.failed));
        let answer = self.client.call(request);
        Box::pin(async move {
            let answer = answer.await.map_err(|error| {
                let waited = error.is_connect() && !chain(&error).any(<dyn Error>::is::<io::Error>);
                let known = failed.lock().get(&node).filter(|_| waited).cloned();
                let why = match known {
                    Some(why) => why,
                    None if waited => "no connection could be made".to_owned(),
                    None => why(&error, is_tls, is_heard.load(Ordering::Relaxed)),
                };
                if !waited && error.is_connect() {
                    failed.lock().insert(node.clone(), why.clone());
                }
                Unreachable { is_sent: !error.is_connect(), text: format!("{node}: {why}") }
            })?;
            is_heard.store(true, Ordering::Relaxed);
            Ok(answer)
        })
    }
}

/// Why a node could not be asked.
#[derive(Debug)]
pub(super) struct Unreachable {
    /// Whether the node may have got the request.
    pub is_sent: bool,
    pub text: String,
}

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for Unreachable {}

impl Unreachable {
    /// Why a call failed, if it is this.
    pub(super) fn of(status: &Status) -> Option<&Self> {
        chain(status.source()?).find_map(|error| error.downcast_ref::<Self>())
    }
}

/// An error and what it comes from.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| {
        let error: &'a (dyn Error + 'static) = *error;
        match error.downcast_ref::<io::Error>() {
            // Its source is that of what it holds.
            Some(outer) => outer.get_ref().map(|inner| inner as _),
            None => error.source(),
        }
    })
}

fn why(error: &legacy::Error, is_tls: bool, is_heard: bool) -> String {
    let root = chain(error).last().map(ToString::to_string).unwrap_or_default();
    // Once the connection carries HTTP/2, only the text is left of an alert.
    if let Some(alert) = root.strip_prefix("received fatal alert: ") {
        return why_alert(alert);
    }
    if let Some(tls) = chain(error).find_map(|error| error.downcast_ref::<rustls::Error>()) {
        return why_tls(tls);
    }
    if chain(error).any(|error| error.to_string() == "dns error") {
        return "no such name: check the host in store.url, and the name service of this machine".to_owned();
    }
    let kind = chain(error).find_map(|error| error.downcast_ref::<io::Error>()).map(io::Error::kind);
    match kind {
        Some(ErrorKind::ConnectionRefused) => {
            "nothing listens there: check host and port in store.url, and that the node runs".to_owned()
        }
        Some(ErrorKind::TimedOut | ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable) => {
            "it cannot be reached: check host and port in store.url, and the network".to_owned()
        }
        _ if is_heard => format!("the connection broke off ({root})"),
        _ if is_tls && error.is_connect() => {
            "the connection broke off during the TLS handshake: if the node speaks no TLS, set tls=false in store.url"
                .to_owned()
        }
        _ if is_tls => format!("the connection broke off ({root})"),
        _ => "the connection broke off at once: if the node speaks TLS, remove tls=false from store.url".to_owned(),
    }
}

/// What a node says by an alert of TLS, of our certificate mostly.
fn why_alert(alert: &str) -> String {
    match alert {
        "CertificateRequired" => {
            "it wants a user certificate: set userCertFile and userKeyFile in store.url".to_owned()
        }
        "BadCertificate" | "UnsupportedCertificate" | "CertificateRevoked" | "CertificateExpired"
        | "CertificateUnknown" | "UnknownCA" | "DecryptError" | "AccessDenied" => {
            "it does not accept our user certificate: set userCertFile and userKeyFile in store.url to one that the \
             cluster's authority has signed, and that has not expired"
                .to_owned()
        }
        "HandshakeFailure" => {
            "it does not agree to TLS with us: it may want a user certificate (userCertFile and userKeyFile in store.url)"
                .to_owned()
        }
        alert => format!("it ended TLS with us: {alert}"),
    }
}

fn why_tls(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(error) => why_certificate(error),
        rustls::Error::InvalidMessage(_) | rustls::Error::InappropriateMessage { .. } => {
            "it does not answer as a node that speaks TLS: set tls=false in store.url, or switch TLS on at the node"
                .to_owned()
        }
        error => format!("TLS with it fails: {error}"),
    }
}

fn why_certificate(error: &CertificateError) -> String {
    match error {
        // An authority of the same name, with another key, is another one.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "its certificate is signed by an authority that is not trusted here: set tlsCaFile in store.url to the file \
             with the cluster's authority"
                .to_owned()
        }
        CertificateError::NotValidForNameContext { presented, .. } => {
            // Each as webpki writes it: `DnsName("node1")`, `IpAddress(10.0.0.1)`.
            let name_of = |name: &str| name.split(['(', ')', '"']).rfind(|part| !part.is_empty()).map(str::to_owned);
            let names = presented.iter().filter_map(|name| name_of(name));
            let names = names.collect::<Vec<_>>().join(", ");
            format!("its certificate is for another name: use one that it is for in store.url ({names})")
        }
        CertificateError::NotValidForName => {
            "its certificate is for another name: use one that it is for in store.url".to_owned()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "its certificate has expired: renew it at the node, unless the clock of this machine is wrong".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet: check the clocks of the node and of this machine".to_owned()
        }
        error if error.to_string().contains("CaUsedAsEndEntity") => {
            "its certificate is that of an authority itself: give the node one of its own that the authority has signed"
                .to_owned()
        }
        error => format!("its certificate cannot be trusted: {error}"),
    }
}
