//! `grantbook app suspend`, `resume` and `delete`: whether an app counts.

use grantbook_events::ClientId;
use serde_json::json;

use super::APP;
use crate::cli::api::Api;
use crate::cli::before::Asking;
use crate::cli::failure::Failure;
use crate::cli::reach::{Needs, Reach};
use crate::cli::render;

/// Which app, and why.
#[derive(Debug, clap::Args)]
pub(super) struct Suspend {
    #[command(flatten)]
    why: Why,
}

/// Which app, and why.
#[derive(Debug, clap::Args)]
pub(super) struct Resume {
    #[command(flatten)]
    why: Why,
}

/// Which app, and why.
#[derive(Debug, clap::Args)]
pub(super) struct Delete {
    #[command(flatten)]
    why: Why,
}

#[derive(Debug, clap::Args)]
struct Why {
    /// The app's client id
    #[arg(value_name = "CLIENT_ID")]
    client_id: ClientId,
    /// Why, for whoever reads the ledger later
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    asking: Asking,
}

impl Suspend {
    pub(super) fn run(self, reach: &Reach) -> Result<(), Failure> {
        self.why.change("suspend", ("stops", &["valid_tokens"]), reach)
    }
}

impl Resume {
    pub(super) fn run(self, reach: &Reach) -> Result<(), Failure> {
        self.why.change("resume", ("brings back", &["dormant_tokens"]), reach)
    }
}

impl Delete {
    pub(super) fn run(self, reach: &Reach) -> Result<(), Failure> {
        let Why { client_id, reason, asking } = self.why;
        let path = format!("/apps/{client_id}");
        reach.ask(
            Needs::Ledger,
            |api| {
                asking.about(api, &client_id, "ends for good", &["valid_tokens", "dormant_tokens"])?;
                api.delete(&path, &[("reason", &reason)])
            },
            |_| "The app is deleted; its history stays.\n".to_owned(),
        )
    }
}

impl Why {
    fn change(self, what: &str, (verb, fields): (&str, &[&str]), reach: &Reach) -> Result<(), Failure> {
        let path = format!("/apps/{}/{what}", self.client_id);
        let body = json!({ "reason": self.reason });
        let ask = |api: &Api| {
            self.asking.about(api, &self.client_id, verb, fields)?;
            api.post(&path, &body)
        };
        reach.ask(Needs::Ledger, ask, |app| render::fields(app, APP))
    }
}
