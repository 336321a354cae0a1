//! What broke, as callers hear it: they get a hint, and the log line of the request gets the detail.

use actix_web::http::StatusCode;

use crate::ledger::LedgerError;

/// What broke, without the detail that only the log gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The ledger cannot take or tell anything now; the same request may succeed later.
    Unavailable,
    /// It is not known whether what was asked for has happened.
    OutcomeUnknown,
    /// grantbook or its ledger is broken.
    Broken,
}

impl Fault {
    /// The status.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::Unavailable | Self::OutcomeUnknown => StatusCode::SERVICE_UNAVAILABLE,
            Self::Broken => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// A name that programs can compare.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Unavailable => "temporarily_unavailable",
            Self::OutcomeUnknown => "outcome_unknown",
            Self::Broken => "server_error",
        }
    }

    /// What the caller can do.
    pub const fn hint(self) -> &'static str {
        match self {
            Self::Unavailable => "nothing was changed; try again shortly",
            Self::OutcomeUnknown => "it is not known whether this happened; look before trying again",
            Self::Broken => "grantbook cannot answer; its log says why",
        }
    }
}

impl Fault {
    /// What callers hear of an error.
    pub(super) fn of(error: &LedgerError) -> Self {
        match error {
            LedgerError::Store(_) if !error.may_pass() => Self::Broken,
            LedgerError::Store(_)
            | LedgerError::Contended(_)
            | LedgerError::Stale { .. }
            | LedgerError::TooManyReads => Self::Unavailable,
            LedgerError::OutcomeUnknown(_) | LedgerError::NotVisible(_) => Self::OutcomeUnknown,
            LedgerError::Unreadable(_)
            | LedgerError::Fold(_)
            | LedgerError::Encode(_)
            | LedgerError::Quarantined(_) => Self::Broken,
            LedgerError::Shared(error) => Self::of(error),
        }
    }
}
