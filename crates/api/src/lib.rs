//! The wire of `docker.swarmkit.v1` and the ten objects a cluster is made of.

pub mod access;
mod redact;
pub mod wire;
