//! `grantbook app`: the apps.

mod list;
mod register;
mod secret;
mod show;
mod status;
mod update;

use clap::Subcommand;

use super::failure::{EXIT_CODES, Failure};
use super::reach::Reach;
use super::render::Shown;

/// Register, read and change apps.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_CODES)]
pub(super) struct App {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    reach: Reach,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Register an app. Its client secret is printed once.
    Register(register::Register),
    /// List all apps, deleted ones too.
    List(list::List),
    /// Show one app.
    Show(show::Show),
    /// Change an app. What is not named stays.
    Update(update::Update),
    /// Add a client secret; the old one goes on for the overlap.
    RotateSecret(secret::Rotate),
    /// End a client secret at once.
    RetireSecret(secret::Retire),
    /// Stop an app: its codes die, its tokens do not count until it is resumed.
    Suspend(status::Suspend),
    /// Let a suspended app go on.
    Resume(status::Resume),
    /// Delete an app for good, and with it every code and token.
    Delete(status::Delete),
}

impl App {
    pub(super) fn run(self) -> Result<(), Failure> {
        let reach = self.reach;
        match self.command {
            Command::Register(register) => register.run(&reach),
            Command::List(list) => list.run(&reach),
            Command::Show(show) => show.run(&reach),
            Command::Update(update) => update.run(&reach),
            Command::RotateSecret(rotate) => rotate.run(&reach),
            Command::RetireSecret(retire) => retire.run(&reach),
            Command::Suspend(suspend) => suspend.run(&reach),
            Command::Resume(resume) => resume.run(&reach),
            Command::Delete(delete) => delete.run(&reach),
        }
    }
}

/// What of an app is shown.
const APP: &[Shown<'_>] = &[
    ("client id", "/client_id"),
    ("name", "/name"),
    ("owner", "/owner"),
    ("homepage", "/homepage"),
    ("redirect URIs", "/redirect_uris"),
    ("scopes", "/scopes"),
    ("confidential", "/confidential"),
    ("token lifetime", "/token_policy/lifetime_seconds"),
    ("state", "/status/state"),
    ("reason", "/status/reason"),
    ("secrets", "/secrets"),
    ("registered at", "/registered_at"),
    ("changed at", "/changed_at"),
    ("client secret", "/client_secret"),
];

const SECRET_ONCE: &str = "\nKeep the client secret now: it is not stored, and it will not be shown again.\n";
