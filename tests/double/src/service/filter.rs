//! Which events of `$all` somebody wants. Knows: prefixes and how often a checkpoint is due. Must not know: where
//! events come from.

use tonic::Status;

use crate::event::Event;
use crate::protocol::streams::read_req::options::FilterOptions;
use crate::protocol::streams::read_req::options::filter_options::{Filter as By, Window};

/// How many events are looked at before a checkpoint is considered, if the request does not say.
const DEFAULT_WINDOW: u32 = 32;

/// Which events somebody wants.
#[derive(Debug, Clone)]
pub(super) struct Filter {
    is_of_streams: bool,
    prefixes: Vec<String>,
    /// After how many skipped events a checkpoint is due.
    pub checkpoint_every: u64,
}

impl Filter {
    pub fn parse(options: FilterOptions) -> Result<Self, Status> {
        let (is_of_streams, expression) = match options.filter {
            Some(By::StreamIdentifier(expression)) => (true, expression),
            Some(By::EventType(expression)) => (false, expression),
            None => return Err(Status::invalid_argument("a filter by nothing")),
        };
        if !expression.regex.is_empty() {
            return Err(Status::unimplemented("this double filters by prefixes only"));
        }
        if expression.prefix.is_empty() {
            return Err(Status::invalid_argument("a filter without prefixes"));
        }
        let window = match options.window {
            Some(Window::Max(max)) => max,
            Some(Window::Count(_)) | None => DEFAULT_WINDOW,
        };
        let checkpoint_every = u64::from(window) * u64::from(options.checkpoint_interval_multiplier);
        Ok(Self { is_of_streams, prefixes: expression.prefix, checkpoint_every })
    }

    pub fn wants(&self, event: &Event) -> bool {
        let name = if self.is_of_streams { &*event.stream } else { event.event_type.as_str() };
        self.prefixes.iter().any(|prefix| name.starts_with(prefix.as_str()))
    }
}
