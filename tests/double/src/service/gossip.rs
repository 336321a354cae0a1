//! Who is in the cluster. Knows: who leads and who runs. Must not know: the log.

use tonic::{Request, Response, Status, async_trait};

use super::{Seat, wire};
use crate::node::Node;
use crate::protocol::Empty;
use crate::protocol::gossip::gossip_server::Gossip;
use crate::protocol::gossip::member_info::VNodeState;
use crate::protocol::gossip::{ClusterInfo, EndPoint, MemberInfo};

#[async_trait]
impl Gossip for Seat {
    async fn read(&self, request: Request<Empty>) -> Result<Response<ClusterInfo>, Status> {
        self.authenticate_if_named(request.metadata())?;
        self.cluster.counters.count(self.index, |node| node.gossips += 1);
        let members = self.cluster.nodes.iter().map(|node| self.member(node)).collect();
        Ok(Response::new(ClusterInfo { members }))
    }
}

impl Seat {
    fn member(&self, node: &Node) -> MemberInfo {
        let is_leader = node.index == self.cluster.elected();
        let state = if is_leader { VNodeState::Leader } else { VNodeState::Follower };
        let (address, port) = (node.address().ip().to_string(), node.port.into());
        MemberInfo {
            instance_id: Some(wire::structured(node.id)),
            time_stamp: i64::try_from(self.cluster.clock.ticks()).unwrap_or(i64::MAX),
            state: state.into(),
            is_alive: node.is_running(),
            http_end_point: Some(EndPoint { address, port }),
        }
    }
}
