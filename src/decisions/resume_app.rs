//! A suspension ends: the app's tokens count again; the codes stay dead.

use grantbook_events::{AppEvent, AppResumed, ClientId, StreamKind, Timestamp};
use grantbook_projections::App;

use super::refusal::{REASON_MAX, check_text};
use super::update_app::registered;
use super::{AppRefusal, Command, Decided, Decision};

/// Resume a suspended app.
#[derive(Debug, Clone)]
pub struct ResumeApp {
    /// The app.
    pub client_id: ClientId,
    /// In the operator's words.
    pub reason: String,
}

impl Command for ResumeApp {
    const NAME: &'static str = "resume_app";
    type State = App;
    type Answer = ();
    type Refusal = AppRefusal;

    fn stream(&self) -> StreamKind {
        StreamKind::App(self.client_id)
    }

    fn decide(&self, state: Option<&App>, _now: Timestamp) -> Decided<Self> {
        check_text("reason", &self.reason, REASON_MAX)?;
        if registered(state)?.is_active() {
            return Err(AppRefusal::NotSuspended);
        }
        let event = AppResumed { reason: self.reason.clone() };
        Ok(Decision::granted((), [AppEvent::Resumed(event)]))
    }
}

#[cfg(test)]
mod tests {
    use super::super::SuspendApp;
    use super::super::testing::{self, TestStreams};
    use super::*;

    #[test]
    fn only_a_suspended_app_is_resumed_and_its_old_codes_stay_dead() {
        let reason = "because".to_owned();
        let resume = ResumeApp { client_id: testing::client_id(1), reason: reason.clone() };
        let mut streams = TestStreams::app([testing::register(1)]);
        assert_eq!(streams.decide(&resume, 2), Decision::refused(AppRefusal::NotSuspended));
        streams.run(&SuspendApp { client_id: testing::client_id(1), reason }, 2).unwrap();
        streams.run(&resume, 3).unwrap();
        let app = streams.registered();
        assert!(app.is_active());
        assert_eq!(app.codes_dead_until, Some(Timestamp::from_micros(2)));
    }
}
