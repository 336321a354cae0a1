//! Where two states differ, in words. Knows: what the rows of a state say. Must not know: which of the two
//! is right. Digests of secrets are compared and never shown.

use std::collections::BTreeMap;
use std::fmt;

use grantbook_events::{InstallationId, TokenId};

use super::Live;
use super::shards::{Place, SHARDS};
use crate::app::ClientSecret;

/// One field that two states have differently.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// What the field belongs to, such as `installation 98f1b1a0-…`.
    pub row: String,
    /// The field.
    pub field: &'static str,
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

type Row = Vec<(&'static str, String)>;

impl Live {
    /// The first field that this state and another have differently, in the order of apps, operator keys,
    /// quarantined streams, installations, tokens. Nothing may be written to either meanwhile.
    pub fn difference(&self, other: &Self) -> Option<Difference> {
        let small = differ(&self.small_rows(), &other.small_rows());
        small
            .or_else(|| {
                (0..SHARDS).find_map(|shard| {
                    let rows = |live: &Self| -> BTreeMap<InstallationId, Place> {
                        let placed = live.installations.rows_of_shard(shard);
                        placed.into_iter().map(|(place, id)| (id, place)).collect()
                    };
                    let (ours, theirs) = (rows(self), rows(other));
                    let row = |live: &Self, place: Option<&Place>| place.and_then(|&place| live.row(place));
                    ours.keys().chain(theirs.keys()).find_map(|id| {
                        let name = format!("installation {id}");
                        differ_in(name, row(self, ours.get(id)), row(other, theirs.get(id)))
                    })
                })
            })
            .or_else(|| {
                let mut ids =
                    (0..SHARDS).flat_map(|shard| self.token_ids(shard).chain(other.token_ids(shard)));
                ids.find_map(|id| {
                    let name = format!("token {id}");
                    differ_in(name, self.token_row(&id), other.token_row(&id))
                })
            })
    }

    /// Apps, keys and quarantined streams, of which there are few.
    fn small_rows(&self) -> BTreeMap<String, Row> {
        let mut rows = BTreeMap::new();
        for app in self.apps.all() {
            let of_secrets = |field: fn(&ClientSecret) -> String| {
                app.secrets.iter().map(field).collect::<Vec<_>>().join(" ")
            };
            let fields = vec![
                ("name", app.name.clone()),
                ("owner", app.owner.clone()),
                ("homepage", or_none(app.homepage.as_ref())),
                ("redirect URIs", app.redirect_uris.join(" ")),
                ("scopes", app.scopes.join(" ")),
                ("confidential", app.confidential.to_string()),
                ("status", format!("{:?}", app.status)),
                ("token policy", format!("{:?}", app.token_policy)),
                ("codes dead until", or_none(app.codes_dead_until)),
                ("suspensions", app.suspensions.len().to_string()),
                ("registered at", app.registered_at.to_string()),
                ("changed at", app.changed_at.to_string()),
                ("secrets", of_secrets(|secret| secret.secret_id.to_string())),
                ("secrets added at", of_secrets(|secret| secret.added_at.to_string())),
                ("secrets retire at", of_secrets(|secret| or_none(secret.retires_at))),
                (HIDDEN, of_secrets(|secret| secret.digest.to_string())),
            ];
            rows.insert(format!("app {}", app.client_id), fields);
        }
        for (key, is_accepted) in self.keys.all() {
            let fields = vec![
                ("name", key.name.clone()),
                ("role", format!("{:?}", key.role)),
                ("created at", key.created_at.to_string()),
                ("retired at", or_none(key.retired_at)),
                ("accepted", is_accepted.to_string()),
                (HIDDEN, key.digest.to_string()),
            ];
            rows.insert(format!("operator key {}", key.key_id), fields);
        }
        for poison in self.quarantine.all() {
            let fields = vec![("quarantined at position", poison.position.to_string())];
            rows.insert(format!("stream {}", poison.stream), fields);
        }
        rows
    }

    fn row(&self, place: Place) -> Option<Row> {
        let row = self.installations.row(place)?;
        let mut tokens: Vec<_> =
            row.tokens.iter().filter_map(|&token| Some(self.tokens.row_at(token)?.1.token_id)).collect();
        tokens.sort_unstable();
        Some(vec![
            ("app", row.client_id.to_string()),
            ("account", row.account_id.to_string()),
            ("first granted at", row.first_granted_at.to_string()),
            ("installed since", or_none(row.installed_since)),
            ("ended at", or_none(row.ended_at)),
            ("epoch", row.epoch.to_string()),
            ("tokens", format!("{tokens:?}")),
        ])
    }

    fn token_ids(&self, shard: usize) -> impl Iterator<Item = TokenId> {
        let mut ids: Vec<_> =
            self.tokens.rows_of_shard(shard).into_iter().map(|(_, row)| row.token_id).collect();
        ids.sort_unstable();
        ids.into_iter()
    }

    fn token_row(&self, id: &TokenId) -> Option<Row> {
        let (digest, row) = self.tokens.row_at(self.tokens.find_id(id)?)?;
        let installation = self.installations.identity(row.installation).map(|(id, _)| id.to_string());
        Some(vec![
            ("app", row.client_id.to_string()),
            ("installation", installation.unwrap_or_default()),
            ("user", row.user_id.to_string()),
            ("scopes", row.scopes.join(" ")),
            ("issued at", row.issued_at.to_string()),
            ("expires at", or_none(row.expires_at)),
            (HIDDEN, digest.to_string()),
        ])
    }
}

/// A field whose value is not shown.
const HIDDEN: &str = "the digest of a secret";

fn differ(ours: &BTreeMap<String, Row>, theirs: &BTreeMap<String, Row>) -> Option<Difference> {
    let mut names = ours.keys().chain(theirs.keys());
    names.find_map(|name| differ_in(name.clone(), ours.get(name).cloned(), theirs.get(name).cloned()))
}

fn differ_in(row: String, one: Option<Row>, other: Option<Row>) -> Option<Difference> {
    let (one, other) = match (one, other) {
        (None, None) => return None,
        (Some(_), None) => return Some(presence(row, "there", "missing")),
        (None, Some(_)) => return Some(presence(row, "missing", "there")),
        (Some(one), Some(other)) => (one, other),
    };
    let (field, one, other) = one
        .into_iter()
        .zip(other)
        .find(|((_, one), (_, other))| one != other)
        .map(|((field, one), (_, other))| (field, one, other))?;
    let hidden = |text: String, instead: &str| if field == HIDDEN { instead.to_owned() } else { text };
    Some(Difference { row, field, one: hidden(one, "one"), other: hidden(other, "another") })
}

fn presence(row: String, one: &str, other: &str) -> Difference {
    Difference { row, field: "it", one: one.to_owned(), other: other.to_owned() }
}

fn or_none(value: Option<impl fmt::Display>) -> String {
    value.map_or_else(|| "none".to_owned(), |value| value.to_string())
}
