//! What the orchestrator knows: services, their slots, and the nodes, kept up change by change.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::SystemTime,
};

use swarmkit_api::{
    Cluster, Node, NodeId, Service, ServiceId, Task, TaskState, Version,
    wire::{Driver, update_status::UpdateState},
};
use swarmkit_store::{Change, DEFAULT_CLUSTER, Edit, State, TaskBy, Update, View};

use crate::{
    book::Book,
    depend::Names,
    fate::Fate,
    policy::{self, Shape},
    slot::SlotKey,
};

/// What has to be looked at again of one service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Due {
    /// Everything.
    pub(crate) whole: bool,
    /// These slots, and the count of slots.
    pub(crate) slots: BTreeSet<SlotKey>,
}

/// Services, their slots, and the nodes.
#[derive(Debug, Default)]
pub(crate) struct World {
    /// What was absorbed last. `None` before anything was.
    view: Option<View>,
    pub(crate) nodes: BTreeMap<NodeId, Arc<Node>>,
    pub(crate) services: BTreeMap<ServiceId, Book>,
    /// Those of them whose slots are nodes: every node is news to each of them, and to no other.
    per_node: BTreeSet<ServiceId>,
    /// Where output of tasks goes that do not say.
    pub(crate) log_driver: Option<Driver>,
    pub(crate) due: BTreeMap<ServiceId, Due>,
    /// Who has which name, and who waits for whom.
    pub(crate) names: Names,
    /// When something is due for no other reason than the time. `None` is the service as a whole.
    alarms: BTreeSet<(SystemTime, ServiceId, Option<SlotKey>)>,
}

// === impl World ===

impl World {
    /// Takes over an update. Who has fallen behind gets a snapshot, and takes over what differs from what was known.
    pub(crate) fn absorb(&mut self, update: &Update, now: SystemTime) {
        let view = update.view();
        match (update, self.view.take()) {
            (Update::Delta(delta), _) => self.absorb_changes(&delta.changes, view, now),
            (Update::Snapshot(_), Some(known)) => self.absorb_changes(&known.difference(view), view, now),
            (Update::Snapshot(_), None) => *self = Self::from_state(view, now),
        }
        self.view = Some(view.clone());
    }

    /// The version that was absorbed last.
    pub(crate) fn version(&self) -> Version {
        self.view.as_ref().map(|view| view.version()).unwrap_or_default()
    }

    fn absorb_changes(&mut self, changes: &[Change], state: &State, now: SystemTime) {
        for change in changes {
            match change {
                Change::Cluster(Edit { after, .. }) => self.absorb_cluster(after.as_deref()),
                Change::Node(Edit { before, after }) => self.absorb_node(before.as_ref(), after.as_ref(), state),
                Change::Service(Edit { before, after }) => self.absorb_service(before.as_deref(), after.as_ref(), now),
                Change::Task(Edit { before, after }) => self.absorb_task(before.as_ref(), after.as_ref(), now),
                _ => {}
            }
        }
    }

    /// A world in which there is one service.
    pub(crate) fn of_service(state: &State, service: &Arc<Service>, now: SystemTime) -> Self {
        Self::of(state, [service], state.find(TaskBy::Service(&service.id)), now)
    }

    pub(crate) fn from_state(state: &State, now: SystemTime) -> Self {
        Self::of(state, state.all::<Service>(), state.all::<Task>(), now)
    }

    fn of<'s>(
        state: &'s State,
        services: impl IntoIterator<Item = &'s Arc<Service>>,
        tasks: impl IntoIterator<Item = &'s Arc<Task>>,
        now: SystemTime,
    ) -> Self {
        let mut world = Self::default();
        world.absorb_cluster(state.cluster().map(AsRef::as_ref));
        for node in state.all::<Node>() {
            world.nodes.insert(node.id.clone(), node.clone());
        }
        for service in services {
            world.absorb_service(None, Some(service), now);
        }
        for task in tasks {
            let Some(service) = &task.service_id else { continue };
            let book = world.services.entry(service.clone()).or_default();
            book.slots.entry(book.key(task)).or_default().put_by_age(task.clone(), now);
        }
        for (id, book) in &mut world.services {
            book.review(&world.nodes, now);
            world.due.insert(id.clone(), Due { whole: true, slots: BTreeSet::new() });
        }
        world
    }

    fn absorb_cluster(&mut self, cluster: Option<&Cluster>) {
        let Some(cluster) = cluster.filter(|cluster| is_default(cluster)) else { return };
        self.log_driver = cluster.spec.task_defaults.as_ref().and_then(|defaults| defaults.log_driver.clone());
    }

    fn absorb_node(&mut self, before: Option<&Arc<Node>>, after: Option<&Arc<Node>>, state: &State) {
        let Some(id) = after.or(before).map(|node| node.id.clone()) else { return };
        match after {
            Some(node) => self.nodes.insert(id.clone(), node.clone()),
            None => self.nodes.remove(&id),
        };
        if before.zip(after).is_some_and(|(before, after)| is_same_place(before, after)) {
            return;
        }
        for task in state.find(TaskBy::Node(Some(&id))) {
            let Some(service) = &task.service_id else { continue };
            let Some(book) = self.services.get_mut(service) else { continue };
            let key = SlotKey::of(task, book.is_per_node());
            book.classify(&key, &self.nodes);
            self.due.entry(service.clone()).or_default().slots.insert(key);
        }
        for service in &self.per_node {
            self.due.entry(service.clone()).or_default().slots.insert(SlotKey::Node(id.clone()));
        }
    }

    fn absorb_service(&mut self, before: Option<&Service>, after: Option<&Arc<Service>>, now: SystemTime) {
        let Some(id) = after.map(|service| &service.id).or(before.map(|service| &service.id)) else { return };
        self.names.absorb(before, after.map(AsRef::as_ref));
        // Its tasks have to go as if it were gone; who deletes it then is the deallocator.
        let after = after.filter(|service| !service.pending_delete);
        if before.zip(after).is_some_and(|(before, after)| asks_the_same(before, after)) {
            // Somebody else's part of the record was written.
            if let Some(book) = self.services.get_mut(id) {
                book.service = after.cloned();
            }
            return;
        }
        let book = self.services.entry(id.clone()).or_default();
        let known = before.zip(after).filter(|_| book.service.is_some());
        if let Some((_, after)) = known.filter(|(before, after)| differs_in_progress_only(before, after)) {
            // How far a rollout has come changes no slot.
            book.set_progress(after.clone(), now);
            self.due.entry(id.clone()).or_default();
            return;
        }
        book.set_service(after.cloned(), &self.nodes, now);
        if book.shape.is_some_and(Shape::is_per_node) {
            self.per_node.insert(id.clone());
        } else {
            self.per_node.remove(id);
        }
        if book.is_blank() {
            self.services.remove(id);
            self.due.remove(id);
        } else {
            self.due.entry(id.clone()).or_default().whole = true;
        }
    }

    fn absorb_task(&mut self, before: Option<&Arc<Task>>, after: Option<&Arc<Task>>, now: SystemTime) {
        let Some(service) = after.or(before).and_then(|task| task.service_id.as_ref()) else { return };
        let book = self.services.entry(service.clone()).or_default();
        let mut keys = BTreeSet::new();
        if let Some(task) = before {
            let key = book.key(task);
            if after.is_none_or(|after| book.key(after) != key) {
                book.take(&key, task);
            }
            keys.insert(key);
        }
        if let Some(task) = after {
            let key = book.key(task);
            book.slots.entry(key.clone()).or_default().put(task.clone(), now);
            book.observe(&key, task, now);
            keys.insert(key);
        }
        for key in &keys {
            book.classify(key, &self.nodes);
        }
        if book.is_blank() {
            self.services.remove(service);
            self.due.remove(service);
        } else if before.zip(after).is_none_or(|(before, after)| matters(before, after)) {
            self.due.entry(service.clone()).or_default().slots.extend(keys);
        }
    }

    /// Looks at something again at that time.
    pub(crate) fn set_alarm(&mut self, at: SystemTime, service: ServiceId, slot: Option<SlotKey>) {
        self.alarms.insert((at, service, slot));
    }

    /// When something is due next for no other reason than the time.
    pub(crate) fn next_alarm(&self) -> Option<SystemTime> {
        self.alarms.first().map(|(at, ..)| *at)
    }

    /// Marks what the time has made due.
    pub(crate) fn ring(&mut self, now: SystemTime) {
        while self.next_alarm().is_some_and(|at| at <= now) {
            let Some((_, service, slot)) = self.alarms.pop_first() else { return };
            if self.services.contains_key(&service) {
                self.due.entry(service).or_default().slots.extend(slot);
            }
        }
    }

    pub(crate) fn node(&self, task: &Task) -> Option<&Node> {
        self.nodes.get(task.node_id.as_ref()?).map(AsRef::as_ref)
    }

    /// What became of the node that a task is on. A task without a node is nowhere bad.
    pub(crate) fn fate(&self, task: &Task) -> Fate {
        if task.node_id.is_none() { Fate::Fine } else { Fate::of(self.node(task)) }
    }
}

/// Whether a change of a task can change what has to be done.
fn matters(before: &Task, after: &Task) -> bool {
    before.desired_state != after.desired_state
        || before.node_id != after.node_id
        || (before.status.state != after.status.state && after.status.state >= TaskState::Running)
}

/// Whether a change of a service leaves everything as it was that is looked at here.
fn asks_the_same(before: &Service, after: &Service) -> bool {
    before.update_status == after.update_status && is_same_but_for_progress(before, after)
}

/// Whether all that a change of a service changes is what is said of its rollout, other than that it goes back from now on.
fn differs_in_progress_only(before: &Service, after: &Service) -> bool {
    let goes_back = |service: &Service| policy::state(service) == Some(UpdateState::RollbackStarted);
    goes_back(before) == goes_back(after) && is_same_but_for_progress(before, after)
}

fn is_same_but_for_progress(before: &Service, after: &Service) -> bool {
    before.spec_version == after.spec_version
        && before.job_status == after.job_status
        && before.runs == after.runs
        && before.decided_until == after.decided_until
        && (Arc::ptr_eq(&before.spec, &after.spec) || before.spec == after.spec)
}

/// Whether a change of a node leaves it the same to the tasks on it.
fn is_same_place(before: &Node, after: &Node) -> bool {
    before.status.state == after.status.state
        && before.spec == after.spec
        && before.description == after.description
        && before.status.addr == after.status.addr
        && before.role == after.role
}

/// The one cluster object that counts.
pub(crate) fn is_default(cluster: &Cluster) -> bool {
    cluster.spec.annotations.as_ref().is_some_and(|annotations| annotations.name.eq_ignore_ascii_case(DEFAULT_CLUSTER))
}
