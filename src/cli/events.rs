//! `grantbook events`: the ledger as it is, one JSON object a line, without the digests of secrets. Read
//! from the file, so it works whether the ledger is served or not.

use std::sync::Arc;

use grantbook_events::{Position, Revision, ShownEvent, StreamName};
use serde_json::json;

use super::failure::Failure;
use super::ledger_place::{LedgerFlags, LedgerPlace};
use super::output;
use super::runtime::block_on;
use super::signals::Signals;
use crate::ledger;
use crate::store::{Record, Signal, Store, StoreError};

/// Print the ledger, one JSON object a line.
#[derive(Debug, clap::Args)]
pub(super) struct Events {
    #[command(flatten)]
    place: LedgerFlags,
    /// Go on with new events as they are recorded, until interrupted
    #[arg(long)]
    follow: bool,
    /// Only this stream, such as app-… or installation-…
    #[arg(long, value_name = "NAME")]
    stream: Option<StreamName>,
    /// Only events after this position
    #[arg(long, value_name = "POSITION", default_value_t = 0)]
    after: u64,
}

impl Events {
    pub(super) fn run(self) -> Result<(), Failure> {
        let config = self.place.load()?;
        block_on(async {
            let store = LedgerPlace::of(&config).open_to_read().await?;
            let mut signals = Signals::listen()?;
            // On a task of its own: a reader that does not read must not keep a signal from being heard.
            let printing = tokio::spawn(self.print(store));
            tokio::select! {
                printed = printing => printed?,
                () = signals.next() => Ok(()),
            }
        })
    }

    async fn print(self, store: Arc<dyn Store>) -> Result<(), Failure> {
        let mut written = Written::default();
        match &self.stream {
            Some(stream) if !self.follow => {
                self.write(&store.read_stream(stream, Revision::FIRST).await?, &mut written)?;
            }
            _ => self.all(&*store, &mut written).await?,
        }
        if written.events == 0 && !self.follow {
            output::remark("no events");
        }
        match written.unreadable {
            0 => Ok(()),
            1 => Err(Failure::new("one event cannot be read; its line says why")),
            unreadable => {
                Err(Failure::new(format!("{unreadable} events cannot be read; their lines say why")))
            }
        }
    }

    /// Writes what there is, and goes on with what comes if it is to follow.
    async fn all(&self, store: &dyn Store, written: &mut Written) -> Result<(), Failure> {
        let mut subscription = store.subscribe(Position::new(self.after)).await?;
        loop {
            match subscription.next().await {
                Signal::Records(records) => self.write(&records, written)?,
                Signal::CaughtUp if !self.follow => return Ok(()),
                Signal::CaughtUp | Signal::UpTo(_) => {}
                Signal::Lost(StoreError::Closed) => return Ok(()),
                Signal::Lost(error) => return Err(error.into()),
            }
        }
    }

    /// Writes those that are asked for, and counts them.
    fn write(&self, records: &[Record], written: &mut Written) -> Result<(), Failure> {
        let wanted = |record: &&Record| {
            record.position.as_u64() > self.after
                && self.stream.as_ref().is_none_or(|stream| *stream == record.stream)
        };
        let mut lines = String::new();
        for record in records.iter().filter(wanted) {
            let line = match ledger::read(record) {
                Ok(event) => serde_json::to_string(&ShownEvent::new(&event)?)?,
                Err(error) => {
                    written.unreadable += 1;
                    let Record { position, stream, revision, event_id, type_name, .. } = record;
                    json!({ "position": position, "stream": stream, "revision": revision, "event_id": event_id,
                        "type": type_name, "unreadable": error.source.to_string() })
                    .to_string()
                }
            };
            lines.push_str(&line);
            lines.push('\n');
            written.events += 1;
        }
        if !lines.is_empty() {
            output::print(&lines)?;
        }
        Ok(())
    }
}

/// How many events were written, and how many of them cannot be read.
#[derive(Debug, Default)]
struct Written {
    events: usize,
    unreadable: usize,
}
