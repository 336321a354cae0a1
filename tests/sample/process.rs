//! The executable: a server that runs until it is told to stop, and commands that come to an end.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

/// `serve --dev` on a directory.
pub struct Served {
    /// Where it says to begin.
    pub url: String,
    /// The line that says so.
    pub line: String,
    child: Child,
    stdout: BufReader<ChildStdout>,
    log: PathBuf,
}

/// The executable, untouched by what this process was started with. A `grantbook.toml` in the data
/// directory is its configuration.
fn command(data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_grantbook"));
    command.env_clear().current_dir(data);
    command
}

/// Runs a command that must succeed, and gives what it printed.
#[track_caller]
pub fn grantbook(data: &Path, arguments: &[&str]) -> String {
    let output = command(data).args(arguments).arg("--data").arg(data).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

impl Served {
    /// Starts it and waits for its first line.
    #[track_caller]
    pub fn start(data: &Path) -> Self {
        let log = data.join("test.log");
        let mut child = command(data)
            .args(["serve", "--dev", "--listen", "127.0.0.1:0", "--data"])
            .arg(data)
            .stdout(Stdio::piped())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let url = line.split(' ').nth(1).unwrap_or_default().to_owned();
        let served = Self { url, line, child, stdout, log };
        let is_said = served.line.starts_with("Open http://127.0.0.1:");
        assert!(is_said, "{:?}, {}", served.line, served.log());
        served
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Stops it as a terminal does, and gives what it printed after its first line.
    #[track_caller]
    pub fn stop(mut self) -> String {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}, {}", self.log());
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).unwrap();
        rest
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // A story that failed leaves no process behind; one that stopped is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
