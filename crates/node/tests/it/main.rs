//! Nodes over real sockets on the loopback: founding, joining, changing roles, coming back, ending.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod causes;
mod ending;
mod joining;
mod leftovers;
mod locking;
mod outside;
mod restoring;
mod returning;
mod roles;
mod rotating;
mod starting;
mod team;
mod world;
