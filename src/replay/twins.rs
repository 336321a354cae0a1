//! Finds an event id that is in the ledger twice, in bounded memory: ids are sorted a run at a time, the
//! runs rest in one unnamed file, and a merge of them brings equal ids together.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, BufWriter, Read as _, Seek as _, SeekFrom, Write as _};

use grantbook_events::{EventId, Position};

/// Ids of one run, sorted in memory: 24 MB.
const RUN: usize = 1_000_000;
/// Bytes of an id and its position in the file.
const ENTRY: usize = 24;
/// Entries of a run read at once.
const CHUNK: usize = 1024;

type Entry = (u128, u64);

/// The ids seen so far.
#[derive(Debug)]
pub(super) struct Twins {
    run_entries: usize,
    run: Vec<Entry>,
    file: Option<File>,
    /// How many entries each run in the file has.
    runs: Vec<usize>,
}

impl Twins {
    pub(super) fn new() -> Self {
        Self::with_runs_of(RUN)
    }

    pub(super) fn with_runs_of(run_entries: usize) -> Self {
        Self { run_entries, run: Vec::new(), file: None, runs: Vec::new() }
    }

    pub(super) fn see(&mut self, id: EventId, position: Position) -> io::Result<()> {
        self.run.push((id.as_uuid().as_u128(), position.as_u64()));
        if self.run.len() < self.run_entries { Ok(()) } else { self.put_away() }
    }

    fn put_away(&mut self) -> io::Result<()> {
        self.run.sort_unstable();
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(tempfile::tempfile()?),
        };
        let mut out = BufWriter::new(file);
        for (id, position) in &self.run {
            out.write_all(&id.to_be_bytes())?;
            out.write_all(&position.to_be_bytes())?;
        }
        out.flush()?;
        self.runs.push(self.run.len());
        self.run.clear();
        Ok(())
    }

    /// The positions of two events with one id, the first such in the order of ids.
    pub(super) fn find(mut self) -> io::Result<Option<(Position, Position)>> {
        self.run.sort_unstable();
        let mut start = 0;
        let mut runs: Vec<Run> = Vec::new();
        for &entries in &self.runs {
            runs.push(Run { next: start, end: start + entries, chunk: Vec::new() });
            start += entries;
        }
        let last = std::mem::take(&mut self.run);
        runs.push(Run { next: 0, end: 0, chunk: last.into_iter().rev().collect() });
        let mut heap = BinaryHeap::new();
        for (number, run) in runs.iter_mut().enumerate() {
            heap.extend(run.pop(self.file.as_mut())?.map(|entry| Reverse((entry, number))));
        }
        let mut before: Option<Entry> = None;
        while let Some(Reverse((entry, number))) = heap.pop() {
            if let Some((id, position)) = before
                && id == entry.0
            {
                return Ok(Some((Position::new(position), Position::new(entry.1))));
            }
            before = Some(entry);
            heap.extend(runs[number].pop(self.file.as_mut())?.map(|entry| Reverse((entry, number))));
        }
        Ok(None)
    }
}

/// A sorted run, read from the file a chunk at a time.
#[derive(Debug)]
struct Run {
    /// Entries before the next to be read, and before the end of the run.
    next: usize,
    end: usize,
    /// What was read, the last entry first.
    chunk: Vec<Entry>,
}

impl Run {
    fn pop(&mut self, file: Option<&mut File>) -> io::Result<Option<Entry>> {
        if self.chunk.is_empty()
            && self.next < self.end
            && let Some(file) = file
        {
            let mut bytes = vec![0; CHUNK.min(self.end - self.next) * ENTRY];
            file.seek(SeekFrom::Start((self.next * ENTRY) as u64))?;
            file.read_exact(&mut bytes)?;
            self.chunk = bytes.as_chunks::<ENTRY>().0.iter().rev().map(entry).collect();
            self.next += self.chunk.len();
        }
        Ok(self.chunk.pop())
    }
}

fn entry(bytes: &[u8; ENTRY]) -> Entry {
    let number = |bytes: &[u8]| bytes.iter().fold(0, |number, &byte| number << 8 | u128::from(byte));
    let (id, position) = bytes.split_at(16);
    (number(id), number(position) as u64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn find(ids: &[u128], run: usize) -> Option<(u64, u64)> {
        let mut twins = Twins::with_runs_of(run);
        for (at, id) in ids.iter().enumerate() {
            twins.see(EventId::new(Uuid::from_u128(*id)), Position::new(at as u64 + 1)).unwrap();
        }
        twins.find().unwrap().map(|(one, other)| (one.as_u64(), other.as_u64()))
    }

    proptest! {
        #[test]
        fn two_of_one_id_are_found_wherever_they_are(
            mut ids in proptest::collection::hash_set(any::<u128>(), 2..5000)
                .prop_map(|ids| ids.into_iter().collect::<Vec<_>>()),
            run in 1_usize..3000,
            places in any::<(prop::sample::Index, prop::sample::Index)>(),
        ) {
            prop_assert_eq!(find(&ids, run), None);
            let (one, other) = (places.0.index(ids.len()), places.1.index(ids.len()));
            prop_assume!(one != other);
            ids[one] = ids[other];
            let (one, other) = (one.min(other) as u64 + 1, one.max(other) as u64 + 1);
            prop_assert_eq!(find(&ids, run), Some((one, other)));
        }
    }
}
