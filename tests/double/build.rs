//! Makes the messages and services of `protos/` into Rust. Knows: where they are. Must not know: what they
//! mean. The protocol compiler is a crate, so that no `protoc` has to be installed.

use std::error::Error;

const PROTOS: &str = "protos";
const SERVICES: [&str; 3] = ["streams.proto", "gossip.proto", "serverfeatures.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={PROTOS}");
    let descriptors = protox::compile(SERVICES, [PROTOS])?;
    // Payloads are shared between all that read them, not copied.
    tonic_build::configure().bytes(["."]).build_transport(false).compile_fds(descriptors)?;
    Ok(())
}
