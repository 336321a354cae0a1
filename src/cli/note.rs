//! Why something is done, in the words of the person who does it, where that is optional. Must not know: what is done.

use super::api::Query;

#[derive(Debug, clap::Args)]
pub(super) struct Note {
    /// Why, for people who read the ledger later
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

impl Note {
    /// Asks with the note, if there is one.
    pub(super) fn with<T>(&self, query: Query<'_>, ask: impl FnOnce(Query<'_>) -> T) -> T {
        let mut query = query.to_vec();
        query.extend(self.reason.as_deref().map(|reason| ("note", reason)));
        ask(&query)
    }
}
