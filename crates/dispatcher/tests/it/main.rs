//! A dispatcher and the nodes that talk to it, in one process and in paused time.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod assignments;
mod cost;
mod gate;
mod logs;
mod registration;
mod reports;
mod secrets;
mod slow;
mod world;
