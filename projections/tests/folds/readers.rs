//! Readers that ask while one writer applies: what the position says is done, is done.

use std::collections::BTreeMap;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};

use grantbook_events::{Event, InstallationId, TokenId};
use grantbook_projections::live::{Live, TokenFacts};

use super::history::{History, account, client, digest, seconds, token_id, user};

const ROUNDS: u64 = 400;
const ACCOUNTS: u64 = 6;
const READERS: usize = 3;

/// The positions at which a token came and went.
#[derive(Debug, Clone, Copy)]
struct Life {
    issued: u64,
    ended: u64,
}

/// On a few accounts in turn: grant, exchange, refresh, uninstall, for ever. One app's whole history.
fn installs_and_uninstalls() -> (History, Vec<Life>) {
    let mut history = History::default();
    history.register(client(0));
    for n in 0..ROUNDS {
        // Old grants are dropped while this goes on, and others take their slots.
        let (account, at) = (account(n % ACCOUNTS), seconds(n as i64 * 10));
        if n >= ACCOUNTS {
            history.uninstall(client(0), &account, at);
        }
        let (token, next, seconds) = (2 * n, 2 * n + 1, (n as i64 * 10, 2_000_000));
        history.grant(token, client(0), &account, &user(0), at);
        history.exchange_with_refresh(token, client(0), &account, &user(0), seconds);
        history.refresh((token, next), client(0), &account, seconds);
    }
    let mut lives = BTreeMap::<TokenId, Life>::new();
    for recorded in &history.log {
        let position = recorded.envelope.position.as_u64();
        let Event::Installation(event) = &recorded.event else { continue };
        for (token_id, _) in event.ended_tokens() {
            lives.get_mut(&token_id).unwrap().ended = position;
        }
        for (token_id, _) in event.issued_tokens() {
            lives.insert(token_id, Life { issued: position, ended: u64::MAX });
        }
    }
    let lives = (0..2 * ROUNDS).map(|n| lives[&token_id(n)]).collect();
    (history, lives)
}

/// Asks everything about one token. `before` and `after` are positions read around each question.
fn ask(live: &Live, n: u64, life: Life) {
    let now = seconds(1_000_000);
    let bracketed = |question: &dyn Fn() -> bool| {
        let before = live.position().as_u64();
        let answer = question();
        let after = live.position().as_u64();
        if before >= life.ended {
            assert!(!answer, "token {n} counts at {before}, after its uninstall at {}", life.ended);
        }
        // The event after the position that was read may be half applied.
        if before >= life.issued && after + 1 < life.ended {
            assert!(
                answer,
                "token {n} does not count at {before}, between {} and {}",
                life.issued, life.ended
            );
        }
        if after + 1 < life.issued {
            assert!(!answer, "token {n} counts at {after}, before {}", life.issued);
        }
    };
    let id = InstallationId::of(&client(0), &account(n / 2 % ACCOUNTS));
    let is_it = |facts: &TokenFacts| {
        assert_eq!((facts.token_id, facts.installation_id), (token_id(n), id), "another token's facts");
        true
    };
    let names = |facts: &grantbook_projections::live::InstallationFacts| {
        facts.tokens.iter().any(|token| token.token_id == token_id(n))
    };
    bracketed(&|| live.is_valid(&digest(n), now));
    bracketed(&|| live.token(&digest(n), now).is_some_and(|facts| is_it(&facts)));
    bracketed(&|| live.token_by_id(&token_id(n), now).is_some_and(|facts| is_it(&facts)));
    bracketed(&|| live.installation_of_token(&token_id(n)) == Some(id));
    bracketed(&|| live.installation(id, now).is_some_and(|facts| names(&facts)));
    bracketed(&|| live.installations_of_app(&client(0), 0, 100, now).iter().any(names));
    let on_account = live.installations_on_account(&account(n / 2 % ACCOUNTS), 0, 100, now);
    assert!(on_account.len() <= 1);
}

#[test]
fn a_token_is_never_valid_after_its_uninstall_was_applied() {
    let (history, lives) = installs_and_uninstalls();
    let live = Live::new();
    let start = Barrier::new(READERS + 1);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for reader in 0..READERS as u64 {
            let (live, lives, start, is_over) = (&live, &lives, &start, &is_over);
            scope.spawn(move || {
                start.wait();
                let mut n = reader;
                while !is_over.load(Ordering::Acquire) {
                    // Mostly what is being worked on now, at times anything.
                    let working_on = live.position().as_u64() / 4 * 2;
                    let about = if n.is_multiple_of(4) { n } else { working_on.saturating_sub(n % 24) };
                    let about = about % (2 * ROUNDS);
                    ask(live, about, lives[about as usize]);
                    n += 1;
                    if n.is_multiple_of(64) {
                        assert!(live.counts().installations <= ACCOUNTS as usize);
                        live.digest();
                    }
                }
            });
        }
        start.wait();
        for recorded in &history.log {
            live.apply(recorded).unwrap();
        }
        is_over.store(true, Ordering::Release);
    });
    for (n, life) in lives.iter().enumerate() {
        ask(&live, n as u64, *life);
    }
    assert_eq!(live.digest(), history.replayed().digest());
}
