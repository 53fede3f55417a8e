//! How important tasks are, and which make room for which.

use serde::Serialize;
use swarmkit_api::wire::{
    self,
    swarmkit::scheduling::v1::{ServiceScheduling, preemption::Side},
};

use crate::output::priority::side;

/// What a service says about it.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Priority {
    /// `null` where nothing is said, which makes no room.
    priority: Option<i32>,
    /// `null` is without limit.
    max_disrupted: Option<u64>,
}

/// What a task has to do with room that some make for others: one of the two.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Preemption {
    /// Others make room for it on that node.
    Claim { node_id: String, tasks: Vec<String> },
    /// It makes, or made, room for another.
    Yield { task_id: String, service_id: String, message: String },
}

impl Priority {
    pub(super) fn new(scheduling: Option<&ServiceScheduling>) -> Self {
        let said = scheduling.map(|said| Self { priority: said.priority, max_disrupted: said.max_disrupted });
        said.unwrap_or_default()
    }
}

impl Preemption {
    pub(super) fn of(task: &wire::Task) -> Option<Self> {
        Some(match side(task)?.clone() {
            Side::Claim(claim) => Self::Claim { node_id: claim.node_id, tasks: claim.tasks },
            Side::Yield(given) => {
                Self::Yield { task_id: given.task_id, service_id: given.service_id, message: given.message }
            }
        })
    }
}
