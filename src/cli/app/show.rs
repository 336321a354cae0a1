//! `grantbook app show`.

use grantbook_events::ClientId;

use super::APP;
use crate::cli::failure::Failure;
use crate::cli::reach::{Needs, Reach};
use crate::cli::render;

/// Which app.
#[derive(Debug, clap::Args)]
pub(super) struct Show {
    /// The app's client id
    #[arg(value_name = "CLIENT_ID")]
    client_id: ClientId,
}

impl Show {
    pub(super) fn run(self, reach: &Reach) -> Result<(), Failure> {
        let path = format!("/apps/{}", self.client_id);
        reach.ask(Needs::Reading, |api| api.get(&path, &[]), |app| render::fields(app, APP))
    }
}
