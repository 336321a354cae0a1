//! `grantbook installation`: which apps are on which accounts.

use clap::Subcommand;
use grantbook_events::{AccountId, ClientId, InstallationId};
use serde::Serialize;

use super::api::Request;
use super::connect::ServerFlags;
use super::failure::Failure;
use super::render::{self, Shown};
use super::table::{Column, Kind, Wide};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the installations of an app, or those on an account, ended ones too.
    List {
        #[command(flatten)]
        filter: Filter,
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
        /// Why, for people who read the ledger later
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
}

#[derive(Debug, clap::Args, Serialize)]
#[group(required = true, multiple = false)]
pub(super) struct Filter {
    /// The app's client id
    #[arg(long, value_name = "CLIENT_ID")]
    app: Option<ClientId>,
    /// The account, as the host platform names it
    #[arg(long, value_name = "ACCOUNT_ID")]
    account: Option<AccountId>,
}

const COLUMNS: &[Column<'_>] = &[
    ("app", "/app_name", Kind::Name),
    ("account", "/account_id", Kind::Name),
    ("installed", "/installed_since", Kind::Day),
    ("tokens", "/valid_tokens", Kind::Number),
    ("installation id", "/installation_id", Kind::Whole),
];

const EXTRA: &[Column<'_>] = &[
    ("client id", "/client_id", Kind::Whole),
    ("dormant tokens", "/dormant_tokens", Kind::Number),
    ("first granted at", "/first_granted_at", Kind::Time),
    ("ended at", "/ended_at", Kind::Time),
    ("epoch", "/epoch", Kind::Number),
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
    pub(super) fn run(self, server: &ServerFlags) -> Result<(), Failure> {
        let path = |id: InstallationId| format!("/installations/{id}");
        match self {
            Command::List { filter, wide } => {
                let request = Request::all_of("/installations").fields(&filter)?;
                server.ask(&request, |list| wide.table(list, COLUMNS, EXTRA))
            }
            Command::Show { installation_id } => {
                let request = Request::get(path(installation_id));
                server.ask(&request, |installation| render::fields(installation, INSTALLATION))
            }
            Command::Uninstall { installation_id, reason } => {
                let request = Request::delete(path(installation_id)).query("note", reason);
                server.ask(&request, |ended| match ended["already"].as_bool() {
                    Some(true) => {
                        render::already("uninstalled", &ended["ended_by"], &ended["ended_by"]["sentence"])
                    }
                    _ => {
                        format!("Uninstalled.\n{}", render::fields(ended, &[("tokens ended", "/token_ids")]))
                    }
                })
            }
        }
    }
}
