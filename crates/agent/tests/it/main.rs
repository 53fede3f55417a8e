//! Agents and the dispatcher that they talk to, in one process and in paused time.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod clearing;
mod cluster;
mod counting;
mod cuts;
mod fake;
mod life;
mod logs;
mod managers;
mod node;
mod own;
mod restart;
mod secrets;
mod session;
mod telling;
