//! What is booked on each node, and how loaded each one is.
//!
//! Books are a pure function of the nodes and the tasks on them: a task is booked and unbooked by its own record, so
//! they come out the same whether they were kept up change by change or built anew. They are persistent maps, so that
//! a plan books on a copy that costs nothing to take.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use im::{OrdMap, OrdSet};
use swarmkit_api::{
    Node, NodeId, ServiceId, Task, TaskState, Version,
    resources::{self, Reserved},
    wire::{
        GenericResource, Resources,
        node_spec::Availability,
        node_status,
        port_config::{Protocol, PublishMode},
    },
};

use crate::volumes::Volumes;

/// How many recent failures make a node a bad choice for a service. As upstream.
const FAULTY_FAILURES: usize = 5;

/// For how long a failure counts as recent. As upstream.
const FAILURE_WINDOW: Duration = Duration::from_secs(5 * 60);

/// A port of a node's own addresses.
pub(crate) type HostPort = (Protocol, u32);

/// Failures count for one version of a service: a new specification starts with a clean record.
pub(crate) type FailureKey = (ServiceId, Option<Version>);

/// What is booked on one node.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct NodeBook {
    /// The node. `None` while tasks are booked on a node that is not there.
    pub(crate) node: Option<Arc<Node>>,
    /// How many of its tasks are wanted to run or to complete.
    pub(crate) active: u32,
    /// What its tasks reserve, including those that are still stopping.
    reserved: Reserved,
    /// How many of its tasks publish each port on the node's own addresses.
    ports: BTreeMap<HostPort, u32>,
}

/// The books of all nodes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Books {
    nodes: OrdMap<NodeId, Arc<NodeBook>>,
    /// The nodes that take new tasks, the least loaded first.
    by_load: OrdSet<(u32, NodeId)>,
    /// How many active tasks of a service are on each node that has any.
    by_service: OrdMap<ServiceId, OrdMap<NodeId, u32>>,
    /// When tasks of a service failed on each node, within the window.
    failures: OrdMap<FailureKey, OrdMap<NodeId, Vec<SystemTime>>>,
    /// The cluster volumes, and who has them.
    pub(crate) volumes: Volumes,
    /// When failures that are no longer recent were last dropped.
    swept: Option<SystemTime>,
}

/// Where a task may be placed next: the least rank wins.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    /// Recent failures of the service there, when there are too many of them; otherwise 0.
    pub(crate) failures: usize,
    /// Active tasks of the service.
    pub(crate) of_service: u32,
    /// Active tasks of any service.
    pub(crate) active: u32,
    /// Decides between equals, so that the same cluster gives the same plan.
    pub(crate) node: NodeId,
}

// === impl NodeBook ===

impl NodeBook {
    /// Whether it takes new tasks at all.
    pub(crate) fn is_available(&self) -> bool {
        self.node.as_deref().is_some_and(takes_tasks)
    }

    /// Whether what is left covers `wanted`.
    pub(crate) fn fits(&self, wanted: &Resources) -> bool {
        self.reserved.fits(&self.described(), wanted)
    }

    /// The generic resources that a task would be given.
    pub(crate) fn choose(&self, wanted: &Resources) -> Vec<GenericResource> {
        self.reserved.choose(&self.described(), wanted)
    }

    /// Whether a port of the node is taken.
    pub(crate) fn has_port(&self, port: HostPort) -> bool {
        self.ports.contains_key(&port)
    }

    /// A node that has not said what it has, has nothing.
    fn described(&self) -> std::borrow::Cow<'_, Resources> {
        let description = self.node.as_deref().and_then(|node| node.description.as_deref());
        match description.and_then(|description| description.resources.as_ref()) {
            Some(resources) => std::borrow::Cow::Borrowed(resources),
            None => std::borrow::Cow::Owned(Resources::default()),
        }
    }

    fn is_blank(&self) -> bool {
        *self == Self::default()
    }
}

fn takes_tasks(node: &Node) -> bool {
    node.status.state() == node_status::State::Ready && node.spec.availability() == Availability::Active
}

// === impl Books ===

impl Books {
    pub(crate) fn get(&self, node: &NodeId) -> Option<&Arc<NodeBook>> {
        self.nodes.get(node)
    }

    /// The books of all nodes that are there.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = (&Arc<Node>, &NodeBook)> {
        self.nodes.values().filter_map(|book| Some((book.node.as_ref()?, book.as_ref())))
    }

    /// The nodes that take new tasks, the least loaded first. The copy is not touched by later bookings.
    pub(crate) fn by_load(&self) -> OrdSet<(u32, NodeId)> {
        self.by_load.clone()
    }

    /// The nodes that have active tasks of a service, and how many.
    pub(crate) fn of_service(&self, service: Option<&ServiceId>) -> OrdMap<NodeId, u32> {
        service.and_then(|service| self.by_service.get(service)).cloned().unwrap_or_default()
    }

    /// How many active tasks of a service are on a node.
    pub(crate) fn active_of(&self, service: Option<&ServiceId>, node: &NodeId) -> u32 {
        let tasks = service.and_then(|service| self.by_service.get(service)).and_then(|nodes| nodes.get(node));
        tasks.copied().unwrap_or(0)
    }

    /// The nodes on which that version of a service failed too often of late, and how often.
    pub(crate) fn faulty(&self, key: &FailureKey, now: SystemTime) -> BTreeMap<NodeId, usize> {
        let nodes = self.failures.get(key).into_iter().flatten();
        let counts =
            nodes.map(|(node, failures)| (node.clone(), failures.iter().filter(|at| recent(**at, now)).count()));
        counts.filter(|(_, count)| *count >= FAULTY_FAILURES).collect()
    }

    /// Takes over a node's record; `None` when it was deleted.
    pub(crate) fn set_node(&mut self, id: &NodeId, node: Option<Arc<Node>>) {
        self.change(id, |book| book.node = node);
    }

    /// Books a task on its node.
    pub(crate) fn add(&mut self, task: &Task) {
        let Some(node) = &task.node_id else { return };
        self.change(node, |book| {
            book.active += u32::from(is_active(task));
            book.reserved.add(task);
            for port in host_ports(task) {
                *book.ports.entry(port).or_default() += 1;
            }
        });
        if is_active(task) {
            self.count(task.service_id.as_ref(), node, 1);
        }
    }

    /// Takes back what [`Books::add`] booked for the same record of the task.
    pub(crate) fn remove(&mut self, task: &Task) {
        let Some(node) = &task.node_id else { return };
        self.change(node, |book| {
            book.active -= u32::from(is_active(task));
            book.reserved.remove(task);
            for port in host_ports(task) {
                if let Some(users) = book.ports.get_mut(&port) {
                    *users -= 1;
                    if *users == 0 {
                        book.ports.remove(&port);
                    }
                }
            }
        });
        if is_active(task) {
            self.count(task.service_id.as_ref(), node, -1);
        }
    }

    /// Remembers that a task failed on a node.
    pub(crate) fn record_failure(&mut self, key: FailureKey, node: &NodeId, at: SystemTime, now: SystemTime) {
        if !recent(at, now) {
            return;
        }
        self.sweep(now);
        let mut nodes = self.failures.get(&key).cloned().unwrap_or_default();
        let mut failures = nodes.get(node).cloned().unwrap_or_default();
        failures.retain(|at| recent(*at, now));
        failures.push(at);
        if failures.len() == FAULTY_FAILURES {
            tracing::warn!(%node, service = %key.0, "tasks of the service fail here; other nodes are preferred for now");
        }
        nodes.insert(node.clone(), failures);
        self.failures.insert(key, nodes);
    }

    /// Drops what is no longer recent, at most once per window, so that the memory of failures cannot grow.
    fn sweep(&mut self, now: SystemTime) {
        if self.swept.is_some_and(|swept| recent(swept, now)) {
            return;
        }
        self.swept = Some(now);
        let any_recent = |nodes: &OrdMap<NodeId, Vec<SystemTime>>| nodes.values().flatten().any(|at| recent(*at, now));
        self.failures =
            self.failures.iter().filter(|(_, nodes)| any_recent(nodes)).map(|(k, v)| (k.clone(), v.clone())).collect();
    }

    /// Changes the book of a node, and keeps the order of load in step.
    fn change(&mut self, id: &NodeId, edit: impl FnOnce(&mut NodeBook)) {
        let mut book = self.nodes.get(id).cloned().unwrap_or_default();
        let before = book.is_available().then_some(book.active);
        edit(Arc::make_mut(&mut book));
        let after = book.is_available().then_some(book.active);
        if before != after {
            before.map(|active| self.by_load.remove(&(active, id.clone())));
            after.map(|active| self.by_load.insert((active, id.clone())));
        }
        if book.is_blank() {
            self.nodes.remove(id);
        } else {
            self.nodes.insert(id.clone(), book);
        }
    }

    fn count(&mut self, service: Option<&ServiceId>, node: &NodeId, by: i32) {
        let Some(service) = service else { return };
        let mut nodes = self.by_service.get(service).cloned().unwrap_or_default();
        match nodes.get(node).copied().unwrap_or(0).saturating_add_signed(by) {
            0 => nodes.remove(node),
            tasks => nodes.insert(node.clone(), tasks),
        };
        if nodes.is_empty() {
            self.by_service.remove(service);
        } else {
            self.by_service.insert(service.clone(), nodes);
        }
    }
}

#[cfg(test)]
impl PartialEq for Books {
    fn eq(&self, other: &Self) -> bool {
        let nodes = self.nodes == other.nodes && self.by_load == other.by_load;
        nodes && self.by_service == other.by_service && self.volumes == other.volumes
    }
}

/// Whether a task counts against the node: one that is asked to stop no longer does, although it keeps its resources.
pub(crate) fn is_active(task: &Task) -> bool {
    task.desired_state <= TaskState::Complete
}

/// The ports that a task publishes on the node's own addresses, as far as it asks for a number.
pub(crate) fn host_ports(task: &Task) -> impl Iterator<Item = HostPort> {
    let ports = task.endpoint.iter().flat_map(|endpoint| &endpoint.ports);
    ports
        .filter(|port| port.publish_mode() == PublishMode::Host && port.published_port != 0)
        .map(|port| (port.protocol(), port.published_port))
}

/// What a task asks to have reserved, if anything.
pub(crate) fn wanted(task: &Task) -> Option<&Resources> {
    resources::reservations(&task.spec).filter(|wanted| !resources::is_nothing(wanted))
}

/// A time in the future is recent: clocks differ a little.
fn recent(at: SystemTime, now: SystemTime) -> bool {
    !now.duration_since(at).is_ok_and(|age| age >= FAILURE_WINDOW)
}
