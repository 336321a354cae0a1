//! Values that a filter may name: a slip in one must not look like an answer of nothing. Knows: the types and
//! reasons that grantbook gives. Must not know: who asks.

use grantbook_events::RevocationReason;
use grantbook_events::codec::STORED_TYPES;

use crate::audit::{Filter, History, Order};
use crate::http::problem::Problem;

/// Refuses a type or a reason that grantbook does not give, unless an event in the ledger has it: operators
/// give reasons in words of their own, and another grantbook may have written types that this one cannot read.
pub(super) async fn must_be(history: &History, filter: &Filter) -> Result<(), Problem> {
    if let Some(name) = &filter.event_type
        && !STORED_TYPES.iter().any(|(known, _)| known == name)
        && !is_in(history, Filter { event_type: Some(name.clone()), ..Filter::default() }).await?
    {
        let mut names: Vec<_> = STORED_TYPES.iter().map(|(name, _)| *name).collect();
        names.dedup();
        let names = names.join(", ");
        return Err(Problem::bad_request(format!("type {name:?} is unknown: it takes one of {names}")));
    }
    if let Some(reason) = &filter.reason
        && !RevocationReason::ALL.iter().any(|known| known.as_str() == reason)
        && !is_in(history, Filter { reason: Some(reason.clone()), ..Filter::default() }).await?
    {
        let known = RevocationReason::ALL.map(RevocationReason::as_str).join(", ");
        let detail = format!(
            "reason {reason:?} is unknown: it takes one of {known}, or the words of an operator that an event has"
        );
        return Err(Problem::bad_request(detail));
    }
    Ok(())
}

async fn is_in(history: &History, filter: Filter) -> Result<bool, Problem> {
    Ok(!history.rows(filter, Order::NewestFirst, 1).await?.is_empty())
}
