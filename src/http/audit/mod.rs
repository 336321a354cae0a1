//! `/audit`: questions about history, for auditors. Every question is itself logged: who asked, through which
//! request, and what.

pub mod events;
pub mod export;
pub mod past;
pub(super) mod questions;
#[cfg(test)]
mod tests;
