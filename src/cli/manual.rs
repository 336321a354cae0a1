//! `grantbook completions` and `grantbook man`: the command line described for shells and `man`. Knows: its
//! arguments. Must not know: what they do.

use std::path::PathBuf;

use clap::Command;
use clap_complete::Shell;

use super::failure::Failure;
use super::output;

/// Print the completions of a shell.
///
/// For bash: grantbook completions bash > /etc/bash_completion.d/grantbook
#[derive(Debug, clap::Args)]
pub(super) struct Completions {
    /// Which shell
    shell: Shell,
}

/// Write a man page for each command into a directory.
///
/// For everybody on this machine: grantbook man /usr/local/share/man/man1
#[derive(Debug, clap::Args)]
pub(super) struct Man {
    /// Where to; it is made if it is not there, and pages that are there are replaced
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

impl Completions {
    pub(super) fn run(self, mut command: Command) -> Result<(), Failure> {
        let mut script = Vec::new();
        let name = command.get_name().to_owned();
        clap_complete::generate(self.shell, &mut command, name, &mut script);
        output::print_bytes(&script)
    }
}

impl Man {
    pub(super) fn run(self, command: Command) -> Result<(), Failure> {
        let written =
            std::fs::create_dir_all(&self.dir).and_then(|()| clap_mangen::generate_to(command, &self.dir));
        written.map_err(|error| Failure::new(format!("{} cannot be written: {error}", self.dir.display())))
    }
}
