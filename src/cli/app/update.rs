//! `grantbook app update`.

use clap::ArgGroup;
use grantbook_events::ClientId;
use serde_json::{Map, Value, json};

use super::APP;
use crate::cli::failure::Failure;
use crate::cli::reach::{Needs, Reach};
use crate::cli::render;

/// What is changed.
#[derive(Debug, clap::Args)]
#[command(group(ArgGroup::new("change").required(true).multiple(true)))]
pub(super) struct Update {
    /// The app's client id
    #[arg(value_name = "CLIENT_ID")]
    client_id: ClientId,
    /// Shown on the consent page
    #[arg(long, value_name = "TEXT", group = "change")]
    name: Option<String>,
    /// Who answers for the app; shown on the consent page
    #[arg(long, value_name = "TEXT", group = "change")]
    owner: Option<String>,
    /// Where people can read about the app
    #[arg(long, value_name = "URL", group = "change")]
    homepage: Option<String>,
    /// There is no such place any more
    #[arg(long, group = "change", conflicts_with = "homepage")]
    no_homepage: bool,
    /// Where people come back to; all redirect URIs from now on
    #[arg(long = "redirect-uri", value_name = "URI", group = "change")]
    redirect_uris: Vec<String>,
    /// All scopes the app may ask for from now on; tokens already issued keep theirs
    #[arg(long = "scope", value_name = "SCOPE", group = "change")]
    scopes: Vec<String>,
    /// How long tokens issued from now on live
    #[arg(long, value_name = "N", group = "change")]
    token_lifetime_seconds: Option<u64>,
    /// Tokens issued from now on live for ever
    #[arg(long, group = "change", conflicts_with = "token_lifetime_seconds")]
    no_token_lifetime: bool,
}

impl Update {
    pub(super) fn run(self, reach: &Reach) -> Result<(), Failure> {
        let path = format!("/apps/{}", self.client_id);
        let changes = self.changes();
        reach.ask(Needs::Ledger, |api| api.patch(&path, &changes), |app| render::fields(app, APP))
    }

    /// Only what was named.
    fn changes(self) -> Value {
        let list = |items: Vec<String>| (!items.is_empty()).then(|| json!(items));
        let lifetime = |seconds: Option<u64>| json!({ "lifetime_seconds": seconds });
        let named = [
            ("name", self.name.map(Value::from)),
            ("owner", self.owner.map(Value::from)),
            ("homepage", self.homepage.map(Value::from).or(self.no_homepage.then_some(Value::Null))),
            ("redirect_uris", list(self.redirect_uris)),
            ("scopes", list(self.scopes)),
            (
                "token_policy",
                (self.token_lifetime_seconds.is_some() || self.no_token_lifetime)
                    .then(|| lifetime(self.token_lifetime_seconds)),
            ),
        ];
        let named = named.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        Value::Object(named.collect::<Map<_, _>>())
    }
}
