//! What the rebalancer knows, kept up change by change: the nodes, and the services that asked for it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::SystemTime,
};

use swarmkit_api::{Node, NodeId, Service, ServiceId, Task, TaskState, Version};
use swarmkit_store::{Change, Edit, State, Update, View};

use crate::{
    book::{Book, is_live},
    moves::Moves,
    nodes::Nodes,
    policy::ClusterPolicy,
};

#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) view: Option<View>,
    pub(crate) cluster: ClusterPolicy,
    pub(crate) nodes: Nodes,
    /// The services that asked for it.
    pub(crate) books: BTreeMap<ServiceId, Book>,
    pub(crate) moves: Moves,
    /// The services that have to be looked at.
    pub(crate) due: BTreeSet<ServiceId>,
    /// The one that was served last: the others have their turn first.
    pub(crate) last: Option<ServiceId>,
    /// When something is due for no other reason than the time. `None` is to go on with what is due.
    alarms: BTreeSet<(SystemTime, Option<ServiceId>)>,
}

impl World {
    pub(crate) fn version(&self) -> Version {
        self.view.as_ref().map(|view| view.version()).unwrap_or_default()
    }

    /// Takes over an update. A snapshot replaces everything that was known.
    pub(crate) fn absorb(&mut self, update: &Update, now: SystemTime) {
        match update {
            Update::Snapshot(view) => *self = Self::from_state(view, now),
            Update::Delta(delta) => {
                delta.changes.iter().for_each(|change| self.absorb_change(change, &delta.view, now));
            }
        }
        self.moves.sweep(now);
        self.view = Some(update.view().clone());
    }

    fn from_state(state: &State, now: SystemTime) -> Self {
        let cluster = ClusterPolicy::of(state.cluster().map(AsRef::as_ref));
        let mut world = Self { cluster, ..Self::default() };
        for node in state.all::<Node>() {
            world.nodes.set(&node.id, Some(node), now);
        }
        state.all::<Task>().for_each(|task| world.moves.note(task, now));
        state.all::<Service>().for_each(|service| world.set_service(service, state, now));
        world
    }

    fn absorb_change(&mut self, change: &Change, state: &State, now: SystemTime) {
        match change {
            Change::Cluster(_) => self.absorb_cluster(state, now),
            Change::Node(Edit { before, after }) => {
                if let Some(node) = after.as_ref().or(before.as_ref()) {
                    self.absorb_node(&node.id, after.as_ref(), now);
                }
            }
            Change::Service(Edit { before: Some(service), after: None }) => self.forget(&service.id),
            Change::Service(Edit { before, after: Some(after) })
                if !before.as_ref().is_some_and(|before| asks_the_same(before, after)) =>
            {
                self.set_service(after, state, now);
            }
            Change::Task(Edit { before, after }) => self.absorb_task(before.as_deref(), after.as_ref(), state, now),
            _ => {}
        }
    }

    fn absorb_cluster(&mut self, state: &State, now: SystemTime) {
        let cluster = ClusterPolicy::of(state.cluster().map(AsRef::as_ref));
        if std::mem::replace(&mut self.cluster, cluster) != cluster {
            state.all::<Service>().for_each(|service| self.set_service(service, state, now));
        }
    }

    fn absorb_node(&mut self, id: &NodeId, node: Option<&Arc<Node>>, now: SystemTime) {
        if self.nodes.set(id, node, now) {
            self.books.values_mut().for_each(|book| book.review(id, &self.nodes, now));
            self.due.extend(self.books.keys().cloned());
        }
    }

    fn set_service(&mut self, service: &Arc<Service>, state: &State, now: SystemTime) {
        let Some(limit) = self.cluster.limit_of(service) else { return self.forget(&service.id) };
        match self.books.get_mut(&service.id) {
            Some(book) => book.set_service(service.clone(), limit, &self.nodes, now),
            None => {
                let book = Book::load(service.clone(), limit, state, &self.nodes, now);
                self.books.insert(service.id.clone(), book);
            }
        }
        self.due.insert(service.id.clone());
    }

    fn forget(&mut self, service: &ServiceId) {
        self.books.remove(service);
        self.due.remove(service);
    }

    fn absorb_task(&mut self, before: Option<&Task>, after: Option<&Arc<Task>>, state: &State, now: SystemTime) {
        match (before, after) {
            (_, Some(task)) => self.moves.note(task, now),
            (Some(task), None) => self.moves.forget(&task.id),
            (None, None) => return,
        }
        let Some(service) = after.map(AsRef::as_ref).or(before).and_then(|task| task.service_id.as_ref()) else {
            return;
        };
        let Some(book) = self.books.get_mut(service) else { return };
        book.absorb(before, after, state, &self.nodes, now);
        if before.zip(after).is_none_or(|(before, after)| matters(before, after)) {
            self.due.insert(service.clone());
        }
    }

    /// Looks at something again at that time.
    pub(crate) fn set_alarm(&mut self, at: SystemTime, service: Option<ServiceId>) {
        self.alarms.insert((at, service));
    }

    /// When something is due next for no other reason than the time.
    pub(crate) fn next_alarm(&self) -> Option<SystemTime> {
        self.alarms.first().map(|(at, _)| *at)
    }

    /// Marks what the time has made due.
    pub(crate) fn ring(&mut self, now: SystemTime) {
        while self.next_alarm().is_some_and(|at| at <= now) {
            let Some((_, service)) = self.alarms.pop_first() else { return };
            self.due.extend(service.filter(|service| self.books.contains_key(service)));
        }
    }
}

/// Whether a change of a task can change what is decided.
fn matters(before: &Task, after: &Task) -> bool {
    before.desired_state != after.desired_state
        || before.node_id != after.node_id
        || (before.status.state != after.status.state && (is_live(after) && after.status.state >= TaskState::Running))
}

/// Whether a change of a service leaves everything as it was that is looked at here.
fn asks_the_same(before: &Service, after: &Service) -> bool {
    before.spec_version == after.spec_version
        && before.update_status == after.update_status
        && before.waiting == after.waiting
        && before.pending_delete == after.pending_delete
        && (Arc::ptr_eq(&before.spec, &after.spec) || before.spec == after.spec)
}
