//! One of many callers: an app, the people who install it, and the operator who watches over it. Knows:
//! what it asked and what it was recorded. Must not know: the ledger, until it is compared.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::json;

use crate::client::{Browser, Reply};
use crate::ledger::Recorded;
use crate::process::{Address, Serving};
use crate::wanted::{App, registration};

/// How many tokens that ended are asked about again after every restart.
const ENDED_KEPT: usize = 5;
/// How many accounts each caller's app is installed on.
const ACCOUNTS: usize = 2;
/// The most codes of one account that wait to be exchanged: of a person's codes that wait for one app, the server
/// keeps ten, and a kill may leave some that nobody heard of.
const CODES_KEPT: usize = 4;

/// The server went away: what was asked last has no reply.
type Heard<T> = Result<T, ureq::Error>;

/// How a caller hears from the server, and is heard to hear.
pub struct Ears<'a> {
    pub server: Address,
    pub heard: Sender<()>,
    pub is_killed: &'a AtomicBool,
}

/// An app and all that was said to it.
pub struct Caller {
    number: u64,
    random: StdRng,
    app: Option<App>,
    codes: Vec<Code>,
    tokens: Vec<Token>,
    /// The request and the event of every change that was acknowledged.
    acknowledged: Vec<(String, &'static str)>,
}

struct Code {
    account: usize,
    code: String,
    /// The request that granted it.
    grant: String,
    /// Whether it was sent to be exchanged, and nothing was heard.
    is_sent: bool,
}

struct Token {
    account: usize,
    token: String,
    /// The request that granted its code.
    grant: String,
    end: End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    NotAsked,
    Asked,
    Acknowledged,
}

impl Caller {
    pub fn new(number: u64, seed: u64) -> Self {
        let random = StdRng::seed_from_u64(seed.wrapping_add(number));
        let (codes, tokens, acknowledged) = (Vec::new(), Vec::new(), Vec::new());
        Self { number, random, app: None, codes, tokens, acknowledged }
    }

    pub fn client_id(&self) -> Option<&str> {
        self.app.as_ref().map(|app| app.client_id.as_str())
    }

    pub fn acknowledged(&self) -> usize {
        self.acknowledged.len()
    }

    pub fn call_until_killed(&mut self, ears: &Ears<'_>) {
        let error = match self.call(ears) {
            Ok(never) => match never {},
            Err(error) => error,
        };
        assert!(ears.is_killed.load(Ordering::SeqCst), "no reply, but nobody killed the server: {error}");
    }

    fn call(&mut self, ears: &Ears<'_>) -> Heard<std::convert::Infallible> {
        if self.app.is_none() {
            self.register(ears)?;
        }
        let browsers: Vec<Browser> =
            (0..ACCOUNTS).map(|account| self.sign_in(ears, account)).collect::<Heard<_>>()?;
        loop {
            match self.random.random_range(0..100) {
                0..40 => self.grant(ears, &browsers)?,
                40..72 => self.exchange(ears)?,
                72..86 => self.revoke(ears)?,
                86..90 => self.uninstall(ears)?,
                90..94 => self.rename(ears)?,
                _ => self.introspect(ears)?,
            }
        }
    }

    /// A reply is the word of the server: its events are durable.
    fn hear(&mut self, ears: &Ears<'_>, reply: &Reply, event: &'static str) -> String {
        let request = reply.header("x-request-id").to_owned();
        assert!(!request.is_empty(), "{reply:?}");
        self.acknowledged.push((request.clone(), event));
        // The test may have heard enough.
        let _ = ears.heard.send(());
        request
    }

    fn register(&mut self, ears: &Ears<'_>) -> Heard<()> {
        let body = registration(&format!("App {}", self.number));
        let reply = ears.server.try_ask("POST", "/apps", Some(&body))?.expect(201);
        self.app = Some(App::of(&reply));
        self.hear(ears, &reply, "app-registered");
        Ok(())
    }

    fn app(&self) -> &App {
        self.app.as_ref().unwrap()
    }

    fn account(&self, account: usize) -> String {
        format!("account-{}-{account}", self.number)
    }

    fn sign_in(&self, ears: &Ears<'_>, account: usize) -> Heard<Browser> {
        let browser = Browser::new(&ears.server.http);
        browser.try_sign_in("ana", &self.account(account))?;
        Ok(browser)
    }

    fn grant(&mut self, ears: &Ears<'_>, browsers: &[Browser]) -> Heard<()> {
        let account = self.random.random_range(0..browsers.len());
        if self.codes.iter().filter(|code| code.account == account).count() >= CODES_KEPT {
            return self.exchange(ears);
        }
        let form = browsers[account].try_consent(self.app())?.expect(200).form("/oauth/authorize");
        let reply = browsers[account].try_approve(&form)?;
        let code = reply.clone().expect(303).param("code").unwrap_or_else(|| panic!("{reply:?}"));
        let grant = self.hear(ears, &reply, "access-granted");
        self.codes.push(Code { account, code, grant, is_sent: false });
        Ok(())
    }

    fn exchange(&mut self, ears: &Ears<'_>) -> Heard<()> {
        let Some(at) = self.codes.iter().position(|code| !code.is_sent) else { return Ok(()) };
        self.codes[at].is_sent = true;
        let reply = ears.server.try_exchange(self.app(), &self.codes[at].code)?.expect(200);
        self.hear(ears, &reply, "code-exchanged");
        let Code { account, grant, .. } = self.codes.swap_remove(at);
        self.tokens.push(Token { account, token: reply.text("access_token"), grant, end: End::NotAsked });
        Ok(())
    }

    /// Some token that nobody has asked to end.
    fn some_token(&mut self) -> Option<usize> {
        let live = |at: &usize| self.tokens[*at].end == End::NotAsked;
        let live: Vec<usize> = (0..self.tokens.len()).filter(live).collect();
        live.choose(&mut self.random).copied()
    }

    fn revoke(&mut self, ears: &Ears<'_>) -> Heard<()> {
        let Some(at) = self.some_token() else { return Ok(()) };
        self.tokens[at].end = End::Asked;
        let reply = ears.server.try_revoke(self.app(), &self.tokens[at].token)?.expect(200);
        self.tokens[at].end = End::Acknowledged;
        self.hear(ears, &reply, "token-revoked");
        Ok(())
    }

    /// Only what has a token is installed.
    fn uninstall(&mut self, ears: &Ears<'_>) -> Heard<()> {
        let Some(at) = self.some_token() else { return Ok(()) };
        let account = self.tokens[at].account;
        let ended = |token: &Token| token.account == account && token.end == End::NotAsked;
        let ended: Vec<usize> = (0..self.tokens.len()).filter(|at| ended(&self.tokens[*at])).collect();
        ended.iter().for_each(|at| self.tokens[*at].end = End::Asked);
        // They end with it, or nobody knows.
        self.codes.retain(|code| code.account != account);
        let reply = ears.server.try_uninstall(self.app(), &self.account(account))?.expect(200);
        ended.iter().for_each(|at| self.tokens[*at].end = End::Acknowledged);
        self.hear(ears, &reply, "app-uninstalled");
        Ok(())
    }

    fn rename(&mut self, ears: &Ears<'_>) -> Heard<()> {
        let name = format!("App {} {}", self.number, self.random.random::<u64>());
        let path = format!("/apps/{}", self.app().client_id);
        let reply = ears.server.try_ask("PATCH", &path, Some(&json!({ "name": name })))?.expect(200);
        self.hear(ears, &reply, "app-updated");
        Ok(())
    }

    /// What was acknowledged is true at once.
    fn introspect(&mut self, ears: &Ears<'_>) -> Heard<()> {
        let Some(token) = self.tokens.choose(&mut self.random) else { return Ok(()) };
        let is_active = ears.server.try_introspect(&token.token)?.expect(200).json()["active"] == true;
        match token.end {
            End::NotAsked => assert!(is_active),
            End::Acknowledged => assert!(!is_active),
            End::Asked => {}
        }
        Ok(())
    }

    /// Holds what was heard against what the ledger and the server say after a restart.
    #[track_caller]
    pub fn compare(&mut self, serving: &Serving, recorded: &Recorded) {
        for (request, event) in &self.acknowledged {
            assert_eq!(recorded.times(request, event), 1, "{event} of request {request} was acknowledged");
        }
        for token in &mut self.tokens {
            let id = recorded.token_of(&token.grant).expect("its exchange was acknowledged");
            let is_live = recorded.is_live(id);
            match token.end {
                End::NotAsked => assert!(is_live, "{id} was issued, and nobody asked to end it"),
                End::Acknowledged => assert!(!is_live, "{id} was ended"),
                End::Asked => {}
            }
            assert_eq!(serving.is_active(&token.token), is_live, "{id}");
            token.end = if is_live { End::NotAsked } else { End::Acknowledged };
        }
        let mut ended = 0;
        self.tokens.retain(|token| {
            ended += usize::from(token.end == End::Acknowledged);
            token.end == End::NotAsked || ended <= ENDED_KEPT
        });
    }

    /// Sends codes again whose exchange was not answered: they are good once.
    #[track_caller]
    pub fn ask_again(&mut self, serving: &Serving, recorded: &Recorded) {
        let (sent, codes) = std::mem::take(&mut self.codes).into_iter().partition(|code: &Code| code.is_sent);
        self.codes = codes;
        let sent: Vec<Code> = sent;
        for Code { account, code, grant, .. } in sent {
            let reply = serving.exchange(self.app(), &code);
            if recorded.token_of(&grant).is_some() {
                assert_eq!(reply.error(), (400, "invalid_grant".to_owned()));
                continue;
            }
            let request = reply.clone().expect(200).header("x-request-id").to_owned();
            self.acknowledged.push((request, "code-exchanged"));
            let token = reply.text("access_token");
            self.tokens.push(Token { account, token, grant, end: End::NotAsked });
        }
    }
}
