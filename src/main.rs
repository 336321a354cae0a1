//! The executable. Knows: its allocator, and how to hand over to the command line.

use std::process::ExitCode;

/// Exchanges and introspections are short and allocate often; this makes a durable exchange a fifth cheaper
/// than with the system's allocator (`cargo bench --bench exchange`).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    grantbook::cli::run()
}
