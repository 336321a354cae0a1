//! What a command is about to stop, shown before it does. Knows: the terminal, the management API. Must not know: rules.

use grantbook_events::ClientId;

use super::api::{Api, Request};
use super::failure::Failure;
use super::output;

/// Whether to ask before something is stopped.
#[derive(Debug, clap::Args)]
pub(super) struct Confirm {
    /// Do it without asking, and without showing what it stops
    #[arg(long)]
    yes: bool,
}

impl Confirm {
    /// Shows the person at the terminal what follows (the verb happens to the tokens in these fields of an installation), and
    /// asks whether to go on. Without a terminal it goes on.
    ///
    /// # Errors
    /// If the person does not want it, or the server does not say what follows.
    pub(super) fn about(
        &self,
        api: &Api,
        client_id: &ClientId,
        (verb, fields): (&str, &[&str]),
    ) -> Result<(), Failure> {
        if self.yes || !output::can_ask() {
            return Ok(());
        }
        let (mut installations, mut tokens) = (0, 0);
        let of_app = Request::get("/installations").query("app", Some(client_id));
        api.pages(&of_app, |page| {
            for item in &page {
                let affected = fields.iter().filter_map(|field| item[field].as_u64()).sum::<u64>();
                installations += u64::from(affected > 0);
                tokens += affected;
            }
        })?;
        let [installations, tokens] = [(installations, "installation"), (tokens, "token")].map(counted);
        if output::ask(&format!("This {verb} {installations}, {tokens}. Go on? [y/N] ")) {
            return Ok(());
        }
        Err(Failure::new("nothing was done"))
    }
}

fn counted((count, what): (u64, &str)) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
