//! The fold, by property: whatever well-formed history happened, the live projection says what an oracle
//! that shares no code with it says, and what cannot have happened is refused.

#![allow(clippy::too_many_lines)]

#[cfg(test)]
mod agreement;
#[cfg(test)]
mod bounds;
#[cfg(test)]
mod copies;
#[cfg(test)]
mod digests;
#[cfg(test)]
mod expected;
#[cfg(test)]
mod history;
#[cfg(test)]
mod images;
#[cfg(test)]
mod impossible;
#[cfg(test)]
mod lookups;
#[cfg(test)]
mod quarantine;
#[cfg(test)]
mod readers;
#[cfg(test)]
mod refresh;
#[cfg(test)]
mod steps;
