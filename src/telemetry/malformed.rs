//! What actix-http logs as an error although any stranger can cause it: a request that is no HTTP, or a connection
//! that breaks. Knows: the events of actix-http. Must not know: how lines are written.

use std::fmt::{Debug, Write as _};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::Context;

/// Where actix-http gives up on a connection.
const DISPATCHER: &str = "actix_http::h1::dispatcher";
/// What a log filter leaves out, unless it names actix-http.
pub(super) const LEFT_OUT: &str = "actix_http::h1=off";

/// Logs again, as no error, what [`filter`] lets through. It must be the last layer: what it logs goes to all.
pub(super) struct Malformed;

/// What [`Malformed`] is for.
pub(super) fn filter() -> Targets {
    Targets::new().with_target(DISPATCHER, Level::ERROR)
}

impl<S: Subscriber> Layer<S> for Malformed {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut message = Message::default();
        event.record(&mut message);
        let reason = message.0.as_str();
        tracing::info!(target: "grantbook::request", reason, "a connection brought what is not HTTP, or broke");
    }
}

#[derive(Default)]
struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            // Writing to a String does not fail.
            let _ = write!(self.0, "{value:?}");
        }
    }
}
