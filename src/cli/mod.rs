//! The command line: one file per command. Knows: arguments, exit codes, what is printed. Must not know:
//! rules.

mod serve;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A self-hosted OAuth 2.0 authorization server on an event-sourced installation ledger.
#[derive(Debug, Parser)]
#[command(name = "grantbook", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the OAuth endpoints, the pages and the management API.
    Serve(serve::Serve),
}

/// Runs the command line of this process.
pub fn run() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Serve(serve) => serve.run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            #[expect(clippy::print_stderr, reason = "this is where a command says why it failed")]
            {
                eprintln!("grantbook: {error}");
            }
            ExitCode::FAILURE
        }
    }
}
