//! The client and the server, over real TLS on the loopback.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod asking;
mod cross_signing;
mod faults;
mod reaching;
mod world;
