//! Compose files: the ordinary format, read strictly.
//!
//! Unknown keys are refused with their place and the nearest known key. Keys that the format has but that are not
//! carried out yet are warned of by name. Nothing is dropped silently.

mod depends;
mod deploy;
mod interpolate;
mod model;
mod parse;
mod ports;
mod reader;
mod service;
mod shell;
mod suggest;
mod tree;

pub use model::{Blob, FileRef, Project, Service, Source};
pub use parse::{Faults, Parsed, parse, read};
pub use reader::Finding;
pub use tree::At;

#[cfg(test)]
mod tests;
