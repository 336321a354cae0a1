//! `grantbook health`.

use url::Url;

use super::api::{Api, Request};
use super::control;
use super::failure::Failure;
use super::output;
use super::running::reached_at;
use crate::config::{Config, ConfigFlags, Sources};
use crate::secrets::PlainSecret;

/// Ask the server of this configuration whether it is ready, for whatever restarts or avoids one that is not.
///
/// It is found by its data directory, or where it is configured to listen.
#[derive(Debug, clap::Args)]
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
        let api = Api::new(Url::parse(&url)?, PlainSecret::presented("none"), None);
        let (status, body) = api.reply(&Request::get("/readyz"))?;
        if status == 200 {
            return output::print("ready\n");
        }
        let reason =
            body["reason"].as_str().map_or_else(|| format!("it answered {status}"), output::one_line);
        Err(Failure::new(format!("the server at {url} is not ready: {reason}")))
    }
}
