//! The real executable, on a ledger of its own, as an operator starts and stops it.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use serde_json::Value;
use tempfile::TempDir;

use crate::client::{Http, Pairs, Reply};

/// A directory for a ledger, and the settings of whatever is run on it.
pub struct Place {
    pub dir: TempDir,
    settings: Vec<(String, String)>,
}

/// A server that is running.
pub struct Serving {
    pub http: Http,
    /// The key of the control file.
    pub key: String,
    child: Child,
    log: Arc<Mutex<String>>,
    reading: JoinHandle<()>,
}

impl Place {
    /// An empty directory. Anybody may sign in as anybody.
    pub fn empty() -> Self {
        let settings =
            [("SIGN_IN_MODE", "dev"), ("LISTEN", "127.0.0.1:0"), ("LIMITS_SHUTDOWN_TIMEOUT", "2s")];
        let named = settings.map(|(name, value)| (format!("GRANTBOOK_{name}"), value.to_owned()));
        Self { dir: tempfile::tempdir().unwrap(), settings: named.into() }
    }

    pub fn data(&self) -> std::path::PathBuf {
        self.dir.path().join("data")
    }

    /// The executable with arguments, its working directory and its ledger here.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_grantbook"));
        command.current_dir(self.dir.path()).args(args).stdin(Stdio::null());
        command.env_clear();
        command.env("GRANTBOOK_DATA_DIR", self.data());
        command.envs(self.settings.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs a command to its end.
    pub fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// What a command prints that must go well.
    #[track_caller]
    pub fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The JSON that a command prints.
    #[track_caller]
    pub fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.ok(args)).unwrap()
    }

    /// The exit code and the one line on stderr of a command that must fail.
    #[track_caller]
    pub fn fails(&self, args: &[&str]) -> (i32, String) {
        let output = self.run(args);
        assert!(!output.status.success() && output.stdout.is_empty(), "{args:?}: {output:?}");
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    }

    /// Starts a server and waits until it answers.
    #[track_caller]
    pub fn serve(&self) -> Serving {
        let mut child =
            self.command(&["serve"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let mut said = String::new();
        let ready = lines.by_ref().any(|line| {
            said.push_str(&format!("{line}\n"));
            line.contains("serving url=")
        });
        assert!(ready, "{said}");
        let log = Arc::new(Mutex::new(said));
        let kept = Arc::clone(&log);
        let reading = thread::spawn(move || {
            lines.for_each(|line| kept.lock().unwrap().push_str(&format!("{line}\n")));
        });
        let control = control(&self.data());
        let text = |name: &str| control[name].as_str().unwrap().to_owned();
        Serving { http: Http::new(&text("url")), key: text("key"), child, log, reading }
    }
}

/// What the control file says.
fn control(data: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(data.join("control.json")).unwrap()).unwrap()
}

impl Serving {
    /// Asks as an operator.
    #[track_caller]
    pub fn ask(&self, method: &str, path: &str, body: Option<Value>) -> Reply {
        let bearer = format!("Bearer {}", self.key);
        let mut headers = vec![("authorization", bearer.as_str())];
        headers.extend(body.is_some().then_some(("content-type", "application/json")));
        let body = body.map(|body| body.to_string());
        self.http.send(method, path, &headers, body.as_deref().map(str::as_bytes))
    }

    /// Introspects a token as a resource server.
    #[track_caller]
    pub fn introspect(&self, token: &str) -> Value {
        let bearer = format!("Bearer {}", self.key);
        let form: Pairs<'_> = &[("token", token)];
        self.http.post_with("/oauth/introspect", &[("authorization", &bearer)], form).expect(200).json()
    }

    /// Asks it to stop, waits until it has, and gives its log. It must end well.
    #[track_caller]
    pub fn stop(mut self) -> String {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let status = self.child.wait().unwrap();
        self.reading.join().unwrap();
        let log = self.log.lock().unwrap().clone();
        assert!(status.success(), "{status}: {log}");
        log
    }
}
