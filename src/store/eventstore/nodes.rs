//! Connections of our own to the cluster's nodes. Knows: which node is asked, and how a call is made. Must not know:
//! what is read or appended.
//!
//! Reads and appends go by these and not by the client crate, for five reasons: the crate leaves Nagle's algorithm on, so
//! that an append, which is two small writes, waits for the node's delayed acknowledgement; it cannot filter what it reads
//! of `$all` once; it takes a subscription up again where its last event was, and not where its last checkpoint was; its
//! batch append ends at the first conflict and leaves the other appends without an answer; and when a node ends a
//! subscription in order, as nodes do that stop, it asks the ended stream again and again within one poll, for ever: a
//! spin that no timeout and no cancelling ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use eventstore::Endpoint;
use futures_util::stream::poll_fn;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tonic::body::BoxBody;
use tonic::client::Grpc;
use tonic::codec::ProstCodec;
use tonic::codegen::http::Uri;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::AsciiMetadataValue;
use tonic::{Request, Streaming};
use zeroize::Zeroizing;

use super::failure::{Failure, all_failed};
use super::target::{Target, authority};
use super::unreachable::Http;
use super::wire::{
    self, BatchAppendReq, BatchAppendResp, ClusterInfo, Empty, ReadReq, ReadResp, RecordedEvent, UuidOption,
};
use crate::store::SeenRecord;

/// How long a call may take at a node.
pub(super) const CALL_WITHIN: Duration = Duration::from_secs(5);
/// How often a silent connection is asked whether it lives, and how long it may take to say so.
const PING_EVERY: Duration = Duration::from_secs(5);
/// How long connecting may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(3);

type HttpClient = Http<Client<HttpsConnector<HttpConnector>, BoxBody>>;

pub(super) struct Nodes {
    target: Arc<Target>,
    http: HttpClient,
    authorization: Option<AsciiMetadataValue>,
    chosen: Mutex<Chosen>,
    /// Which of the named nodes is asked first who is in the cluster.
    turn: AtomicUsize,
    /// The last record that came from the cluster.
    pub(super) seen: Mutex<Option<SeenRecord>>,
}

/// The nodes that are asked, until one fails. Only a read that must be of the leader goes there for it.
#[derive(Default)]
struct Chosen {
    any: Option<Endpoint>,
    /// The leader, once another node has named it.
    leader: Option<Endpoint>,
}

impl Nodes {
    pub(super) fn new(target: Arc<Target>, tls: rustls::ClientConfig) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT_WITHIN));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http2()
            .wrap_connector(tcp);
        let http = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .http2_only(true)
            .http2_keep_alive_interval(PING_EVERY)
            .http2_keep_alive_timeout(PING_EVERY)
            .http2_keep_alive_while_idle(true)
            .build(connector);
        let authorization = authorization(&target);
        let (chosen, turn, seen) = (Mutex::default(), AtomicUsize::default(), Mutex::default());
        Self { target, http: Http::new(http), authorization, chosen, turn, seen }
    }

    /// Everything that one read of the leader returns.
    pub(super) async fn read_all(&self, options: wire::Options) -> Result<Vec<RecordedEvent>, Failure> {
        let mut replies = self.start_read(options, true).await?;
        let mut events = Vec::new();
        while let Some(reply) = self.in_time(async { Ok(replies.message().await?) }).await? {
            events.extend(reply.event.and_then(|event| event.event));
        }
        Ok(events)
    }

    /// Starts a read.
    pub(super) async fn start_read(
        &self,
        options: wire::Options,
        requires_leader: bool,
    ) -> Result<Streaming<ReadResp>, Failure> {
        self.in_time(self.start(options, requires_leader)).await
    }

    /// A node that fails or is too slow is asked again only if the cluster names it.
    async fn in_time<T>(&self, call: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        let outcome = tokio::time::timeout(CALL_WITHIN, call).await;
        let outcome = outcome.unwrap_or_else(|_| Err(Failure::broken("the node did not answer in time")));
        outcome.inspect_err(|failure| self.note(failure))
    }

    /// From here on the cluster is asked again which node to ask.
    pub(super) fn forget(&self) {
        *self.chosen.lock() = Chosen::default();
    }

    async fn start(
        &self,
        options: wire::Options,
        requires_leader: bool,
    ) -> Result<Streaming<ReadResp>, Failure> {
        let mut grpc = self.connect(&self.choose(requires_leader).await?).await?;
        let uuid_option = Some(UuidOption { string: Some(Empty {}) });
        let options = Some(wire::Options { uuid_option, ..options });
        let mut request = self.request(ReadReq { options });
        if requires_leader {
            request.metadata_mut().insert("requires-leader", AsciiMetadataValue::from_static("true"));
        }
        let path = PathAndQuery::from_static(wire::READ);
        let wire = ProstCodec::<ReadReq, ReadResp>::default();
        Ok(grpc.server_streaming(request, path, wire).await?.into_inner())
    }

    /// Begins a call that appends what is sent. Its replies begin only once the first append is answered.
    pub(super) async fn batch_append(
        &self,
        mut messages: mpsc::UnboundedReceiver<BatchAppendReq>,
    ) -> Result<impl Future<Output = Result<Streaming<BatchAppendResp>, Failure>> + Send + use<>, Failure>
    {
        let mut grpc = self.connect(&self.choose(true).await?).await?;
        let mut request = self.request(poll_fn(move |context| messages.poll_recv(context)));
        request.metadata_mut().insert("requires-leader", AsciiMetadataValue::from_static("true"));
        Ok(async move {
            let path = PathAndQuery::from_static(wire::BATCH_APPEND);
            let wire = ProstCodec::<BatchAppendReq, BatchAppendResp>::default();
            Ok(grpc.streaming(request, path, wire).await?.into_inner())
        })
    }

    /// Takes note of what a call says about who leads, or that its node cannot be used.
    pub(super) fn note(&self, failure: &Failure) {
        match failure {
            Failure::NotLeader(leader) => self.chosen.lock().leader = Some(leader.clone()),
            _ => self.forget(),
        }
    }

    async fn choose(&self, requires_leader: bool) -> Result<Endpoint, Failure> {
        {
            let chosen = self.chosen.lock();
            let leader = chosen.leader.as_ref().filter(|_| requires_leader);
            if let Some(endpoint) = leader.or(chosen.any.as_ref()) {
                return Ok(endpoint.clone());
            }
        }
        let endpoint = match self.target.is_cluster() {
            true => self.discover().await?,
            false => self.target.endpoints.first().cloned().ok_or_else(no_node)?,
        };
        self.chosen.lock().any = Some(endpoint.clone());
        Ok(endpoint)
    }

    /// The best node of those that the first one to answer names.
    async fn discover(&self) -> Result<Endpoint, Failure> {
        let target = &self.target;
        let first = self.turn.fetch_add(1, Ordering::Relaxed);
        let seeds = target.endpoints.iter().cycle().skip(first % target.endpoints.len().max(1));
        let mut failures = Vec::new();
        for seed in seeds.take(target.endpoints.len()) {
            let failure = match tokio::time::timeout(target.gossip_within, self.gossip(seed)).await {
                Ok(Ok(info)) => match best(info) {
                    Some(endpoint) => return Ok(endpoint),
                    None => Failure::broken("it knows of no node that can be read from"),
                },
                Ok(Err(failure)) => failure,
                Err(_) => Failure::broken("it does not answer"),
            };
            failures.push((authority(seed), failure));
        }
        Err(all_failed(failures))
    }

    async fn gossip(&self, seed: &Endpoint) -> Result<ClusterInfo, Failure> {
        let path = PathAndQuery::from_static(wire::GOSSIP);
        let wire = ProstCodec::<Empty, ClusterInfo>::default();
        Ok(self.connect(seed).await?.unary(self.request(Empty {}), path, wire).await?.into_inner())
    }

    async fn connect(&self, endpoint: &Endpoint) -> Result<Grpc<HttpClient>, Failure> {
        let scheme = if self.target.tls.is_some() { "https" } else { "http" };
        let authority = authority(endpoint);
        let origin: Uri = format!("{scheme}://{authority}")
            .parse()
            .map_err(|_| Failure::Broken(format!("{authority} is no address")))?;
        let mut grpc = Grpc::with_origin(self.http.clone(), origin);
        grpc.ready().await.map_err(|error| Failure::Broken(error.to_string()))?;
        Ok(grpc)
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let metadata = request.metadata_mut();
        if let Some(authorization) = &self.authorization {
            metadata.insert("authorization", authorization.clone());
        }
        if let Ok(name) = AsciiMetadataValue::try_from(self.target.connection_name.as_str()) {
            metadata.insert("connection-name", name);
        }
        request
    }
}

fn no_node() -> Failure {
    Failure::broken("no node of the cluster can be read from")
}

fn authorization(target: &Target) -> Option<AsciiMetadataValue> {
    let login = target.login.as_ref()?;
    let plain = Zeroizing::new(format!("{}:{}", login.user, login.password.expose()));
    let basic = Zeroizing::new(format!("Basic {}", STANDARD.encode(plain.as_bytes())));
    let mut value = AsciiMetadataValue::try_from(basic.as_str()).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// The leader if it lives, or else a node that follows it.
fn best(info: ClusterInfo) -> Option<Endpoint> {
    let alive = info.members.into_iter().filter(|member| member.is_alive);
    let ranked = alive.filter_map(|member| {
        let rank = [wire::LEADER, wire::FOLLOWER, wire::READ_ONLY_REPLICA]
            .iter()
            .position(|state| *state == member.state)?;
        let endpoint = member.http_end_point?;
        Some((rank, Endpoint { host: endpoint.address, port: endpoint.port }))
    });
    ranked.min_by_key(|(rank, _)| *rank).map(|(_, endpoint)| endpoint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::eventstore::wire::{Member, WireEndpoint};

    fn member(state: i32, is_alive: bool, port: u32) -> Member {
        let http_end_point = Some(WireEndpoint { address: "node".to_owned(), port });
        Member { state, is_alive, http_end_point }
    }

    fn port_of_best(members: Vec<Member>) -> Option<u32> {
        best(ClusterInfo { members }).map(|endpoint| endpoint.port)
    }

    #[test]
    fn the_leader_is_asked_if_it_lives() {
        let (leader, follower, catching_up) = (8, 6, 4);
        let others = || vec![member(catching_up, true, 1), member(follower, true, 2)];
        assert_eq!(port_of_best([others(), vec![member(leader, true, 3)]].concat()), Some(3));
        assert_eq!(port_of_best([others(), vec![member(leader, false, 3)]].concat()), Some(2));
        assert_eq!(port_of_best(vec![member(catching_up, true, 1), member(99, true, 4)]), None);
    }
}
