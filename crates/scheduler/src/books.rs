//! What is booked on each node, and how loaded each one is.
//!
//! Books are a pure function of the nodes and the tasks on them: a task is booked and unbooked by its own record, so they
//! come out the same whether they were kept up change by change or built anew.
//!
//! Nodes have numbers here, in the order of their ids, so that sets of them are bits and the first bit of a set is the
//! node that wins among equals. Nodes that joined since are numbered at the end until [`Books::sort`].

use std::{collections::BTreeMap, sync::Arc, time::SystemTime};

use swarmkit_api::{
    Node, NodeId, ServiceId, Task, TaskState,
    resources::{self, Reserved},
    wire::{
        GenericResource, Resources,
        node_spec::Availability,
        node_status,
        port_config::{Protocol, PublishMode},
    },
};

use crate::{
    failures::{FailureKey, Failures},
    loads::{Levels, Loads, OfService},
    needs::Needs,
    reasons::Reason,
    volumes::Volumes,
};

/// The number of a node in the books.
pub(crate) type NodeIx = usize;

/// A port of a node's own addresses.
pub(crate) type HostPort = (Protocol, u32);

/// What is booked on one node.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct NodeBook {
    pub(crate) id: NodeId,
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
    index: BTreeMap<NodeId, NodeIx>,
    books: Vec<NodeBook>,
    /// The nodes that are there, by their active tasks.
    loads: Loads,
    services: BTreeMap<ServiceId, OfService>,
    failures: Failures,
    /// The cluster volumes, and who has them.
    pub(crate) volumes: Volumes,
    /// Numbers are not in the order of ids, or some are of nodes that are gone.
    untidy: bool,
}

// === impl NodeBook ===

impl NodeBook {
    fn new(id: NodeId) -> Self {
        Self { id, node: None, active: 0, reserved: Reserved::default(), ports: BTreeMap::new() }
    }

    /// Whether what is left covers `wanted`.
    pub(crate) fn fits(&self, wanted: &Resources) -> bool {
        self.described().map_or_else(
            || self.reserved.fits(&Resources::default(), wanted),
            |described| self.reserved.fits(described, wanted),
        )
    }

    /// The generic resources that a task would be given.
    pub(crate) fn choose(&self, wanted: &Resources) -> Vec<GenericResource> {
        if wanted.generic.is_empty() {
            return Vec::new();
        }
        self.described().map(|described| self.reserved.choose(described, wanted)).unwrap_or_default()
    }

    /// The largest part of what the node has that is reserved: see [`Reserved::share`].
    pub(crate) fn share(&self) -> u64 {
        self.described().map_or(0, |described| self.reserved.share(described))
    }

    /// Whether a port of the node is taken.
    pub(crate) fn has_port(&self, port: HostPort) -> bool {
        self.ports.contains_key(&port)
    }

    /// Books a task, with the units that it was given.
    pub(crate) fn add(&mut self, task: &Task, given: &[GenericResource]) {
        self.active += u32::from(is_active(task));
        self.reserved.book(resources::reservations(&task.spec), given);
        for port in host_ports(task) {
            *self.ports.entry(port).or_default() += 1;
        }
    }

    /// Takes back what [`NodeBook::add`] booked for the same record of the task, with what it was given.
    pub(crate) fn remove(&mut self, task: &Task) {
        self.active -= u32::from(is_active(task));
        self.reserved.remove(task);
        for port in host_ports(task) {
            if let Some(users) = self.ports.get_mut(&port) {
                *users -= 1;
                if *users == 0 {
                    self.ports.remove(&port);
                }
            }
        }
    }

    /// A node that has not said what it has, has nothing.
    fn described(&self) -> Option<&Resources> {
        self.node.as_deref()?.description.as_deref()?.resources.as_ref()
    }

    fn is_blank(&self) -> bool {
        self.node.is_none() && self.active == 0 && self.ports.is_empty() && self.reserved == Reserved::default()
    }
}

/// Whether a node takes new tasks at all.
pub(crate) fn takes_tasks(node: &Node) -> bool {
    node.status.state() == node_status::State::Ready && node.spec.availability() == Availability::Active
}

// === impl Books ===

impl Books {
    /// How many numbers are in use. Some may be of nodes that are not there.
    pub(crate) fn len(&self) -> usize {
        self.books.len()
    }

    pub(crate) fn find(&self, node: &NodeId) -> Option<NodeIx> {
        self.index.get(node).copied()
    }

    pub(crate) fn get(&self, node: NodeIx) -> &NodeBook {
        &self.books[node]
    }

    /// The books of all nodes that are there, in the order of their numbers.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = (NodeIx, &Arc<Node>)> {
        self.books.iter().enumerate().filter_map(|(ix, book)| Some((ix, book.node.as_ref()?)))
    }

    /// The nodes that are there, by their active tasks.
    pub(crate) fn loads(&self) -> &Loads {
        &self.loads
    }

    /// The nodes that have active tasks of a service, by how many.
    pub(crate) fn levels(&self, service: &ServiceId) -> Levels {
        self.services.get(service).map(OfService::levels).unwrap_or_default()
    }

    /// How many active tasks of a service are on a node.
    pub(crate) fn active_of(&self, service: &ServiceId, node: NodeIx) -> u32 {
        self.services.get(service).map_or(0, |tally| tally.count(node))
    }

    /// Why a node cannot take one more task of a service.
    pub(crate) fn refusal(&self, needs: &Needs, service: Option<&ServiceId>, ix: NodeIx) -> Option<Reason> {
        let of_service = service.map_or(0, |service| self.active_of(service, ix));
        needs.refusal(self.get(ix), of_service, &self.volumes)
    }

    /// The nodes on which that version of a service failed too often of late, and how often.
    pub(crate) fn faulty(&self, key: &FailureKey, now: SystemTime) -> BTreeMap<NodeIx, usize> {
        self.failures.faulty(key, now).filter_map(|(node, count)| Some((self.find(node)?, count))).collect()
    }

    /// Takes over a node's record; `None` when it was deleted. Gives its number.
    pub(crate) fn set_node(&mut self, id: &NodeId, node: Option<Arc<Node>>) -> NodeIx {
        let ix = self.number(id);
        self.change(ix, |book| book.node = node);
        ix
    }

    /// Books a task on its node.
    pub(crate) fn add(&mut self, task: &Task) {
        let Some(node) = &task.node_id else { return };
        let ix = self.number(node);
        self.change(ix, |book| book.add(task, &task.assigned_generic_resources));
        self.count(task, ix, 1);
    }

    /// Takes back what [`Books::add`] booked for the same record of the task.
    pub(crate) fn remove(&mut self, task: &Task) {
        let Some(ix) = task.node_id.as_ref().and_then(|node| self.find(node)) else { return };
        self.change(ix, |book| book.remove(task));
        self.count(task, ix, -1);
    }

    /// Remembers that a task failed on a node.
    pub(crate) fn record_failure(&mut self, key: FailureKey, node: &NodeId, at: SystemTime, now: SystemTime) {
        self.failures.record(key, node, at, now);
    }

    /// Numbers the nodes in the order of their ids. Gives the new number of each old one, if anything was moved; `None`
    /// there means that the node is gone.
    pub(crate) fn sort(&mut self) -> Option<Vec<Option<NodeIx>>> {
        if !std::mem::take(&mut self.untidy) {
            return None;
        }
        let mut moved = vec![None; self.books.len()];
        let mut old: Vec<Option<NodeBook>> = std::mem::take(&mut self.books).into_iter().map(Some).collect();
        let mut sorted = Vec::with_capacity(old.len());
        self.index.retain(|_, ix| {
            let Some(book) = old[*ix].take().filter(|book| !book.is_blank()) else { return false };
            moved[*ix] = Some(sorted.len());
            *ix = sorted.len();
            sorted.push(book);
            true
        });
        self.books = sorted;
        self.loads = Loads::default();
        for (ix, book) in self.books.iter().enumerate().filter(|(_, book)| book.node.is_some()) {
            self.loads.shift(ix, None, Some(book.active));
        }
        for tally in self.services.values_mut() {
            *tally = OfService::of(tally.counts().filter_map(|(ix, count)| Some((moved[ix]?, count))));
        }
        Some(moved)
    }

    fn number(&mut self, id: &NodeId) -> NodeIx {
        if let Some(ix) = self.find(id) {
            return ix;
        }
        let ix = self.books.len();
        self.untidy |= self.books.last().is_some_and(|last| last.id > *id);
        self.index.insert(id.clone(), ix);
        self.books.push(NodeBook::new(id.clone()));
        ix
    }

    /// Changes the book of a node, and keeps the order of load in step.
    fn change(&mut self, ix: NodeIx, edit: impl FnOnce(&mut NodeBook)) {
        let book = &mut self.books[ix];
        let load = |book: &NodeBook| book.node.is_some().then_some(book.active);
        let before = load(book);
        edit(book);
        self.untidy |= book.is_blank();
        let after = load(book);
        self.loads.shift(ix, before, after);
    }

    fn count(&mut self, task: &Task, ix: NodeIx, by: i32) {
        let Some(service) = task.service_id.as_ref().filter(|_| is_active(task)) else { return };
        match self.services.get_mut(service) {
            Some(tally) => {
                tally.add(ix, by);
                if tally.is_empty() {
                    self.services.remove(service);
                }
            }
            None => self.services.entry(service.clone()).or_default().add(ix, by),
        }
    }
}

#[cfg(test)]
impl PartialEq for Books {
    fn eq(&self, other: &Self) -> bool {
        fn all(books: &Books) -> BTreeMap<&NodeId, &NodeBook> {
            books.books.iter().filter(|book| !book.is_blank()).map(|book| (&book.id, book)).collect()
        }
        fn loads(books: &Books) -> BTreeMap<&NodeId, u32> {
            let loads = books.loads.from(0);
            loads.flat_map(|(load, nodes)| nodes.iter().map(move |ix| (&books.books[ix].id, load))).collect()
        }
        fn services(books: &Books) -> BTreeMap<(&ServiceId, &NodeId), u32> {
            let services = books.services.iter();
            services
                .flat_map(|(id, tally)| tally.counts().map(move |(ix, count)| ((id, &books.books[ix].id), count)))
                .collect()
        }
        let nodes = all(self) == all(other) && loads(self) == loads(other);
        nodes && services(self) == services(other) && self.volumes == other.volumes
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
