//! Integration tests of `swarmkit-api`.
mod round_trip;
mod wire;
