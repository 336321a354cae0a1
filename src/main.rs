//! The executable. Knows: how to hand over to the command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    grantbook::cli::run()
}
