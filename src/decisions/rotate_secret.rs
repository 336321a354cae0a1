//! An app gets a new client secret; the old ones go on for an overlap (T5).

use std::time::Duration;

use grantbook_events::{
    AppEvent, AppSecretAdded, AppSecretRetired, ClientId, NewSecret, StreamKind, Timestamp,
};
use grantbook_projections::App;

use super::update_app::registered;
use super::{AppRefusal, Command, Decided, Decision};

/// The most client secrets an app may have live at once: the old and the new one.
pub const MAX_LIVE_SECRETS: usize = 2;

/// Rotate the client secret.
#[derive(Debug, Clone)]
pub struct RotateSecret {
    /// The app.
    pub client_id: ClientId,
    /// The new secret.
    pub secret: NewSecret,
    /// How long the old secret goes on; zero ends it at once.
    pub overlap: Duration,
}

impl Command for RotateSecret {
    const NAME: &'static str = "rotate_secret";
    type State = App;
    type Answer = ();
    type Refusal = AppRefusal;

    fn stream(&self) -> StreamKind {
        StreamKind::App(self.client_id)
    }

    fn decide(&self, state: Option<&App>, now: Timestamp) -> Decided<Self> {
        let app = registered(state)?;
        if !app.confidential {
            return Err(AppRefusal::PublicClient);
        }
        let live: Vec<_> = app.live_secrets(now).collect();
        // With no overlap every old secret ends here, so there is always room.
        if live.len() >= MAX_LIVE_SECRETS && !self.overlap.is_zero() {
            return Err(AppRefusal::TooManySecrets { live: live.len(), limit: MAX_LIVE_SECRETS });
        }
        let retires_at = now.plus(self.overlap);
        let added = AppSecretAdded { secret_id: self.secret.secret_id, digest: self.secret.digest };
        let retired = live
            .into_iter()
            .filter(|secret| secret.retires_at.is_none_or(|end| end > retires_at))
            .map(|secret| {
                AppEvent::SecretRetired(AppSecretRetired {
                    secret_id: secret.secret_id,
                    retires_at,
                    note: None,
                })
            });
        Ok(Decision::granted((), std::iter::once(AppEvent::SecretAdded(added)).chain(retired)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{self, TestStreams};
    use super::*;

    fn rotate(n: u8, overlap: u64) -> RotateSecret {
        RotateSecret {
            client_id: testing::client_id(1),
            secret: NewSecret { secret_id: testing::secret_id(n), digest: testing::digest(n) },
            overlap: Duration::from_micros(overlap),
        }
    }

    fn live(streams: &TestStreams<App>, now: i64) -> Vec<grantbook_events::SecretId> {
        let app = streams.registered();
        app.live_secrets(Timestamp::from_micros(now)).map(|secret| secret.secret_id).collect()
    }

    #[test]
    fn t5_two_secrets_are_live_during_the_overlap_and_one_after_it() {
        let mut streams = TestStreams::app([testing::register(1)]);
        streams.run(&rotate(2, 100), 10).unwrap();
        assert_eq!(live(&streams, 109), [testing::secret_id(1), testing::secret_id(2)]);
        assert_eq!(live(&streams, 110), [testing::secret_id(2)]);
        let third = streams.decide(&rotate(3, 100), 20);
        assert_eq!(third, Decision::refused(AppRefusal::TooManySecrets { live: 2, limit: 2 }));
        streams.run(&rotate(3, 100), 110).unwrap();
        assert_eq!(live(&streams, 110), [testing::secret_id(2), testing::secret_id(3)]);
    }

    #[test]
    fn without_overlap_every_old_secret_ends_at_once() {
        let mut streams = TestStreams::app([testing::register(1)]);
        streams.run(&rotate(2, 100), 10).unwrap();
        streams.run(&rotate(3, 0), 20).unwrap();
        assert_eq!(live(&streams, 20), [testing::secret_id(3)]);
    }
}
