//! The executable. Knows: the command line. Must not know: anything the command line does not tell it.

fn main() {}
