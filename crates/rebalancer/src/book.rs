//! One service that asked for it: its slots, and where their tasks are.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, SystemTime},
};

use swarmkit_api::{NodeId, Service, Task, TaskState, Version, wire::service_spec::Mode};
use swarmkit_orchestrator::{is_up_to_date, moving};
use swarmkit_store::{State, TaskBy};

use crate::{
    nodes::Nodes,
    times::{made_at, observed_at},
};

/// For how long nothing is moved to a node where a task of the service has failed, and nothing of a service whose task
/// was put back where it came from. As long as the scheduler holds failures against a node.
pub(crate) const BACK_OFF: Duration = Duration::from_secs(5 * 60);

#[derive(Debug)]
pub(crate) struct Book {
    pub(crate) service: Arc<Service>,
    /// How many of its tasks may be moved in any minute.
    pub(crate) limit: usize,
    /// The tasks of each slot that are wanted.
    live: BTreeMap<u64, Vec<Arc<Task>>>,
    /// Slots that are not as wanted, for another reason than a move.
    uneasy: BTreeSet<u64>,
    /// Slots on the move.
    moving: BTreeSet<u64>,
    /// The task that each slot has, or will have after its move.
    seats: BTreeMap<u64, Seat>,
    /// These by their nodes, as far as they have one: the slots, the newest task last.
    on_node: BTreeMap<NodeId, BTreeSet<(Version, u64)>>,
    /// Moved tasks that run, by since when.
    landed: BTreeSet<(SystemTime, u64)>,
    /// When a task last failed on each node, and of which version of the service.
    failures: BTreeMap<NodeId, (SystemTime, Option<Version>)>,
    /// When a task was last moved in vain.
    in_vain: Option<SystemTime>,
}

#[derive(Clone, Debug)]
struct Seat {
    node: Option<NodeId>,
    age: Version,
    landed: Option<SystemTime>,
}

/// What a slot is to whoever thinks about moving its task.
enum Standing<'t> {
    /// One task runs as wanted.
    Easy(&'t Arc<Task>),
    /// Its work is on the way to this task.
    Moving(&'t Arc<Task>),
    /// Something else has to be done there first.
    Uneasy,
}

impl Book {
    pub(crate) fn load(service: Arc<Service>, limit: usize, state: &State, nodes: &Nodes, now: SystemTime) -> Self {
        let mut book = Self {
            service,
            limit,
            live: BTreeMap::new(),
            uneasy: BTreeSet::new(),
            moving: BTreeSet::new(),
            seats: BTreeMap::new(),
            on_node: BTreeMap::new(),
            landed: BTreeSet::new(),
            failures: BTreeMap::new(),
            in_vain: None,
        };
        let id = book.service.id.clone();
        for task in state.find(TaskBy::Service(&id)) {
            book.put(task, state, now);
        }
        book.classify_all(nodes, now);
        book
    }

    /// Takes over another record of the service.
    pub(crate) fn set_service(&mut self, service: Arc<Service>, limit: usize, nodes: &Nodes, now: SystemTime) {
        (self.service, self.limit) = (service, limit);
        self.classify_all(nodes, now);
    }

    /// Takes over a task; `None` when it was deleted.
    pub(crate) fn absorb(
        &mut self,
        before: Option<&Task>,
        after: Option<&Arc<Task>>,
        state: &State,
        nodes: &Nodes,
        now: SystemTime,
    ) {
        if let Some(task) = before.filter(|_| after.is_none()) {
            self.take(task);
        }
        if let Some(task) = after {
            self.put(task, state, now);
        }
        if let Some(slot) = after.map(AsRef::as_ref).or(before).map(|task| task.slot) {
            self.classify(slot, nodes, now);
        }
    }

    /// Looks again at the slots with tasks on a node that has changed.
    pub(crate) fn review(&mut self, node: &NodeId, nodes: &Nodes, now: SystemTime) {
        let slots: Vec<u64> = self.on_node.get(node).into_iter().flatten().map(|(_, slot)| *slot).collect();
        slots.into_iter().for_each(|slot| self.classify(slot, nodes, now));
    }

    fn put(&mut self, task: &Arc<Task>, state: &State, now: SystemTime) {
        self.take(task);
        if is_live(task) {
            let slot = self.live.entry(task.slot).or_default();
            slot.push(task.clone());
        }
        let Some(node) = &task.node_id else { return };
        if matches!(task.status.state, TaskState::Failed | TaskState::Rejected) {
            let failure = (observed_at(task, now), task.spec_version);
            let last = self.failures.entry(node.clone()).or_insert(failure);
            *last = (*last).max(failure);
        }
        let replaces = task.origin.as_ref().and_then(|origin| state.get::<Task>(&origin.replaces.as_str().into()));
        if replaces.is_some_and(|old| old.node_id.as_ref() == Some(node)) {
            self.in_vain = self.in_vain.max(Some(made_at(task, now)));
        }
    }

    fn take(&mut self, task: &Task) {
        let Some(live) = self.live.get_mut(&task.slot) else { return };
        live.retain(|other| other.id != task.id);
        if live.is_empty() {
            self.live.remove(&task.slot);
        }
    }

    fn classify_all(&mut self, nodes: &Nodes, now: SystemTime) {
        let slots: Vec<u64> = self.live.keys().copied().collect();
        slots.into_iter().for_each(|slot| self.classify(slot, nodes, now));
    }

    /// Works out anew what a slot is.
    fn classify(&mut self, slot: u64, nodes: &Nodes, now: SystemTime) {
        self.unseat(slot);
        let Some(live) = self.live.get(&slot) else { return };
        let seat = match self.standing(live, nodes) {
            Standing::Easy(task) => {
                let landed = task.origin.is_some().then(|| observed_at(task, now));
                Seat { node: task.node_id.clone(), age: task.meta.created_version, landed }
            }
            Standing::Moving(task) => {
                let seat = Seat { node: task.node_id.clone(), age: task.meta.created_version, landed: None };
                self.moving.insert(slot);
                seat
            }
            Standing::Uneasy => {
                self.uneasy.insert(slot);
                return;
            }
        };
        if let Some(node) = &seat.node {
            self.on_node.entry(node.clone()).or_default().insert((seat.age, slot));
        }
        self.landed.extend(seat.landed.map(|at| (at, slot)));
        self.seats.insert(slot, seat);
    }

    fn unseat(&mut self, slot: u64) {
        self.uneasy.remove(&slot);
        self.moving.remove(&slot);
        let Some(seat) = self.seats.remove(&slot) else { return };
        if let Some(at) = seat.landed {
            self.landed.remove(&(at, slot));
        }
        let Some(node) = seat.node else { return };
        if let Some(slots) = self.on_node.get_mut(&node) {
            slots.remove(&(seat.age, slot));
            if slots.is_empty() {
                self.on_node.remove(&node);
            }
        }
    }

    fn standing<'t>(&self, live: &'t [Arc<Task>], nodes: &Nodes) -> Standing<'t> {
        let is_wanted_so = |task: &Task| {
            let node = task.node_id.as_ref().and_then(|node| nodes.get(node));
            is_up_to_date(task, &self.service, node)
        };
        let runs = |task: &Task| (task.status.state, task.desired_state) == (TaskState::Running, TaskState::Running);
        if !live.iter().all(|task| is_wanted_so(task)) {
            return Standing::Uneasy;
        }
        if let [task] = live {
            return match task.status.state {
                _ if runs(task) => Standing::Easy(task),
                state if state < TaskState::Running && task.origin.is_some() => Standing::Moving(task),
                _ => Standing::Uneasy,
            };
        }
        let live: Vec<_> = live.iter().collect();
        match moving::pair(&live) {
            Some(pair) if runs(pair.old) && pair.new.status.state <= TaskState::Running => Standing::Moving(pair.new),
            _ => Standing::Uneasy,
        }
    }

    // === What decides ===

    /// Whether every slot that there shall be has a task that runs as wanted, or is on the move.
    pub(crate) fn is_calm(&self) -> bool {
        let Some(Mode::Replicated(mode)) = &self.service.spec.mode else { return false };
        self.uneasy.is_empty() && self.live.len() as u64 == mode.replicas
    }

    /// How many slots are on the move.
    pub(crate) fn moving(&self) -> usize {
        self.moving.len()
    }

    /// Until when slots rest whose task was moved, the longest first.
    pub(crate) fn resting(&self, delay: Duration, now: SystemTime) -> impl Iterator<Item = SystemTime> {
        self.landed.iter().rev().map(move |(at, _)| *at + delay).take_while(move |until| *until > now)
    }

    /// How many of its slots are on a node, or on the way there.
    pub(crate) fn count(&self, node: &NodeId) -> usize {
        self.on_node.get(node).map_or(0, BTreeSet::len)
    }

    /// The nodes that have slots, those with the most first.
    pub(crate) fn by_count(&self) -> Vec<(usize, &NodeId)> {
        let mut nodes: Vec<_> = self.on_node.iter().map(|(node, slots)| (slots.len(), node)).collect();
        nodes.sort_by(|(a, one), (b, other)| b.cmp(a).then(one.cmp(other)));
        nodes
    }

    /// The newest task on a node that could be moved: it has the least to lose.
    pub(crate) fn newest(&self, node: &NodeId) -> Option<&Arc<Task>> {
        let mut slots = self.on_node.get(node)?.iter().rev().map(|(_, slot)| slot);
        self.live.get(slots.find(|slot| !self.moving.contains(slot))?)?.first()
    }

    /// Until when nothing is moved to a node, because a task of the same version failed there.
    pub(crate) fn avoids_until(&self, node: &NodeId, now: SystemTime) -> Option<SystemTime> {
        let (at, version) = self.failures.get(node)?;
        (*version == self.service.spec_version).then(|| *at + BACK_OFF).filter(|until| *until > now)
    }

    /// Until when nothing is moved, because it was in vain.
    pub(crate) fn gives_up_until(&self, now: SystemTime) -> Option<SystemTime> {
        self.in_vain.map(|at| at + BACK_OFF).filter(|until| *until > now)
    }
}

/// Whether a task is wanted to run.
pub(crate) fn is_live(task: &Task) -> bool {
    task.desired_state <= TaskState::Running
}
