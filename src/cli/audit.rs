//! `grantbook audit`: questions about history.

use clap::Subcommand;
use grantbook_events::InstallationId;
use serde_json::Value;

use super::failure::{EXIT_CODES, Failure};
use super::output::one_line;
use super::reach::{Needs, Reach};

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
    /// Tell in plain sentences what happened to one installation.
    Explain {
        /// The installation's id
        installation_id: InstallationId,
    },
}

impl Audit {
    pub(super) fn run(self) -> Result<(), Failure> {
        let Command::Explain { installation_id } = self.command;
        let path = format!("/audit/installations/{installation_id}/timeline");
        self.reach.ask(Needs::Ledger, |api| api.get(&path, &[]), told)
    }
}

/// A paragraph an event.
fn told(timeline: &Value) -> String {
    let text = |item: &Value, name: &str| item[name].as_str().map(one_line).unwrap_or_default();
    let items = timeline["items"].as_array().map_or(&[][..], Vec::as_slice);
    let paragraph = |item: &Value| {
        let (time, sentence) = (text(item, "recorded_at"), text(item, "sentence"));
        let (event, request) = (text(item, "event_id"), text(item, "request_id"));
        format!("{time}  {sentence}\n    event {event} at position {}, request {request}\n", item["position"])
    };
    items.iter().map(paragraph).collect()
}
