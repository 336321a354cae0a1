//! An app is gone for good, and with it every code and token.

use grantbook_events::{AppDeleted, AppEvent, ClientId, StreamKind, Timestamp};
use grantbook_projections::App;

use super::refusal::{REASON_MAX, check_text};
use super::update_app::registered;
use super::{AppRefusal, Command, Decided, Decision};

/// Delete an app.
#[derive(Debug, Clone)]
pub struct DeleteApp {
    /// The app.
    pub client_id: ClientId,
    /// In the operator's words.
    pub reason: String,
}

impl Command for DeleteApp {
    const NAME: &'static str = "delete_app";
    type State = App;
    type Answer = ();
    type Refusal = AppRefusal;

    fn stream(&self) -> StreamKind {
        StreamKind::App(self.client_id)
    }

    fn decide(&self, state: Option<&App>, _now: Timestamp) -> Decided<Self> {
        check_text("reason", &self.reason, REASON_MAX)?;
        registered(state)?;
        let event = AppDeleted { reason: self.reason.clone() };
        Ok(Decision::granted((), [AppEvent::Deleted(event)]))
    }
}

#[cfg(test)]
mod tests {
    use super::super::ResumeApp;
    use super::super::testing::{self, TestStreams};
    use super::*;

    #[test]
    fn a_deleted_app_is_unregistered_to_every_command() {
        let reason = "closed".to_owned();
        let delete = DeleteApp { client_id: testing::client_id(1), reason: reason.clone() };
        let mut streams = TestStreams::app([testing::register(1)]);
        streams.run(&delete, 2).unwrap();
        assert_eq!(streams.decide(&delete, 3), Decision::refused(AppRefusal::Unknown));
        let resume = ResumeApp { client_id: testing::client_id(1), reason };
        assert_eq!(streams.decide(&resume, 3), Decision::refused(AppRefusal::Unknown));
    }
}
