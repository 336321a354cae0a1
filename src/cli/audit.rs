//! `grantbook audit`: questions about history. Knows: what the audit API answers. Must not know: how.

use clap::{Args, Subcommand, ValueEnum};
use grantbook_events::{AccountId, ClientId, InstallationId, TokenId, UserId};
use serde_json::{Value, json};

use super::api::Api;
use super::failure::{EXIT_CODES, Failure};
use super::nothing;
use super::output::one_line;
use super::reach::{Needs, Reach};
use super::table::{Column, Wide};
use super::when;

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
                reach.ask(Needs::Reading, |api| api.get(&path, &[]), told)
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

/// What is asked about one account. An answer of nothing may be the answer to a slip.
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
        Failure::Usage(format!("{id:?} is no id: {right}"))
    };
    let uuid: uuid::Uuid = id.parse().map_err(|_| wrong())?;
    match uuid.get_version_num() {
        5 => Ok(format!("/audit/installations/{uuid}/timeline")),
        7 => Ok(format!("/audit/token/{uuid}/timeline")),
        _ => Err(wrong()),
    }
}

fn items(answer: &Value) -> &[Value] {
    answer["items"].as_array().map_or(&[][..], Vec::as_slice)
}

fn text(item: &Value, name: &str) -> String {
    match &item[name] {
        Value::String(text) => one_line(text),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    }
}

fn words(item: &Value, name: &str) -> String {
    let words = item[name].as_array().map_or(&[][..], Vec::as_slice);
    words.iter().filter_map(Value::as_str).map(one_line).collect::<Vec<_>>().join(" ")
}

/// A paragraph an event.
fn told(timeline: &Value) -> String {
    let paragraph = |item: &Value| {
        let (time, sentence) = (text(item, "recorded_at"), text(item, "sentence"));
        let (event, request) = (text(item, "event_id"), text(item, "request_id"));
        format!("{time}  {sentence}\n    event {event} at position {}, request {request}\n", item["position"])
    };
    items(timeline).iter().map(paragraph).collect()
}

/// Whom an event is about: the user of a grant or token, or those whose tokens it ended.
fn users(item: &Value) -> String {
    let of_tokens = words(item, "token_users");
    match &item["user_id"] {
        Value::Null if !of_tokens.is_empty() => of_tokens,
        _ => text(item, "user_id"),
    }
}

/// How much of the type of an event is always shown.
const SHORTEST_TYPE: u16 = 16;

const COLUMNS: &[Column<'_>] = &[
    Column::number("pos", "/position"),
    Column::time("time", "/recorded_at"),
    Column::word("what", "/type", SHORTEST_TYPE),
    Column::name("account", "/account_id"),
    Column::name("user", "/user"),
    Column::name("by", "/by"),
    Column::name("reason", "/reason"),
    Column::whole("client id", "/client_id").extra(),
    Column::whole("installation id", "/installation_id").extra(),
    Column::whole("token id", "/token_id").extra(),
    Column::whole("event id", "/event_id").extra(),
    Column::whole("request id", "/request_id").extra(),
];

/// A line an event.
fn lines(page: &Value, wide: &Wide) -> String {
    let line = |item: &Value| {
        let mut line = item.clone();
        line["user"] = json!(users(item));
        line["by"] = match &item["actor"] {
            Value::Null => Value::Null,
            actor => json!(format!("{} {}", text(actor, "kind"), text(actor, "id"))),
        };
        line
    };
    let items: Vec<Value> = items(page).iter().map(line).collect();
    // That there are none is said elsewhere, to those who look.
    let list = json!({ "items": items });
    let mut all = if items.is_empty() { String::new() } else { wide.table(&list, COLUMNS) };
    if page["next_cursor"].is_string() {
        all.push_str(&format!(
            "there are more: --cursor {} goes on, --limit shows up to 200, --format ndjson or csv shows all\n",
            text(page, "next_cursor")
        ));
    }
    all
}

fn as_of(cut: &Value) -> String {
    format!("as of {} (position {})", text(cut, "time"), text(cut, "position"))
}

/// A line for each time at which clocks disagreed.
fn out_of_order(cuts: &[&Value]) -> String {
    let line = |cut: &&Value| {
        let (time, position) = (text(cut, "time"), text(cut, "position"));
        format!(
            "clocks disagreed: events before position {position} that were recorded after {time} do not count, as they \
             are not in `audit events --until {time}`\n"
        )
    };
    cuts.iter().filter(|cut| cut["out_of_order"] == json!(true)).map(line).collect()
}

fn installations(answer: &Value) -> String {
    let mut all = format!("account {}, {}\n", text(answer, "account_id"), as_of(&answer["as_of"]));
    all.push_str(&out_of_order(&[&answer["as_of"]]));
    for item in items(answer) {
        let state = match item["installed"].as_bool() {
            Some(true) => {
                format!("installed since {} with {}", text(item, "installed_since"), words(item, "scopes"))
            }
            _ => match (&item["ended_at"], &item["reason"]) {
                (Value::Null, Value::Null) => "approved, never installed".to_owned(),
                (Value::Null, _) => format!("not installed: {}", text(item, "reason")),
                (_, Value::Null) => format!("not installed, ended {}", text(item, "ended_at")),
                (_, _) => {
                    format!("not installed, ended {}; {}", text(item, "ended_at"), text(item, "reason"))
                }
            },
        };
        all.push_str(&format!("{}  {}: {state}\n", text(item, "installation_id"), text(item, "app_name")));
        for (kind, name) in [("token", "tokens"), ("dormant token", "dormant")] {
            for token in item[name].as_array().map_or(&[][..], Vec::as_slice) {
                let (id, user) = (text(token, "token_id"), text(token, "user_id"));
                let (issued, scopes) = (text(token, "issued_at"), words(token, "scopes"));
                all.push_str(&format!("    {kind} {id} of user {user}, issued {issued}: {scopes}\n"));
            }
        }
    }
    if items(answer).is_empty() {
        all.push_str("no app had been approved\n");
    }
    all
}

fn token(answer: &Value) -> String {
    let is = if answer["valid"] == json!(true) { "valid" } else { "not valid" };
    let (id, cut) = (text(answer, "token_id"), as_of(&answer["as_of"]));
    let mut all = format!("token {id}, {cut}: {is}\n{}\n", text(answer, "why"));
    all.push_str(&out_of_order(&[&answer["as_of"]]));
    let (account, user) = (text(answer, "account_id"), text(answer, "user_id"));
    all.push_str(&format!(
        "installation {} of app {} on account {account}, user {user}\n",
        text(answer, "installation_id"),
        text(answer, "client_id"),
    ));
    if let event @ Value::Object(_) = &answer["event"] {
        all.push_str(&format!("event {} at position {}\n", text(event, "event_id"), text(event, "position")));
    }
    all
}

fn changes(answer: &Value) -> String {
    let (from, to) = (as_of(&answer["from"]), as_of(&answer["to"]));
    let mut all = format!("account {}, from {} to {}\n", text(answer, "account_id"), &from[6..], &to[6..]);
    all.push_str(&out_of_order(&[&answer["from"], &answer["to"]]));
    for item in items(answer) {
        let (id, app) = (text(item, "installation_id"), text(item, "app_name"));
        let reason = match &item["reason"] {
            Value::Null => String::new(),
            _ => format!(" ({})", text(item, "reason")),
        };
        all.push_str(&format!("{id}  {app}: {}{reason}\n", text(item, "change")));
        for (label, name) in [
            ("scopes added", "scopes_added"),
            ("scopes removed", "scopes_removed"),
            ("tokens added", "tokens_added"),
            ("tokens ended", "tokens_ended"),
        ] {
            let words = words(item, name);
            if !words.is_empty() {
                all.push_str(&format!("    {label}: {words}\n"));
            }
        }
    }
    if items(answer).is_empty() {
        all.push_str("nothing changed\n");
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_says_when_clocks_disagreed() {
        let cut = |out_of_order: bool| json!({ "position": 7, "time": "2026-01-01T00:00:00Z", "out_of_order": out_of_order });
        for (shown, is_said) in [(false, 0), (true, 1)] {
            let answer = json!({ "as_of": cut(shown), "from": cut(shown), "to": cut(false) });
            for text in [installations(&answer), token(&answer), changes(&answer)] {
                assert_eq!(
                    text.matches("clocks disagreed: events before position 7").count(),
                    is_said,
                    "{text}"
                );
            }
        }
    }

    #[test]
    fn a_line_names_whom_the_event_is_about() {
        let about =
            |user: Value, of_tokens: Value| users(&json!({ "user_id": user, "token_users": of_tokens }));
        assert_eq!(about(json!("ana"), json!([])), "ana");
        assert_eq!(about(Value::Null, json!(["bob", "eve"])), "bob eve");
        assert_eq!(about(Value::Null, json!([])), "-");
        assert_eq!(about(Value::Null, Value::Null), "-", "an older server does not say");
    }
}
