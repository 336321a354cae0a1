//! A client secret ends before its time.

use grantbook_events::{AppEvent, AppSecretRetired, ClientId, SecretId, StreamKind, Timestamp};
use grantbook_projections::App;

use super::refusal::check_note;
use super::update_app::registered;
use super::{AppRefusal, Command, Decided, Decision};

/// Retire a client secret at once.
#[derive(Debug, Clone)]
pub struct RetireSecret {
    /// The app.
    pub client_id: ClientId,
    /// Which secret.
    pub secret_id: SecretId,
    /// Why, in the operator's words.
    pub note: Option<String>,
}

impl Command for RetireSecret {
    const NAME: &'static str = "retire_secret";
    type State = App;
    /// Whether it was retired before, so that nothing happened.
    type Answer = bool;
    type Refusal = AppRefusal;

    fn stream(&self) -> StreamKind {
        StreamKind::App(self.client_id)
    }

    fn decide(&self, state: Option<&App>, now: Timestamp) -> Decided<Self> {
        check_note(self.note.as_ref())?;
        let app = registered(state)?;
        match app.secrets.iter().find(|secret| secret.secret_id == self.secret_id) {
            Some(secret) if secret.is_live(now) => {}
            Some(_) => return Ok(Decision::already(true)),
            None => return Err(AppRefusal::SecretUnknown(self.secret_id)),
        }
        if app.live_secrets(now).count() == 1 {
            return Err(AppRefusal::LastSecret);
        }
        let event = AppSecretRetired { secret_id: self.secret_id, retires_at: now, note: self.note.clone() };
        Ok(Decision::granted(false, [AppEvent::SecretRetired(event)]))
    }
}

#[cfg(test)]
mod tests {
    use super::super::RotateSecret;
    use super::super::testing::{self, TestStreams};
    use super::*;
    use grantbook_events::NewSecret;
    use std::time::Duration;

    #[test]
    fn the_old_secret_can_be_ended_and_the_last_cannot() {
        let retire = |n| RetireSecret {
            client_id: testing::client_id(1),
            secret_id: testing::secret_id(n),
            note: None,
        };
        let mut streams = TestStreams::app([testing::register(1)]);
        assert_eq!(streams.decide(&retire(1), 5), Decision::refused(AppRefusal::LastSecret));
        assert_eq!(
            streams.decide(&retire(9), 5),
            Decision::refused(AppRefusal::SecretUnknown(testing::secret_id(9)))
        );
        let secret = NewSecret { secret_id: testing::secret_id(2), digest: testing::digest(2) };
        let overlap = Duration::from_secs(60);
        streams.run(&RotateSecret { client_id: testing::client_id(1), secret, overlap }, 10).unwrap();
        assert_eq!(streams.run(&retire(1), 11), Ok(false));
        assert_eq!(streams.decide(&retire(1), 12), Decision::already(true));
        assert_eq!(streams.decide(&retire(2), 12), Decision::refused(AppRefusal::LastSecret));
    }
}
