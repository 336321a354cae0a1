//! Why a command ends early, and the exit code that follows. Knows: exit codes. Must not know: any
//! particular command.

use std::error::Error;
use std::process::ExitCode;

use crate::config::ConfigError;

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

    /// The error that it came from, if that is of this type.
    pub(super) fn cause<E: Error + 'static>(&self) -> Option<&E> {
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

    pub(super) fn exit_code(&self) -> ExitCode {
        match self {
            Self::OutputClosed => ExitCode::SUCCESS,
            Self::Failed(_) if self.cause::<ConfigError>().is_none() => ExitCode::FAILURE,
            Self::Failed(_) | Self::Usage(_) => USAGE.into(),
        }
    }

    /// What to print on stderr.
    pub(super) fn lines(&self) -> Vec<String> {
        match (self, self.cause::<ConfigError>()) {
            (Self::OutputClosed, _) => Vec::new(),
            (_, Some(wrong)) => wrong.mistakes().iter().map(ToString::to_string).collect(),
            _ => vec![self.why()],
        }
    }
}
