//! A whole manager in one process: its own log, services and loops, on a network of pipes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod callers;
mod differing;
mod flood;
mod gate;
mod group;
mod joining;
mod leading;
mod lives;
mod locking;
mod rotating;
mod said;
mod stopping;
mod turning;
mod world;
