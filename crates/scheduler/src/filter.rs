//! What of a task and of a node has to meet.

use swarmkit_api::{
    Node, Task,
    wire::{NodeDescription, TaskSpec, mount, task_spec::Runtime},
};
use swarmkit_executor::{EXECUTOR_PLUGIN, Workload};

pub(crate) fn mounts(spec: &TaskSpec) -> impl Iterator<Item = &swarmkit_api::wire::Mount> {
    swarmkit_executor::container_spec(spec).into_iter().flat_map(|container| &container.mounts)
}

/// The plugins that a task needs: for its volumes, its networks and its logs.
pub(crate) fn plugins(task: &Task) -> Vec<(&'static str, String)> {
    let volumes = mounts(&task.spec).filter(|mount| mount.r#type() == mount::Type::Volume);
    let volumes = volumes.filter_map(|mount| mount.volume_options.as_ref()?.driver_config.as_ref());
    let volumes =
        volumes.filter(|driver| !driver.name.is_empty() && driver.name != "local").map(|driver| ("Volume", driver));
    let networks = task.networks.iter().filter_map(|attachment| attachment.network.as_ref()?.driver_state.as_ref());
    let networks = networks.filter(|driver| !driver.name.is_empty()).map(|driver| ("Network", driver));
    let logs = task.spec.log_driver.iter().filter(|driver| !driver.name.is_empty() && driver.name != "none");
    let logs = logs.map(|driver| ("Log", driver));
    volumes.chain(networks).chain(logs).map(|(class, driver)| (class, driver.name.clone())).collect()
}

/// A node whose engine told nothing may have anything. One that lists no log plugin at all is of a version that did not
/// list them.
pub(crate) fn has_plugin(node: &Node, class: &str, name: &str) -> bool {
    let description = node.description.as_deref();
    let Some(engine) = description.and_then(|description| description.engine.as_ref()) else { return true };
    let mut of_class = engine.plugins.iter().filter(|plugin| plugin.r#type == class).peekable();
    if class == "Log" && of_class.peek().is_none() {
        return true;
    }
    of_class.any(|plugin| plugin.name == name || plugin.name.strip_suffix(":latest") == Some(name))
}

/// What has to run the task, in the words that nodes use. `None` when every node can.
pub(crate) fn kind(spec: &TaskSpec) -> Option<String> {
    match spec.runtime.as_ref()? {
        Runtime::Container(_) => Workload::of(spec).map(|workload| workload.name().to_owned()),
        Runtime::Generic(generic) => Some(generic.kind.clone()),
        Runtime::Attachment(_) => None,
    }
}

pub(crate) fn runs(node: &Node, kind: &str) -> bool {
    let nothing = NodeDescription::default();
    let description = node.description.as_deref().unwrap_or(&nothing);
    let engine = description.engine.iter();
    let mut kinds =
        engine.flat_map(|engine| &engine.plugins).filter(|plugin| plugin.r#type == EXECUTOR_PLUGIN).peekable();
    match kinds.peek() {
        None => kind == Workload::Container.name(),
        Some(_) => kinds.any(|plugin| plugin.name == kind),
    }
}
