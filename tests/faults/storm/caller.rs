//! One of the callers: an app, and the people who install it. Knows: what was acknowledged, and when. Must not know: what goes
//! wrong meanwhile.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use rand::{RngExt as _, SeedableRng as _};

use super::ended::Ended;
use super::node::{Answered, Node, until_answered};
use crate::client::{Browser, Reply};
use crate::process::Address;
use crate::wanted::App;

/// How many accounts each caller's app is installed on.
const ACCOUNTS: usize = 24;
/// How often a person approves within a minute, however fast the machine is: more than 30 times is refused.
const APPROVALS_PER_MINUTE: usize = 25;
const MINUTE: Duration = Duration::from_secs(60);

/// An app and all that was acknowledged.
pub struct Caller<'a> {
    nodes: &'a [Node],
    /// Whether the test has failed, or the storm has passed.
    is_over: &'a AtomicBool,
    ended: &'a Ended,
    random: StdRng,
    pub app: App,
    people: Vec<Person>,
    pub tokens: Vec<Token>,
    /// Codes that were refused although their exchange may have happened.
    pub refused: usize,
    pub counts: Counts,
}

/// What was acknowledged to a caller.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    pub approvals: usize,
    pub exchanges: usize,
    pub revocations: usize,
    pub uninstalls: usize,
    pub introspections: usize,
}

struct Person {
    account: String,
    browser: Browser,
    /// When they last approved.
    approved: Vec<Instant>,
}

pub struct Token {
    pub token: String,
    account: usize,
    /// The request that exchanged its code.
    pub request: String,
    /// When its end was acknowledged, if anything ended it.
    pub ended: Option<Instant>,
}

impl<'a> Caller<'a> {
    /// Registers the app and signs the people in, while nothing is wrong.
    pub fn new(number: u64, seed: u64, nodes: &'a [Node], is_over: &'a AtomicBool, ended: &'a Ended) -> Self {
        let address = nodes[0].address();
        let body = crate::wanted::registration(&format!("App {number}"));
        let app = App::of(&address.ask("POST", "/apps", Some(&body)).expect(201));
        let people = (0..ACCOUNTS).map(|account| {
            let account = format!("{}-{account}", app.client_id);
            let browser = Browser::new(&address.http);
            browser.try_sign_in("ana", &account).unwrap();
            Person { account, browser, approved: Vec::new() }
        });
        let people = people.collect();
        let random = StdRng::seed_from_u64(seed.wrapping_add(number + 1));
        let (tokens, refused, counts) = (Vec::new(), 0, Counts::default());
        Self { nodes, is_over, ended, random, app, people, tokens, refused, counts }
    }

    pub fn call_until(&mut self, is_calm: &AtomicBool) {
        while !is_calm.load(Ordering::SeqCst) && !self.is_over.load(Ordering::SeqCst) {
            match self.random.random_range(0..100) {
                0..40 => self.install(),
                40..55 => self.revoke(),
                55..58 => self.uninstall_some(),
                _ => self.introspect(),
            }
        }
    }

    fn until_answered(&mut self, send: impl FnMut(&Address) -> Result<Reply, ureq::Error>) -> Answered {
        let first = self.random.random_range(0..self.nodes.len());
        until_answered(self.nodes, first, self.is_over, send)
    }

    /// Gets a code, and exchanges it.
    fn install(&mut self) {
        let account = self.random.random_range(0..ACCOUNTS);
        let approved = &mut self.people[account].approved;
        approved.retain(|at| at.elapsed() < MINUTE);
        if approved.len() == APPROVALS_PER_MINUTE {
            return self.introspect();
        }
        let code = self.approve(account);
        self.people[account].approved.push(Instant::now());
        self.counts.approvals += 1;
        match self.random.random_range(0..100) {
            0..50 => self.exchange(&code, account, 1, false),
            50..70 => self.exchange(&code, account, 2, false),
            70..94 => self.exchange(&code, account, 3, false),
            _ => self.exchange(&code, account, 1, true),
        }
    }

    /// A form that is sent again, also to another node, is the same approval.
    fn approve(&mut self, account: usize) -> String {
        let at = |person: &Person, address: &Address| person.browser.copy_at(&address.http);
        let (nodes, is_over) = (self.nodes, self.is_over);
        let first = self.random.random_range(0..nodes.len());
        let (app, person) = (&self.app, &self.people[account]);
        let page = until_answered(nodes, first, is_over, |address| at(person, address).try_consent(app));
        let form = page.reply.expect(200).form("/oauth/authorize");
        let sent = until_answered(nodes, first, is_over, |address| at(person, address).try_approve(&form));
        let reply = sent.reply.expect(303);
        reply.param("code").unwrap_or_else(|| panic!("no code: {reply:?}"))
    }

    /// Exchanges a code at some nodes at once, and uninstalls the app meanwhile if so asked.
    fn exchange(&mut self, code: &str, account: usize, tries: usize, with_uninstall: bool) {
        let mut order: Vec<usize> = (0..self.nodes.len()).collect();
        order.shuffle(&mut self.random);
        let (nodes, is_over, app) = (self.nodes, self.is_over, &self.app);
        let holder = &self.people[account].account;
        let (answers, uninstalled) = thread::scope(|scope| {
            let exchanges: Vec<_> = order[..tries]
                .iter()
                .map(|&first| {
                    scope.spawn(move || {
                        until_answered(nodes, first, is_over, |address| address.try_exchange(app, code))
                    })
                })
                .collect();
            let uninstalled = with_uninstall.then(|| {
                until_answered(nodes, order[tries], is_over, |address| address.try_uninstall(app, holder))
            });
            let answers: Vec<_> = exchanges.into_iter().map(|exchange| exchange.join().unwrap()).collect();
            (answers, uninstalled)
        });
        let uninstalled = uninstalled.map(|answered| self.uninstalled(account, answered));
        self.exchanged(account, answers, uninstalled);
    }

    /// One answer at most is a token; every other ends it, and so does an uninstall.
    fn exchanged(&mut self, account: usize, answers: Vec<Answered>, uninstalled: Option<Instant>) {
        let (mut issued, mut ended, mut is_unheard) = (None, uninstalled, uninstalled.is_some());
        for Answered { reply, at, is_repeated } in answers {
            is_unheard |= is_repeated;
            if reply.status == 200 {
                let request = reply.header("x-request-id").to_owned();
                let twice = issued.replace((reply.text("access_token"), request));
                assert!(twice.is_none(), "two tokens for one code, in requests {twice:?} and {issued:?}");
            } else {
                assert_eq!(reply.error(), (400, "invalid_grant".to_owned()), "{reply:?}");
                ended = ended.map_or(Some(at), |ended| Some(ended.min(at)));
            }
        }
        let Some((token, request)) = issued else {
            assert!(is_unheard, "a good code was refused, and no exchange of it was left without an answer");
            self.refused += usize::from(uninstalled.is_none());
            return;
        };
        self.counts.exchanges += 1;
        if let Some(at) = ended {
            self.ended.add(&token, at);
        }
        self.tokens.push(Token { token, account, request, ended });
    }

    fn revoke(&mut self) {
        let Some(at) = self.live_token() else { return };
        let (app, token) = (self.app.clone(), self.tokens[at].token.clone());
        let answered = self.until_answered(|address| address.try_revoke(&app, &token));
        answered.reply.expect(200);
        self.ended.add(&token, answered.at);
        self.tokens[at].ended = Some(answered.at);
        self.counts.revocations += 1;
    }

    fn uninstall_some(&mut self) {
        let Some(at) = self.live_token() else { return };
        let account = self.tokens[at].account;
        let (app, holder) = (self.app.clone(), self.people[account].account.clone());
        let answered = self.until_answered(|address| address.try_uninstall(&app, &holder));
        self.uninstalled(account, answered);
    }

    fn uninstalled(&mut self, account: usize, answered: Answered) -> Instant {
        answered.reply.expect(200);
        let live = |token: &&mut Token| token.account == account && token.ended.is_none();
        for token in self.tokens.iter_mut().filter(live) {
            token.ended = Some(answered.at);
            self.ended.add(&token.token, answered.at);
        }
        self.counts.uninstalls += 1;
        answered.at
    }

    fn live_token(&mut self) -> Option<usize> {
        let live: Vec<usize> = (0..self.tokens.len()).filter(|at| self.tokens[*at].ended.is_none()).collect();
        live.choose(&mut self.random).copied()
    }

    fn introspect(&mut self) {
        // The newest is one that a node may not know yet.
        let newest = self.tokens.len().checked_sub(1).filter(|at| self.tokens[*at].ended.is_none());
        let newest = newest.filter(|_| self.random.random());
        let Some(at) = newest.or_else(|| self.live_token()) else { return };
        let number = self.random.random_range(0..self.nodes.len());
        let token = &self.tokens[at];
        let Some(reply) = self.nodes[number].ask(|address| address.try_introspect(&token.token)) else {
            return;
        };
        let is_active = reply.expect(200).json()["active"] == true;
        assert!(is_active, "the token of request {} does not pass at node {number}", token.request);
        self.counts.introspections += 1;
    }
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.approvals += other.approvals;
        self.exchanges += other.exchanges;
        self.revocations += other.revocations;
        self.uninstalls += other.uninstalls;
        self.introspections += other.introspections;
    }
}
