//! The command line: one file per command. Knows: arguments, exit codes, what is printed. Must not know:
//! rules.
//!
//! | file | what it is for |
//! |---|---|
//! | `ledger_place`, `connect`, `api` | how a command finds the ledger or a server, and asks it |
//! | `running`, `control`, `signals`, `runtime` | a server of this process, how others find it, what ends it |
//! | `times`, `pasted`, `hints` | times and positions in arguments, secrets from stdin, and the remark if nothing is found |
//! | `output`, `progress`, `render`, `table`, `failure` | what is printed, and the exit code |

mod api;
mod app;
mod audit;
mod backup;
mod config_check;
mod connect;
mod control;
mod events;
mod failure;
mod health;
mod hints;
mod installation;
mod key;
mod ledger;
mod ledger_place;
mod manual;
mod output;
mod pasted;
mod progress;
mod render;
mod replay;
mod running;
mod runtime;
mod serve;
mod signals;
mod table;
mod times;
mod token;

use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::telemetry;
use connect::WithServer;

/// A self-hosted OAuth 2.0 authorization server on an event-sourced installation ledger.
#[derive(Debug, Parser)]
#[command(name = "grantbook", version, about, after_help = failure::EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the OAuth endpoints, the pages and the management API.
    Serve(serve::Serve),
    /// Ask whether the server is ready.
    Health(health::Health),
    /// Register, read and change apps.
    App(WithServer<app::Command>),
    /// Read and end installations of apps on accounts.
    Installation(WithServer<installation::Command>),
    /// Revoke tokens.
    Token(WithServer<token::Command>),
    /// Create, list and retire operator keys.
    Key(WithServer<key::Command>),
    /// Ask what happened, when, and who did it.
    Audit(WithServer<audit::Command>),
    /// Print the ledger, one JSON object a line.
    Events(events::Events),
    /// Fold the ledger again, beside the server.
    Replay(WithServer<replay::Command>),
    /// Move the ledger between a directory and a cluster.
    #[command(subcommand)]
    Ledger(ledger::Command),
    /// Copy the ledger into one file, also while it is served.
    Backup(backup::Backup),
    /// Make the ledger of an empty directory from a backup.
    Restore(backup::Restore),
    /// Look at the configuration.
    #[command(subcommand)]
    Config(config_check::Command),
    /// Print the completions of a shell.
    Completions(manual::Completions),
    /// Write a man page for each command into a directory.
    Man(manual::Man),
}

/// The command line, as it describes itself.
fn command() -> clap::Command {
    Cli::command().mut_subcommands(|command| command.after_help(failure::EXIT_CODES))
}

/// Runs the command line of this process.
pub fn run() -> ExitCode {
    let arguments = Cli::from_arg_matches(&command().get_matches());
    let outcome = match arguments.unwrap_or_else(|error| error.exit()).command {
        Command::Serve(serve) => serve.run(),
        Command::Health(health) => health.run(),
        Command::App(app) => app.command.run(&app.server),
        Command::Installation(installation) => installation.command.run(&installation.server),
        Command::Token(token) => token.command.run(&token.server),
        Command::Key(key) => key.command.run(&key.server),
        Command::Audit(audit) => audit.command.run(&audit.server),
        Command::Events(events) => events.run(),
        Command::Replay(replay) => replay.command.run(&replay.server),
        Command::Ledger(ledger) => ledger.run(),
        Command::Backup(backup) => backup.run(),
        Command::Restore(restore) => restore.run(),
        Command::Config(config) => config.run(),
        Command::Completions(completions) => completions.run(command()),
        Command::Man(man) => man.run(command()),
    };
    telemetry::flush();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.lines().iter().for_each(|line| output::complain(line));
            failure.exit_code()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_fit_together() {
        Cli::command().debug_assert();
    }

    /// The help of a command and of all below it, by name.
    fn helps(command: &mut clap::Command, found: &mut Vec<(String, String)>) {
        let help = command.render_help().to_string();
        found.push((command.get_display_name().unwrap_or_default().to_owned(), help));
        command.get_subcommands_mut().for_each(|command| helps(command, found));
    }

    #[test]
    fn the_options_of_a_command_come_before_those_that_many_have() {
        let mut command = Cli::command();
        command.build();
        let mut found = Vec::new();
        helps(&mut command, &mut found);
        let mut with_shared = 0;
        for (name, help) in found {
            let Some((own, shared)) = help.split_once("\nShared options:\n") else {
                // Those that take every flag of the configuration have no others.
                assert!(help.contains("--listen") || !help.contains("--config"), "{name}: {help}");
                continue;
            };
            with_shared += 1;
            assert!(!own.contains("--data") && !own.contains("--server"), "{name}: {help}");
            assert!(shared.contains("--data <DIR>"), "{name}: {help}");
            for option in ["--wide", "--reason", "--name", "--since", "--help"] {
                assert!(!shared.contains(&format!("{option} ")), "{name}: {help}");
            }
        }
        assert!(with_shared > 25, "{with_shared}");
    }
}
