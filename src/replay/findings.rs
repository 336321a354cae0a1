//! The outcome of a verification. Knows: positions and texts. Must not know: how anything was found.

use std::fmt::Display;

use grantbook_events::Position;
use grantbook_projections::live::Live;
use serde::Serialize;

/// How many findings are kept; the rest is counted.
const MAX_KEPT: usize = 20;

/// The outcome of a verification.
#[derive(Debug, Default, Serialize)]
pub struct Verified {
    /// The state after the last event.
    #[serde(skip)]
    pub live: Live,
    /// How many records were read.
    pub events: u64,
    /// The first things that are wrong.
    pub findings: Vec<Finding>,
    /// How many things are wrong.
    pub found: u64,
    pub compared: Vec<Compared>,
    pub skipped: Vec<Skipped>,
    /// Whether the live projection of the running server differs.
    #[serde(skip)]
    pub live_differs: bool,
    /// Whether there is a stored history.
    #[serde(skip)]
    pub has_history: bool,
}

/// Something that was compared with the ledger and is the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Compared {
    pub what: String,
    pub position: Position,
}

/// Something that could not be compared, and is no fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Skipped {
    pub what: String,
    pub why: String,
}

impl Verified {
    /// A ledger of which nothing can be read.
    pub fn damaged(position: Position, detail: &str) -> Self {
        let mut verified = Self::default();
        verified.find(Finding::damage(position, detail));
        verified
    }

    pub(super) fn find(&mut self, finding: Finding) {
        self.found += 1;
        if self.findings.len() < MAX_KEPT {
            self.findings.push(finding);
        }
    }

    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.found == 0
    }
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{}{what}", .position.map_or_else(String::new, |at| format!("position {at}: ")))]
pub struct Finding {
    /// Where in the ledger, if it is anywhere there.
    pub position: Option<Position>,
    pub what: String,
}

impl Finding {
    pub(super) fn at(position: Position, what: impl Into<String>) -> Self {
        Self { position: Some(position), what: what.into() }
    }

    pub(super) fn damage(position: Position, detail: &str) -> Self {
        Self::at(position, format!("the ledger is damaged: {detail}"))
    }

    pub(super) fn of_history(error: &impl Display) -> Self {
        Self { position: None, what: format!("history: {error}") }
    }
}
