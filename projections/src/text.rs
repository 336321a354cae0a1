//! Texts that many rows have alike, such as scopes and redirect URIs, each kept once. Must not know: what they mean.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How many texts are kept before those that no row has any more are dropped.
const DROP_AT: usize = 4096;

/// A text that rows share.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
// One pointer wide, where `Arc<str>` is two: a row has several.
pub struct SharedText(Arc<Box<str>>);

impl SharedText {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for SharedText {
    fn from(text: &str) -> Self {
        Self(Arc::new(text.into()))
    }
}

impl std::borrow::Borrow<str> for SharedText {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Debug for SharedText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for SharedText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for SharedText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Box::deserialize(deserializer).map(|text| Self(Arc::new(text)))
    }
}

/// Names without spaces, in the order they were granted.
#[derive(Clone, PartialEq, Eq)]
pub struct Names(SharedText);

/// Scopes by their canonical names.
pub type Scopes = Names;
/// The URIs of the resources that tokens are for (RFC 8707); none for any.
pub type Resources = Names;

impl Names {
    pub fn is_empty(&self) -> bool {
        self.as_str().is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.as_str().split(' ').filter(|name| !name.is_empty())
    }

    pub fn contains(&self, name: &str) -> bool {
        self.iter().any(|known| known == name)
    }

    /// The names with a space between them (RFC 6749 section 3.3).
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    pub fn to_vec(&self) -> Vec<String> {
        self.iter().map(str::to_owned).collect()
    }
}

impl From<&[String]> for Names {
    fn from(names: &[String]) -> Self {
        Self(names.join(" ").as_str().into())
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl Serialize for Names {
    /// A list of names, but in snapshots.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match serializer.is_human_readable() {
            true => serializer.collect_seq(self.iter()),
            false => self.0.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match deserializer.is_human_readable() {
            true => Vec::<String>::deserialize(deserializer).map(|names| Self::from(names.as_slice())),
            false => SharedText::deserialize(deserializer).map(Self),
        }
    }
}

/// The texts that rows have.
#[derive(Debug, Default)]
pub(crate) struct SharedTexts(Mutex<HashSet<SharedText>>);

impl SharedTexts {
    pub(crate) fn text(&self, text: &str) -> SharedText {
        let mut texts = self.0.lock();
        if let Some(known) = texts.get(text) {
            return known.clone();
        }
        if texts.len() == texts.capacity() && texts.len() >= DROP_AT {
            texts.retain(|text| Arc::strong_count(&text.0) > 1);
        }
        let text = SharedText::from(text);
        texts.insert(text.clone());
        text
    }

    pub(crate) fn names(&self, names: &[String]) -> Names {
        match names {
            [name] => Names(self.text(name)),
            names => Names(self.text(&names.join(" "))),
        }
    }

    /// The same names, shared.
    pub(crate) fn share(&self, names: &mut Names) {
        *names = Names(self.text(names.as_str()));
    }
}
