//! Flipped bits: no answer is wrong. A file that was closed is taken only as it was closed; a row that is read while it is
//! in use is taken only as it was written.

use std::path::{Path, PathBuf};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;

/// What is asked of a history: all of it, and by each index.
async fn answers(history: &History, rows: &[HistoryRow]) -> Vec<Result<Vec<HistoryRow>, HistoryError>> {
    let all = Filter::default();
    let of = |row: &HistoryRow| {
        [
            Filter { account: row.account_id.clone(), ..Filter::default() },
            Filter { user: row.users().next().cloned(), ..Filter::default() },
            Filter { token: row.token_ids.first().copied(), ..Filter::default() },
            Filter { installation: row.installation_id, ..Filter::default() },
            Filter { actor: row.actor.as_ref().map(|actor| actor.id.clone()), ..Filter::default() },
            Filter { app: row.client_id, event_type: Some(row.event_type.clone()), ..Filter::default() },
            Filter { until: Some(row.recorded_at), ..Filter::default() },
        ]
    };
    let filters: Vec<_> = std::iter::once(all).chain(rows.iter().step_by(7).flat_map(of)).collect();
    let mut answers = Vec::new();
    for filter in filters {
        answers.push(history.rows(filter, Order::OldestFirst, 10_000).await);
    }
    answers
}

fn flip(file: &Path, random: &mut StdRng) -> (usize, u8) {
    let mut bytes = fs::read(file).unwrap();
    let (at, bit) = (random.random_range(0..bytes.len()), random.random_range(0..8));
    bytes[at] ^= 1 << bit;
    fs::write(file, bytes).unwrap();
    (at, bit)
}

fn files(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// Flips bits in copies of a closed history; `unproven` as a killed process leaves it, without its proof.
async fn flipped(seed: u64, flips: u64, unproven: bool) {
    let (_, other) = random_history(75).await;
    let store = prefix_of(&records(&other).await[..30]).await;
    let (dir, all) = (tempfile::tempdir().unwrap(), records(&store).await);
    let history = kept(&store, &dir).await;
    let rows = expected(&all);
    let right: Vec<_> = answers(&history, &rows).await.into_iter().map(Result::unwrap).collect();
    history.close().await;
    assert_eq!(files(dir.path()).len(), 2, "the file and its proof: {:?}", files(dir.path()));
    for number in 0..flips {
        let mut random = StdRng::seed_from_u64(seed * 1000 + number);
        let copy = tempfile::tempdir().unwrap();
        for file in files(dir.path()) {
            if !unproven || file.extension().is_some_and(|name| name == "db") {
                fs::copy(&file, copy.path().join(file.file_name().unwrap())).unwrap();
            }
        }
        let flipped = flip(&copy.path().join("history-1.db"), &mut random);
        let history = kept(&store, &copy).await;
        for (answer, right) in answers(&history, &rows).await.into_iter().zip(&right) {
            // A fault may be told; a wrong answer may not be given.
            assert!(answer.is_err() || answer.as_ref().is_ok_and(|answer| answer == right), "{flipped:?}");
        }
        history.close().await;
    }
}

#[tokio::test]
async fn no_flipped_bit_in_a_closed_file_makes_a_wrong_answer() {
    flipped(1, 200, false).await;
}

#[tokio::test]
async fn nor_in_one_that_a_killed_process_left() {
    flipped(2, 100, true).await;
}

#[tokio::test]
async fn a_row_that_is_not_what_was_written_is_a_fault_and_mends_itself() {
    let (_, store) = random_history(76).await;
    let (dir, all) = (tempfile::tempdir().unwrap(), records(&store).await);
    let history = kept(&store, &dir).await;
    history.tamper("UPDATE events SET row = zeroblob(length(row)) WHERE position = 9");
    let refused = history.rows(Filter::default(), Order::OldestFirst, 1000).await.unwrap_err();
    assert!(refused.to_string().contains("the row of position 9 is not what was written"), "{refused}");
    // Nobody has to ask for it.
    while !dir.path().join("history-2.db").exists()
        || history.current.is_repairing.load(std::sync::atomic::Ordering::Acquire)
    {
        tokio::task::yield_now().await;
    }
    assert_eq!(every_row(&history).await, expected(&all));
}
