//! The two environment variables that name a server elsewhere and its key. Must not know: how such a server is asked.

use super::error::{Mistake, Origin};
use crate::secrets::PlainSecret;

/// Holds the operator key of the command line. A key in an argument could be read by every user of the machine.
pub const KEY_VARIABLE: &str = "GRANTBOOK_KEY";
/// Holds the address of the server the command line talks to, as `--server` does.
pub const SERVER_VARIABLE: &str = "GRANTBOOK_SERVER";

/// What the environment says of a server elsewhere.
#[derive(Debug, Default)]
pub struct Remote {
    /// Its address, as it was written.
    pub server: Option<String>,
    /// The operator key it is asked with.
    pub key: Option<PlainSecret>,
}

impl Remote {
    /// From the environment of this process. A variable that is empty is not set.
    ///
    /// # Errors
    /// If a variable is not UTF-8.
    pub fn from_process() -> Result<Self, Mistake> {
        let key = variable(KEY_VARIABLE)?.map(PlainSecret::presented);
        Ok(Self { server: variable(SERVER_VARIABLE)?, key })
    }
}

fn variable(name: &str) -> Result<Option<String>, Mistake> {
    let Some(value) = std::env::var_os(name).filter(|value| !value.is_empty()) else { return Ok(None) };
    let text = value.into_string();
    text.map(Some).map_err(|_| Mistake::new(Origin::Variable(name.to_owned()), "the value is not UTF-8"))
}
