//! The table of every setting: its name, its default, its flag, what it takes. Knows: nothing but that. Must
//! not know: where a value comes from, or what it is used for.
//!
//! `docs/configuration.md` repeats this table for readers; a test compares the two.

use super::takes::Takes::{self, Bytes, Count, Duration, Other, Word};
use super::takes::{address, documents, issuer_claim, log_filter, path, resources};
use super::urls::{Issuer, web_url};
use crate::decisions::self_registration::RedirectHosts;
use crate::outbound::Allowed;

const SECOND: u64 = 1;
const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// One setting of the configuration.
#[derive(Debug)]
pub(super) struct Setting {
    /// The section and the name, joined by a dot; the name alone at the top level.
    pub key: &'static str,
    pub default: Option<&'static str>,
    pub flag: Option<&'static str>,
    pub takes: Takes,
}

impl Setting {
    /// Empty at the top level.
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

    const fn default(self, default: &'static str) -> Self {
        Self { default: Some(default), ..self }
    }

    const fn flag(self, flag: &'static str) -> Self {
        Self { flag: Some(flag), ..self }
    }
}

const fn setting(key: &'static str, takes: Takes) -> Setting {
    Setting { key, default: None, flag: None, takes }
}

// Those that rules between settings name.
pub(super) const LISTEN: Setting = setting(
    "listen",
    Other("an IP address and a port, such as \"127.0.0.1:8700\" or \"[::1]:8700\"", address),
)
.default("127.0.0.1:8700")
.flag("--listen");
pub(super) const ISSUER: Setting =
    setting("issuer", Other(ISSUER_URL, |text| Issuer::parse(text).map(drop))).flag("--issuer");
pub(super) const SIGN_IN_MODE: Setting =
    setting("sign_in.mode", Word(&["none", "dev", "handoff"])).default("none").flag("--dev");
pub(super) const SIGN_IN_LOGIN_URL: Setting =
    setting("sign_in.login_url", Other(LOGIN_URL, |text| web_url(text).map(drop)));
pub(super) const SIGN_IN_ISSUER: Setting = setting(
    "sign_in.issuer",
    Other("the iss claim of the platform's assertions, 1 to 255 visible ASCII characters", issuer_claim),
);
pub(super) const SIGN_IN_ALGORITHM: Setting =
    setting("sign_in.algorithm", Word(&["HS256", "EdDSA", "ES256", "RS256"]));
pub(super) const SIGN_IN_KEY_FILE: Setting = setting(
    "sign_in.key_file",
    Other(
        "a file with the platform's public key in PEM (EdDSA, ES256, RS256) or the shared secret (HS256), such as \"./sign-in.pem\"",
        path,
    ),
);
pub(super) const SIGN_IN_MAX_AGE: Setting =
    setting("sign_in.max_age", Duration(10 * SECOND, 10 * MINUTE)).default("2m");
pub(super) const SECRETS_ROTATION_OVERLAP: Setting =
    setting("secrets.rotation_overlap", Duration(0, 30 * DAY)).default("24h");
pub(super) const TOKENS_REFRESH_IDLE: Setting =
    setting("tokens.refresh_idle", Duration(SECOND, 3650 * DAY)).default("90d");
/// Its text is checked where nothing quotes it: it may hold a password.
pub(super) const STORE_URL: Setting = setting("store.url", Other(CLUSTER_URL, |_| Ok(()))).flag("--store");

pub(super) const REGISTRATION_MODE: Setting = setting("registration.mode", Word(&["off", "token", "open"]));
pub(super) const REGISTRATION_DOCUMENTS: Setting =
    setting("registration.documents", Other(DOCUMENTS, documents));
pub(super) const REGISTRATION_SCOPES: Setting =
    setting("registration.scopes", Other("names of scopes, separated by commas", |_| Ok(())));
pub(super) const REGISTRATION_REDIRECT_HOSTS: Setting = setting(
    "registration.redirect_hosts",
    Other(REDIRECT_HOSTS, |text| RedirectHosts::parse(text).map(drop)),
)
.default("any");
pub(super) const REGISTRATION_CLIENTS: Setting =
    setting("registration.clients", Word(&["public", "any"])).default("public");
pub(super) const REGISTRATION_LIFETIME_UNAPPROVED: Setting =
    setting("registration.lifetime_unapproved", Duration(HOUR, 3650 * DAY)).default("30d");
pub(super) const REGISTRATION_PER_MINUTE: Setting =
    setting("registration.per_minute", Count(1, 10_000)).default("30");

pub(super) const OUTBOUND_ALLOW: Setting =
    setting("outbound.allow", Other(HOSTS, |text| Allowed::parse(text).map(drop)));
pub(super) const OUTBOUND_CA_FILE: Setting =
    setting("outbound.ca_file", Other("a file with certificates in PEM, such as \"./authority.pem\"", path));

const HOSTS: &str =
    "host names, addresses and networks, separated by commas, such as \"idp.internal,10.1.0.0/16\"";
const DOCUMENTS: &str = "off, any, or host names separated by commas, such as \"agent.example\"; those after ! are excluded, with all names below them";
const REDIRECT_HOSTS: &str = "any, or host names separated by commas, such as \"app.example,agent.example\"; those after ! are excluded, with all names below them, as in \"any,!evil.example\"";
const ISSUER_URL: &str = "an https URL without query, fragment, user name or trailing slash, such as \"https://auth.example.com\" (http on a loopback host only)";
const LOGIN_URL: &str = "the https URL of the platform's own sign-in, without fragment or user name, such as \"https://example.com/sign-in\" (http on a loopback host only)";
const CLUSTER_URL: &str = "the connection string of an EventStoreDB or KurrentDB cluster, such as \"esdb://node1:2113,node2:2113,node3:2113\"";
const RESOURCES: &str = "the URIs of APIs, with spaces between them, such as \"https://api.example.com/mcp https://api.example.com/v1\"";
const LOG_FILTER: &str =
    "a level or directives as of tracing's EnvFilter, such as \"info\" or \"info,grantbook::http=debug\"";

/// Every setting, in the order they are shown in: the top level first, then section by section.
pub(super) static ALL: [Setting; 43] = [
    LISTEN,
    ISSUER,
    setting("data_dir", Other("a directory, such as \"./grantbook-data\"", path))
        .default("./grantbook-data")
        .flag("--data"),
    SIGN_IN_MODE,
    SIGN_IN_LOGIN_URL,
    SIGN_IN_ISSUER,
    SIGN_IN_ALGORITHM,
    SIGN_IN_KEY_FILE,
    SIGN_IN_MAX_AGE,
    setting("session.lifetime", Duration(MINUTE, 24 * HOUR)).default("1h"),
    setting("session.key_file", Other("a file with the key of the session cookie", path)),
    setting("codes.lifetime", Duration(SECOND, 10 * MINUTE)).default("60s"),
    setting("tokens.max_live_per_user", Count(1, 1000)).default("10"),
    setting("tokens.access_lifetime", Duration(SECOND, 365 * DAY)).default("1h"),
    TOKENS_REFRESH_IDLE,
    setting("tokens.refresh_lifetime", Duration(SECOND, 3650 * DAY)),
    setting("tokens.refresh_grace", Duration(0, 5 * MINUTE)).default("10s"),
    setting("tokens.resources", Other(RESOURCES, resources)),
    SECRETS_ROTATION_OVERLAP,
    setting("accounts.uninstall_by", Word(&["member", "admin"])).default("member"),
    setting("ledger.unreadable", Word(&["quarantine", "refuse"])).default("quarantine").flag("--strict"),
    STORE_URL,
    setting("store.max_staleness", Duration(2 * SECOND, HOUR)).default("5s"),
    setting("store.beyond_staleness", Word(&["read", "refuse"])).default("read"),
    setting("store.answer_within", Duration(SECOND, MINUTE)).default("5s"),
    REGISTRATION_MODE,
    REGISTRATION_DOCUMENTS,
    REGISTRATION_SCOPES,
    REGISTRATION_REDIRECT_HOSTS,
    REGISTRATION_CLIENTS,
    REGISTRATION_LIFETIME_UNAPPROVED,
    REGISTRATION_PER_MINUTE,
    OUTBOUND_ALLOW,
    OUTBOUND_CA_FILE,
    setting("limits.body", Bytes(KIB, 16 * MIB)).default("64KiB"),
    setting("limits.head", Bytes(KIB, 128 * KIB)).default("80KiB"),
    setting("limits.request_timeout", Duration(SECOND, 10 * MINUTE)).default("30s"),
    setting("limits.client_head_timeout", Duration(SECOND, 10 * MINUTE)).default("5s"),
    setting("limits.keep_alive", Duration(SECOND, HOUR)).default("75s"),
    setting("limits.shutdown_timeout", Duration(SECOND, 10 * MINUTE)).default("30s"),
    setting("limits.max_connections", Count(1, 1_000_000)).default("768"),
    setting("log.format", Word(&["text", "json"])).default("text").flag("--log-format"),
    setting("log.filter", Other(LOG_FILTER, log_filter)).default("info,actix_server=warn"),
];

/// The known key or variable that is most like what was written, and the number of edits between the two.
pub(super) fn nearest<'a>(
    written: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<(&'a str, usize)> {
    known.into_iter().map(|one| (one, strsim::levenshtein(written, one))).min_by_key(|(_, edits)| *edits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_needs_the_fewest_edits() {
        assert_eq!(nearest("lifetme", ["key_file", "lifetime"]), Some(("lifetime", 1)));
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
