//! The store against a cluster: a double of the server, or a real one. Knows: the contract, and what a cluster
//! can do to us. Must not know: what the records mean.
