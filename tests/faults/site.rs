//! Where grantbook is run: a data directory, settings, and the executable. Knows: files and commands. Must
//! not know: what a test is about.

use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Instant;

use serde_json::Value;
use tempfile::TempDir;

use crate::client::Pairs;
use crate::process::{PATIENCE, Serving, eventually};

const ROOT: u32 = 0;
const NOBODY: u32 = 65_534;

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
        self.served_by(Serving::spawn(command))
    }

    /// Serves with a stderr that may be anything.
    #[track_caller]
    pub fn serve_to(&self, stderr: impl Into<Stdio>) -> Serving {
        self.served_by(Serving::spawn_to(self.command(&["serve"]), stderr))
    }

    #[track_caller]
    fn served_by(&self, mut serving: Serving) -> Serving {
        let (url, key) = eventually("the server says where it is", || {
            serving.assert_runs();
            self.control_of(serving.pid())
        });
        serving.until_ready(&url, key);
        serving
    }

    /// What `control.json` says, once it is of this process.
    pub fn control_of(&self, pid: u32) -> Option<(String, String)> {
        let text = std::fs::read_to_string(self.file("control.json")).ok()?;
        let control: Value = serde_json::from_str(&text).unwrap();
        let text = |name: &str| control[name].as_str().unwrap().to_owned();
        (control["pid"] == pid).then(|| (text("url"), text("key")))
    }

    /// Serves, and kills that as soon as it has made a file or written to it, whatever it does then.
    #[track_caller]
    pub fn killed_when(&self, name: &str) {
        self.killed_by(self.command(&["serve"]), name);
    }

    #[track_caller]
    pub fn killed_by(&self, serve: Command, name: &str) {
        let written = || std::fs::metadata(self.file(name)).and_then(|file| file.modified()).ok();
        let (before, began) = (written(), Instant::now());
        let mut serving = Serving::spawn(serve);
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
        serving.until_it_ends_or_says("serving url=");
        assert!(!serving.log().contains("serving url="), "it serves: {}", serving.log());
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
