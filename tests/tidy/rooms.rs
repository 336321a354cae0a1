//! The rooms of `src/` and the borders between them, as `docs/architecture.md` draws them. Must not know: how a border is held.

/// A room of `src/`: which other rooms it may name, and which words of the world outside it may not.
pub struct Room {
    pub name: &'static str,
    pub may_know: &'static [&'static str],
    pub must_not_say: &'static [&'static str],
}

const fn room(
    name: &'static str,
    may_know: &'static [&'static str],
    must_not_say: &'static [&'static str],
) -> Room {
    Room { name, may_know, must_not_say }
}

pub const HTTP: &str = "actix_web";
pub const ROOMS: &[Room] = &[
    room(
        "decisions",
        &[],
        &[
            HTTP,
            "actix_session",
            "async",
            "await",
            "async_trait",
            "tokio",
            "rusqlite",
            "rand",
            "ureq",
            "fs",
            "Instant",
            "SystemTime",
            "jiff",
        ],
    ),
    room(
        "store",
        &["certificates", "clock", "files", "secrets", "tasks"],
        &[HTTP, "grantbook_projections", "codec", "AppEvent", "InstallationEvent", "OperatorKeyEvent"],
    ),
    room(
        "ledger",
        &["clock", "decisions", "files", "secrets", "store", "tasks", "telemetry"],
        &[HTTP, "rusqlite"],
    ),
    room("audit", &["clock", "files", "ledger", "store", "tasks"], &[HTTP]),
    room("replay", &["audit", "clock", "ledger", "store"], &[HTTP]),
    room(
        "identity",
        &["clock", "files", "secrets", "single_use"],
        &["grantbook_projections", "rusqlite", "ClientId", "GrantId", "InstallationId", "TokenId"],
    ),
    room("outbound", &["certificates"], &[HTTP, "rusqlite", "grantbook_projections", "ClientId"]),
    room("single_use", &[], &[HTTP, "rusqlite", "grantbook_projections"]),
    room("certificates", &[], &[HTTP, "rusqlite", "grantbook_events"]),
    room("connections", &[], &["grantbook_events", "grantbook_projections", "rusqlite"]),
    room("pages", &[], &["grantbook_projections", "rusqlite"]),
    room(
        "http",
        &[
            "audit",
            "clock",
            "config",
            "connections",
            "decisions",
            "identity",
            "ledger",
            "outbound",
            "pages",
            "replay",
            "secrets",
            "single_use",
            "tasks",
            "telemetry",
        ],
        &["rusqlite"],
    ),
    room(
        "dev",
        &["files", "identity", "pages", "secrets"],
        &["grantbook_events", "grantbook_projections", "rusqlite"],
    ),
    room(
        "server",
        &[
            "audit",
            "clock",
            "config",
            "connections",
            "decisions",
            "dev",
            "http",
            "identity",
            "ledger",
            "pages",
            "replay",
            "secrets",
            "store",
            "telemetry",
            "unapproved",
        ],
        &["rusqlite"],
    ),
    room("unapproved", &["decisions", "ledger", "secrets", "tasks", "telemetry"], &[HTTP, "rusqlite"]),
    room(
        "cli",
        &[
            "audit",
            "clock",
            "config",
            "connections",
            "decisions",
            "dev",
            "files",
            "ledger",
            "replay",
            "secrets",
            "server",
            "store",
            "telemetry",
        ],
        &["rusqlite"],
    ),
    // The files that alone touch the environment, plain secrets, the time, and the logs.
    room(
        "config",
        &["certificates", "decisions", "identity", "outbound", "secrets", "store", "telemetry"],
        &[HTTP, "rusqlite"],
    ),
    room("files", &[], &[HTTP, "rusqlite", "grantbook_events"]),
    room("secrets", &[], &[HTTP, "rusqlite"]),
    room("clock", &[], &[HTTP, "rusqlite"]),
    // Which threads and tasks run.
    room("tasks", &[], &[HTTP, "rusqlite"]),
    room("telemetry", &["clock"], &["rusqlite"]),
    // The roots of the two crates: they name the rooms, and hand over to the command line.
    room("lib", &[], &["rusqlite"]),
    room("main", &["cli", "config", "server", "telemetry"], &["rusqlite"]),
];
