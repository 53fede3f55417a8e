//! The authority as nodes meet it: over connections, with and without a certificate, in paused time.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::duplicate_mod, reason = "all of it holds whoever signs, so it is told once for each")]

mod key_outside;
mod own_key;
mod replacing;
