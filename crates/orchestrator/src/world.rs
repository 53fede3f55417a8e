//! What the orchestrator knows: services, their slots, and the nodes, kept up change by change.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::SystemTime,
};

use swarmkit_api::{
    Cluster, Node, NodeId, Service, ServiceId, Task, TaskState, Version,
    constraint::{self, Constraint},
    wire::{Driver, node_spec::Availability, node_status},
};
use swarmkit_store::{Change, DEFAULT_CLUSTER, Edit, State, TaskBy, Update};

use crate::{
    dirty::is_dirty,
    policy::Shape,
    rollout::Rollout,
    slot::{Progress, Slot, SlotKey},
    template::{Template, iteration},
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
    pub(crate) version: Version,
    pub(crate) nodes: BTreeMap<NodeId, Arc<Node>>,
    pub(crate) services: BTreeMap<ServiceId, Book>,
    /// Where output of tasks goes that do not say.
    pub(crate) log_driver: Option<Driver>,
    pub(crate) due: BTreeMap<ServiceId, Due>,
    /// When something is due for no other reason than the time. `None` is the service as a whole.
    alarms: BTreeSet<(SystemTime, ServiceId, Option<SlotKey>)>,
}

/// One service and its slots.
#[derive(Debug, Default)]
pub(crate) struct Book {
    /// `None` when it is gone, while there still are tasks of it.
    pub(crate) service: Option<Arc<Service>>,
    /// `None` when it is gone, or is of no known mode.
    pub(crate) shape: Option<Shape>,
    pub(crate) constraints: Vec<Constraint>,
    /// What its new tasks are made from.
    pub(crate) template: Option<Arc<Template>>,
    pub(crate) slots: BTreeMap<SlotKey, Slot>,
    /// Slots that are taken. The others are dead: they only hold what has been.
    pub(crate) taken: BTreeSet<SlotKey>,
    /// Slots whose tasks are not what the service asks for.
    pub(crate) dirty: BTreeSet<SlotKey>,
    /// Those of them that have several tasks.
    pub(crate) crowded: BTreeSet<SlotKey>,
    /// Of a job: the slots that are being worked on.
    pub(crate) running: BTreeSet<SlotKey>,
    pub(crate) rollout: Rollout,
}

/// What a node means for the tasks on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It runs tasks. So does one that was not heard from for a moment.
    Fine,
    /// It runs what it has, and nothing new.
    Paused,
    /// It shall run nothing.
    Drained,
    /// It is lost; nobody will say that its tasks have stopped.
    Down,
    /// It is no member any more.
    Gone,
}

// === impl Fate ===

impl Fate {
    pub(crate) fn of(node: Option<&Node>) -> Self {
        let Some(node) = node else { return Self::Gone };
        match (node.status.state(), node.spec.availability()) {
            (node_status::State::Down, _) => Self::Down,
            (_, Availability::Drain) => Self::Drained,
            (_, Availability::Pause) => Self::Paused,
            (_, Availability::Active) => Self::Fine,
        }
    }

    /// Whether its tasks have to be elsewhere.
    pub(crate) fn is_bad(self) -> bool {
        matches!(self, Self::Drained | Self::Down | Self::Gone)
    }

    /// Whether nobody will say any more that a task there has stopped.
    pub(crate) fn is_silent(self) -> bool {
        matches!(self, Self::Down | Self::Gone)
    }
}

// === impl World ===

impl World {
    /// Takes over an update. A snapshot replaces everything that was known.
    pub(crate) fn absorb(&mut self, update: &Update, now: SystemTime) {
        match update {
            Update::Snapshot(view) => *self = Self::from_state(view, now),
            Update::Delta(delta) => {
                for change in delta.changes.iter() {
                    match change {
                        Change::Cluster(Edit { after, .. }) => self.absorb_cluster(after.as_deref()),
                        Change::Node(Edit { before, after }) => {
                            self.absorb_node(before.as_ref(), after.as_ref(), &delta.view);
                        }
                        Change::Service(Edit { before, after }) => {
                            self.absorb_service(before.as_deref(), after.as_ref(), now);
                        }
                        Change::Task(Edit { before, after }) => {
                            self.absorb_task(before.as_ref(), after.as_ref(), now);
                        }
                        _ => {}
                    }
                }
            }
        }
        self.version = update.view().version();
    }

    fn from_state(state: &State, now: SystemTime) -> Self {
        let mut world = Self::default();
        world.absorb_cluster(state.cluster().map(AsRef::as_ref));
        for node in state.all::<Node>() {
            world.nodes.insert(node.id.clone(), node.clone());
        }
        for service in state.all::<Service>() {
            world.absorb_service(None, Some(service), now);
        }
        for task in state.all::<Task>() {
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
        for (service, _) in self.services.iter().filter(|(_, book)| book.is_per_node()) {
            self.due.entry(service.clone()).or_default().slots.insert(SlotKey::Node(id.clone()));
        }
    }

    fn absorb_service(&mut self, before: Option<&Service>, after: Option<&Arc<Service>>, now: SystemTime) {
        let Some(id) = after.map(|service| &service.id).or(before.map(|service| &service.id)) else { return };
        if before.zip(after).is_some_and(|(before, after)| asks_the_same(before, after)) {
            // Somebody else's part of the record was written.
            if let Some(book) = self.services.get_mut(id) {
                book.service = after.cloned();
            }
            return;
        }
        let book = self.services.entry(id.clone()).or_default();
        book.set_service(after.cloned(), &self.nodes, now);
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

// === impl Book ===

impl Book {
    fn is_blank(&self) -> bool {
        self.service.is_none() && self.slots.is_empty()
    }

    pub(crate) fn is_per_node(&self) -> bool {
        self.shape.is_some_and(Shape::is_per_node)
    }

    pub(crate) fn key(&self, task: &Task) -> SlotKey {
        SlotKey::of(task, self.is_per_node())
    }

    fn take(&mut self, key: &SlotKey, task: &Task) {
        if let Some(slot) = self.slots.get_mut(key) {
            slot.take(&task.id);
            if slot.is_empty() {
                self.slots.remove(key);
            }
        }
    }

    fn set_service(&mut self, service: Option<Arc<Service>>, nodes: &BTreeMap<NodeId, Arc<Node>>, now: SystemTime) {
        let was_per_node = self.is_per_node();
        self.shape = service.as_deref().and_then(Shape::of);
        self.template = service.as_deref().map(|service| Arc::new(Template::of(service, self.template.as_deref())));
        let placement = self.template.iter().filter_map(|template| template.spec.placement.as_ref()).next();
        let constraints = placement.map(|placement| constraint::parse_all(&placement.constraints));
        // What cannot be read constrains nothing here; the scheduler places no such task.
        self.constraints = constraints.and_then(Result::ok).unwrap_or_default();
        self.service = service;
        let is_per_node = self.is_per_node();
        if was_per_node != is_per_node {
            for seated in std::mem::take(&mut self.slots).into_values().flat_map(Slot::into_seated) {
                let key = SlotKey::of(&seated.task, is_per_node);
                self.slots.entry(key).or_default().put_by_age(seated.task, seated.since);
            }
        }
        self.review(nodes, now);
    }

    /// Works out anew all that follows from the service and its slots.
    fn review(&mut self, nodes: &BTreeMap<NodeId, Arc<Node>>, now: SystemTime) {
        let rollout = self.service.as_deref().map(|service| Rollout::of(service, &self.slots, now));
        self.rollout = rollout.unwrap_or_default();
        for set in [&mut self.taken, &mut self.dirty, &mut self.crowded, &mut self.running] {
            set.clear();
        }
        for key in self.slots.keys().cloned().collect::<Vec<_>>() {
            self.classify(&key, nodes);
        }
    }

    /// Notes what a rollout has to know of a task, while it still can be told.
    fn observe(&mut self, key: &SlotKey, task: &Task, now: SystemTime) {
        if let (Some(service), Some(slot)) = (&self.service, self.slots.get(key)) {
            self.rollout.observe(service, key, slot, task, now);
        }
    }

    /// Works out anew whether a slot is taken, and whether it is dirty.
    fn classify(&mut self, key: &SlotKey, nodes: &BTreeMap<NodeId, Arc<Node>>) {
        for set in [&mut self.taken, &mut self.dirty, &mut self.crowded, &mut self.running] {
            set.remove(key);
        }
        let (Some(service), Some(slot)) = (&self.service, self.slots.get(key)) else { return };
        if self.shape.is_some_and(Shape::is_job) {
            match slot.progress(iteration(service)) {
                Progress::None => {}
                Progress::Running => drop((self.taken.insert(key.clone()), self.running.insert(key.clone()))),
                Progress::Complete | Progress::Spent => drop(self.taken.insert(key.clone())),
            }
            return;
        }
        let updatable = slot.updatable(service);
        let is_crowded = updatable.len() > 1;
        let is_dirty = is_crowded || updatable.iter().any(|task| self.is_dirty(task, nodes));
        let sets =
            [(&mut self.taken, !updatable.is_empty()), (&mut self.dirty, is_dirty), (&mut self.crowded, is_crowded)];
        for (set, _) in sets.into_iter().filter(|(_, belongs)| *belongs) {
            set.insert(key.clone());
        }
    }

    /// Whether a task has to be replaced for the service to be as it was asked for.
    pub(crate) fn is_dirty(&self, task: &Task, nodes: &BTreeMap<NodeId, Arc<Node>>) -> bool {
        let node = task.node_id.as_ref().and_then(|node| nodes.get(node)).map(AsRef::as_ref);
        self.service.as_deref().is_some_and(|service| is_dirty(task, service, &self.constraints, node))
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
    before.spec_version == after.spec_version
        && before.update_status == after.update_status
        && before.job_status == after.job_status
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
