//! Keeps a file up to date with the ledger, and builds another beside it. Knows: subscriptions and files. Must
//! not know: what is in a row.

use std::convert::Infallible;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use grantbook_events::Position;
use uuid::Uuid;

use super::file::{End, File};
use super::rows::Writer;
use super::{HistoryError, Inner, Rebuilt};
use crate::ledger;
use crate::store::{Record, Signal, Store, StoreError, Subscription};

/// The pause before the ledger is followed again, doubled up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// About how many records are written at once, at the most.
const BATCH: usize = 16_384;
/// How long records that nobody asks for wait for others to be written with.
const GATHER: Duration = Duration::from_millis(500);
/// How many events that could not be read are tried again at the start. Those of a newer grantbook can all be read
/// by it.
const UNREADABLE: usize = 100;

pub(super) async fn run(inner: Arc<Inner>) {
    let mut pause = FIRST_PAUSE;
    loop {
        let lost = match follow(&inner, &mut pause).await {
            Err(HistoryError::Store(StoreError::Closed)) => return,
            Err(lost) => lost,
            Ok(never) => match never {},
        };
        if let HistoryError::Store(
            StoreError::Damaged { .. } | StoreError::NewerFormat { .. } | StoreError::EndsEarly(_),
        ) = lost
        {
            // Reading it again would say the same.
            tracing::error!(reason = %lost, "the history does not go on");
            inner.progress.send_modify(|progress| progress.stopped = Some(lost.to_string()));
            return;
        }
        tracing::warn!(reason = %lost, "the history is interrupted and taken up again");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn follow(inner: &Arc<Inner>, pause: &mut Duration) -> Result<Infallible, HistoryError> {
    let ledger = inner.store.head().await?.identity;
    if inner.current.load().is_none() {
        open(inner, ledger).await?;
    }
    let position = inner.progress.borrow().position;
    let mut subscription = inner.store.subscribe(position).await?;
    loop {
        match subscription.next().await {
            Signal::CaughtUp | Signal::UpTo(_) => {}
            Signal::Lost(error) => return Err(error.into()),
            Signal::Records(records) => {
                *pause = FIRST_PAUSE;
                let (batches, lost) = gather(inner, &mut subscription, records).await;
                let shared = Arc::clone(inner);
                blocking(move || shared.insert(&batches)).await?;
                if let Some(lost) = lost {
                    return Err(lost.into());
                }
            }
        }
    }
}

/// Waits for more to write at once, unless somebody waits for what there is: a page that many rows change is
/// then written once. Also says if that was the last there is.
async fn gather(
    inner: &Inner,
    subscription: &mut Subscription,
    first: Arc<Vec<Record>>,
) -> (Vec<Arc<Vec<Record>>>, Option<StoreError>) {
    let mut count = first.len();
    let mut batches = vec![first];
    let enough = async {
        tokio::select! {
            () = tokio::time::sleep(GATHER) => {}
            () = inner.wanted.notified() => {}
        }
    };
    tokio::pin!(enough);
    while count < BATCH {
        tokio::select! {
            () = &mut enough => break,
            signal = subscription.next() => match signal {
                Signal::CaughtUp | Signal::UpTo(_) => {}
                Signal::Lost(error) => return (batches, Some(error)),
                Signal::Records(records) => {
                    count += records.len();
                    batches.push(records);
                }
            },
        }
    }
    (batches, None)
}

/// Opens the file in force, or makes one; one that does not fit the ledger is begun anew.
async fn open(inner: &Arc<Inner>, ledger: Uuid) -> Result<(), HistoryError> {
    let shared = Arc::clone(inner);
    let (file, end, unreadable) = blocking(move || {
        let file = shared.generations.open(ledger)?;
        let (end, unreadable) = (file.end()?, file.reader()?.unreadable(UNREADABLE)?);
        Ok((file, end, unreadable))
    })
    .await?;
    let of_no_use = if !is_in_ledger(&*inner.store, end).await? {
        let shared = Arc::clone(&file);
        if blocking(move || shared.reader()?.ends_with(end)).await? {
            return Err(StoreError::EndsEarly(file.refusal(end)).into());
        }
        Some("its end is not that of its last row")
    } else if can_read_any(&*inner.store, &unreadable).await? {
        Some("events that could not be read when it was written can be read now")
    } else {
        None
    };
    let file = if let Some(why) = of_no_use {
        tracing::warn!(position = %end.position, why, "the history is built anew");
        let shared = Arc::clone(inner);
        blocking(move || shared.generations.begin_anew(&file, ledger)).await?
    } else {
        file
    };
    let position = file.end()?.position;
    inner.current.store(Some(file));
    inner.progress.send_modify(|progress| progress.position = position);
    Ok(())
}

/// What is at a position is the first record after the one before: positions are not counted with.
async fn is_in_ledger(store: &dyn Store, end: End) -> Result<bool, StoreError> {
    let Some(event_id) = end.event_id else { return Ok(end.position == Position::START) };
    let there = store.read_all(end.previous, 1).await?;
    Ok(there.iter().any(|record| record.position == end.position && record.event_id == event_id))
}

/// Whether this grantbook can read an event that the one before could not.
async fn can_read_any(store: &dyn Store, unreadable: &[(Position, Position)]) -> Result<bool, StoreError> {
    for (previous, position) in unreadable {
        let there = store.read_all(*previous, 1).await?;
        if there.iter().any(|record| record.position == *position && ledger::read(record).is_ok()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Builds the file again, because it is damaged; one rebuild at a time.
pub(super) fn mend(inner: &Arc<Inner>, what: &str) {
    if inner.is_mending.swap(true, Ordering::AcqRel) {
        return;
    }
    tracing::error!(what, "the history file is damaged, and is built again from the ledger");
    let inner = Arc::clone(inner);
    tokio::spawn(async move {
        match rebuild(&inner, |_, _| !inner.is_closed.load(Ordering::Acquire)).await {
            Ok(_) => tracing::info!("the history file is built again"),
            Err(error) => tracing::error!(%error, "the damaged history file could not be built again"),
        }
        inner.is_mending.store(false, Ordering::Release);
    });
}

impl Inner {
    fn insert(&self, batches: &[Arc<Vec<Record>>]) -> Result<(), HistoryError> {
        if self.is_closed.load(Ordering::Acquire) {
            return Err(StoreError::Closed.into());
        }
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let file = self.current.load_full();
        let file = file.ok_or_else(|| HistoryError::File("it is not open".to_owned()))?;
        let mut guard = file.writer();
        let Some(writer) = guard.as_mut() else { return Err(StoreError::Closed.into()) };
        writer.insert(batches.iter().flat_map(|records| records.iter()))?;
        let position = writer.position();
        self.progress.send_modify(|progress| progress.position = position);
        Ok(())
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, HistoryError> + Send + 'static,
) -> Result<T, HistoryError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|broke| HistoryError::File(broke.to_string()))?
}

/// Builds another file and puts it in force.
pub(super) async fn rebuild(
    inner: &Arc<Inner>,
    mut step: impl FnMut(u64, Position) -> bool + Send,
) -> Result<Rebuilt, HistoryError> {
    let ledger = inner.store.head().await?.identity;
    let shared = Arc::clone(inner);
    let begun = blocking(move || shared.generations.begin_beside(ledger)).await;
    let built = begun.inspect_err(|_| inner.generations.give_up_building())?;
    let outcome = build(inner, &built, ledger, &mut step).await;
    if !matches!(outcome, Ok(Rebuilt::Same | Rebuilt::Repaired)) {
        built.close();
        inner.generations.give_up_building();
    }
    outcome
}

async fn build(
    inner: &Arc<Inner>,
    built: &Arc<File>,
    ledger: Uuid,
    step: &mut (impl FnMut(u64, Position) -> bool + Send),
) -> Result<Rebuilt, HistoryError> {
    let (mut events, mut position, mut was_same) = (0, Position::START, None);
    loop {
        // Up to where the file in force is, and not beyond: there the two are compared.
        let target = inner.progress.borrow().position;
        while position < target {
            let mut records = inner.store.read_all(position, BATCH).await?;
            records.truncate(records.partition_point(|record| record.position <= target));
            let Some(last) = records.last() else { break };
            position = last.position;
            events += records.len() as u64;
            let file = Arc::clone(built);
            blocking(move || insert_into(&file, &records)).await?;
            if !step(events, position) {
                return Ok(Rebuilt::Cancelled);
            }
        }
        let (shared, file) = (Arc::clone(inner), Arc::clone(built));
        // The rows themselves are compared once, while both files go on; what is added later is told by the
        // digests.
        let same = match was_same {
            Some(same) => same,
            None => blocking(move || shared.has_rows_of(&file)).await?,
        };
        was_same = Some(same);
        let (shared, file) = (Arc::clone(inner), Arc::clone(built));
        if let Some(digests_agree) = blocking(move || shared.exchange(&file, ledger)).await? {
            return Ok(if same && digests_agree { Rebuilt::Same } else { Rebuilt::Repaired });
        }
    }
}

fn insert_into(file: &File, records: &[Record]) -> Result<(), HistoryError> {
    match file.writer().as_mut() {
        Some(writer) => writer.insert(records),
        None => Err(HistoryError::File("it was closed".to_owned())),
    }
}

impl Inner {
    /// Whether the rows of the file in force, up to where another ends, come to what that one's rows come to.
    fn has_rows_of(&self, built: &Arc<File>) -> Result<bool, HistoryError> {
        let old = self.current.load_full().ok_or_else(|| HistoryError::File("it is not open".to_owned()))?;
        let Some(position) = built.writer().as_ref().map(Writer::position) else { return Ok(false) };
        let right = built.reader()?.sum_up_to(position)?;
        let there = old.reader().and_then(|old| Ok((old.damages()?, old.sum_up_to(position)?)));
        Ok(match there {
            Ok((damages, sum)) => damages.is_empty() && sum == right,
            Err(error) => {
                tracing::warn!(%error, "the history in force cannot be read, and is built anew for that");
                false
            }
        })
    }

    /// Puts a file in force that is where the old one is, and says whether their digests agree; `None` if the
    /// old one has gone on.
    fn exchange(&self, built: &File, ledger: Uuid) -> Result<Option<bool>, HistoryError> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let state = |file: &File| {
            file.writer().as_ref().map(|writer| (writer.position(), (writer.digest(), writer.latest_at())))
        };
        let old = self.current.load_full().ok_or_else(|| HistoryError::File("it is not open".to_owned()))?;
        let (Some(of_old), Some(of_built)) = (state(&old), state(built)) else {
            return Err(StoreError::Closed.into());
        };
        if of_old.0 != of_built.0 {
            return Ok(None);
        }
        // A question that is asked during the exchange has one or the other.
        self.current.store(Some(self.generations.put_in_force(built, ledger)?));
        self.generations.put_out_of_force(&old);
        Ok(Some(of_old.1 == of_built.1))
    }
}
