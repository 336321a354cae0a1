//! Who uses the command line: the user of the operating system, or the one who called sudo. Must not know: what they do.
//!
//! It is no proof: everyone who may read the data directory can claim any name.

/// What sudo sets to the name of the user who called it.
const SUDO_USER: &str = "SUDO_USER";

/// The name of the user of this process, or of the one who called sudo; none if the system has no name for them.
pub fn person() -> Option<String> {
    let caller = std::env::var_os(SUDO_USER).and_then(|name| name.into_string().ok());
    caller.filter(|name| !name.is_empty()).or_else(|| whoami::username().ok())
}
