//! `grantbook app suspend`, `resume` and `delete`: whether an app counts.

use grantbook_events::ClientId;
use serde_json::json;

use super::APP;
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
}

impl Suspend {
    pub(super) fn run(self, reach: &Reach) -> Result<(), Failure> {
        self.why.change("suspend", reach)
    }
}

impl Resume {
    pub(super) fn run(self, reach: &Reach) -> Result<(), Failure> {
        self.why.change("resume", reach)
    }
}

impl Delete {
    pub(super) fn run(self, reach: &Reach) -> Result<(), Failure> {
        let path = format!("/apps/{}", self.why.client_id);
        reach.ask(
            Needs::Ledger,
            |api| api.delete(&path, &[("reason", &self.why.reason)]),
            |_| "The app is deleted; its history stays.\n".to_owned(),
        )
    }
}

impl Why {
    fn change(self, what: &str, reach: &Reach) -> Result<(), Failure> {
        let path = format!("/apps/{}/{what}", self.client_id);
        let body = json!({ "reason": self.reason });
        reach.ask(Needs::Ledger, |api| api.post(&path, &body), |app| render::fields(app, APP))
    }
}
