//! What `swarmd --listen-metrics` tells Prometheus, under upstream's names where upstream has it.
//!
//! Four sources and one exit: [`Collector`] follows the store of a manager and keeps the gauges of objects; [`Timers`]
//! is a subscriber of the spans that store, raft and the servers open anyway, and turns how long they lasted into
//! histograms; what the tasks of the node use is measured when somebody asks; [`Registry`] holds all; [`serve`] answers
//! `GET /metrics`.
//!
//! Without `--listen-metrics` nothing subscribes to the spans, so each costs one look at a flag.

mod collector;
mod delays;
mod registry;
mod server;
mod timers;
mod usage;

pub use collector::Collector;
pub use registry::Registry;
pub use server::serve;
pub use timers::Timers;

#[cfg(test)]
mod tests;
