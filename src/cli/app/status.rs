//! What ends an app, or lets it go on: one app, or all apps of a host. Knows: how to ask before it is done. Must not know: which
//! endings there are.

use grantbook_events::ClientId;
use serde_json::{Value, json};

use crate::cli::api::{Api, Request};
use crate::cli::connect::{Needs, ServerFlags};
use crate::cli::failure::Failure;
use crate::cli::output;
use crate::cli::table::{Column, Kind, Wide};

const OF_HOST: &[Column<'_>] = &[
    ("name", "/name", Kind::Name),
    ("owner", "/owner", Kind::Name),
    ("client id", "/client_id", Kind::Whole),
];

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct StatusChange {
    /// The app's client id
    #[arg(required_unless_present = "host")]
    client_id: Option<ClientId>,
    /// All apps with a redirect URI or a metadata document on this host, or on a name below it, instead of one
    #[arg(long, value_name = "HOST", conflicts_with = "client_id")]
    host: Option<String>,
    /// Why, for people who read the ledger later
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: String,
    /// Do it without asking, and without showing what it stops
    #[arg(long)]
    yes: bool,
}

pub(super) fn path(client_id: &ClientId) -> String {
    format!("/apps/{client_id}")
}

impl StatusChange {
    pub(super) fn post(
        &self,
        server: &ServerFlags,
        what: &str,
        state: &str,
        verb: &str,
        affected: &str,
        show: impl FnOnce(&Value) -> String,
    ) -> Result<(), Failure> {
        let body = json!({ "reason": self.reason });
        let request = |client_id: &_| Request::post(format!("{}/{what}", path(client_id)), body.clone());
        self.ask(server, &[state], verb, &[affected], request, show)
    }

    /// Asks for one app, or for each app of a host that is in one of these states.
    pub(super) fn ask(
        &self,
        server: &ServerFlags,
        states: &[&str],
        verb: &str,
        affected: &[&str],
        request: impl Fn(&ClientId) -> Request,
        show: impl FnOnce(&Value) -> String,
    ) -> Result<(), Failure> {
        if let Some(client_id) = &self.client_id {
            let ask = |api: &Api| {
                self.confirm(api, &[*client_id], verb, affected)?;
                api.ask(&request(client_id))
            };
            return server.act(Needs::Ledger, ask, show);
        }
        let ask = |api: &Api| {
            let mut apps = Vec::new();
            let of_host = Request::get("/apps").query("host", self.host.as_ref());
            api.pages(&of_host, |page| {
                apps.extend(page.into_iter().filter(|app| {
                    app["status"]["state"].as_str().is_some_and(|state| states.contains(&state))
                }));
            })?;
            let ids: Vec<ClientId> =
                apps.iter().filter_map(|app| app["client_id"].as_str()?.parse().ok()).collect();
            self.confirm(api, &ids, verb, affected)?;
            ids.iter().try_for_each(|client_id| api.ask(&request(client_id)).map(drop))?;
            Ok(json!({ "items": apps }))
        };
        let done =
            |apps: &Value| format!("It is done for these:\n{}", Wide::default().table(apps, OF_HOST, &[]));
        server.act(Needs::Ledger, ask, done)
    }

    /// Says at a terminal what this does to how many installations and tokens, and asks whether to go on. `fields` are those
    /// of an installation that count the tokens concerned. Without a terminal it goes on.
    fn confirm(&self, api: &Api, apps: &[ClientId], verb: &str, fields: &[&str]) -> Result<(), Failure> {
        if self.yes || !output::can_ask() {
            return Ok(());
        }
        let (mut installations, mut tokens) = (0, 0);
        for client_id in apps {
            let of_app = Request::get("/installations").query("app", Some(client_id));
            api.pages(&of_app, |page| {
                for item in &page {
                    let affected = fields.iter().filter_map(|field| item[field].as_u64()).sum::<u64>();
                    installations += u64::from(affected > 0);
                    tokens += affected;
                }
            })?;
        }
        let [installations, tokens] = [(installations, "installation"), (tokens, "token")].map(counted);
        if output::ask(&format!("This {verb} {installations}, {tokens}. Go on? [y/N] ")) {
            return Ok(());
        }
        Err(Failure::new("nothing was done"))
    }
}

fn counted((count, what): (u64, &str)) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
