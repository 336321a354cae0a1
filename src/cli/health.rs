//! `grantbook health`.

use serde_json::Value;
use url::Url;

use super::api::{Api, Request};
use super::control;
use super::failure::{EXIT_CODES, Failure};
use super::output;
use super::running::reached_at;
use crate::config::{Config, ConfigFlags, Sources};
use crate::secrets::PlainSecret;

/// Ask the server of this configuration whether it is ready, for whatever restarts or avoids one that is not.
///
/// It is found by its data directory, or where it is configured to listen.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_CODES)]
pub(super) struct Health {
    #[command(flatten)]
    flags: ConfigFlags,
}

impl Health {
    pub(super) fn run(self) -> Result<(), Failure> {
        let config = Config::load(Sources::from_process(self.flags)?)?;
        let url = match control::read(&config.data_dir)? {
            Some(control) => control.url,
            None => format!("http://{}", reached_at(config.listen)),
        };
        // No key is needed, so none is sent to whatever listens there.
        let api = Api::new(Url::parse(&url)?, PlainSecret::presented("none"));
        let answer = api.reply(&Request::get("/readyz"))?;
        if answer.status == 200 {
            return output::print("ready\n");
        }
        let reason = answer.body.get("reason").and_then(Value::as_str).map(output::one_line);
        let reason = reason.unwrap_or_else(|| format!("it answered {}", answer.status));
        Err(Failure::new(format!("the server at {url} is not ready: {reason}")))
    }
}
