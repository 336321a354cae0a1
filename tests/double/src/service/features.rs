//! What the server can do, by its own account. Knows: the methods served. Must not know: how they are served.

use tonic::{Request, Response, Status, async_trait};

use super::Seat;
use crate::protocol::Empty;
use crate::protocol::server_features::server_features_server::ServerFeatures;
use crate::protocol::server_features::{SupportedMethod, SupportedMethods};

/// Methods and their services, in lower case as the real one says them.
const METHODS: [(&str, &str); 7] = [
    ("append", "event_store.client.streams.streams"),
    ("batchappend", "event_store.client.streams.streams"),
    ("delete", "event_store.client.streams.streams"),
    ("tombstone", "event_store.client.streams.streams"),
    ("read", "event_store.client.streams.streams"),
    ("read", "event_store.client.gossip.gossip"),
    ("getsupportedmethods", "event_store.client.server_features.serverfeatures"),
];

#[async_trait]
impl ServerFeatures for Seat {
    async fn get_supported_methods(
        &self,
        request: Request<Empty>,
    ) -> Result<Response<SupportedMethods>, Status> {
        self.authenticate_if_named(request.metadata())?;
        let supported = |(method, service): (&str, &str)| SupportedMethod {
            method_name: method.to_owned(),
            service_name: service.to_owned(),
            features: vec![],
        };
        Ok(Response::new(SupportedMethods {
            methods: METHODS.into_iter().map(supported).collect(),
            event_store_server_version: self.cluster.version.clone(),
        }))
    }
}
