//! The table of every key: its name, its default, its flag, what it takes. Knows: nothing but that. Must
//! not know: where a value comes from, or what it is used for.
//!
//! `docs/configuration.md` repeats this table for readers; a test compares the two.

use super::values::{show_bytes, show_seconds};

const SECOND: u64 = 1;
const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// One key of the configuration.
#[derive(Debug)]
pub(super) struct Setting {
    /// The section and the name, joined by a dot; the name alone at the top level.
    pub key: &'static str,
    /// What stands when no source says anything; `None` if nothing does.
    pub default: Option<&'static str>,
    /// The flag that sets it, if one does.
    pub flag: Option<&'static str>,
    /// What it takes.
    pub takes: Takes,
}

/// What a key takes, with its bounds.
#[derive(Debug, Clone, Copy)]
pub(super) enum Takes {
    /// Seconds at least and at most.
    Duration(u64, u64),
    /// Bytes at least and at most.
    Bytes(u64, u64),
    /// A number at least and at most.
    Count(u64, u64),
    /// One of these words.
    Word(&'static [&'static str]),
    /// Something else, in words, with an example.
    Other(&'static str),
}

impl Setting {
    /// The section it stands in; empty at the top level.
    pub fn section(&self) -> &'static str {
        self.key.split_once('.').map_or("", |(section, _)| section)
    }

    /// Its name within its section.
    pub fn name(&self) -> &'static str {
        self.key.split_once('.').map_or(self.key, |(_, name)| name)
    }

    /// The environment variable that sets it.
    pub fn variable(&self) -> String {
        format!("GRANTBOOK_{}", self.key.replace('.', "_").to_uppercase())
    }
}

impl std::fmt::Display for Takes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            Self::Duration(least, most) => {
                let (least, most) = (show_seconds(least), show_seconds(most));
                write!(f, "a duration from \"{least}\" to \"{most}\"")
            }
            Self::Bytes(least, most) => {
                let (least, most) = (show_bytes(least), show_bytes(most));
                write!(f, "a size from \"{least}\" to \"{most}\"")
            }
            Self::Count(least, most) => write!(f, "a whole number from {least} to {most}"),
            Self::Word(words) => write!(f, "one of {}", words.join(", ")),
            Self::Other(what) => f.write_str(what),
        }
    }
}

const fn setting(key: &'static str, default: Option<&'static str>, takes: Takes) -> Setting {
    Setting { key, default, flag: None, takes }
}

impl Setting {
    const fn flag(self, flag: &'static str) -> Self {
        Self { flag: Some(flag), ..self }
    }
}

use Takes::{Bytes, Count, Duration, Other, Word};

pub(super) const LISTEN: Setting = setting(
    "listen",
    Some("127.0.0.1:8700"),
    Other("an IP address and a port, such as \"127.0.0.1:8700\" or \"[::1]:8700\""),
)
.flag("--listen");
pub(super) const ISSUER: Setting = setting(
    "issuer",
    None,
    Other(
        "an https URL without query, fragment, user name or trailing slash, such as \"https://auth.example.com\" (http on a loopback host only)",
    ),
)
.flag("--issuer");
pub(super) const DATA_DIR: Setting =
    setting("data_dir", Some("./grantbook-data"), Other("a directory, such as \"./grantbook-data\""))
        .flag("--data");

pub(super) const SIGN_IN_MODE: Setting =
    setting("sign_in.mode", Some("none"), Word(&["none", "dev", "handoff"])).flag("--dev");
pub(super) const SIGN_IN_LOGIN_URL: Setting = setting(
    "sign_in.login_url",
    None,
    Other(
        "the https URL of the platform's own sign-in, without fragment or user name, such as \"https://example.com/sign-in\" (http on a loopback host only)",
    ),
);
pub(super) const SIGN_IN_ISSUER: Setting = setting(
    "sign_in.issuer",
    None,
    Other("the iss claim of the platform's assertions, 1 to 255 visible ASCII characters"),
);
pub(super) const SIGN_IN_ALGORITHM: Setting =
    setting("sign_in.algorithm", None, Word(&["HS256", "EdDSA", "ES256", "RS256"]));
pub(super) const SIGN_IN_KEY_FILE: Setting = setting(
    "sign_in.key_file",
    None,
    Other(
        "a file with the platform's public key in PEM (EdDSA, ES256, RS256) or the shared secret (HS256), such as \"./sign-in.pem\"",
    ),
);
pub(super) const SIGN_IN_MAX_AGE: Setting =
    setting("sign_in.max_age", Some("2m"), Duration(10 * SECOND, 10 * MINUTE));

pub(super) const SESSION_LIFETIME: Setting =
    setting("session.lifetime", Some("1h"), Duration(MINUTE, 24 * HOUR));
pub(super) const SESSION_KEY_FILE: Setting =
    setting("session.key_file", None, Other("a file with the key of the session cookie"));

pub(super) const CODES_LIFETIME: Setting =
    setting("codes.lifetime", Some("60s"), Duration(SECOND, 10 * MINUTE));
pub(super) const TOKENS_MAX_LIVE_PER_USER: Setting =
    setting("tokens.max_live_per_user", Some("10"), Count(1, 1000));
pub(super) const SECRETS_ROTATION_OVERLAP: Setting =
    setting("secrets.rotation_overlap", Some("24h"), Duration(0, 30 * DAY));

pub(super) const ACCOUNTS_UNINSTALL_BY: Setting =
    setting("accounts.uninstall_by", Some("member"), Word(&["member", "admin"]));

pub(super) const LEDGER_UNREADABLE: Setting =
    setting("ledger.unreadable", Some("quarantine"), Word(&["quarantine", "refuse"])).flag("--strict");

pub(super) const STORE_URL: Setting = setting(
    "store.url",
    None,
    Other(
        "the connection string of an EventStoreDB or KurrentDB cluster, such as \"esdb://node1:2113,node2:2113,node3:2113\"",
    ),
)
.flag("--store");
pub(super) const STORE_MAX_STALENESS: Setting =
    setting("store.max_staleness", Some("5s"), Duration(2 * SECOND, HOUR));
pub(super) const STORE_BEYOND_STALENESS: Setting =
    setting("store.beyond_staleness", Some("read"), Word(&["read", "refuse"]));

pub(super) const LIMITS_BODY: Setting = setting("limits.body", Some("64KiB"), Bytes(KIB, 16 * MIB));
pub(super) const LIMITS_HEAD: Setting = setting("limits.head", Some("80KiB"), Bytes(KIB, 128 * KIB));
pub(super) const LIMITS_REQUEST_TIMEOUT: Setting =
    setting("limits.request_timeout", Some("30s"), Duration(SECOND, 10 * MINUTE));
pub(super) const LIMITS_CLIENT_HEAD_TIMEOUT: Setting =
    setting("limits.client_head_timeout", Some("5s"), Duration(SECOND, 10 * MINUTE));
pub(super) const LIMITS_KEEP_ALIVE: Setting =
    setting("limits.keep_alive", Some("75s"), Duration(SECOND, HOUR));
pub(super) const LIMITS_SHUTDOWN_TIMEOUT: Setting =
    setting("limits.shutdown_timeout", Some("30s"), Duration(SECOND, 10 * MINUTE));
pub(super) const LIMITS_MAX_CONNECTIONS: Setting =
    setting("limits.max_connections", Some("768"), Count(1, 1_000_000));

pub(super) const LOG_FORMAT: Setting =
    setting("log.format", Some("text"), Word(&["text", "json"])).flag("--log-format");
pub(super) const LOG_FILTER: Setting = setting(
    "log.filter",
    Some("info,actix_server=warn"),
    Other(
        "a level or directives as of tracing's EnvFilter, such as \"info\" or \"info,grantbook::http=debug\"",
    ),
);

/// Every key, in the order they are shown in: the top level first, then section by section.
pub(super) const ALL: [&Setting; 28] = [
    &LISTEN,
    &ISSUER,
    &DATA_DIR,
    &SIGN_IN_MODE,
    &SIGN_IN_LOGIN_URL,
    &SIGN_IN_ISSUER,
    &SIGN_IN_ALGORITHM,
    &SIGN_IN_KEY_FILE,
    &SIGN_IN_MAX_AGE,
    &SESSION_LIFETIME,
    &SESSION_KEY_FILE,
    &CODES_LIFETIME,
    &TOKENS_MAX_LIVE_PER_USER,
    &SECRETS_ROTATION_OVERLAP,
    &ACCOUNTS_UNINSTALL_BY,
    &LEDGER_UNREADABLE,
    &STORE_URL,
    &STORE_MAX_STALENESS,
    &STORE_BEYOND_STALENESS,
    &LIMITS_BODY,
    &LIMITS_HEAD,
    &LIMITS_REQUEST_TIMEOUT,
    &LIMITS_CLIENT_HEAD_TIMEOUT,
    &LIMITS_KEEP_ALIVE,
    &LIMITS_SHUTDOWN_TIMEOUT,
    &LIMITS_MAX_CONNECTIONS,
    &LOG_FORMAT,
    &LOG_FILTER,
];

/// The known key or variable that is most like what was written.
pub(super) fn nearest<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known.into_iter().min_by_key(|candidate| distance(written, candidate))
}

/// The number of characters to insert, delete or replace to get from one text to the other (Levenshtein).
pub(super) fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    // A key or variable is short; what is far longer is unlike all of them.
    for (i, a) in from.chars().take(128).enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, b) in row.iter_mut().skip(1).zip(&to) {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = *cell;
            left = replaced.min(*cell + 1).min(left + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_edits() {
        for (from, to, edits) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("listen", "listen", 0),
            ("listn", "listen", 1),
            ("kitten", "sitting", 3),
            ("saturday", "sunday", 3),
        ] {
            assert_eq!(distance(from, to), edits, "{from} {to}");
            assert_eq!(distance(to, from), edits, "{to} {from}");
        }
        assert_eq!(nearest("lifetme", ["key_file", "lifetime"]), Some("lifetime"));
    }

    #[test]
    fn no_two_keys_share_a_name_or_a_variable() {
        for (i, one) in ALL.iter().enumerate() {
            for other in &ALL[i + 1..] {
                assert_ne!(one.key, other.key);
                assert_ne!(one.variable(), other.variable());
            }
        }
        assert_eq!(SIGN_IN_LOGIN_URL.variable(), "GRANTBOOK_SIGN_IN_LOGIN_URL");
    }
}
