//! A warning about a client, once in a while. Knows: when each was warned about. Must not know: what about.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use grantbook_events::{ClientId, Timestamp};

/// How long there is no second warning.
const WHILE: Duration = Duration::from_secs(60 * 60);
/// How many clients are remembered: beyond, all are forgotten, and may be warned about again.
const MAX_CLIENTS: usize = 10_000;

/// Which clients there was a warning about, and when.
#[derive(Debug, Default)]
pub struct Seldom(Mutex<HashMap<ClientId, Timestamp>>);

impl Seldom {
    /// Whether a warning is due; if so, it is taken for given.
    pub fn is_due(&self, client_id: ClientId, now: Timestamp) -> bool {
        let mut warned = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.get(&client_id).is_some_and(|last| now < last.plus(WHILE)) {
            return false;
        }
        if warned.len() >= MAX_CLIENTS {
            warned.clear();
        }
        warned.insert(client_id, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets;

    #[test]
    fn each_client_has_one_warning_an_hour_and_memory_is_bounded() {
        let (seldom, one) = (Seldom::default(), secrets::new_client_id());
        let at = |seconds| Timestamp::EPOCH.plus(Duration::from_secs(seconds));
        assert!(seldom.is_due(one, at(0)) && seldom.is_due(secrets::new_client_id(), at(0)));
        assert!(!seldom.is_due(one, at(3599)));
        assert!(seldom.is_due(one, at(3600)));
        for _ in 0..MAX_CLIENTS * 2 {
            seldom.is_due(secrets::new_client_id(), at(3600));
        }
        assert!(seldom.0.lock().unwrap().len() <= MAX_CLIENTS);
    }
}
