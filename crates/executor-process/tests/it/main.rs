//! Real processes, started and stopped.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod commands;
mod devices;
mod files;
mod image;
mod inside;
mod isolated;
mod killed;
mod limits;
mod running;
mod stopping;
mod suite;
mod usage;
mod user;
mod world;
