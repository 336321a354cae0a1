//! `grantbook app register`.

use serde_json::json;

use super::{APP, SECRET_ONCE};
use crate::cli::failure::Failure;
use crate::cli::reach::{Needs, Reach};
use crate::cli::render;

/// What is registered.
#[derive(Debug, clap::Args)]
pub(super) struct Register {
    /// Shown on the consent page
    #[arg(long, value_name = "TEXT")]
    name: String,
    /// Who answers for the app; shown on the consent page
    #[arg(long, value_name = "TEXT")]
    owner: String,
    /// Where people come back to; may be repeated
    #[arg(long = "redirect-uri", value_name = "URI", required = true)]
    redirect_uris: Vec<String>,
    /// A scope the app may ask for; may be repeated
    #[arg(long = "scope", value_name = "SCOPE", required = true)]
    scopes: Vec<String>,
    /// Where people can read about the app
    #[arg(long, value_name = "URL")]
    homepage: Option<String>,
    /// The app runs on people's own devices and can keep no secret
    #[arg(long)]
    public: bool,
    /// How long its tokens live [default: for ever]
    #[arg(long, value_name = "N")]
    token_lifetime_seconds: Option<u64>,
}

impl Register {
    pub(super) fn run(self, reach: &Reach) -> Result<(), Failure> {
        let body = json!({
            "name": self.name,
            "owner": self.owner,
            "homepage": self.homepage,
            "redirect_uris": self.redirect_uris,
            "scopes": self.scopes,
            "confidential": !self.public,
            "token_policy": { "lifetime_seconds": self.token_lifetime_seconds },
        });
        let note = if self.public { "" } else { SECRET_ONCE };
        reach.ask(
            Needs::Nothing,
            |api| api.post("/apps", &body),
            |app| format!("{}{note}", render::fields(app, APP)),
        )
    }
}
