//! The JSON of `--format json`: one object a line.
//!
//! Field names are stable. Absent values are `null` or empty, never left out. Times are RFC 3339 in UTC, durations
//! milliseconds (`…_ms`), processors billionths (`nano_cpus`), sizes bytes, enums the names of the wire (`RUNNING`).

mod blob;
mod cluster;
mod node;
mod service;
mod task;

pub use blob::Blob;
pub use cluster::Cluster;
pub use node::Node;
use serde::Serialize;
pub use service::Service;
pub use task::Task;

use super::time::absolute;

/// One line, without its end.
///
/// # Panics
///
/// Never: the structs of this module have no keys that JSON cannot express.
#[must_use]
pub fn line(object: &impl Serialize) -> String {
    serde_json::to_string(object).expect("invariant: own structs with string keys are always JSON")
}

fn time(time: Option<&prost_types::Timestamp>) -> Option<String> {
    Some(absolute(time)).filter(|text| !text.is_empty())
}

fn millis(duration: Option<&prost_types::Duration>) -> Option<u64> {
    let duration = std::time::Duration::try_from(*duration?).ok()?;
    u64::try_from(duration.as_millis()).ok()
}
