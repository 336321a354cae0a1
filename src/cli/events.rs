//! `grantbook events`: the ledger as it is, one JSON object a line, without the digests of secrets. Read
//! from the file, so it works whether the ledger is served or not.

use std::sync::Arc;

use grantbook_events::{Position, Revision, ShownEvent, StreamName};

use super::failure::{EXIT_CODES, Failure};
use super::ledger_flags::LedgerFlags;
use super::ledger_place::open_to_read;
use super::output;
use super::runtime::block_on;
use super::signals::Signals;
use crate::ledger;
use crate::store::{Record, Signal, Store, StoreError};

/// Records read at once.
const PAGE: usize = 1024;

/// Print the ledger, one JSON object a line.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_CODES)]
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
            let store = open_to_read(&config).await?;
            let mut signals = Signals::listen().map_err(Failure::of)?;
            // On a task of its own: a reader that does not read must not keep a signal from being heard.
            let printing = tokio::spawn(self.print(store));
            tokio::select! {
                printed = printing => printed.map_err(Failure::of)?,
                () = signals.next() => Ok(()),
            }
        })
    }

    async fn print(self, store: Arc<dyn Store>) -> Result<(), Failure> {
        let after = Position::new(self.after);
        if self.follow {
            return self.follow(&*store, after).await;
        }
        let written = match &self.stream {
            Some(stream) => self.write(&store.read_stream(stream, Revision::FIRST).await?)?,
            None => self.pages(&*store, after).await?,
        };
        if written == 0 {
            output::remark("no events");
        }
        Ok(())
    }

    async fn pages(&self, store: &dyn Store, mut after: Position) -> Result<usize, Failure> {
        let mut written = 0;
        loop {
            let records = store.read_all(after, PAGE).await?;
            let Some(last) = records.last() else { return Ok(written) };
            after = last.position;
            written += self.write(&records)?;
        }
    }

    async fn follow(&self, store: &dyn Store, after: Position) -> Result<(), Failure> {
        let mut subscription = store.subscribe(after).await?;
        loop {
            match subscription.next().await {
                Signal::Records(records) => drop(self.write(&records)?),
                Signal::CaughtUp | Signal::UpTo(_) => {}
                Signal::Lost(StoreError::Closed) => return Ok(()),
                Signal::Lost(error) => return Err(error.into()),
            }
        }
    }

    /// Writes those that are asked for, and counts them.
    fn write(&self, records: &[Record]) -> Result<usize, Failure> {
        let wanted = |record: &&Record| {
            record.position.as_u64() > self.after
                && self.stream.as_ref().is_none_or(|stream| *stream == record.stream)
        };
        let (mut lines, mut written) = (String::new(), 0);
        for record in records.iter().filter(wanted) {
            let event = ledger::read(record)?;
            let shown = ShownEvent::new(&event).map_err(Failure::of)?;
            lines.push_str(&serde_json::to_string(&shown).map_err(Failure::of)?);
            lines.push('\n');
            written += 1;
        }
        if written > 0 {
            output::print(&lines)?;
        }
        Ok(written)
    }
}
