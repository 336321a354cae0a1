//! Sorts more than fits in memory: a run at a time is sorted, the runs rest in one unnamed file, and a merge of
//! them brings entries of one id together. Knows: entries. Must not know: what an id names.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, BufWriter, Read as _, Seek as _, SeekFrom, Write as _};

use grantbook_events::Position;

/// Entries of one run, sorted in memory: some 32 MB.
const RUN: usize = 500_000;
/// Bytes of an id and a position in the file.
const BYTES: usize = 24;
/// Entries of a run read at once.
const CHUNK: usize = 1024;

/// Something with an id that was seen at a position, and what else is to be known of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry<const N: usize> {
    pub id: u128,
    pub position: Position,
    pub with: [u8; N],
}

/// The entries seen so far.
#[derive(Debug)]
pub(super) struct Sorted<const N: usize> {
    run_entries: usize,
    run: Vec<Entry<N>>,
    file: Option<File>,
    /// How many entries each run in the file has.
    runs: Vec<usize>,
}

impl<const N: usize> Default for Sorted<N> {
    fn default() -> Self {
        Self::with_runs_of(RUN)
    }
}

impl<const N: usize> Sorted<N> {
    pub(super) fn with_runs_of(run_entries: usize) -> Self {
        Self { run_entries, run: Vec::new(), file: None, runs: Vec::new() }
    }

    pub(super) fn push(&mut self, entry: Entry<N>) -> io::Result<()> {
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
            out.write_all(&entry.id.to_be_bytes())?;
            out.write_all(&entry.position.as_u64().to_be_bytes())?;
            out.write_all(&entry.with)?;
        }
        out.flush()?;
        self.runs.push(self.run.len());
        self.run.clear();
        Ok(())
    }

    /// Hands over every entry: those of one id one after the other, in the order of their positions.
    pub(super) fn each(mut self, mut take: impl FnMut(Entry<N>)) -> io::Result<()> {
        self.run.sort_unstable();
        let mut start = 0;
        let mut runs: Vec<Run<N>> = Vec::new();
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
struct Run<const N: usize> {
    /// Entries before the next to be read, and before the end of the run.
    next: usize,
    end: usize,
    /// What was read, the last entry first.
    chunk: Vec<Entry<N>>,
}

impl<const N: usize> Run<N> {
    fn pop(&mut self, file: Option<&mut File>) -> io::Result<Option<Entry<N>>> {
        if self.chunk.is_empty()
            && self.next < self.end
            && let Some(file) = file
        {
            let each = BYTES + N;
            let mut bytes = vec![0; CHUNK.min(self.end - self.next) * each];
            file.seek(SeekFrom::Start((self.next * each) as u64))?;
            file.read_exact(&mut bytes)?;
            self.chunk = bytes.chunks_exact(each).rev().filter_map(read).collect();
            self.next += self.chunk.len();
        }
        Ok(self.chunk.pop())
    }
}

/// None if there are not enough bytes.
fn read<const N: usize>(bytes: &[u8]) -> Option<Entry<N>> {
    let (id, bytes) = bytes.split_first_chunk()?;
    let (position, bytes) = bytes.split_first_chunk()?;
    Some(Entry {
        id: u128::from_be_bytes(*id),
        position: Position::new(u64::from_be_bytes(*position)),
        with: *bytes.first_chunk()?,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn everything_comes_back_in_order(
            entries in proptest::collection::vec(any::<(u128, u64, [u8; 3])>(), 0..5000),
            run in 1_usize..3000,
        ) {
            let entry = |(id, position, with)| Entry { id, position: Position::new(position), with };
            let mut entries: Vec<Entry<3>> = entries.into_iter().map(entry).collect();
            let mut sorted = Sorted::with_runs_of(run);
            entries.iter().for_each(|entry| sorted.push(*entry).unwrap());
            let mut back = Vec::new();
            sorted.each(|entry| back.push(entry)).unwrap();
            entries.sort_unstable();
            prop_assert_eq!(back, entries);
        }
    }
}
