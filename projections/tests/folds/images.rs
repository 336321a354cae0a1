//! A state can be taken hold of, written down, read back and gone on with, and nobody can tell; and where two
//! states differ is said in words.

use std::sync::atomic::{AtomicBool, Ordering};

use grantbook_events::{AccessGranted, InstallationEvent, Recorded, SecretDigest, StreamKind, Timestamp};
use grantbook_projections::live::{Live, SnapshotBodyError};
use proptest::prelude::*;
use proptest::sample::Index;

use super::digests::{alter, read, token_digests};
use super::history::{
    History, account, apply_all, client, digest, exchanged, family_digest, granted, place, refresh_digest,
    replay, seconds, token_id, user,
};
use super::steps::{config, grow, steps};

/// What writing an image may fail with here.
#[derive(Debug)]
struct Unwritten(#[expect(dead_code, reason = "shown by Debug")] String);

impl From<SnapshotBodyError> for Unwritten {
    fn from(error: SnapshotBodyError) -> Self {
        Self(error.to_string())
    }
}

pub fn bytes_of(live: &Live) -> Vec<u8> {
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
        apply_all(&second, after);
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
                apply_all(&live, rest.by_ref().take(after.len() / 8 + 1));
                bytes.extend_from_slice(part);
                Ok(())
            })
            .unwrap();
        apply_all(&live, rest);
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
        // Another state may come of it, which answers something; the one that keeps the bytes keeps a digest of them.
        let altered: Result<Live, SnapshotBodyError> = Live::from_image(&bytes[..]);
        if let Ok(altered) = altered {
            let _ = (answers(&altered, &log, seconds(2_000)), altered.digest());
        }
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
    let history = |epochs: u32| {
        let mut history = History::default();
        history.register(client(0));
        history.grant(1, client(0), &account(0), &user(0), seconds(1));
        (0..epochs).for_each(|_| history.uninstall(client(0), &account(0), seconds(2)));
        history.replayed()
    };
    let (one, other) = (history(1), history(2));
    let difference = one.difference(&other).unwrap();
    let StreamKind::Installation(id) = place(client(0), &account(0)) else { panic!() };
    assert_eq!(difference.to_string(), format!("installation {id}: epoch is 1 here and 2 there"));
    assert_eq!(
        one.difference(&Live::new()).unwrap().to_string(),
        format!("app {}: it is there here and missing there", client(0))
    );
}

/// What one user granted on one account, with one thing changed by `change`.
fn with_a_token(change: impl Fn(&mut AccessGranted), token_digest: SecretDigest) -> Live {
    let mut history = History::default();
    history.register(client(0));
    let kind = place(client(0), &account(0));
    let mut event = granted(1, client(0), &account(0), &user(0), seconds(1));
    change(&mut event);
    let mut token = exchanged(1, client(0), &account(0), &user(0), seconds(1), None);
    (token.scopes, token.token_digest) = (event.scopes.clone(), token_digest);
    history.record(kind, seconds(1), InstallationEvent::AccessGranted(event));
    history.record(kind, seconds(1), InstallationEvent::CodeExchanged(token));
    history.live
}

#[test]
fn a_difference_inside_a_grant_is_a_path_and_digests_are_not_shown() {
    let StreamKind::Installation(id) = place(client(0), &account(0)) else { panic!() };
    let one = with_a_token(|_| {}, digest(1));
    let said = |other: Live| {
        let difference = one.difference(&other).unwrap();
        assert_eq!(difference.row, format!("installation {id}"));
        assert_ne!(one.digest(), other.digest());
        let said = difference.to_string();
        for digest in [digest(1), digest(2)] {
            assert!(!said.contains(&digest.to_string()), "{said}");
        }
        (difference.field, difference.one, difference.other)
    };
    let texts = |field: &str, one: &str, other: &str| (field.to_owned(), one.to_owned(), other.to_owned());
    let scopes = with_a_token(|event| event.scopes[1] = "brands".to_owned(), digest(1));
    assert_eq!(said(scopes), texts("grants.1.0.scopes.1", "faqs", "brands"));
    let sent = with_a_token(|event| event.redirect_uri_sent = true, digest(1));
    assert_eq!(said(sent), texts("grants.1.0.redirect_uri_sent", "false", "true"));
    let code = with_a_token(|event| event.code_digest = digest(2), digest(1));
    assert_eq!(said(code), texts("grants.1.0.code_digest", "one", "another"));
    let token = with_a_token(|_| {}, digest(2));
    assert_eq!(said(token), texts("grants.1.0.code.Spent.Token.digest", "one", "another"));
    // What can be refreshed is a step further in, and its digests are no more shown.
    let with_refresh = |lifetime, spent| {
        let mut history = History::default();
        history.register(client(0));
        history.grant(1, client(0), &account(0), &user(0), seconds(1));
        history.exchange_with_refresh(1, client(0), &account(0), &user(0), (1, lifetime));
        history.refresh((1, spent), client(0), &account(0), (2, 10));
        history.live
    };
    let of_family = |other: Live, field: &str| {
        let said = with_refresh(10, 2).difference(&other).unwrap().to_string();
        assert!(said.contains(&format!("grants.1.0.code.Spent.Family.{field} is ")), "{said}");
        for digest in [digest(2), refresh_digest(1), refresh_digest(2), refresh_digest(3), family_digest(1)] {
            assert!(!said.contains(&digest.to_string()), "{said}");
        }
    };
    of_family(with_refresh(10, 3), "access.1.token.digest");
    of_family(with_refresh(20, 2), "access.0.token.expires_at");
    // A whole token is shown without its digest.
    let mut ended = History::default();
    ended.register(client(0));
    ended.grant(1, client(0), &account(0), &user(0), seconds(1));
    let (field, held, pending) = said(ended.live);
    assert_eq!((field.as_str(), pending.as_str()), ("grants.1.0.code", "Pending"));
    assert!(held.contains(&token_id(1).to_string()), "{held}");
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
        apply_all(&live, log);
        is_over.store(true, Ordering::Release);
        reader.join().unwrap()
    });
    let step = taken.len().div_ceil(16).max(1);
    for (position, digest) in taken.into_iter().step_by(step) {
        let until = log.partition_point(|recorded| recorded.envelope.position <= position);
        assert_eq!(digest, replay(&log[..until]).digest(), "at {position}");
    }
}
