//! Why a command ends early, and the exit code that follows. Knows: exit codes. Must not know: any
//! particular command.

use std::process::ExitCode;

use super::output;
use crate::config::{ConfigError, Mistake};
use crate::ledger::UnreadableError;
use crate::server::StartError;
use crate::store::StoreError;

/// What the exit codes mean, for the help.
pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed: the ledger or the server refused, could not be reached, or broke
  2  the command line or the configuration is wrong; nothing was done";

/// Why a command ends early.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The command line is wrong.
    #[error("{0}")]
    Usage(String),
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// It was refused, or something broke.
    #[error("{0}")]
    Failed(String),
    /// Another process has the ledger.
    #[error("{0}")]
    InUse(String),
    /// Nothing can be written where the ledger is.
    #[error("{0}")]
    CannotWrite(String),
    /// The reader of the output went away. That is no failure: it has enough.
    #[error("the output was closed")]
    OutputClosed,
}

impl Failure {
    /// A failure with the text of an error.
    pub(super) fn of(error: impl std::fmt::Display) -> Self {
        Self::Failed(error.to_string())
    }

    /// Prints why, and returns the exit code.
    pub(super) fn report(&self) -> ExitCode {
        let code = match self {
            Self::OutputClosed => return ExitCode::SUCCESS,
            Self::Failed(_) | Self::InUse(_) | Self::CannotWrite(_) => 1,
            Self::Usage(_) | Self::Config(_) => 2,
        };
        match self {
            Self::Config(error) => {
                error.mistakes().iter().for_each(|mistake| output::complain(&mistake.to_string()));
            }
            other => output::complain(&other.to_string()),
        }
        ExitCode::from(code)
    }
}

impl From<Mistake> for Failure {
    fn from(mistake: Mistake) -> Self {
        Self::Config(mistake.into())
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::InUse(why) => Self::InUse(why),
            StoreError::CannotWrite(_) => Self::CannotWrite(error.to_string()),
            error => Self::of(error),
        }
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Store(error) => error.into(),
            error => Self::of(error),
        }
    }
}

impl From<UnreadableError> for Failure {
    fn from(error: UnreadableError) -> Self {
        Self::of(error)
    }
}
