//! What the client crate's errors and gRPC's statuses mean to us, and when a call is made again. Knows: which say that
//! nothing was done, and which leave it open. Must not know: what was tried.

use std::time::Duration;

use eventstore::{CurrentRevision, Endpoint, Error};
use grantbook_events::{Position, Revision};
use tonic::{Code, Status};

use super::unreachable::Unreachable;
use crate::store::StoreError;

/// How often a call is made that surely did nothing, or may be done twice.
pub(super) const MAX_TRIES: u32 = 4;
/// The pause before a second try, and before a broken connection is made again. It grows from there.
pub(super) const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause before a broken connection is made again.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What to do when the cluster does not let us.
pub(super) const DENIED: &str = "the cluster denies access: store.url must name a user that is in its group $admins, or that \
                                 its access lists allow to read $all and to write streams";
/// What to do when the cluster does not know who we are.
const WRONG_LOGIN: &str = "the cluster does not know the user, or the password is another: correct or add user:password@ in store.url";

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

/// Why none of some nodes could be asked who is in the cluster. Those of which the same is true are named together.
pub(super) fn all_failed(failures: Vec<(String, Failure)>) -> Failure {
    let is_refused = failures.iter().all(|(_, failure)| matches!(failure, Failure::Refused(_)));
    let mut found: Vec<(String, Vec<String>)> = Vec::new();
    for (node, failure) in failures {
        let text = match failure {
            Failure::Refused(text) | Failure::NotDone(text) | Failure::Broken(text) => text,
            failure => failure.into_error().to_string(),
        };
        let why = text.strip_prefix(&format!("{node}: ")).unwrap_or(&text);
        match found.iter_mut().find(|(known, _)| known == why) {
            Some((_, nodes)) => nodes.push(node),
            None => found.push((why.to_owned(), vec![node])),
        }
    }
    let say = |(why, mut nodes): (String, Vec<String>)| {
        nodes.sort();
        format!("{}: {why}", nodes.join(", "))
    };
    // Whichever node was asked first, it is the same text.
    let mut said: Vec<_> = found.into_iter().map(say).collect();
    said.sort();
    let text = said.join("; ");
    if is_refused { Failure::Refused(text) } else { Failure::NotDone(text) }
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
            | Error::IllegalStateError(_)) => Self::Broken(without_metadata(&error.to_string())),
        }
    }
}

/// What the crate says of a status, without all that came with the status.
fn without_metadata(text: &str) -> String {
    let message = text.split_once("message: \"").and_then(|(_, rest)| rest.split_once("\", details: "));
    message.map_or(text, |(message, _)| message).to_owned()
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Unusable(error)
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        if let Some(Unreachable { is_sent, text }) = Unreachable::of(&status) {
            return if *is_sent { Self::Broken(text.clone()) } else { Self::NotDone(text.clone()) };
        }
        let (code, message) = (status.code(), status.message().to_owned());
        match Error::from_grpc(status) {
            Error::AccessDenied if code == Code::Unauthenticated => Self::Refused(WRONG_LOGIN.to_owned()),
            Error::ServerError(_) if message.is_empty() => Self::Broken(code.to_string()),
            Error::ServerError(_) => Self::Broken(message),
            error => error.into(),
        }
    }
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

    #[test]
    fn what_a_status_says_is_said_without_what_came_with_it() {
        let said = |failure: Failure| failure.into_error().to_string();
        let status = || Status::unknown("the disk is full");
        let crate_s = said(Error::ServerError(status().to_string()).into());
        assert_eq!(crate_s, said(status().into()));
        assert_eq!(crate_s, "the ledger cannot be reached: the disk is full");
        assert!(said(Status::permission_denied("Access Denied").into()).contains("group $admins"));
        assert!(said(Status::unauthenticated("").into()).contains("user:password@ in store.url"));
        assert!(!said(Status::unknown("").into()).ends_with(": "));
    }
}
