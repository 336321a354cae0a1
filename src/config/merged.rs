//! All sources laid over each other. Knows: settings, texts and where each came from. Must not know: how a source spells
//! a setting, or what a text means.

use std::collections::BTreeMap;

use super::error::Origin;
use super::settings::{ALL, Setting};
use crate::decisions::scopes::ScopeDefinition;

/// A value as it was written, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Written<T = String> {
    pub value: T,
    pub origin: Origin,
}

/// For each setting what the strongest source says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Merged {
    texts: BTreeMap<&'static str, Written>,
    /// The scopes of the file, if it has any.
    pub scopes: Vec<Written<ScopeDefinition>>,
}

impl Merged {
    /// What stands if no source says anything.
    pub fn defaults() -> Self {
        let mut merged = Self::default();
        for setting in &ALL {
            if let Some(default) = setting.default {
                merged.set(setting, default, Origin::Default);
            }
        }
        merged
    }

    /// Lays a text over what is there.
    pub fn set(&mut self, setting: &Setting, text: impl Into<String>, origin: Origin) {
        self.texts.insert(setting.key, Written { value: text.into(), origin });
    }

    pub fn get(&self, setting: &Setting) -> Option<&Written> {
        self.texts.get(setting.key)
    }

    pub fn origin(&self, setting: &Setting) -> Origin {
        self.get(setting).map_or(Origin::Default, |written| written.origin.clone())
    }
}
