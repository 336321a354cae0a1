//! What the client crate's errors and gRPC's statuses mean to us, and when a call is made again. Knows: which say that
//! nothing was done, and which leave it open. Must not know: what was tried.

use std::error::Error as _;
use std::time::Duration;

use eventstore::{CurrentRevision, Endpoint, Error};
use grantbook_events::{Position, Revision};
use tonic::{Code, Status};

use crate::store::StoreError;

/// How often a call is made that surely did nothing, or may be done twice.
pub(super) const MAX_TRIES: u32 = 4;
/// The pause before a second try, and before a broken connection is made again. It grows from there.
pub(super) const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause before a broken connection is made again.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What to do when the cluster does not let us.
pub(super) const DENIED: &str = "the cluster denies access: the user in store.url must be in its group $admins, or be \
                      allowed to read $all and to write streams";

/// Why a call did not do what it was to do.
#[derive(Debug, Clone)]
pub(super) enum Failure {
    /// The stream ends at another revision; `None`: it does not exist.
    Conflict(Option<Revision>),
    /// The node did nothing, because this one is the leader.
    NotLeader(Endpoint),
    /// No node was reached, or the node did not look at it. Nothing was done.
    NotDone(String),
    /// The connection or the node broke off, perhaps after doing it.
    Broken(String),
    /// The node does not do it, however often it is asked.
    Refused(String),
    /// The stream was deleted.
    Deleted,
    /// The cluster did what it was asked, and it cannot be used here.
    Unusable(StoreError),
}

impl Failure {
    pub(super) fn broken(why: &str) -> Self {
        Self::Broken(why.to_owned())
    }

    /// Whether the same call may succeed later, or at another node.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            Self::NotLeader(_) | Self::NotDone(_) | Self::Broken(_) => true,
            Self::Conflict(_) | Self::Refused(_) | Self::Deleted | Self::Unusable(_) => false,
        }
    }

    /// As an error of a store that could not be asked.
    pub(super) fn into_error(self) -> StoreError {
        let unavailable = |text: &str| StoreError::Unavailable(text.to_owned());
        match self {
            Self::Unusable(error) => error,
            Self::Refused(text) | Self::NotDone(text) | Self::Broken(text) => StoreError::Unavailable(text),
            Self::NotLeader(_) => unavailable("the cluster is choosing a leader"),
            Self::Deleted => StoreError::Damaged {
                position: Position::START,
                detail: "the stream was deleted from the cluster for good".to_owned(),
            },
            Self::Conflict(_) => unavailable("a stream ends at another revision"),
        }
    }
}

/// Makes a call, and makes it again while it fails in such a way, a few times at most.
pub(super) async fn retry<T, F>(again: impl Fn(&Failure) -> bool, call: impl Fn() -> F) -> Result<T, Failure>
where
    F: Future<Output = Result<T, Failure>>,
{
    let mut tries = 1;
    loop {
        match call().await {
            Err(failure) if tries < MAX_TRIES && again(&failure) => {
                tokio::time::sleep(FIRST_PAUSE * tries).await;
                tries += 1;
            }
            outcome => return outcome,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::WrongExpectedVersion { current, .. } => Self::Conflict(match current {
                CurrentRevision::Current(revision) => Some(Revision::new(revision)),
                CurrentRevision::NoStream => None,
            }),
            Error::NotLeaderException(leader) => Self::NotLeader(leader),
            Error::ResourceDeleted => Self::Deleted,
            Error::ConnectionClosed => Self::NotDone("the client of the cluster has ended".to_owned()),
            Error::GrpcConnectionError(error) => Self::NotDone(error.to_string()),
            Error::InitializationError(text) => Self::NotDone(text),
            Error::AccessDenied => Self::Refused(DENIED.to_owned()),
            Error::UnsupportedFeature => Self::Refused("the cluster's version does not do this".to_owned()),
            Error::Grpc { code: Code::InvalidArgument, message } => Self::Refused(message),
            error @ (Error::ServerError(_)
            | Error::Grpc { .. }
            | Error::DeadlineExceeded
            | Error::InternalParsingError(_)
            | Error::ResourceAlreadyExists
            | Error::ResourceNotFound
            | Error::InternalClientError
            | Error::IllegalStateError(_)) => Self::Broken(error.to_string()),
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Unusable(error)
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        if never_sent(&status) {
            return Self::NotDone(status.to_string());
        }
        Error::from_grpc(status).into()
    }
}

/// Whether no connection could be made.
fn never_sent(status: &Status) -> bool {
    let mut source = status.source();
    while let Some(error) = source {
        if error.downcast_ref::<hyper_util::client::legacy::Error>().is_some_and(|error| error.is_connect()) {
            return true;
        }
        source = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_surely_was_not_done_is_said_not_to_be() {
        let of = |code| Failure::from(Status::new(code, "x"));
        for open in
            [Code::Unavailable, Code::Unknown, Code::Internal, Code::DeadlineExceeded, Code::Cancelled]
        {
            assert!(matches!(of(open), Failure::Broken(_)), "{open:?}");
        }
        for refused in [Code::PermissionDenied, Code::Unauthenticated, Code::InvalidArgument] {
            assert!(matches!(of(refused), Failure::Refused(_)), "{refused:?}");
        }
        assert!(matches!(Failure::from(Error::ConnectionClosed), Failure::NotDone(_)));
    }
}
