//! Which nodes can run a task at all.

use swarmkit_api::{
    Node, ServiceId, Task,
    constraint::{self, Constraint},
    platform,
    wire::{NodeDescription, Platform, Resources, TaskSpec, mount, task_spec::Runtime},
};
use swarmkit_executor::{EXECUTOR_PLUGIN, Workload};

use crate::{
    books::{Books, HostPort, NodeBook, host_ports, wanted},
    reasons::{Reason, Tally},
    volumes::{ClusterMount, cluster_mounts},
};

/// What a task needs of a node, worked out once for all tasks of one service and version.
#[derive(Debug)]
pub(crate) struct Needs {
    service: Option<ServiceId>,
    resources: Option<Resources>,
    plugins: Vec<(&'static str, String)>,
    kind: Option<String>,
    /// `None` when they cannot be parsed: then no node will do.
    constraints: Option<Vec<Constraint>>,
    platforms: Vec<Platform>,
    ports: Vec<HostPort>,
    max_replicas: u64,
    /// The cluster volumes that it mounts.
    pub(crate) volumes: Vec<ClusterMount>,
}

// === impl Needs ===

impl Needs {
    pub(crate) fn of(task: &Task) -> Self {
        let placement = task.spec.placement.clone().unwrap_or_default();
        Self {
            service: task.service_id.clone(),
            resources: wanted(task).cloned(),
            plugins: plugins(task),
            kind: kind(&task.spec),
            constraints: constraint::parse_all(&placement.constraints).ok(),
            platforms: placement.platforms,
            ports: host_ports(task).collect(),
            max_replicas: placement.max_replicas,
            volumes: cluster_mounts(&task.spec).collect(),
        }
    }

    /// The first reason why a node cannot run the task, in the order of [`Reason`].
    pub(crate) fn refusal(&self, books: &Books, book: &NodeBook) -> Option<Reason> {
        let Some(node) = book.node.as_deref().filter(|_| book.is_available()) else {
            return Some(Reason::Unavailable);
        };
        let has_plugins = || self.plugins.iter().all(|(class, name)| has_plugin(node, class, name));
        let satisfies = || self.constraints.as_ref().is_some_and(|all| constraint::all_match(all, node));
        let of_service = || u64::from(books.active_of(self.service.as_ref(), &node.id));
        if self.resources.as_ref().is_some_and(|wanted| !book.fits(wanted)) {
            Some(Reason::Resources)
        } else if !has_plugins() {
            Some(Reason::Plugin)
        } else if self.kind.as_deref().is_some_and(|kind| !runs(node, kind)) {
            Some(Reason::Executor)
        } else if !satisfies() {
            Some(Reason::Constraint)
        } else if !platform::any_matches(&self.platforms, node) {
            Some(Reason::Platform)
        } else if self.ports.iter().any(|port| book.has_port(*port)) {
            Some(Reason::HostPort)
        } else if self.max_replicas > 0 && of_service() >= self.max_replicas {
            Some(Reason::MaxReplicas)
        } else if !books.volumes.serve(&self.volumes, node) {
            Some(Reason::Volume)
        } else {
            None
        }
    }

    /// Why no node can run the task, as the books stand.
    pub(crate) fn explain(&self, books: &Books) -> Tally {
        let mut tally = Tally::new(self.kind.clone());
        books.nodes().for_each(|(_, book)| tally.count(self.refusal(books, book)));
        tally
    }

    /// Why one node cannot run the task.
    pub(crate) fn explain_one(&self, reason: Reason) -> String {
        Tally::of_one(self.kind.clone(), reason)
    }
}

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
