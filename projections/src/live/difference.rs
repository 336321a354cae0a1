//! Where two states differ, in words. Knows: that states can be written as JSON. Must not know: which of the two is
//! right. Digests of secrets are compared and never shown.

use std::collections::BTreeMap;
use std::fmt;

use grantbook_events::InstallationId;
use serde::Serialize;
use serde_json::Value;

use super::Live;
use super::shards::SHARDS;

/// One field that two states have differently.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// What the field belongs to, such as `installation 98f1b1a0-…`.
    pub row: String,
    /// The field, such as `grants.1.0.scopes.0`.
    pub field: String,
    /// What the first state has.
    pub one: String,
    /// What the second state has.
    pub other: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} is {} here and {} there", self.row, self.field, self.one, self.other)
    }
}

impl Live {
    /// The first field that this state and another have differently, in the order of apps, operator keys, quarantined
    /// streams, installations. Nothing may be applied to either meanwhile.
    pub fn difference(&self, other: &Self) -> Option<Difference> {
        differ(&self.few_rows(), &other.few_rows())
            .or_else(|| (0..SHARDS).find_map(|shard| differ(&self.rows_of(shard), &other.rows_of(shard))))
    }

    /// Apps, keys and quarantined streams.
    fn few_rows(&self) -> BTreeMap<String, Value> {
        let apps = self.apps(0, usize::MAX);
        let apps = apps.iter().map(|app| (format!("app {}", app.client_id), value(&**app)));
        let keys = self.keys.all();
        let keys =
            keys.iter().map(|key| (format!("operator key {}", key.0.key_id), value(&(&*key.0, key.1))));
        let poisons = self.quarantine.all();
        let poisons = poisons.iter().map(|at| (format!("stream {}", at.stream), value(&at.position)));
        apps.chain(keys).chain(poisons).collect()
    }

    fn rows_of(&self, shard: usize) -> BTreeMap<String, Value> {
        let name = |id: InstallationId| format!("installation {id}");
        let shard = self.installations.shards.read(shard);
        shard.rows.iter().map(|row| (name(row.installation_id), value(row))).collect()
    }
}

fn value(state: &impl Serialize) -> Value {
    serde_json::to_value(state).unwrap_or_default()
}

fn differ(ours: &BTreeMap<String, Value>, theirs: &BTreeMap<String, Value>) -> Option<Difference> {
    let mut names = ours.keys().chain(theirs.keys());
    names.find_map(|name| {
        let (field, one, other) = match (ours.get(name), theirs.get(name)) {
            (Some(_), None) => ("it".to_owned(), "there".to_owned(), "missing".to_owned()),
            (None, Some(_)) => ("it".to_owned(), "missing".to_owned(), "there".to_owned()),
            (ours, theirs) => differ_in("", ours?, theirs?)?,
        };
        Some(Difference { row: name.clone(), field, one, other })
    })
}

/// The path of the first value that differs, and both values.
fn differ_in(path: &str, ours: &Value, theirs: &Value) -> Option<(String, String, String)> {
    let at = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match (ours, theirs) {
        (Value::Object(ours), Value::Object(theirs)) if ours.keys().eq(theirs.keys()) => {
            ours.iter().zip(theirs.values()).find_map(|((name, one), other)| differ_in(&at(name), one, other))
        }
        (Value::Array(ours), Value::Array(theirs)) if ours.len() == theirs.len() => {
            let mut pairs = ours.iter().zip(theirs).enumerate();
            pairs.find_map(|(index, (one, other))| differ_in(&at(&index.to_string()), one, other))
        }
        (one, other) if one == other => None,
        _ if path.ends_with("digest") => Some((path.to_owned(), "one".to_owned(), "another".to_owned())),
        (one, other) => Some((path.to_owned(), shown(one), shown(other))),
    }
}

/// A value without the digests in it.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(shown).collect::<Vec<_>>().join(" "),
        Value::Object(fields) => {
            let fields = fields.iter().filter(|(name, _)| !name.ends_with("digest"));
            fields.map(|(name, value)| format!("{name} {}", shown(value))).collect::<Vec<_>>().join(", ")
        }
        value => value.to_string(),
    }
}
