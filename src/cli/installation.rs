//! `grantbook installation`: which apps are on which accounts.

use clap::Subcommand;
use grantbook_events::{AccountId, ClientId, InstallationId};

use super::failure::Failure;
use super::note::Note;
use super::nothing;
use super::reach::{Needs, Reach};
use super::render::{self, Shown};
use super::table::{Column, Wide};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the installations of an app, or those on an account, ended ones too.
    List {
        #[command(flatten)]
        of: Of,
        #[command(flatten)]
        wide: Wide,
    },
    /// Show one installation and its valid tokens.
    Show {
        /// The installation's id
        installation_id: InstallationId,
    },
    /// Uninstall: end the codes and tokens of an app on an account.
    Uninstall {
        /// The installation's id
        installation_id: InstallationId,
        #[command(flatten)]
        note: Note,
    },
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(super) struct Of {
    /// The app's client id
    #[arg(long, value_name = "CLIENT_ID")]
    app: Option<ClientId>,
    /// The account, as the host platform names it
    #[arg(long, value_name = "ACCOUNT_ID")]
    account: Option<AccountId>,
}

const COLUMNS: &[Column<'_>] = &[
    Column::name("app", "/app_name"),
    Column::name("account", "/account_id"),
    Column::day("installed", "/installed_since"),
    Column::number("tokens", "/valid_tokens"),
    Column::whole("installation id", "/installation_id"),
    Column::whole("client id", "/client_id").extra(),
    Column::number("dormant tokens", "/dormant_tokens").extra(),
    Column::time("first granted at", "/first_granted_at").extra(),
    Column::time("ended at", "/ended_at").extra(),
    Column::number("epoch", "/epoch").extra(),
];

const INSTALLATION: &[Shown<'_>] = &[
    ("installation id", "/installation_id"),
    ("app", "/app_name"),
    ("client id", "/client_id"),
    ("account", "/account_id"),
    ("installed", "/installed"),
    ("installed since", "/installed_since"),
    ("ended at", "/ended_at"),
    ("first granted at", "/first_granted_at"),
    ("epoch", "/epoch"),
    ("tokens", "/tokens"),
    ("dormant tokens", "/dormant"),
];

impl Command {
    pub(super) fn run(self, reach: &Reach) -> Result<(), Failure> {
        let path = |id: InstallationId| format!("/installations/{id}");
        match self {
            Command::List { of, wide } => {
                let app = of.app.map(|app| ("app", app.to_string()));
                let account = of.account.map(|account| ("account", account.to_string()));
                let query: Vec<(&str, &str)> =
                    app.iter().chain(&account).map(|(name, value)| (*name, value.as_str())).collect();
                let ask = |api: &super::api::Api| {
                    let list = api.list("/installations", &query)?;
                    if list["items"].as_array().is_some_and(Vec::is_empty) {
                        account.iter().for_each(|(_, account)| nothing::tell_of_account(api, account));
                    }
                    Ok(list)
                };
                reach.ask(Needs::Reading, ask, |list| wide.table(list, COLUMNS))
            }
            Command::Show { installation_id } => reach.ask(
                Needs::Reading,
                |api| api.get(&path(installation_id), &[]),
                |installation| render::fields(installation, INSTALLATION),
            ),
            Command::Uninstall { installation_id, note } => reach.ask(
                Needs::Ledger,
                |api| note.with(&[], |query| api.delete(&path(installation_id), query)),
                |ended| match ended["already"].as_bool() {
                    Some(true) => {
                        render::already("uninstalled", &ended["ended_by"], &ended["ended_by"]["sentence"])
                    }
                    _ => {
                        format!("Uninstalled.\n{}", render::fields(ended, &[("tokens ended", "/token_ids")]))
                    }
                },
            ),
        }
    }
}
