//! `grantbook audit`: questions about history. Knows: what the audit API answers. Must not know: how.

pub(super) mod shown;

use clap::{Args, Subcommand, ValueEnum};
use grantbook_events::{AccountId, ClientId, InstallationId, TokenId, UserId};
use serde::Serialize;
use serde_json::json;

use super::api::Request;
use super::connect::ServerFlags;
use super::failure::Failure;
use super::pasted;
use super::table::Wide;
use super::times;
use shown::{changes, installations, lines, timeline, token};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Tell in plain sentences what happened to one installation, or to one token.
    Explain {
        /// The id of an installation or of a token; never a token itself
        #[arg(value_name = "INSTALLATION|TOKEN", required_unless_present = "stdin")]
        id: Option<String>,
        /// Read a token itself from standard input, which no other user of the machine can read
        #[arg(long, conflicts_with = "id")]
        stdin: bool,
    },
    /// List events: the newest 50 for people, or everything for programs.
    #[command(after_help = times::HELP)]
    Events(Box<Events>),
    /// Say what was installed on an account, with which scopes and tokens, since when.
    #[command(after_help = times::HELP)]
    Installations {
        /// The account
        #[arg(long)]
        account: AccountId,
        /// As of this position or time; now without
        #[arg(long, value_name = "WHEN", value_parser = times::when)]
        as_of: Option<String>,
    },
    /// Say whether a token was valid, and why or why not.
    #[command(after_help = times::HELP)]
    Token {
        /// The token's id; never the token itself
        #[arg(required_unless_present = "stdin")]
        token_id: Option<TokenId>,
        /// Read the token itself from standard input, which no other user of the machine can read
        #[arg(long, conflicts_with = "token_id")]
        stdin: bool,
        /// As of this position or time; now without
        #[arg(long, value_name = "WHEN", value_parser = times::when)]
        as_of: Option<String>,
    },
    /// Say what changed on an account from one time to another.
    #[command(after_help = times::HELP)]
    Diff {
        /// The account
        #[arg(long)]
        account: AccountId,
        /// From this position or time
        #[arg(long, value_name = "WHEN", value_parser = times::when)]
        from: String,
        /// To this position or time; now without
        #[arg(long, value_name = "WHEN", value_parser = times::when)]
        to: Option<String>,
    },
}

#[derive(Debug, Args, Serialize)]
pub(super) struct Events {
    /// On this account
    #[arg(long)]
    account: Option<AccountId>,
    /// About this app, by its client id
    #[arg(long)]
    app: Option<ClientId>,
    /// About a grant or token of this user
    #[arg(long)]
    user: Option<UserId>,
    /// Of this installation
    #[arg(long)]
    installation: Option<InstallationId>,
    /// That issued or ended this token
    #[arg(long)]
    token: Option<TokenId>,
    /// Done by this user id, client id or operator key id
    #[arg(long)]
    actor: Option<String>,
    /// Of this type, such as token-revoked
    #[arg(long = "type", value_name = "TYPE")]
    #[serde(rename = "type")]
    event_type: Option<String>,
    /// For this reason, word for word, such as superseded
    #[arg(long)]
    reason: Option<String>,
    /// Recorded at this time or later
    #[arg(long, value_name = "WHEN", value_parser = times::time)]
    since: Option<String>,
    /// Recorded at this time or earlier
    #[arg(long, value_name = "WHEN", value_parser = times::time)]
    until: Option<String>,
    /// After this position
    #[arg(long, value_name = "POSITION")]
    after: Option<u64>,
    /// Before this position
    #[arg(long, value_name = "POSITION")]
    before: Option<u64>,
    /// Oldest first instead of newest first
    #[arg(long)]
    #[serde(skip)]
    oldest_first: bool,
    /// Lines for people, or everything as NDJSON or CSV
    #[arg(long, value_enum, default_value_t = Format::Text, conflicts_with = "json")]
    #[serde(skip)]
    format: Format,
    /// How many: 1 to 200; without it, 50 as text or with --json, and everything as NDJSON or CSV
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=200))]
    limit: Option<u32>,
    /// Go on after a page: its next_cursor, with everything else as it was there
    #[arg(long)]
    cursor: Option<String>,
    #[command(flatten)]
    #[serde(skip)]
    wide: Wide,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Ndjson,
    Csv,
}

impl Command {
    pub(super) fn run(self, server: &ServerFlags) -> Result<(), Failure> {
        match self {
            Command::Explain { id, stdin: _ } => {
                let request = match id {
                    Some(id) => Request::get(explained(&id)?),
                    None => Request::post("/audit/token/timeline", json!({ "token": pasted::token()? })),
                };
                server.ask(&request, timeline)
            }
            Command::Events(events) => events.run(server),
            Command::Installations { account, as_of } => {
                let request = Request::get("/audit/installations").query("account", Some(account));
                server.ask(&request.query("as_of", as_of), installations)
            }
            Command::Token { token_id, stdin: _, as_of } => {
                let request = match token_id {
                    Some(id) => Request::get(format!("/audit/token/{id}")).query("as_of", as_of),
                    None => {
                        let asked = json!({ "token": pasted::token()?, "as_of": as_of });
                        Request::post("/audit/token", asked)
                    }
                };
                server.ask(&request, token)
            }
            Command::Diff { account, from, to } => {
                let request = Request::get("/audit/diff").query("account", Some(account));
                server.ask(&request.query("from", Some(from)).query("to", to), changes)
            }
        }
    }
}

impl Events {
    fn run(&self, server: &ServerFlags) -> Result<(), Failure> {
        let order = self.oldest_first.then_some("oldest");
        let request = Request::get("/audit/events").fields(self)?.query("order", order);
        // A table has a head.
        let (format, head) = match self.format {
            Format::Text => return server.ask(&request, |page| lines(page, &self.wide)),
            Format::Ndjson => ("ndjson", 0),
            Format::Csv => ("csv", 1),
        };
        server.pass_on(&request.query("format", Some(format)), head)
    }
}

/// Tokens and installations have ids of different versions, so an id says what it is of.
fn explained(id: &str) -> Result<String, Failure> {
    let wrong = || {
        let right = "it takes the id of an installation or of a token, as the other commands show them";
        Failure::Usage(format!("{id:?} is not an id: {right}"))
    };
    let uuid: uuid::Uuid = id.parse().map_err(|_| wrong())?;
    match uuid.get_version_num() {
        5 => Ok(format!("/audit/installations/{uuid}/timeline")),
        7 => Ok(format!("/audit/token/{uuid}/timeline")),
        _ => Err(wrong()),
    }
}
