//! The binaries: swarmd and swarmctl.
pub mod client;
pub mod compose;
pub mod ctl;
pub mod output;
pub mod units;
