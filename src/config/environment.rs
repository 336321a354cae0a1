//! What the environment says beside the configuration: the server that the command line talks to, who uses it, and how wide
//! the terminal is. Must not know: what these are used for.

use std::env::var_os;

use super::error::{Mistake, Origin};
use crate::secrets::PlainSecret;

/// Holds the operator key of the command line. A key in an argument could be read by every user of the machine.
pub const KEY_VARIABLE: &str = "GRANTBOOK_KEY";
/// Holds the address of the server the command line talks to, as `--server` does.
pub const SERVER_VARIABLE: &str = "GRANTBOOK_SERVER";

/// A server elsewhere.
#[derive(Debug, Default)]
pub struct Remote {
    /// Its address, as it was written.
    pub server: Option<String>,
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
    let Some(value) = var_os(name).filter(|value| !value.is_empty()) else { return Ok(None) };
    let text = value.into_string();
    text.map(Some).map_err(|_| Mistake::new(Origin::Variable(name.to_owned()), "the value is not UTF-8"))
}

/// Who uses the command line: the user of the operating system, or the one who called sudo; none if the system has no name
/// for them. It is no proof: everyone who may read the data directory can claim any name.
pub fn person() -> Option<String> {
    let caller = var_os("SUDO_USER").and_then(|name| name.into_string().ok());
    caller.filter(|name| !name.is_empty()).or_else(|| whoami::username().ok())
}

/// How wide the output may be, in characters, as shells and tests set it.
pub fn terminal_columns() -> Option<u16> {
    let columns = var_os("COLUMNS")?.to_str()?.parse().ok()?;
    (columns > 0).then_some(columns)
}
