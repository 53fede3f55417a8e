//! Tasks: what runs, ran, or is about to.

use swarmkit_api::{Node, NodeId, Object, Service, ServiceId, Task, TaskId, TaskState, wire};
use swarmkit_orchestrator::is_up_to_date;
use swarmkit_store::{StoreError, TaskBy};

use crate::{
    ControlApi, ControlError, filter,
    request::{missing, required, runtime_name},
};

impl ControlApi {
    pub(crate) fn get_task(&self, request: wire::GetTaskRequest) -> Result<wire::GetTaskResponse, ControlError> {
        let id = required::<TaskId>(request.task_id)?;
        let task = self.store.view().get::<Task>(&id).map(|task| task.to_wire()).ok_or_else(|| missing("task", &id))?;
        Ok(wire::GetTaskResponse { task: Some(task) })
    }

    pub(crate) async fn remove_task(
        &self,
        request: wire::RemoveTaskRequest,
    ) -> Result<wire::RemoveTaskResponse, ControlError> {
        let id = required::<TaskId>(request.task_id)?;
        self.store
            .update(|tx| match tx.delete::<Task>(&id) {
                Err(StoreError::NotFound) => Err(missing("task", &id)),
                result => Ok(result?),
            })
            .await?;
        Ok(wire::RemoveTaskResponse {})
    }

    pub(crate) fn list_tasks(&self, request: wire::ListTasksRequest) -> wire::ListTasksResponse {
        let filters = request.filters.unwrap_or_default();
        let service_ids: Vec<_> = filters.service_ids.iter().map(|id| ServiceId::from_wire(id.clone())).collect();
        let node_ids: Vec<_> = filters.node_ids.iter().map(|id| NodeId::from_wire(id.clone())).collect();
        let states: Vec<_> =
            filters.desired_states.iter().filter_map(|&state| TaskState::try_from(state).ok()).collect();
        let view = self.store.view();
        let candidates = if !filters.names.is_empty() {
            filter::union(filters.names.iter().flat_map(|name| view.find(TaskBy::Name(name))))
        } else if !filters.name_prefixes.is_empty() {
            filter::union(filters.name_prefixes.iter().flat_map(|prefix| view.find(TaskBy::NamePrefix(prefix))))
        } else if !filters.id_prefixes.is_empty() {
            filter::union(filters.id_prefixes.iter().flat_map(|prefix| view.find(TaskBy::IdPrefix(prefix))))
        } else if !service_ids.is_empty() {
            filter::union(
                service_ids.iter().flat_map(|id| view.find(id.as_ref().map_or(TaskBy::NoService, TaskBy::Service))),
            )
        } else if !filters.runtimes.is_empty() {
            filter::union(filters.runtimes.iter().flat_map(|runtime| view.find(TaskBy::Runtime(runtime))))
        } else if !node_ids.is_empty() {
            filter::union(node_ids.iter().flat_map(|id| view.find(TaskBy::Node(id.as_ref()))))
        } else if !filters.desired_states.is_empty() {
            filter::union(states.iter().flat_map(|&state| view.find(TaskBy::DesiredState(state))))
        } else {
            view.all::<Task>().cloned().collect()
        };
        let [a, b, c] = filter::by_identity(&filters.names, &filters.name_prefixes, &filters.id_prefixes, Task::name);
        let tests = [
            a,
            b,
            c,
            filter::by_labels_of(&filters.labels, |task: &Task| task.service_annotations.as_ref()),
            filter::any(&service_ids, |id, task: &Task| task.service_id == *id),
            filter::any(&node_ids, |id, task: &Task| task.node_id == *id),
            filter::any(&filters.desired_states, |&state, task: &Task| i32::from(task.desired_state) == state),
            filter::any(&filters.runtimes, |runtime: &String, task: &Task| {
                runtime_name(Some(&task.spec)).as_deref() == Some(runtime)
            }),
        ];
        let up_to_date = |task: &Task| {
            let service = task.service_id.as_ref().and_then(|id| view.get::<Service>(id));
            let node = task.node_id.as_ref().and_then(|id| view.get::<Node>(id));
            service.is_some_and(|service| is_up_to_date(task, service, node.map(AsRef::as_ref)))
        };
        let tasks = candidates
            .iter()
            .filter(|task| filter::all_pass(&tests, task) && (!filters.up_to_date || up_to_date(task)))
            .map(|task| task.to_wire())
            .collect();
        wire::ListTasksResponse { tasks }
    }
}
