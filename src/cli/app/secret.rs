//! `grantbook app rotate-secret` and `retire-secret`: the two ends of a client secret's life.

use std::time::Duration;

use grantbook_events::{ClientId, SecretId};
use serde_json::{Value, json};

use super::SECRET_ONCE;
use crate::cli::failure::Failure;
use crate::cli::reach::{Needs, Reach};
use crate::cli::render::{self, Shown};
use crate::cli::said::Said;
use crate::config;

const NEW_SECRET: &[Shown<'_>] =
    &[("secret id", "/secret_id"), ("secrets", "/secrets"), ("client secret", "/client_secret")];

/// Which app's secret, and how long the old one goes on.
#[derive(Debug, clap::Args)]
pub(super) struct Rotate {
    /// The app's client id
    #[arg(value_name = "CLIENT_ID")]
    client_id: ClientId,
    /// How long the old secret goes on, such as 24h; 0s ends it at once [default: the server's
    /// secrets.rotation_overlap]
    #[arg(long, value_name = "DURATION", value_parser = config::rotation_overlap)]
    overlap: Option<Duration>,
}

impl Rotate {
    pub(super) fn run(self, reach: &Reach) -> Result<(), Failure> {
        let path = format!("/apps/{}/secrets", self.client_id);
        let body = match self.overlap {
            Some(overlap) => json!({ "overlap_seconds": overlap.as_secs() }),
            None => json!({}),
        };
        reach.ask(
            Needs::Ledger,
            |api| api.post(&path, &body),
            |secret| format!("{}{SECRET_ONCE}", render::fields(secret, NEW_SECRET)),
        )
    }
}

/// Which secret of which app.
#[derive(Debug, clap::Args)]
pub(super) struct Retire {
    /// The app's client id
    #[arg(value_name = "CLIENT_ID")]
    client_id: ClientId,
    /// The secret's id, as `app show` lists it; never the secret itself
    #[arg(value_name = "SECRET_ID")]
    secret_id: SecretId,
    #[command(flatten)]
    said: Said,
}

impl Retire {
    pub(super) fn run(self, reach: &Reach) -> Result<(), Failure> {
        let path = format!("/apps/{}/secrets/{}", self.client_id, self.secret_id);
        reach.ask(
            Needs::Ledger,
            |api| self.said.with(&[], |query| api.delete(&path, query)),
            |done| match done["recorded_at"].is_string() {
                true => render::already("retired", done, &Value::Null),
                false => "The secret is refused from now on.\n".to_owned(),
            },
        )
    }
}
