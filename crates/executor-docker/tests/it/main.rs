//! Tasks as containers of a real engine.
//!
//! They need an engine at `SWARMKIT_DOCKER_SOCKET`, or at the usual place, and a static busybox to make an image of.
//! Without they say so and pass, unless `SWARMKIT_REQUIRE_DOCKER` is 1.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod away;
mod devices;
mod ends;
mod engine;
mod images;
mod inside;
mod networks;
mod owners;
mod registry;
mod restarts;
mod suite;
mod usage;
mod world;
