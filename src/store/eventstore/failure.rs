//! What the client crate's errors and gRPC's statuses mean to us. Knows: which say that nothing was done, and
//! which leave it open. Must not know: what was tried.

use eventstore::{CurrentRevision, Error};
use grantbook_events::Revision;
use tonic::{Code, Status};

use crate::store::StoreError;

/// Why a call did not do what it was to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// The stream is elsewhere; `None`: it does not exist.
    Conflict(Option<Revision>),
    /// The node is not the leader, and did nothing.
    NotLeader,
    /// The client is of no more use. Nothing was sent.
    Dead(String),
    /// The connection or the node broke off, perhaps after doing it.
    Broken(String),
    /// The node does not do it, however often it is asked.
    Refused(String),
    /// There is no such stream.
    NotFound,
    /// The stream was deleted.
    Deleted,
}

impl Failure {
    /// Whether another client, or another node, may do better.
    pub(super) fn is_of_transport(&self) -> bool {
        match self {
            Self::Dead(_) | Self::Broken(_) => true,
            Self::Conflict(_) | Self::NotLeader | Self::Refused(_) | Self::NotFound | Self::Deleted => false,
        }
    }

    /// As an error of a store that could not be asked.
    pub(super) fn into_error(self) -> StoreError {
        let text = match self {
            Self::Refused(text) | Self::Dead(text) | Self::Broken(text) => text,
            Self::NotLeader => "the cluster is choosing a leader".to_owned(),
            Self::Deleted => "a stream of the ledger was deleted from the cluster".to_owned(),
            Self::NotFound => "a stream is missing".to_owned(),
            Self::Conflict(_) => "a stream is elsewhere".to_owned(),
        };
        StoreError::Unavailable(text)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::WrongExpectedVersion { current, .. } => Self::Conflict(match current {
                CurrentRevision::Current(revision) => Some(Revision::new(revision)),
                CurrentRevision::NoStream => None,
            }),
            Error::NotLeaderException(_) => Self::NotLeader,
            Error::ResourceNotFound => Self::NotFound,
            Error::ResourceDeleted => Self::Deleted,
            Error::ConnectionClosed => Self::Dead("the client of the cluster has ended".to_owned()),
            Error::GrpcConnectionError(error) => Self::Dead(error.to_string()),
            Error::InitializationError(text) => Self::Dead(text),
            Error::AccessDenied => Self::Refused(DENIED.to_owned()),
            Error::UnsupportedFeature => Self::Refused("the cluster's version does not do this".to_owned()),
            Error::Grpc { code: Code::InvalidArgument, message } => Self::Refused(message),
            error @ (Error::ServerError(_)
            | Error::Grpc { .. }
            | Error::DeadlineExceeded
            | Error::InternalParsingError(_)
            | Error::ResourceAlreadyExists
            | Error::InternalClientError
            | Error::IllegalStateError(_)) => Self::Broken(error.to_string()),
        }
    }
}

/// What to do when the cluster does not let us.
const DENIED: &str = "the cluster denies access: the user in store.url must be in its group $admins, or be \
                      allowed to read $all and to write streams";

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        match Self::from(Error::from_grpc(status)) {
            // Whatever a reading call could not find, it can look for again.
            Self::NotFound => Self::Broken("the node does not have this yet".to_owned()),
            failure => failure,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_surely_was_not_done_is_said_not_to_be() {
        let of = |code| Failure::from(Error::from_grpc(Status::new(code, "x")));
        for open in
            [Code::Unavailable, Code::Unknown, Code::Internal, Code::DeadlineExceeded, Code::Cancelled]
        {
            assert!(matches!(of(open), Failure::Broken(_)), "{open:?}");
        }
        for refused in [Code::PermissionDenied, Code::Unauthenticated, Code::InvalidArgument] {
            assert!(matches!(of(refused), Failure::Refused(_)), "{refused:?}");
        }
        assert!(matches!(Failure::from(Error::ConnectionClosed), Failure::Dead(_)));
    }
}
