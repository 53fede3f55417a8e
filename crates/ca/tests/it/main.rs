//! Real handshakes between nodes, over pipes in memory.

#![expect(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod damage;
mod handshake;
mod keys;
mod other;
mod rotation;
mod world;
