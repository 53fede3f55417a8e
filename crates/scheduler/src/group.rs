//! Tasks that wait for the same.

use std::{collections::BTreeMap, sync::Arc};

use swarmkit_api::{ServiceId, Task, TaskId, Version};

use crate::{blocked::Asked, books::Books, feasible::Feasible, needs::Needs};

/// What tells tasks that need the same of a node from others: they are of one service and version, or they have no version
/// and ask for the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct GroupKey {
    pub(crate) service: Option<ServiceId>,
    version: Option<Version>,
    /// Of tasks without a version.
    needs: Option<Arc<Needs>>,
}

/// Tasks of one kind that wait for a node, lower slots first.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) needs: Arc<Needs>,
    pub(crate) tasks: BTreeMap<(u64, TaskId), Arc<Task>>,
    /// Why none of them could be placed when they were last tried. A task that joins waits for the same reason.
    pub(crate) blocked: Option<Arc<str>>,
    /// What they asked for then.
    pub(crate) asked: Option<Asked>,
}

// === impl GroupKey ===

impl GroupKey {
    pub(crate) fn of(task: &Task) -> Self {
        let needs = task.spec_version.is_none().then(|| Arc::new(Needs::of(task)));
        Self { service: task.service_id.clone(), version: task.spec_version, needs }
    }

    /// Comes before the groups of a service.
    pub(crate) fn before(service: &ServiceId) -> Self {
        Self { service: Some(service.clone()), version: None, needs: None }
    }
}

// === impl Group ===

impl Group {
    /// A group for tasks like this one, that has none yet.
    pub(crate) fn of(task: &Task, feasible: &mut Feasible, books: &Books) -> Self {
        let needs = Needs::of(task).sharing(|fixed| feasible.ask(fixed, books));
        Self { needs: Arc::new(needs), tasks: BTreeMap::new(), blocked: None, asked: None }
    }
}
