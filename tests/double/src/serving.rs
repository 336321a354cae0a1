//! A node that runs: it listens, and serves every connection. Knows: the transport. Must not know: what is served.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

use crate::cluster::Cluster;
use crate::connection::{Connection, Line};
use crate::service::Seat;

/// How many calls one connection carries at once, as of the real server. The next one waits.
const CALLS_PER_CONNECTION: u32 = 100;

/// Starts a node that does not run. One that does goes on.
pub(crate) fn start(cluster: &Arc<Cluster>, index: usize) -> io::Result<()> {
    let Some(node) = cluster.nodes.get(index) else { return Err(no_such_node(index)) };
    if node.is_running() {
        return Ok(());
    }
    let run = CancellationToken::new();
    let seat = Seat { cluster: Arc::clone(cluster), index };
    let incoming = Incoming { listener: node.listen()?, run: run.clone(), seat: seat.clone() };
    let server = Server::builder().max_concurrent_streams(CALLS_PER_CONNECTION).add_routes(seat.routes());
    let serving = tokio::spawn(async move {
        // What goes wrong with it is for the client to notice, as with the real one.
        let _ = server.serve_with_incoming(incoming).await;
    });
    node.runs(run, serving);
    Ok(())
}

/// Stops a node as if it were killed. When this returns, it writes nothing more and its port refuses connections.
pub(crate) async fn stop(cluster: &Cluster, index: usize) {
    let Some(serving) = cluster.nodes.get(index).and_then(|node| node.stop()) else { return };
    cluster.settle();
    // It was aborted, which is an error to wait for.
    let _ = serving.await;
}

fn no_such_node(index: usize) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("there is no node {index}"))
}

/// The connections of a node as they come.
struct Incoming {
    listener: TcpListener,
    run: CancellationToken,
    seat: Seat,
}

impl Stream for Incoming {
    type Item = io::Result<Connection>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let accepted = std::task::ready!(self.listener.poll_accept(context));
        Poll::Ready(Some(accepted.and_then(|(stream, _)| {
            stream.set_nodelay(true)?;
            self.seat.cluster.counters.count(self.seat.index, |node| node.connections += 1);
            let line = Line::below(&self.run);
            let frozen = self.seat.node().frozen.clone();
            Ok(Connection::new(stream, line, frozen, self.seat.cluster.acknowledges_at_once))
        })))
    }
}
