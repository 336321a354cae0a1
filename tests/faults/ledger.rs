//! What the ledger says, read from the lines of `grantbook events` by rules of the test's own. Knows: event
//! types and their data. Must not know: how grantbook folds them.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde_json::Value;

/// What follows from the events.
#[derive(Debug, Default)]
pub struct Recorded {
    /// How often an event of a type was recorded for a request.
    times: HashMap<(String, String), usize>,
    /// The grant that a request led to.
    grants: HashMap<String, String>,
    /// The token that a grant led to.
    tokens: HashMap<String, String>,
    /// Access tokens, ended ones too.
    #[cfg(feature = "eventstore")]
    pub access_tokens: HashSet<String>,
    /// How many approvals of each app there were, and how many of their codes were exchanged.
    of_apps: HashMap<String, (usize, usize)>,
    /// The tokens of each installation that nothing has ended.
    pub live_tokens: BTreeMap<String, BTreeSet<String>>,
}

impl Recorded {
    /// Reads the whole ledger. Positions rise, and every event is there once.
    #[track_caller]
    pub fn by(events: &[Value]) -> Self {
        let (mut recorded, mut ids, mut revisions) = (Self::default(), HashSet::new(), HashMap::new());
        let mut last = 0;
        for event in events {
            let position = event["position"].as_u64().unwrap();
            assert!(position > last, "{event}");
            last = position;
            assert!(ids.insert(text(event, "event_id")), "twice: {event}");
            let revision = revisions.entry(text(event, "stream")).or_insert(0_u64);
            assert_eq!(event["revision"], *revision, "{event}");
            *revision += 1;
            recorded.follow(event);
        }
        recorded
    }

    fn follow(&mut self, event: &Value) {
        let (request, kind, data) = (text(event, "request_id"), text(event, "type"), &event["data"]);
        #[cfg(feature = "eventstore")]
        if ["code-exchanged", "token-refreshed"].contains(&&*kind) {
            self.access_tokens.insert(text(data, "token_id"));
        }
        if let Some(installation) = event["stream"].as_str().unwrap().strip_prefix("installation-") {
            let live = self.live_tokens.entry(installation.to_owned()).or_default();
            let of_app = self.of_apps.entry(text(data, "client_id")).or_default();
            match kind.as_str() {
                "access-granted" => {
                    of_app.0 += 1;
                    self.grants.insert(request.clone(), text(data, "grant_id"));
                }
                "code-exchanged" => {
                    of_app.1 += 1;
                    live.insert(text(data, "token_id"));
                    live.extend(data["refresh"]["token_id"].as_str().map(str::to_owned));
                    let twice = self.tokens.insert(text(data, "grant_id"), text(data, "token_id"));
                    assert_eq!(twice, None, "one code, two tokens: {event}");
                }
                "token-refreshed" => {
                    assert!(live.remove(&text(data, "spent_token_id")), "{event}");
                    live.extend([text(data, "token_id"), text(&data["refresh"], "token_id")]);
                }
                "token-revoked" => {
                    assert!(live.remove(&text(data, "token_id")), "{event}");
                }
                "code-replayed" | "refresh-replayed" | "grant-revoked" | "app-uninstalled" => {
                    for token in data["tokens"].as_array().unwrap() {
                        assert!(live.remove(&text(token, "token_id")), "{event}");
                    }
                }
                other => panic!("nobody asked for {other}: {event}"),
            }
        }
        *self.times.entry((request, kind)).or_default() += 1;
    }

    /// How often an event of a type was recorded for a request.
    pub fn times(&self, request: &str, kind: &str) -> usize {
        self.times.get(&(request.to_owned(), kind.to_owned())).copied().unwrap_or(0)
    }

    /// How many approvals of an app there were, and how many of their codes were exchanged.
    #[cfg(feature = "eventstore")]
    pub fn of_app(&self, client_id: &str) -> (usize, usize) {
        self.of_apps.get(client_id).copied().unwrap_or_default()
    }

    /// The token that the grant of a request led to, if it led to one.
    pub fn token_of(&self, request: &str) -> Option<&str> {
        self.tokens.get(self.grants.get(request)?).map(String::as_str)
    }

    pub fn is_live(&self, token_id: &str) -> bool {
        self.live_tokens.values().any(|tokens| tokens.contains(token_id))
    }
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_else(|| panic!("no {name} in {value}")).to_owned()
}
