//! Whether tasks are moved to nodes that have fewer.

use serde::Serialize;
use swarmkit_api::wire;

use crate::output::rebalance::moves_per_minute;

/// What a service or the cluster says.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Rebalance {
    mode: &'static str,
    moves_per_minute: u32,
}

impl Rebalance {
    pub(super) fn new(wanted: &wire::swarmkit::orchestration::v1::Rebalance) -> Self {
        Self { mode: wanted.mode().as_str_name(), moves_per_minute: moves_per_minute(wanted) }
    }
}
