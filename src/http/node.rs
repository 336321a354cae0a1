//! One node of several: what it does before it answers while it may be behind the others. Knows: which requests
//! cannot be answered by what is folded here. Must not know: how the ledger catches up.

use actix_web::HttpRequest;

use super::fault::Fault;
use super::operator;
use super::problem::Problem;
use super::service::Service;
use crate::ledger::LedgerError;
use crate::secrets;

/// The header of an introspection reply that says how old it may be, in seconds.
pub const STALENESS_HEADER: &str = "grantbook-staleness";
/// The paths that answer before the ledger is folded.
pub(super) const PROBES: &[&str] = &["/healthz", "/readyz", "/metrics"];
/// It looks after itself: what is valid here, and must not be old, is looked up token by token.
const INTROSPECTION: &str = "/oauth/introspect";

/// Catches up with the ledger if this request needs it, or says why it is not answered.
pub(super) async fn catch_up(service: &Service, request: &HttpRequest) -> Option<Problem> {
    let ledger = &service.ledger;
    if !ledger.is_shared() || PROBES.contains(&request.path()) {
        return None;
    }
    let is_stale = match ledger.must_look() {
        _ if request.path() == INTROSPECTION => false,
        Ok(must_look) => must_look,
        Err(error) => return Some(refused(&error)),
    };
    if !is_stale && !is_of_an_operator(service, request) {
        return None;
    }
    match ledger.become_current().await {
        Ok(()) => None,
        // What is here is no older than it may be.
        Err(_) if !is_stale => None,
        Err(error) => Some(refused(&error)),
    }
}

/// Whether an operator asks, who may have done something elsewhere a moment ago. For introspection the key alone
/// matters, if it is not known here yet.
fn is_of_an_operator(service: &Service, request: &HttpRequest) -> bool {
    operator::bearer(request).is_some_and(|key| {
        secrets::is_operator_key(key)
            && (request.path() != INTROSPECTION || !operator::is_known(service, key))
    })
}

fn refused(error: &LedgerError) -> Problem {
    let fault = Fault::of(error);
    Problem::new(fault.status(), fault.code(), fault.hint()).because(error)
}
