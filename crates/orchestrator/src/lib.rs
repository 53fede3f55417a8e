//! Turns services into tasks and keeps them as the specification says.

mod commit;
mod decide;
mod dirty;
mod error;
mod plan;
mod policy;
mod rollout;
mod scale;
pub mod services;
mod slot;
mod start;
mod template;
mod times;
mod world;

#[cfg(test)]
mod tests;

pub use error::Error;
