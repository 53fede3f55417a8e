//! Which nodes have the logs that somebody asks for.

use std::collections::{BTreeMap, BTreeSet};

use swarmkit_api::{NodeId, ServiceId, Task, TaskId, TaskState, wire::LogSelector};
use swarmkit_store::{Interest, State, TaskBy};

/// The nodes of everything that a selector selects, and the tasks among it that have no node yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Selection {
    /// With the tasks of each, as far as these are selected one by one.
    pub(super) nodes: BTreeMap<NodeId, BTreeSet<TaskId>>,
    pub(super) unplaced: BTreeSet<TaskId>,
}

impl Selection {
    /// Selects the union of the nodes, the tasks and the services that are named. Of a service whose future logs are
    /// wanted too every task counts, otherwise only those that run or have run.
    pub(super) fn of(selector: &LogSelector, follow: bool, state: &State) -> Self {
        let mut selection = Self {
            nodes: selector.node_ids.iter().map(|id| (id.as_str().into(), BTreeSet::new())).collect(),
            ..Self::default()
        };
        for id in &selector.task_ids {
            if let Some(task) = state.get::<Task>(&TaskId::from(id.as_str())) {
                selection.add(task);
            }
        }
        for id in &selector.service_ids {
            let tasks = state.find(TaskBy::Service(&ServiceId::from(id.as_str())));
            tasks.filter(|task| follow || task.status.state >= TaskState::Running).for_each(|task| selection.add(task));
        }
        selection
    }

    fn add(&mut self, task: &Task) {
        match &task.node_id {
            Some(node) => self.nodes.entry(node.clone()).or_default().insert(task.id.clone()),
            None => self.unplaced.insert(task.id.clone()),
        };
    }
}

/// The changes by which a selection may grow.
pub(super) fn interest(selector: &LogSelector) -> Interest {
    let services = selector.service_ids.iter().map(|id| ServiceId::from(id.as_str()));
    let interest = services.fold(Interest::none(), Interest::tasks_of_service);
    let tasks = selector.task_ids.iter().map(|id| TaskId::from(id.as_str()));
    tasks.fold(interest, |interest, id| interest.object::<Task>(&id))
}

/// Whether a selector names anything.
pub(super) fn is_empty(selector: &LogSelector) -> bool {
    selector.service_ids.is_empty() && selector.node_ids.is_empty() && selector.task_ids.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(selector: LogSelector, follow: bool) -> (Vec<String>, Vec<String>) {
        let world = swarmkit_testing::world(
            "node a; node b; service w; service x; task w.1 on a running; task w.2 on b ready; task w.3; \
             task x.1 on b complete",
        );
        let selection = Selection::of(&selector, follow, &world);
        let text = |id: &str| id.to_owned();
        (
            selection.nodes.keys().map(|id| text(id.as_str())).collect(),
            selection.unplaced.iter().map(|id| text(id.as_str())).collect(),
        )
    }

    fn services(ids: &[&str]) -> LogSelector {
        LogSelector { service_ids: ids.iter().map(|id| (*id).into()).collect(), ..Default::default() }
    }

    #[test]
    fn what_a_service_has_written_is_where_its_tasks_ran() {
        assert_eq!(check(services(&["w"]), false), (vec!["a".into()], vec![]));
        assert_eq!(check(services(&["x"]), false), (vec!["b".into()], vec![]));
        assert_eq!(check(services(&["unknown"]), false), (vec![], vec![]));
    }

    #[test]
    fn what_a_service_will_write_may_come_from_any_task_of_it() {
        assert_eq!(check(services(&["w"]), true), (vec!["a".into(), "b".into()], vec!["w.3".into()]));
    }

    #[test]
    fn tasks_and_nodes_that_are_named_count_in_whatever_state() {
        let selector =
            LogSelector { task_ids: vec!["w.2".into(), "w.3".into()], node_ids: vec!["z".into()], ..services(&["x"]) };
        assert_eq!(check(selector, false), (vec!["b".into(), "z".into()], vec!["w.3".into()]));
    }
}
