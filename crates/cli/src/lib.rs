//! The binaries: swarmd and swarmctl.
pub mod compose;
pub mod units;
