//! The real executable, run as an operator runs it. Knows: processes, signals, the files they leave. Must
//! not know: what a test is about.

use std::io::{BufRead as _, BufReader, Read};
use std::ops::Deref;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::client::{Http, Pairs, Reply, encode};

/// Nothing a test waits for may take longer.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// How often a state is looked at that nothing tells of.
const LOOK_EVERY: Duration = Duration::from_millis(3);

const ROOT: u32 = 0;
const NOBODY: u32 = 65_534;

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

/// A data directory, and the settings it is served with.
pub struct Site {
    root: TempDir,
    data: PathBuf,
    settings: Vec<(String, String)>,
    executable: PathBuf,
    /// What runs the executable, and the data directory as it is seen from there, if not from here.
    within: Option<(Vec<String>, PathBuf)>,
    /// Whom it runs as, if not as whoever runs the test.
    user: Option<u32>,
}

/// A command that came to its end.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
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

impl Site {
    pub fn new() -> Self {
        Self::with(&[])
    }

    /// Settings are named as the environment names them, without the prefix.
    pub fn with(settings: Pairs<'_>) -> Self {
        let root = tempfile::tempdir().unwrap();
        let data = root.path().join("data");
        let executable = PathBuf::from(env!("CARGO_BIN_EXE_grantbook"));
        let settings = [("SIGN_IN_MODE", "dev"), ("LISTEN", "127.0.0.1:0")].iter().chain(settings);
        let settings =
            settings.map(|(name, value)| (format!("GRANTBOOK_{name}"), (*value).to_owned())).collect();
        Self { root, data, settings, executable, within: None, user: None }
    }

    /// The same, run by another command that sees other files: where it sees the data directory, and where
    /// the test does.
    pub fn within(mut self, command: Vec<String>, seen_there: PathBuf, seen_here: PathBuf) -> Self {
        (self.data, self.within) = (seen_here, Some((command, seen_there)));
        self
    }

    /// The same, run by a user to whom permissions mean something: nobody, if the test is run by root.
    pub fn unprivileged(mut self) -> Self {
        if std::fs::metadata(&self.root).unwrap().uid() == ROOT {
            self.user = Some(NOBODY);
            std::os::unix::fs::chown(&self.root, self.user, self.user).unwrap();
            // Where it was built, nobody may be let in. A file that this process had open for writing
            // could not be run while another test forks.
            let copy = self.root.path().join("grantbook");
            assert!(Command::new("cp").arg(&self.executable).arg(&copy).status().unwrap().success());
            self.executable = copy;
        }
        self
    }

    pub fn data(&self) -> &Path {
        &self.data
    }

    /// A file of the data directory.
    pub fn file(&self, name: &str) -> PathBuf {
        self.data.join(name)
    }

    /// A directory beside the data directory.
    pub fn beside(&self) -> &Path {
        self.root.path()
    }

    /// A copy of the data directory as it is now, of another site.
    pub fn copy(&self) -> Self {
        let copy = Self { settings: self.settings.clone(), ..Self::new() };
        std::fs::create_dir(&copy.data).unwrap();
        for entry in std::fs::read_dir(&self.data).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), copy.data.join(entry.file_name())).unwrap();
        }
        copy
    }

    /// The executable with a command, the data directory and the settings.
    pub fn command(&self, command: &[&str]) -> Command {
        let mut built;
        let data = match &self.within {
            None => {
                built = Command::new(&self.executable);
                &self.data
            }
            Some((within, seen_there)) => {
                built = Command::new(&within[0]);
                built.args(&within[1..]).arg(&self.executable);
                seen_there
            }
        };
        built.args(command).arg("--data").arg(data);
        self.settle_in(&mut built);
        built
    }

    /// The server, behind a line of shell that ends in `exec "$@"`.
    pub fn command_behind(&self, shell: &str) -> Command {
        let mut built = Command::new("sh");
        built.args(["-c", shell, "sh"]).arg(&self.executable).arg("serve").arg("--data").arg(&self.data);
        self.settle_in(&mut built);
        built
    }

    /// Nothing of the environment of the test counts.
    fn settle_in(&self, command: &mut Command) {
        command.env_clear().envs(self.settings.iter().cloned()).current_dir(self.root.path());
        command.stdin(Stdio::null());
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
    }

    /// Runs a command that ends by itself.
    pub fn run(&self, command: &[&str]) -> Ended {
        let output = self.command(command).output().unwrap();
        Ended {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Serves, and waits until the ledger is folded.
    #[track_caller]
    pub fn serve(&self) -> Serving {
        self.serve_by(self.command(&["serve"]))
    }

    #[track_caller]
    pub fn serve_by(&self, command: Command) -> Serving {
        let mut serving = Serving::spawn(command);
        let (url, key) = eventually("the server says where it is", || {
            serving.assert_runs();
            self.control_of(serving.pid())
        });
        serving.address = Address { http: Http::new(&url), key };
        eventually("the server is ready", || {
            serving.assert_runs();
            let reply = serving.http.try_send("GET", "/readyz", &[], None).ok();
            reply.filter(|reply| reply.status == 200)
        });
        serving
    }

    /// What `control.json` says, once it is of this process.
    fn control_of(&self, pid: u32) -> Option<(String, String)> {
        let text = std::fs::read_to_string(self.file("control.json")).ok()?;
        let control: Value = serde_json::from_str(&text).unwrap();
        let text = |name: &str| control[name].as_str().unwrap().to_owned();
        (control["pid"] == pid).then(|| (text("url"), text("key")))
    }

    /// Serves, and kills that as soon as it has made a file or written to it, whatever it does then.
    #[track_caller]
    pub fn killed_when(&self, name: &str) {
        let written = || std::fs::metadata(self.file(name)).and_then(|file| file.modified()).ok();
        let (before, began) = (written(), Instant::now());
        let mut serving = Serving::spawn(self.command(&["serve"]));
        // Some files are there for an instant only.
        let is_over = |name: &str| name == "ledger.db.new" && self.file("ledger.db").exists();
        while written() == before && !is_over(name) {
            serving.assert_runs();
            assert!(began.elapsed() < PATIENCE, "{name} was not written: {}", serving.log());
            thread::yield_now();
        }
        serving.kill();
    }

    /// Tries to serve, and waits for the refusal.
    #[track_caller]
    pub fn refused(&self) -> Ended {
        self.refused_by(self.command(&["serve"]))
    }

    #[track_caller]
    pub fn refused_by(&self, command: Command) -> Ended {
        let mut serving = Serving::spawn(command);
        let status = serving.wait();
        Ended { code: status.code(), stdout: String::new(), stderr: serving.log() }
    }

    /// The whole ledger, as the command line prints it.
    #[track_caller]
    pub fn events(&self) -> Vec<Value> {
        let ended = self.run(&["events"]);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Ended {
    /// A refusal: exit code 1, nothing on stdout, and these words in its last line on stderr.
    #[track_caller]
    pub fn assert_says(&self, words: &[&str]) {
        assert_eq!((self.code, self.stdout.as_str()), (Some(1), ""), "{}", self.stderr);
        let last = self.stderr.lines().last().unwrap_or_default();
        assert!(last.starts_with("grantbook: "), "{}", self.stderr);
        for word in words {
            assert!(last.contains(word), "{word:?} is not in {last:?}");
        }
    }
}

impl Serving {
    fn spawn(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let log = Arc::new(Log::default());
        let (stderr, theirs) = (child.stderr.take().unwrap(), Arc::clone(&log));
        thread::spawn(move || theirs.keep(stderr));
        Self { child, log, address: Address { http: Http::new(""), key: String::new() } }
    }

    /// Where it is, for callers that outlive it.
    pub fn address(&self) -> Address {
        self.address.clone()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    #[track_caller]
    fn assert_runs(&mut self) {
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
    pub fn try_introspect(&self, token: &str) -> Result<Value, ureq::Error> {
        let bearer = format!("Bearer {}", self.key);
        let form = encode(&[("token", token)]);
        let headers =
            [("authorization", bearer.as_str()), ("content-type", "application/x-www-form-urlencoded")];
        let reply = self.http.try_send("POST", "/oauth/introspect", &headers, Some(form.as_bytes()))?;
        Ok(reply.expect(200).json())
    }

    #[track_caller]
    pub fn is_active(&self, token: &str) -> bool {
        self.try_introspect(token).unwrap()["active"].as_bool().unwrap()
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
