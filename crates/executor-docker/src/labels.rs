//! The labels by which containers are found again, and their names.

use std::collections::BTreeMap;

use swarmkit_api::{Task, wire::ContainerSpec};

/// Marks the containers of tasks, as upstream.
const TASK: &str = "com.docker.swarm.task";
/// The id of a container's task, as upstream.
pub(crate) const TASK_ID: &str = "com.docker.swarm.task.id";
const TASK_NAME: &str = "com.docker.swarm.task.name";
const NODE_ID: &str = "com.docker.swarm.node.id";
const SERVICE_ID: &str = "com.docker.swarm.service.id";
const SERVICE_NAME: &str = "com.docker.swarm.service.name";
/// Which executor made a container. Several nodes may share one engine, and Docker's own swarm too.
pub(crate) const OWNER: &str = "swarmkit.executor";
/// Which network of the cluster a network of the engine was made for.
pub(crate) const NETWORK: &str = "swarmkit.network";
/// Goes before the id of each network that was made for a container's task.
pub(crate) const IN_NETWORK: &str = "swarmkit.network.";

/// The labels of a task's container: what the specification says, then what the task says, then ours.
pub(crate) fn labels(task: &Task, spec: &ContainerSpec, owner: &str) -> BTreeMap<String, String> {
    let id = |id: Option<&str>| id.unwrap_or_default().to_owned();
    let ours = [
        (TASK, String::new()),
        (TASK_ID, task.id.to_string()),
        (TASK_NAME, task.name()),
        (NODE_ID, id(task.node_id.as_ref().map(AsRef::as_ref))),
        (SERVICE_ID, id(task.service_id.as_ref().map(AsRef::as_ref))),
        (SERVICE_NAME, task.service_annotations.name.clone()),
        (OWNER, owner.to_owned()),
    ];
    let mut labels = spec.labels.clone();
    labels.extend(task.annotations.labels.clone());
    labels.extend(ours.map(|(name, value)| (name.to_owned(), value)));
    labels
}

/// The name of a task's container: the task's, as far as it can be the name of a container.
pub(crate) fn container_name(task: &Task) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    let name: String = task.name().chars().map(|c| if fits(c) { c } else { '-' }).collect();
    let name = name.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
    // One character alone is no name, and what was changed may be the name of another task too.
    if name == task.name() && name.len() > 1 { name.to_owned() } else { format!("{name}-{}", task.id) }
}

#[cfg(test)]
mod tests {
    use swarmkit_api::{TaskId, wire};

    use super::*;

    fn task(service: &str, name: &str) -> Task {
        let mut task = Task::new(TaskId::from("t1"), wire::TaskSpec::default());
        task.service_annotations = wire::Annotations { name: service.into(), ..Default::default() }.into();
        task.annotations.name = name.into();
        task.slot = 2;
        task
    }

    #[test]
    fn a_container_has_the_name_of_its_task_where_that_is_a_name() {
        assert_eq!(container_name(&task("web", "")), "web.2.t1");
        assert_eq!(container_name(&task("", "")), "2.t1-t1");
        assert_eq!(container_name(&task("web", "-my task/1")), "my-task-1-t1");
        assert_eq!(container_name(&task("web", "a")), "a-t1");
    }

    #[test]
    fn our_labels_stand_above_those_of_the_task_and_those_above_those_of_the_specification() {
        let mut task = task("web", "");
        let pairs = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        task.annotations.labels = pairs(&[("b", "task"), (TASK_ID, "forged")]);
        let spec = ContainerSpec { labels: pairs(&[("a", "spec"), ("b", "spec")]), ..Default::default() };
        let labels = labels(&task, &spec, "o1");
        let of = |name: &str| labels.get(name).map(String::as_str);
        assert_eq!((of("a"), of("b")), (Some("spec"), Some("task")));
        assert_eq!((of(TASK), of(TASK_ID), of(TASK_NAME)), (Some(""), Some("t1"), Some("web.2.t1")));
        assert_eq!((of(SERVICE_NAME), of(SERVICE_ID), of(OWNER)), (Some("web"), Some(""), Some("o1")));
    }
}
