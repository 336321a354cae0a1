//! Why a command ends early, and the exit code that follows. Knows: exit codes. Must not know: any
//! particular command.

use std::error::Error;
use std::process::ExitCode;

use super::output;
use crate::config::ConfigError;
use crate::store::StoreError;

/// What the exit codes mean, for the help.
pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed: the ledger or the server refused, could not be reached, or broke
  2  the command line or the configuration is wrong; nothing was done";

const USAGE: u8 = 2;

/// Why a command ends early.
#[derive(Debug)]
pub(super) enum Failure {
    /// The command line is wrong.
    Usage(String),
    /// The configuration is wrong, it was refused, or something broke.
    Failed(Box<dyn Error + Send + Sync>),
    /// The reader of the output went away. That is no failure: it has enough.
    OutputClosed,
}

impl<E: Error + Send + Sync + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl Failure {
    pub(super) fn new(why: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Failed(why.into())
    }

    /// What the store says, if it is the store that failed.
    pub(super) fn of_store(&self) -> Option<&StoreError> {
        match self {
            Self::Failed(error) => error.downcast_ref(),
            Self::Usage(_) | Self::OutputClosed => None,
        }
    }

    pub(super) fn why(&self) -> String {
        match self {
            Self::Usage(why) => why.clone(),
            Self::Failed(error) => error.to_string(),
            Self::OutputClosed => "the output was closed".to_owned(),
        }
    }

    /// Prints why, and returns the exit code.
    pub(super) fn report(&self) -> ExitCode {
        let error = match self {
            Self::OutputClosed => return ExitCode::SUCCESS,
            Self::Usage(_) => None,
            Self::Failed(error) => Some(error),
        };
        if let Some(wrong) = error.and_then(|error| error.downcast_ref::<ConfigError>()) {
            wrong.mistakes().iter().for_each(|mistake| output::complain(&mistake.to_string()));
            return USAGE.into();
        }
        output::complain(&self.why());
        if error.is_some() { ExitCode::FAILURE } else { USAGE.into() }
    }
}
