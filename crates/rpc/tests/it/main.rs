//! Calls between nodes, over real sockets with real TLS and over pipes in memory.

#![expect(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod calls;
mod conformance;
mod connecting;
mod deadlines;
mod forwarding;
mod fresh;
mod leader_changes;
mod measuring;
mod peers;
mod reconnecting;
mod socket;
mod stopping;
mod strangers;
mod world;
