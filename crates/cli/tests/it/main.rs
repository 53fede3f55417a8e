//! The programs as users call them: real processes, real sockets, temporary directories.
//!
//! Every wait polls for a condition and has a deadline. Tasks are found by a mark in their command line.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod bench;
mod cluster;
mod commands;
mod ctl;
mod dev;
mod doctor;
mod harness;
mod killing;
mod locking;
mod logs;
mod mending;
mod metrics;
mod order;
mod plan;
mod rafttool;
mod recovery;
mod restart;
mod rollout;
mod rotating;
mod service;
mod stats;
mod volume;
