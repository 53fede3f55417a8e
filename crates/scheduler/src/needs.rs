//! What a task needs of a node.
//!
//! It comes in two parts. What a node *is* decides about the [`Fixed`] part: it changes when the node's record does, so it
//! is worked out once for all tasks that ask the same ([`crate::feasible`]). What is *left* on a node decides about the
//! rest: it changes with every task that comes and goes.

use std::{cmp::Ordering, sync::Arc};

use swarmkit_api::{
    Descriptor, Node, Task,
    constraint::{self, Constraint},
    platform,
    wire::{Platform, Resources, generic_resource::Resource, placement_preference::Preference},
};

use crate::{
    books::{HostPort, NodeBook, host_ports, takes_tasks, wanted},
    filter::{has_plugin, kind, plugins, runs},
    reasons::Reason,
    volumes::{ClusterMount, Volumes, cluster_mounts},
};

/// What a task needs that a node either is or is not. Ordered by what is asked for.
#[derive(Debug)]
pub(crate) struct Fixed {
    asked: Asked,
    /// `None` when they cannot be parsed: then no node will do.
    constraints: Option<Vec<Constraint>>,
    platforms: Vec<Platform>,
}

#[derive(Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Asked {
    plugins: Vec<(&'static str, String)>,
    kind: Option<String>,
    constraints: Vec<String>,
    platforms: Vec<(String, String)>,
}

/// What a task needs of a node, and how nodes are preferred. Ordered by what is asked for, so that tasks that ask for the
/// same can be told.
#[derive(Debug)]
pub(crate) struct Needs {
    pub(crate) fixed: Arc<Fixed>,
    pub(crate) resources: Option<Resources>,
    ports: Vec<HostPort>,
    max_replicas: u64,
    /// The cluster volumes that it mounts.
    pub(crate) volumes: Vec<ClusterMount>,
    /// What to spread over, outermost first.
    pub(crate) levels: Vec<Descriptor>,
}

// === impl Fixed ===

impl Fixed {
    fn of(task: &Task) -> Self {
        let placement = task.spec.placement.as_ref();
        let constraints = placement.map(|placement| placement.constraints.clone()).unwrap_or_default();
        let platforms = placement.map(|placement| placement.platforms.clone()).unwrap_or_default();
        let pairs = platforms.iter().map(|platform| (platform.os.clone(), platform.architecture.clone()));
        let asked = Asked { plugins: plugins(task), kind: kind(&task.spec), platforms: pairs.collect(), constraints };
        Self { constraints: constraint::parse_all(&asked.constraints).ok(), platforms, asked }
    }

    /// What has to run the task, if not every node can.
    pub(crate) fn kind(&self) -> Option<&str> {
        self.asked.kind.as_deref()
    }

    /// The first reason why a node will not do, as long as its record says what it says.
    pub(crate) fn refusal(&self, node: &Node) -> Option<Reason> {
        if takes_tasks(node) { self.misfit(node) } else { Some(Reason::Unavailable) }
    }

    /// The same of a node that takes tasks.
    fn misfit(&self, node: &Node) -> Option<Reason> {
        if !self.asked.plugins.iter().all(|(class, name)| has_plugin(node, class, name)) {
            Some(Reason::Plugin)
        } else if self.kind().is_some_and(|kind| !runs(node, kind)) {
            Some(Reason::Executor)
        } else if !self.constraints.as_ref().is_some_and(|all| constraint::all_match(all, node)) {
            Some(Reason::Constraint)
        } else if !platform::any_matches(&self.platforms, node) {
            Some(Reason::Platform)
        } else {
            None
        }
    }
}

impl Ord for Fixed {
    fn cmp(&self, other: &Self) -> Ordering {
        self.asked.cmp(&other.asked)
    }
}

impl PartialOrd for Fixed {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Fixed {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Fixed {}

// === impl Needs ===

impl Needs {
    pub(crate) fn of(task: &Task) -> Self {
        let placement = task.spec.placement.as_ref();
        let preferences = placement.into_iter().flat_map(|placement| &placement.preferences);
        let descriptors = preferences.filter_map(|preference| match preference.preference.as_ref()? {
            Preference::Spread(spread) => Some(spread.spread_descriptor.as_str()),
        });
        Self {
            fixed: Arc::new(Fixed::of(task)),
            resources: wanted(task).cloned(),
            ports: host_ports(task).collect(),
            max_replicas: placement.map_or(0, |placement| placement.max_replicas),
            volumes: cluster_mounts(&task.spec).collect(),
            levels: descriptors.filter_map(Descriptor::parse).collect(),
        }
    }

    /// The same, with the fixed part in the form that others have.
    pub(crate) fn sharing(self, known: impl FnOnce(&Arc<Fixed>) -> Arc<Fixed>) -> Self {
        Self { fixed: known(&self.fixed), ..self }
    }

    /// The first reason why a node cannot run the task, in the order of [`Reason`]. `of_service` is how many active tasks
    /// of its service the node has.
    pub(crate) fn refusal(&self, book: &NodeBook, of_service: u32, volumes: &Volumes) -> Option<Reason> {
        let Some(node) = book.node.as_deref().filter(|node| takes_tasks(node)) else {
            return Some(Reason::Unavailable);
        };
        if !self.has_resources(book) {
            return Some(Reason::Resources);
        }
        self.fixed.misfit(node).or_else(|| self.taken(book, node, of_service, volumes))
    }

    /// The same of a node that is known to be fit as far as its record goes.
    pub(crate) fn lack(&self, book: &NodeBook, of_service: u32, volumes: &Volumes) -> Option<Reason> {
        if !self.has_resources(book) {
            return Some(Reason::Resources);
        }
        self.taken(book, book.node.as_deref()?, of_service, volumes)
    }

    /// Whether all that counts is what a node's record says.
    pub(crate) fn is_only_fixed(&self) -> bool {
        self.resources.is_none() && self.ports.is_empty() && self.max_replicas == 0 && self.volumes.is_empty()
    }

    /// Whether it counts what else of the same service is on a node.
    pub(crate) fn counts_service(&self) -> bool {
        self.max_replicas > 0
    }

    fn has_resources(&self, book: &NodeBook) -> bool {
        self.resources.as_ref().is_none_or(|wanted| book.fits(wanted))
    }

    fn taken(&self, book: &NodeBook, node: &Node, of_service: u32, volumes: &Volumes) -> Option<Reason> {
        if self.ports.iter().any(|port| book.has_port(*port)) {
            Some(Reason::HostPort)
        } else if self.max_replicas > 0 && u64::from(of_service) >= self.max_replicas {
            Some(Reason::MaxReplicas)
        } else if !volumes.serve(&self.volumes, node) {
            Some(Reason::Volume)
        } else {
            None
        }
    }

    fn compare_resources(&self, other: &Self) -> Ordering {
        fn key(resources: Option<&Resources>) -> Option<(i64, i64)> {
            resources.map(|wanted| (wanted.nano_cpus, wanted.memory_bytes))
        }
        fn generic(resources: Option<&Resources>) -> impl Iterator<Item = (&str, &str, i64)> {
            let all = resources.into_iter().flat_map(|wanted| &wanted.generic);
            all.filter_map(|wanted| match wanted.resource.as_ref()? {
                Resource::NamedResourceSpec(unit) => Some((unit.kind.as_str(), unit.value.as_str(), 0)),
                Resource::DiscreteResourceSpec(unit) => Some((unit.kind.as_str(), "", unit.value)),
            })
        }
        let (own, its) = (self.resources.as_ref(), other.resources.as_ref());
        key(own).cmp(&key(its)).then_with(|| generic(own).cmp(generic(its)))
    }
}

impl Ord for Needs {
    fn cmp(&self, other: &Self) -> Ordering {
        self.fixed
            .cmp(&other.fixed)
            .then_with(|| self.compare_resources(other))
            .then_with(|| self.ports.cmp(&other.ports))
            .then_with(|| self.max_replicas.cmp(&other.max_replicas))
            .then_with(|| self.volumes.cmp(&other.volumes))
            .then_with(|| self.levels.cmp(&other.levels))
    }
}

impl PartialOrd for Needs {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Needs {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Needs {}
