//! `grantbook events`: the ledger as it is, one JSON object a line, without the digests of secrets. Read
//! from the file, so it works whether the ledger is served or not.

use std::sync::Arc;

use grantbook_events::{Position, Revision, ShownEvent, StreamName};

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
        let written = match &self.stream {
            Some(stream) if !self.follow => self.write(&store.read_stream(stream, Revision::FIRST).await?)?,
            _ => self.all(&*store).await?,
        };
        if written == 0 && !self.follow {
            output::remark("no events");
        }
        Ok(())
    }

    /// Writes what there is, and goes on with what comes if it is to follow.
    async fn all(&self, store: &dyn Store) -> Result<usize, Failure> {
        let (mut subscription, mut written) = (store.subscribe(Position::new(self.after)).await?, 0);
        loop {
            match subscription.next().await {
                Signal::Records(records) => written += self.write(&records)?,
                Signal::CaughtUp if !self.follow => return Ok(written),
                Signal::CaughtUp | Signal::UpTo(_) => {}
                Signal::Lost(StoreError::Closed) => return Ok(written),
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
            let shown = ShownEvent::new(&event)?;
            lines.push_str(&serde_json::to_string(&shown)?);
            lines.push('\n');
            written += 1;
        }
        if written > 0 {
            output::print(&lines)?;
        }
        Ok(written)
    }
}
