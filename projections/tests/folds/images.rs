//! A state can be taken hold of, written down, read back and gone on with, and nobody can tell; and where two
//! states differ is said in words.

use std::sync::atomic::{AtomicBool, Ordering};

use grantbook_events::{Recorded, Timestamp};
use grantbook_projections::live::{ImageError, Live};
use proptest::prelude::*;
use proptest::sample::Index;

use super::digests::{alter, read, token_digests};
use super::history::{History, account, client, place, replay, seconds, user};
use super::steps::{config, grow, steps};

/// What writing an image may fail with here.
#[derive(Debug)]
struct Unwritten(#[expect(dead_code, reason = "shown by Debug")] String);

impl From<serde_json::Error> for Unwritten {
    fn from(error: serde_json::Error) -> Self {
        Self(error.to_string())
    }
}

fn bytes_of(live: &Live) -> Vec<u8> {
    let mut bytes = Vec::new();
    let image = live.image().expect("there was an event");
    let write = |part: &[u8]| -> Result<(), Unwritten> {
        bytes.extend_from_slice(part);
        Ok(())
    };
    image.write(write).unwrap();
    bytes
}

fn answers(live: &Live, log: &[Recorded], now: Timestamp) -> impl PartialEq + std::fmt::Debug {
    let digests: Vec<_> = token_digests(log).collect();
    let on_accounts: Vec<_> =
        (0..4).map(|n| live.installations_on_account(&account(n), 0, usize::MAX, now)).collect();
    (read(live, &digests, now), on_accounts, live.counts(), live.mark(), live.position())
}

proptest! {
    #![proptest_config(config(48))]

    #[test]
    fn what_is_read_back_goes_on_as_if_it_had_never_stopped(steps in steps(), cut in any::<Index>()) {
        let log = grow(&steps, |_| {}).log;
        if log.is_empty() {
            return Ok(());
        }
        let now = seconds(2_000);
        let (before, after) = log.split_at(cut.index(log.len()) + 1);
        let first = replay(before);
        let second = Live::from_image(&bytes_of(&first)[..]).unwrap();
        prop_assert_eq!(second.digest(), first.digest());
        prop_assert_eq!(second.difference(&first), None);
        prop_assert_eq!(answers(&second, &log, now), answers(&first, &log, now));
        after.iter().for_each(|recorded| second.apply(recorded).unwrap());
        let whole = replay(&log);
        prop_assert_eq!(second.digest(), whole.digest());
        prop_assert_eq!(second.difference(&whole), None);
        prop_assert_eq!(answers(&second, &log, now), answers(&whole, &log, now));
    }

    /// Whatever happens to a state while its image is written is not in the image.
    #[test]
    fn an_image_is_of_one_moment(steps in steps(), cut in any::<Index>()) {
        let log = grow(&steps, |_| {}).log;
        if log.is_empty() {
            return Ok(());
        }
        let (before, after) = log.split_at(cut.index(log.len()) + 1);
        let live = replay(before);
        let image = live.image().unwrap();
        let mut rest = after.iter();
        let mut bytes = Vec::new();
        image
            .write::<Unwritten>(|part| {
                // The whole rest happens between the first parts of the image.
                rest.by_ref().take(after.len() / 8 + 1).for_each(|recorded| live.apply(recorded).unwrap());
                bytes.extend_from_slice(part);
                Ok(())
            })
            .unwrap();
        rest.for_each(|recorded| live.apply(recorded).unwrap());
        drop(image);
        prop_assert_eq!(Live::from_image(&bytes[..]).unwrap().digest(), replay(before).digest());
        prop_assert_eq!(live.digest(), replay(&log).digest());
    }

    #[test]
    fn bytes_that_are_no_image_are_refused_and_nothing_worse(
        steps in steps(),
        at in any::<Index>(),
        bit in 0_u8..8,
        end in any::<Index>(),
    ) {
        let log = grow(&steps, |_| {}).log;
        if log.is_empty() {
            return Ok(());
        }
        let mut bytes = bytes_of(&replay(&log));
        prop_assert!(Live::from_image(&bytes[..end.index(bytes.len())]).is_err());
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        // Another state may come of it; whoever keeps the bytes keeps a digest of them.
        let _: Result<Live, ImageError> = Live::from_image(&bytes[..]);
        bytes[at] ^= 1 << bit;
        bytes.push(0);
        prop_assert!(Live::from_image(&bytes[..]).is_err());
    }

    #[test]
    fn states_differ_in_words_exactly_if_their_digests_do(
        steps in steps(),
        which in any::<Index>(),
        how in any::<usize>(),
    ) {
        let log = grow(&steps, |_| {}).log;
        if log.is_empty() {
            return Ok(());
        }
        let mut other = log.clone();
        alter(&mut other[which.index(log.len())], how);
        let (live, altered) = (replay(&log), Live::new());
        if other.iter().any(|recorded| altered.apply(recorded).is_err()) {
            return Ok(());
        }
        let difference = live.difference(&altered);
        prop_assert_eq!(difference.is_some(), live.digest() != altered.digest(), "{:?}", difference);
        for digest in token_digests(&log).chain(token_digests(&other)) {
            let said = difference.iter().any(|said| said.to_string().contains(&digest.to_string()));
            prop_assert!(!said, "a digest is shown");
        }
    }
}

#[test]
fn a_difference_names_the_row_and_the_field() {
    let history = |epochs: i64| {
        let mut history = History::default();
        history.register(client(0));
        history.grant(1, client(0), &account(0), &user(0), seconds(1));
        (0..epochs).for_each(|at| history.uninstall(client(0), &account(0), seconds(2 + at)));
        history.live()
    };
    let (one, other) = (history(1), history(2));
    let difference = one.difference(&other).unwrap();
    let grantbook_events::StreamKind::Installation(id) = place(client(0), &account(0)) else { panic!() };
    assert_eq!(difference.to_string(), format!("installation {id}: epoch is 1 here and 2 there"));
    assert_eq!(
        one.difference(&Live::new()).unwrap().to_string(),
        format!("app {}: it is there here and missing there", client(0))
    );
}

/// A digest is taken of one position while a writer goes on: it is the digest of that position.
#[test]
fn a_digest_beside_a_writer_is_of_its_position() {
    let mut history = History::default();
    history.register(client(0));
    for n in 1..400 {
        history.grant(n, client(0), &account(n), &user(0), seconds(n as i64));
        history.exchange(n, client(0), &account(n), &user(0), seconds(n as i64));
    }
    let log = &history.log;
    let (live, is_over) = (Live::new(), AtomicBool::new(false));
    let taken = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut taken = Vec::new();
            while !is_over.load(Ordering::Acquire) {
                taken.push(live.digest_at());
            }
            taken
        });
        log.iter().for_each(|recorded| live.apply(recorded).unwrap());
        is_over.store(true, Ordering::Release);
        reader.join().unwrap()
    });
    let step = taken.len().div_ceil(16).max(1);
    for (position, digest) in taken.into_iter().step_by(step) {
        let until = log.partition_point(|recorded| recorded.envelope.position <= position);
        assert_eq!(digest, replay(&log[..until]).digest(), "at {position}");
    }
}
