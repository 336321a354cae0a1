//! Random histories, and faults at random places in them: what is built again is what was there, and every fault
//! is found and named.

use std::fs;

use grantbook_projections::live::Live;
use proptest::prelude::*;

use super::against::{folded, history_with, said, snapshots, try_folded};
use super::planted::verified;
use super::rebuild::ended_of;
use super::*;
use crate::audit::History;

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// The first finding that begins so.
#[track_caller]
fn assert_named(verified: &Verified, begins: &str, words: &str) {
    let said = said(verified);
    assert!(!verified.is_sound());
    assert!(said.iter().any(|said| said.starts_with(begins) && said.contains(words)), "{begins}: {said:?}");
}

/// Fields that a flip can change, as they are stored and as a difference tells them.
const FIELDS: [(&str, &str, &str, &str); 4] = [
    (
        "app-registered",
        "\"name\":\"App\"",
        "\"name\":\"Apq\"",
        "name is Apq in the snapshot and App replayed",
    ),
    ("app-registered", "\"Owner\"", "\"Pwner\"", "owner is Pwner in the snapshot and Owner replayed"),
    (
        "access-granted",
        "\"redirect_uri_sent\":false",
        "\"redirect_uri_sent\":true",
        "redirect_uri_sent is true in the snapshot and false replayed",
    ),
    (
        "token-refreshed",
        "\"expires_at\":\"2026-01-02T04:",
        "\"expires_at\":\"2026-01-02T05:",
        // Recorded time may be some microseconds later.
        "expires_at is 2026-01-02T05:04:05.",
    ),
];

/// The states in which one of these records is changed so, and which can be told from the right one.
fn flipped(cut: &[Record], (type_name, from, to, _): (&str, &str, &str, &str)) -> Vec<Live> {
    let right = folded(cut, |_| {});
    let changed = |which: EventId| {
        try_folded(cut, |record| {
            if record.event_id == which {
                record.payload = record.payload.replace(from, to);
            }
        })
    };
    let of_type = cut.iter().filter(|record| record.type_name == type_name);
    let states = of_type.filter_map(|record| changed(record.event_id));
    states.filter(|state| state.digest() != right.digest()).collect()
}

#[tokio::test]
async fn every_field_that_is_flipped_can_be_told_from_the_right_one() {
    let (_, store) = history(1000).await;
    let records = everything(&*store).await;
    for field in FIELDS {
        let is_told = (2..records.len()).any(|end| !flipped(&records[..end], field).is_empty());
        assert!(is_told, "{field:?}");
    }
}

proptest! {
    #![proptest_config(config(10))]

    #[test]
    fn what_is_built_again_is_what_is_served(seed in 1000_u64..2000) {
        block_on(async {
            let (ledger, store) = history(seed).await;
            let dir = tempfile::tempdir().unwrap();
            let kept = History::start(&ledger, dir.path().to_owned());
            kept.reached(ledger.live().position()).await.unwrap();
            let before = (ledger.live().digest(), kept.digest_at().await.unwrap());
            let rebuilds = Rebuilds::new(Arc::clone(&ledger), Arc::clone(&kept));
            for projection in Projection::ALL {
                rebuilds.start(projection).unwrap();
                assert_eq!(ended_of(&rebuilds, projection).await, "same", "{projection}");
            }
            assert_eq!((ledger.live().digest(), kept.digest_at().await.unwrap()), before);
            let replayed = replay(&*store, Until::Head).await;
            assert_eq!(ledger.live().difference(&replayed.live), None);
        });
    }

    #[test]
    fn a_flipped_field_in_a_snapshot_is_named(
        seed in 1000_u64..2000,
        cut in any::<prop::sample::Index>(),
        which in any::<prop::sample::Index>(),
        field in 0..FIELDS.len(),
    ) {
        block_on(async {
            let (_, store) = history(seed).await;
            let (records, dir) = (everything(&*store).await, tempfile::tempdir().unwrap());
            let cut = &records[..2 + cut.index(records.len() - 2)];
            let (right, (.., words)) = (folded(cut, |_| {}), FIELDS[field]);
            // Only what is still in the state can be told from it.
            let wrong = flipped(cut, FIELDS[field]);
            if wrong.is_empty() {
                return;
            }
            let wrong = &wrong[which.index(wrong.len())];
            snapshots(&dir).write(wrong, store.head().await.unwrap().identity);
            let against = Against { snapshots: Some(snapshots(&dir)), ..Against::default() };
            let verified = verify(&*store, against, |_| {}).await.unwrap();
            let at = format!("position {}: snapshot live-", right.position());
            assert_eq!(verified.found, 1);
            assert_named(&verified, &at, words);
        });
    }

    #[test]
    fn a_flipped_bit_in_a_snapshot_is_named(
        seed in 1000_u64..2000,
        at in any::<prop::sample::Index>(),
        bit in 0_u8..8,
    ) {
        block_on(async {
            let (ledger, store) = history(seed).await;
            let dir = tempfile::tempdir().unwrap();
            let path = snapshots(&dir).write(&ledger.live(), store.head().await.unwrap().identity);
            let mut bytes = fs::read(&path).unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            fs::write(&path, bytes).unwrap();
            let against = Against { snapshots: Some(snapshots(&dir)), ..Against::default() };
            let verified = verify(&*store, against, |_| {}).await.unwrap();
            assert!(verified.skipped.is_empty() && verified.compared.is_empty(), "byte {at}, bit {bit}");
            assert!(said(&verified)[0].contains("snapshot live-"), "{:?}", said(&verified));
        });
    }

    #[test]
    fn a_row_dropped_from_the_history_is_named(seed in 1000_u64..2000, at in any::<prop::sample::Index>()) {
        block_on(async {
            let (_, store) = history(seed).await;
            let records = everything(&*store).await;
            let position = records[at.index(records.len())].position;
            let dir = tempfile::tempdir().unwrap();
            let sql = format!("DELETE FROM events WHERE position = {position}");
            let against = history_with(&store, &dir, &sql).await;
            let verified = verify(&*store, against, |_| {}).await.unwrap();
            assert_named(&verified, &format!("position {position}: "), "the row of this event is missing");
        });
    }

    #[test]
    fn a_hole_in_a_stream_is_named(seed in 1000_u64..2000, at in any::<prop::sample::Index>()) {
        block_on(async {
            let (_, store) = history(seed).await;
            let mut records = everything(&*store).await;
            let head = records[records.len() - 1].position;
            let next = |at: usize| (at + 1..records.len()).find(|&later| records[later].stream == records[at].stream);
            let holes: Vec<(usize, Position)> =
                (0..records.len()).filter_map(|at| Some((at, records[next(at)?].position))).collect();
            let (at, next) = holes[at.index(holes.len())];
            let stream = records.remove(at).stream;
            let verified = verified(records, head).await;
            assert_named(&verified, &format!("position {next}: stream {stream} goes on"), "is due");
        });
    }

    #[test]
    fn a_changed_event_is_named(
        seed in 1000_u64..2000,
        at in any::<prop::sample::Index>(),
        change in 0..7,
    ) {
        block_on(async {
            let (_, store) = history(seed).await;
            let mut records = everything(&*store).await;
            let head = records[records.len() - 1].position;
            let at = at.index(records.len());
            let record = &mut records[at];
            match change {
                0 => record.payload.push(' '),
                1 => record.metadata.push(' '),
                2 => record.event_id = EventId::new(Uuid::from_u128(5)),
                3 => record.recorded_at = record.recorded_at.plus(HOUR),
                4 => record.version += 1,
                5 => record.type_name.push('x'),
                _ => record.revision = record.revision.next(),
            }
            let (position, stream) = (record.position, record.stream.clone());
            let verified = verified(records, head).await;
            let begins = format!("position {position}: the record is not what was written");
            assert_named(&verified, &begins, &format!("of stream {stream}"));
        });
    }
}
