//! Sorts more than fits in memory: a run at a time is sorted, the runs rest in one unnamed file, and a merge of
//! them brings entries of one id together. Knows: entries. Must not know: what an id names.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, BufWriter, Read as _, Seek as _, SeekFrom, Write as _};

use grantbook_events::Position;

/// Entries of one run, sorted in memory: 32 MB.
const RUN: usize = 1_000_000;
/// Bytes of an entry in the file.
const BYTES: usize = 25;
/// Entries of a run read at once.
const CHUNK: usize = 1024;

/// Something with an id that was seen at a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    pub id: u128,
    pub position: Position,
    /// What it is, among those of one id.
    pub kind: u8,
}

/// The entries seen so far.
#[derive(Debug)]
pub(super) struct Sorted {
    run_entries: usize,
    run: Vec<Entry>,
    file: Option<File>,
    /// How many entries each run in the file has.
    runs: Vec<usize>,
}

impl Default for Sorted {
    fn default() -> Self {
        Self::with_runs_of(RUN)
    }
}

impl Sorted {
    pub(super) fn with_runs_of(run_entries: usize) -> Self {
        Self { run_entries, run: Vec::new(), file: None, runs: Vec::new() }
    }

    pub(super) fn push(&mut self, entry: Entry) -> io::Result<()> {
        self.run.push(entry);
        if self.run.len() < self.run_entries { Ok(()) } else { self.put_away() }
    }

    fn put_away(&mut self) -> io::Result<()> {
        self.run.sort_unstable();
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(tempfile::tempfile()?),
        };
        let mut out = BufWriter::new(file);
        for entry in &self.run {
            out.write_all(&written(entry))?;
        }
        out.flush()?;
        self.runs.push(self.run.len());
        self.run.clear();
        Ok(())
    }

    /// Hands over every entry: those of one id one after the other, in the order of their positions.
    pub(super) fn each(mut self, mut take: impl FnMut(Entry)) -> io::Result<()> {
        self.run.sort_unstable();
        let mut start = 0;
        let mut runs: Vec<Run> = Vec::new();
        for &entries in &self.runs {
            runs.push(Run { next: start, end: start + entries, chunk: Vec::new() });
            start += entries;
        }
        self.run.reverse();
        runs.push(Run { next: 0, end: 0, chunk: std::mem::take(&mut self.run) });
        let mut heap = BinaryHeap::new();
        for (number, run) in runs.iter_mut().enumerate() {
            heap.extend(run.pop(self.file.as_mut())?.map(|entry| Reverse((entry, number))));
        }
        while let Some(Reverse((entry, number))) = heap.pop() {
            take(entry);
            heap.extend(runs[number].pop(self.file.as_mut())?.map(|entry| Reverse((entry, number))));
        }
        Ok(())
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
            let mut bytes = vec![0; CHUNK.min(self.end - self.next) * BYTES];
            file.seek(SeekFrom::Start((self.next * BYTES) as u64))?;
            file.read_exact(&mut bytes)?;
            self.chunk = bytes.as_chunks::<BYTES>().0.iter().rev().map(read).collect();
            self.next += self.chunk.len();
        }
        Ok(self.chunk.pop())
    }
}

fn written(entry: &Entry) -> [u8; BYTES] {
    let mut bytes = [entry.kind; BYTES];
    bytes[..16].copy_from_slice(&entry.id.to_be_bytes());
    bytes[16..24].copy_from_slice(&entry.position.as_u64().to_be_bytes());
    bytes
}

fn read(bytes: &[u8; BYTES]) -> Entry {
    let number = |bytes: &[u8]| bytes.iter().fold(0, |number, &byte| number << 8 | u128::from(byte));
    let position = Position::new(number(&bytes[16..24]) as u64);
    Entry { id: number(&bytes[..16]), position, kind: bytes[24] }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn everything_comes_back_in_order(
            entries in proptest::collection::vec((any::<u128>(), any::<u64>(), any::<u8>()), 0..5000),
            run in 1_usize..3000,
        ) {
            let entry = |(id, position, kind)| Entry { id, position: Position::new(position), kind };
            let mut entries: Vec<Entry> = entries.into_iter().map(entry).collect();
            let mut sorted = Sorted::with_runs_of(run);
            entries.iter().for_each(|entry| sorted.push(*entry).unwrap());
            let mut back = Vec::new();
            sorted.each(|entry| back.push(entry)).unwrap();
            entries.sort_unstable();
            prop_assert_eq!(back, entries);
        }
    }
}
