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
use crate::wanted::{App, Pair, registration, registration_with_refresh};

/// How many accounts each caller's app is installed on.
const ACCOUNTS: usize = 24;
/// How often a person approves within a minute, however fast the machine is: more than 30 times is refused.
const APPROVALS_PER_MINUTE: usize = 25;
const MINUTE: Duration = Duration::from_secs(60);
/// How many of a hundred refreshes meet an uninstall.
const UNINSTALLED_MEANWHILE: u32 = 6;

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
    pub renewals: Vec<Renewal>,
    /// Codes that were refused although their exchange may have happened.
    pub refused: usize,
    pub counts: Counts,
}

/// What was acknowledged to a caller.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    pub approvals: usize,
    pub exchanges: usize,
    pub refreshes: usize,
    pub replays: usize,
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
    /// The request that was answered with it.
    pub request: String,
    /// The refresh tokens that it came with, by their number.
    renewal: Option<usize>,
    /// When its end was acknowledged, if anything ended it.
    pub ended: Option<Instant>,
}

/// The refresh tokens of a grant.
pub struct Renewal {
    account: usize,
    /// Each was spent for the next one; the last is good until it is ended.
    pub tokens: Vec<String>,
    pub is_ended: bool,
}

impl<'a> Caller<'a> {
    /// Registers the app and signs the people in, while nothing is wrong.
    pub fn new(number: u64, seed: u64, nodes: &'a [Node], is_over: &'a AtomicBool, ended: &'a Ended) -> Self {
        let address = nodes[0].address();
        let name = format!("App {number}");
        let body =
            if number.is_multiple_of(2) { registration_with_refresh(&name) } else { registration(&name) };
        let app = App::of(&address.ask("POST", "/apps", Some(&body)).expect(201));
        let people = (0..ACCOUNTS).map(|account| {
            let account = format!("{}-{account}", app.client_id);
            let browser = Browser::new(&address.http);
            browser.try_sign_in("ana", &account).unwrap();
            Person { account, browser, approved: Vec::new() }
        });
        let people = people.collect();
        let random = StdRng::seed_from_u64(seed.wrapping_add(number + 1));
        let (tokens, renewals, refused, counts) = (Vec::new(), Vec::new(), 0, Counts::default());
        Self { nodes, is_over, ended, random, app, people, tokens, renewals, refused, counts }
    }

    pub fn call_until(&mut self, is_calm: &AtomicBool) {
        while !is_calm.load(Ordering::SeqCst) && !self.is_over.load(Ordering::SeqCst) {
            match self.random.random_range(0..100) {
                0..30 => self.install(),
                30..45 => self.revoke(),
                45..48 => self.uninstall_some(),
                48..68 => self.refresh(),
                68..72 => self.replay(),
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
        let app = self.app.clone();
        let send = |address: &Address| address.try_exchange(&app, code);
        let (answers, uninstalled) = self.at_once(account, tries, with_uninstall, send);
        self.exchanged(account, answers, uninstalled);
    }

    /// Asks some nodes at once, and uninstalls the app meanwhile if so asked.
    fn at_once(
        &mut self,
        account: usize,
        tries: usize,
        with_uninstall: bool,
        send: impl Fn(&Address) -> Result<Reply, ureq::Error> + Sync,
    ) -> (Vec<Answered>, Option<Instant>) {
        let mut order: Vec<usize> = (0..self.nodes.len()).collect();
        order.shuffle(&mut self.random);
        let (nodes, is_over, app, send) = (self.nodes, self.is_over, &self.app, &send);
        let holder = &self.people[account].account;
        let (answers, uninstalled) = thread::scope(|scope| {
            let asked: Vec<_> = order[..tries]
                .iter()
                .map(|&first| scope.spawn(move || until_answered(nodes, first, is_over, send)))
                .collect();
            let uninstalled = with_uninstall.then(|| {
                until_answered(nodes, order[tries], is_over, |address| address.try_uninstall(app, holder))
            });
            let answers: Vec<_> = asked.into_iter().map(|asked| asked.join().unwrap()).collect();
            (answers, uninstalled)
        });
        (answers, uninstalled.map(|answered| self.uninstalled(account, answered)))
    }

    /// Refreshes at some nodes at once. A reply that was lost is sent again, by any node, so all answers are one pair; only an
    /// uninstall may end it.
    fn refresh(&mut self) {
        let Some(number) = self.live_renewal(1) else { return };
        let (account, spent) = (self.renewals[number].account, self.renewals[number].tokens.last().cloned());
        let (spent, app) = (spent.unwrap(), self.app.clone());
        let with_uninstall = self.random.random_ratio(UNINSTALLED_MEANWHILE, 100);
        let tries = if with_uninstall { 1 } else { self.random.random_range(1..=self.nodes.len()) };
        let send = |address: &Address| address.try_refresh(&app, &spent);
        let (answers, ended) = self.at_once(account, tries, with_uninstall, send);
        for Answered { reply, .. } in answers {
            if reply.status != 200 && ended.is_some() {
                assert_eq!(reply.error(), (400, "invalid_grant".to_owned()), "{reply:?}");
                continue;
            }
            let (pair, request) =
                (Pair::of(&reply.clone().expect(200)), reply.header("x-request-id").to_owned());
            if self.renewals[number].tokens.last() == Some(&spent) {
                self.counts.refreshes += 1;
                if let Some(at) = ended {
                    self.ended.add(&pair.access, at);
                }
                self.tokens.push(Token {
                    token: pair.access,
                    account,
                    request,
                    renewal: Some(number),
                    ended,
                });
                self.renewals[number].tokens.push(pair.refresh);
            } else {
                let first = (&self.tokens.last().unwrap().token, self.renewals[number].tokens.last());
                assert_eq!(
                    (&pair.access, Some(&pair.refresh)),
                    first,
                    "two pairs for one refresh token: {request}"
                );
            }
        }
    }

    /// Presents a refresh token that was spent before the last one was: then the whole grant ends.
    fn replay(&mut self) {
        let Some(number) = self.live_renewal(3) else { return };
        let tokens = &self.renewals[number].tokens;
        let (app, spent) = (self.app.clone(), tokens[tokens.len() - 3].clone());
        let answered = self.until_answered(|address| address.try_refresh(&app, &spent));
        assert_eq!(answered.reply.error(), (400, "invalid_grant".to_owned()), "{:?}", answered.reply);
        self.grant_ended(number, answered.at);
        self.counts.replays += 1;
    }

    /// One answer at most is a token; every other ends it, and so does an uninstall.
    fn exchanged(&mut self, account: usize, answers: Vec<Answered>, uninstalled: Option<Instant>) {
        let (mut issued, mut ended, mut is_unheard) = (None, uninstalled, uninstalled.is_some());
        for Answered { reply, at, is_repeated } in answers {
            is_unheard |= is_repeated;
            if reply.status == 200 {
                let request = reply.header("x-request-id").to_owned();
                let refresh = reply.json()["refresh_token"].as_str().map(str::to_owned);
                let twice = issued.replace((reply.text("access_token"), refresh, request));
                assert!(twice.is_none(), "two tokens for one code, in requests {twice:?} and {issued:?}");
            } else {
                assert_eq!(reply.error(), (400, "invalid_grant".to_owned()), "{reply:?}");
                ended = ended.map_or(Some(at), |ended| Some(ended.min(at)));
            }
        }
        let Some((token, refresh, request)) = issued else {
            assert!(is_unheard, "a good code was refused, and no exchange of it was left without an answer");
            self.refused += usize::from(uninstalled.is_none());
            return;
        };
        self.counts.exchanges += 1;
        if let Some(at) = ended {
            self.ended.add(&token, at);
        }
        let renewal = refresh.map(|refresh| {
            self.renewals.push(Renewal { account, tokens: vec![refresh], is_ended: ended.is_some() });
            self.renewals.len() - 1
        });
        self.tokens.push(Token { token, account, request, renewal, ended });
    }

    /// Revokes an access token alone, or the refresh token that it came with: then the whole grant ends.
    fn revoke(&mut self) {
        let Some(at) = self.live_token() else { return };
        let renewal = self.tokens[at].renewal.filter(|_| self.random.random());
        let refresh = renewal.and_then(|number| self.renewals[number].tokens.last());
        let (app, token) = (self.app.clone(), refresh.unwrap_or(&self.tokens[at].token).clone());
        let answered = self.until_answered(|address| address.try_revoke(&app, &token));
        answered.reply.expect(200);
        match renewal {
            Some(number) => self.grant_ended(number, answered.at),
            None => {
                self.ended.add(&token, answered.at);
                self.tokens[at].ended = Some(answered.at);
            }
        }
        self.counts.revocations += 1;
    }

    fn grant_ended(&mut self, number: usize, at: Instant) {
        self.renewals[number].is_ended = true;
        let live = |token: &&mut Token| token.renewal == Some(number) && token.ended.is_none();
        for token in self.tokens.iter_mut().filter(live) {
            token.ended = Some(at);
            self.ended.add(&token.token, at);
        }
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
        self.renewals.iter_mut().filter(|it| it.account == account).for_each(|it| it.is_ended = true);
        self.counts.uninstalls += 1;
        answered.at
    }

    fn live_token(&mut self) -> Option<usize> {
        let live: Vec<usize> = (0..self.tokens.len()).filter(|at| self.tokens[*at].ended.is_none()).collect();
        live.choose(&mut self.random).copied()
    }

    /// A grant that can be refreshed, and has had so many refresh tokens.
    fn live_renewal(&mut self, least: usize) -> Option<usize> {
        let is_one = |at: &usize| !self.renewals[*at].is_ended && self.renewals[*at].tokens.len() >= least;
        let live: Vec<usize> = (0..self.renewals.len()).filter(is_one).collect();
        // Those that were refreshed most are the ones that can be replayed.
        let longest = live.iter().max_by_key(|at| self.renewals[**at].tokens.len());
        if self.random.random() { longest } else { live.choose(&mut self.random) }.copied()
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
        self.refreshes += other.refreshes;
        self.replays += other.replays;
        self.revocations += other.revocations;
        self.uninstalls += other.uninstalls;
        self.introspections += other.introspections;
    }
}
