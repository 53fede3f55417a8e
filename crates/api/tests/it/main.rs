//! Integration tests of `swarmkit-api`.
mod wire;
