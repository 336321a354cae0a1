//! A server that runs: how it is waited for, asked, signalled and killed. Knows: processes and signals. Must
//! not know: what it serves, or what a test is about.

use std::io::{BufRead as _, BufReader, Read};
use std::ops::Deref;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::client::{Http, Reply, encode};

/// Nothing a test waits for may take longer.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// How often a state is looked at that nothing tells of.
const LOOK_EVERY: Duration = Duration::from_millis(3);

/// Looks until there is something to see.
#[track_caller]
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(began.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        thread::sleep(LOOK_EVERY);
    }
}

/// A server that runs. It is killed when this goes.
pub struct Serving {
    child: Child,
    log: Arc<Log>,
    address: Address,
}

/// Where a server is, and a key to it.
#[derive(Debug, Clone)]
pub struct Address {
    pub http: Http,
    /// Admits to everything, for as long as the process lives.
    pub key: String,
}

/// What a process says on stderr, as far as it has said it.
#[derive(Default)]
struct Log {
    text: Mutex<String>,
    grown: Condvar,
}

impl Serving {
    /// Starts a process. Nobody knows yet where it is reached.
    pub fn spawn(command: Command) -> Self {
        Self::spawn_to(command, Stdio::piped())
    }

    /// The same, with a stderr that may be anything. What goes elsewhere is not in its log.
    pub fn spawn_to(mut command: Command, stderr: impl Into<Stdio>) -> Self {
        let mut child = command.stdout(Stdio::null()).stderr(stderr).spawn().unwrap();
        let log = Arc::new(Log::default());
        if let Some(stderr) = child.stderr.take() {
            let theirs = Arc::clone(&log);
            thread::spawn(move || theirs.keep(stderr));
        }
        Self { child, log, address: Address { http: Http::new(""), key: String::new() } }
    }

    /// Where it is, for callers that outlive it.
    pub fn address(&self) -> Address {
        self.address.clone()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it answers at an address.
    #[track_caller]
    pub fn until_ready(&mut self, url: &str, key: String) {
        self.address = Address { http: Http::new(url), key };
        eventually("the server is ready", || {
            self.assert_runs();
            let reply = self.http.try_send("GET", "/readyz", &[], None).ok();
            reply.filter(|reply| reply.status == 200)
        });
    }

    #[track_caller]
    pub fn assert_runs(&mut self) {
        if let Some(status) = self.child.try_wait().unwrap() {
            panic!("the server ended with {status}: {}", self.log());
        }
    }

    /// What it has said so far; all of it, once it has ended.
    pub fn log(&self) -> String {
        self.log.text.lock().unwrap().clone()
    }

    /// Waits until it says something.
    #[track_caller]
    pub fn until_it_says(&self, words: &str) {
        let text = self.log.text.lock().unwrap();
        let silent = |text: &mut String| !text.contains(words);
        let (text, timeout) = self.log.grown.wait_timeout_while(text, PATIENCE, silent).unwrap();
        assert!(!timeout.timed_out(), "{words:?} was not said: {text}");
    }

    /// Waits until it says something, or has ended.
    #[track_caller]
    pub fn until_it_ends_or_says(&mut self, words: &str) {
        eventually("the server ends", || {
            (self.log().contains(words) || self.child.try_wait().unwrap().is_some()).then_some(())
        });
    }

    /// Sends a signal, such as `TERM`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.pid().to_string()).status();
        assert!(sent.unwrap().success());
    }

    /// Ends it as a crash does, at once.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.wait();
    }

    /// Asks it to stop, and waits until it has.
    #[track_caller]
    pub fn stop(mut self) {
        self.signal("TERM");
        let status = self.wait();
        assert_eq!(status.code(), Some(0), "{}", self.log());
    }

    /// Waits for its end, and for the end of what it says.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        let status = eventually("the server ends", || self.child.try_wait().unwrap());
        eventually("all is read that it said", || (Arc::strong_count(&self.log) == 1).then_some(()));
        status
    }
}

impl Deref for Serving {
    type Target = Address;

    fn deref(&self) -> &Address {
        &self.address
    }
}

impl Address {
    /// An operator's request.
    pub fn try_ask(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Reply, ureq::Error> {
        let bearer = format!("Bearer {}", self.key);
        let mut headers = vec![("authorization", bearer.as_str())];
        headers.extend(body.map(|_| ("content-type", "application/json")));
        let body = body.map(Value::to_string);
        self.http.try_send(method, path, &headers, body.as_deref().map(str::as_bytes))
    }

    #[track_caller]
    pub fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Reply {
        self.try_ask(method, path, body).unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    /// Posts a form that is spelt already.
    pub fn try_post(&self, path: &str, form: &str) -> Result<Reply, ureq::Error> {
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        self.http.try_send("POST", path, &headers, Some(form.as_bytes()))
    }

    /// What a resource server is told of a token.
    pub fn try_introspect(&self, token: &str) -> Result<Reply, ureq::Error> {
        let bearer = format!("Bearer {}", self.key);
        let form = encode(&[("token", token)]);
        let headers =
            [("authorization", bearer.as_str()), ("content-type", "application/x-www-form-urlencoded")];
        self.http.try_send("POST", "/oauth/introspect", &headers, Some(form.as_bytes()))
    }

    #[track_caller]
    pub fn is_active(&self, token: &str) -> bool {
        self.try_introspect(token).unwrap().expect(200).json()["active"].as_bool().unwrap()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Log {
    fn keep(&self, stderr: impl Read) {
        for line in BufReader::new(stderr).lines() {
            let mut text = self.text.lock().unwrap();
            text.push_str(&line.unwrap());
            text.push('\n');
            self.grown.notify_all();
        }
    }
}
