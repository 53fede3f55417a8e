//! The authority as nodes meet it: over connections, with and without a certificate, in paused time.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod joining;
mod renewing;
mod signing;
mod waiting;
mod world;
