//! The executable. Knows: how to hand over to the command line.

use std::process::ExitCode;

/// Requests allocate on one thread what another one frees: the system's allocator takes locks for that, and keeps what
/// is freed in pieces.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    grantbook::cli::run()
}
