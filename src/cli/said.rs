//! Why something is done, in the words of the person who does it. Knows: the option. Must not know: what is done.

use super::api::Query;

/// Why, where it need not be said.
#[derive(Debug, clap::Args)]
pub(super) struct Said {
    /// Why, for people who read the ledger later
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

impl Said {
    /// Asks with what was said, if anything was.
    pub(super) fn with<T>(&self, query: Query<'_>, ask: impl FnOnce(Query<'_>) -> T) -> T {
        let mut query = query.to_vec();
        query.extend(self.reason.as_deref().map(|reason| ("note", reason)));
        ask(&query)
    }
}
