//! An app's codes die, and its tokens stop counting until it is resumed (C5).

use grantbook_events::{AppEvent, AppSuspended, ClientId, StreamKind, Timestamp};
use grantbook_projections::App;

use super::refusal::{REASON_MAX, check_text};
use super::update_app::registered;
use super::{AppRefusal, Command, Decided, Decision};

/// Suspend an app.
#[derive(Debug, Clone)]
pub struct SuspendApp {
    /// The app.
    pub client_id: ClientId,
    /// In the operator's words.
    pub reason: String,
}

impl Command for SuspendApp {
    const NAME: &'static str = "suspend_app";
    type State = App;
    type Answer = ();
    type Refusal = AppRefusal;

    fn stream(&self) -> StreamKind {
        StreamKind::App(self.client_id)
    }

    fn decide(&self, state: Option<&App>, _now: Timestamp) -> Decided<Self> {
        check_text("reason", &self.reason, REASON_MAX)?;
        if !registered(state)?.is_active() {
            return Err(AppRefusal::Suspended);
        }
        let event = AppSuspended { reason: self.reason.clone() };
        Ok(Decision::granted((), [AppEvent::Suspended(event)]))
    }
}

#[cfg(test)]
mod tests {
    use super::super::refusal::UnreadableText;
    use super::super::testing::{self, TestStreams};
    use super::*;

    #[test]
    fn an_app_is_suspended_once_for_a_reason_that_can_be_read() {
        let suspend =
            |reason: &str| SuspendApp { client_id: testing::client_id(1), reason: reason.to_owned() };
        let mut streams = TestStreams::app([testing::register(1)]);
        let unread = AppRefusal::Text(UnreadableText { what: "reason", limit: REASON_MAX });
        assert_eq!(streams.decide(&suspend(" "), 2), Decision::refused(unread));
        streams.run(&suspend("under review"), 2).unwrap();
        let app = streams.registered();
        assert!(!app.is_active());
        assert_eq!(app.codes_dead_until, Some(Timestamp::from_micros(2)));
        assert_eq!(streams.decide(&suspend("again"), 3), Decision::refused(AppRefusal::Suspended));
    }
}
