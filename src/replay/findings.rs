//! What a verification came to, in words. Knows: positions and texts. Must not know: how anything was found.

use grantbook_events::Position;
use grantbook_projections::live::Live;

use super::compare::{Compared, PassedOver};

/// How many findings are told in words; the rest is counted.
const TOLD: usize = 20;

/// What a verification came to.
#[derive(Debug, Default)]
pub struct Verified {
    /// The state after the last event.
    pub live: Live,
    /// How many records were read.
    pub events: u64,
    /// The first things that are wrong, in words.
    pub findings: Vec<Finding>,
    /// How many things are wrong.
    pub found: u64,
    /// What was compared with the fold and is the same.
    pub compared: Vec<Compared>,
    /// What was of no use to compare with.
    pub passed_over: Vec<PassedOver>,
    /// Whether the live projection of the running server differs.
    pub live_differs: bool,
    /// Whether there is a stored history.
    pub has_history: bool,
}

impl Verified {
    /// A ledger of which nothing can be read.
    pub fn damaged(position: Position, detail: String) -> Self {
        let mut verified = Self::default();
        verified.find(Finding::damage(position, &detail));
        verified
    }

    pub(super) fn find(&mut self, finding: Finding) {
        self.found += 1;
        if self.findings.len() < TOLD {
            self.findings.push(finding);
        }
    }

    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.found == 0
    }
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{what}", .position.map_or_else(String::new, |at| format!("position {at}: ")))]
pub struct Finding {
    /// Where, if it is anywhere in the ledger.
    pub position: Option<Position>,
    /// What, in words.
    pub what: String,
}

impl Finding {
    pub(super) fn at(position: Position, what: impl Into<String>) -> Self {
        Self { position: Some(position), what: what.into() }
    }

    pub(super) fn damage(position: Position, detail: &str) -> Self {
        Self::at(position, format!("the ledger is damaged: {detail}"))
    }
}
