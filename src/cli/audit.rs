//! `grantbook audit`: questions about history. Knows: what the audit API answers. Must not know: how.

mod shown;

use clap::{Args, Subcommand, ValueEnum};
use grantbook_events::{AccountId, ClientId, InstallationId, TokenId, UserId};
use serde_json::Value;

use super::api::Api;
use super::failure::{EXIT_CODES, Failure};
use super::nothing;
use super::reach::{Needs, Reach};
use super::table::Wide;
use super::when;
use shown::{changes, installations, items, lines, timeline, token};

/// Ask what happened, when, and who did it.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_CODES)]
pub(super) struct Audit {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    reach: Reach,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Tell in plain sentences what happened to one installation, or to one token.
    Explain {
        /// The id of an installation or of a token
        #[arg(value_name = "INSTALLATION|TOKEN")]
        id: String,
    },
    /// List events: the newest 50 for people, or everything for programs.
    #[command(after_help = when::HELP)]
    Events(Box<Events>),
    /// Say what was installed on an account, with which scopes and tokens, since when.
    #[command(after_help = when::HELP)]
    Installations {
        /// The account
        #[arg(long)]
        account: AccountId,
        /// As of this position or time; now without
        #[arg(long, value_name = "WHEN", value_parser = when::when)]
        as_of: Option<String>,
    },
    /// Say whether a token was valid, and why or why not.
    #[command(after_help = when::HELP)]
    Token {
        /// The token's id
        token_id: TokenId,
        /// As of this position or time; now without
        #[arg(long, value_name = "WHEN", value_parser = when::when)]
        as_of: Option<String>,
    },
    /// Say what changed on an account from one time to another.
    #[command(after_help = when::HELP)]
    Diff {
        /// The account
        #[arg(long)]
        account: AccountId,
        /// From this position or time
        #[arg(long, value_name = "WHEN", value_parser = when::when)]
        from: String,
        /// To this position or time; now without
        #[arg(long, value_name = "WHEN", value_parser = when::when)]
        to: Option<String>,
    },
}

#[derive(Debug, Args)]
struct Events {
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
    event_type: Option<String>,
    /// For this reason, word for word, such as superseded
    #[arg(long)]
    reason: Option<String>,
    /// Recorded at this time or later
    #[arg(long, value_name = "WHEN", value_parser = when::time)]
    since: Option<String>,
    /// Recorded at this time or earlier
    #[arg(long, value_name = "WHEN", value_parser = when::time)]
    until: Option<String>,
    /// After this position
    #[arg(long, value_name = "POSITION")]
    after: Option<u64>,
    /// Before this position
    #[arg(long, value_name = "POSITION")]
    before: Option<u64>,
    /// Oldest first instead of newest first
    #[arg(long)]
    oldest_first: bool,
    /// Lines for people, or everything as NDJSON or CSV
    #[arg(long, value_enum, default_value_t = Format::Text, conflicts_with = "json")]
    format: Format,
    /// How many: 1 to 200; without it, 50 as text or with --json, and everything as NDJSON or CSV
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=200))]
    limit: Option<u32>,
    /// Go on after a page: its next_cursor, with everything else as it was there
    #[arg(long)]
    cursor: Option<String>,
    #[command(flatten)]
    wide: Wide,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Ndjson,
    Csv,
}

impl Audit {
    pub(super) fn run(self) -> Result<(), Failure> {
        let reach = &self.reach;
        match self.command {
            Command::Explain { id } => {
                let path = explained(&id)?;
                reach.ask(Needs::Reading, |api| api.get(&path, &[]), timeline)
            }
            Command::Events(events) => events.run(reach),
            Command::Installations { account, as_of } => {
                let query = query([("account", Some(account.to_string())), ("as_of", as_of)]);
                let ask = |api: &Api| on_account(api, "/audit/installations", &query);
                reach.ask(Needs::Reading, ask, installations)
            }
            Command::Token { token_id, as_of } => {
                let query = query([("as_of", as_of)]);
                let path = format!("/audit/token/{token_id}");
                reach.ask(Needs::Reading, |api| api.get(&path, &borrowed(&query)), token)
            }
            Command::Diff { account, from, to } => {
                let account = Some(account.to_string());
                let query = query([("account", account), ("from", Some(from)), ("to", to)]);
                reach.ask(Needs::Reading, |api| on_account(api, "/audit/diff", &query), changes)
            }
        }
    }
}

impl Events {
    fn run(&self, reach: &Reach) -> Result<(), Failure> {
        fn text<T: ToString>(value: Option<&T>) -> Option<String> {
            value.map(T::to_string)
        }
        let mut asked = query([
            ("account", text(self.account.as_ref())),
            ("app", text(self.app.as_ref())),
            ("user", text(self.user.as_ref())),
            ("installation", text(self.installation.as_ref())),
            ("token", text(self.token.as_ref())),
            ("actor", self.actor.clone()),
            ("type", self.event_type.clone()),
            ("reason", self.reason.clone()),
            ("since", self.since.clone()),
            ("until", self.until.clone()),
            ("after", text(self.after.as_ref())),
            ("before", text(self.before.as_ref())),
            ("order", self.oldest_first.then(|| "oldest".to_owned())),
            ("limit", text(self.limit.as_ref())),
            ("cursor", self.cursor.clone()),
        ]);
        match self.format {
            Format::Text => {
                let ask = |api: &Api| {
                    let page = api.get("/audit/events", &borrowed(&asked))?;
                    if items(&page).is_empty() {
                        nothing::tell(api, &borrowed(&asked));
                    }
                    Ok(page)
                };
                reach.ask(Needs::Reading, ask, |page| lines(page, &self.wide))
            }
            Format::Ndjson | Format::Csv => {
                // A table has a head.
                let (name, head) = if self.format == Format::Csv { ("csv", 1) } else { ("ndjson", 0) };
                let named = asked.clone();
                asked.push(("format", name.to_owned()));
                reach.pass_on(Needs::Reading, "/audit/events", &borrowed(&asked), |api, lines| {
                    if lines <= head {
                        nothing::tell(api, &borrowed(&named));
                    }
                })
            }
        }
    }
}

fn query<const N: usize>(pairs: [(&'static str, Option<String>); N]) -> Vec<(&'static str, String)> {
    pairs.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

/// A question about one account. An empty answer may mean that its name is wrong.
fn on_account(api: &Api, path: &str, query: &[(&'static str, String)]) -> Result<Value, Failure> {
    let answer = api.get(path, &borrowed(query))?;
    if items(&answer).is_empty()
        && let Some(account) = answer["account_id"].as_str()
    {
        nothing::tell_of_account(api, account);
    }
    Ok(answer)
}

fn borrowed<'a>(query: &'a [(&'static str, String)]) -> Vec<(&'a str, &'a str)> {
    query.iter().map(|(name, value)| (*name, value.as_str())).collect()
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
