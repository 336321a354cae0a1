//! What a command is about to stop, shown before it does. Knows: the terminal, the management API. Must not know: rules.

use grantbook_events::ClientId;

use super::api::Api;
use super::failure::Failure;
use super::output;

/// Whether to ask before something is stopped.
#[derive(Debug, clap::Args)]
pub(super) struct Confirm {
    /// Do it without asking, and without showing what it stops
    #[arg(long)]
    yes: bool,
}

/// How much of an app on how many accounts.
#[derive(Debug, Default, PartialEq, Eq)]
struct Affected {
    installations: u64,
    tokens: u64,
}

impl Confirm {
    /// Shows the person at the terminal what follows (`verb` happens to the tokens in these fields of an installation), and
    /// asks whether to go on. Without a terminal it goes on.
    ///
    /// # Errors
    /// If the person does not want it, or the server does not say what follows.
    pub(super) fn about(
        &self,
        api: &Api,
        client_id: &ClientId,
        verb: &str,
        fields: &[&str],
    ) -> Result<(), Failure> {
        if self.yes || !output::can_ask() {
            return Ok(());
        }
        let mut affected = Affected::default();
        let app = client_id.to_string();
        api.pages("/installations", &[("app", &app)], |page| {
            for item in &page {
                let tokens = fields.iter().filter_map(|field| item[field].as_u64()).sum::<u64>();
                affected.installations += u64::from(tokens > 0);
                affected.tokens += tokens;
            }
        })?;
        if output::ask(&format!("This {verb} {affected}. Go on? [y/N] ")) {
            return Ok(());
        }
        Err(Failure::Failed("nothing was done".to_owned()))
    }
}

impl std::fmt::Display for Affected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let plural = |count: u64| if count == 1 { "" } else { "s" };
        let Self { installations, tokens } = *self;
        write!(f, "{installations} installation{}, {tokens} token{}", plural(installations), plural(tokens))
    }
}
