//! Which positions a time leads to. Knows: recorded times. Must not know: why it is asked.
//!
//! The latest time up to a row never falls, so a binary search finds a time without an index.

use grantbook_events::{Position, Timestamp};
use rusqlite::{OptionalExtension as _, Row};

use super::HistoryError;
use super::file::HistoryReader;
use super::rows::{COLUMNS, read};

impl HistoryReader {
    /// The last position before the first event that was recorded after a time.
    pub(super) fn last_until(&self, time: Timestamp) -> Result<Position, HistoryError> {
        let mut at_or_before = self.conn()?.prepare_cached(
            "SELECT position, latest_at FROM events WHERE position <= ?1 ORDER BY position DESC LIMIT 1",
        )?;
        let (mut found, mut low, mut high) = (0, 0, self.end()?.position.as_u64());
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            let read = |row: &Row<'_>| Ok((row.get::<_, i64>(0)?.cast_unsigned(), row.get::<_, i64>(1)?));
            match at_or_before.query_row([middle.cast_signed()], read).optional()? {
                Some((position, latest_at)) if position > low && latest_at > time.as_micros() => {
                    high = position - 1;
                }
                Some((position, _)) if position > low => (found, low) = (position, middle),
                // No event is there: positions may have gaps.
                Some(_) | None => low = middle,
            }
        }
        Ok(Position::new(found))
    }

    /// A position after which no row was recorded at a time or earlier. A clock may be slow, so rows up to the first later
    /// one are not enough; but none was ever recorded later than the most that is known.
    pub(super) fn last_as_early(&self, time: Timestamp) -> Result<Position, HistoryError> {
        let most_behind: i64 =
            self.conn()?.query_row("SELECT most_behind FROM state", (), |row| row.get(0))?;
        self.last_until(Timestamp::from_micros(time.as_micros().saturating_add(most_behind)))
    }

    /// When the last event at or before a position was recorded.
    pub(super) fn recorded_at(&self, position: Position) -> Result<Option<Timestamp>, HistoryError> {
        let last =
            format!("SELECT {COLUMNS} FROM events WHERE position <= ?1 ORDER BY position DESC LIMIT 1");
        let mut select = self.conn()?.prepare_cached(&last)?;
        let mut rows = select.query([position.as_u64().cast_signed()])?;
        Ok(rows.next()?.map(read).transpose()?.map(|stored| stored.row.recorded_at))
    }
}
