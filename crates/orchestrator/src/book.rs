//! One service and its slots, and what follows from them, kept up change by change.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::SystemTime,
};

use swarmkit_api::{
    Node, NodeId, Service, Task, TaskState, Version,
    constraint::{self, Constraint},
    wire::TaskSpec,
};
use swarmkit_schedule::Timetable;

use crate::{
    dirty::{Likeness, is_dirty},
    jobs::Ledger,
    moving::pair,
    numbers::Numbers,
    policy::Shape,
    rollout::Rollout,
    slot::{Place, Progress, Slot, SlotKey, is_failure, is_live},
    template::Template,
};

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
    /// The numbers of slots that are taken. The others are dead: they only hold what has been.
    pub(crate) taken: Numbers,
    /// Slots in which nothing is what the service asks for: a rollout has yet to begin with them.
    pub(crate) waiting: BTreeSet<SlotKey>,
    /// Slots with several tasks, one of which at least is what the service asks for: a rollout has to finish there.
    pub(crate) crowded: BTreeSet<SlotKey>,
    /// Slots that are taken and in which no wanted task runs.
    pub(crate) idle: BTreeSet<SlotKey>,
    /// The numbers of slots in which a wanted task runs.
    pub(crate) up: Numbers,
    /// Of a job: how far each run has come.
    pub(crate) ledgers: BTreeMap<Version, Ledger>,
    /// Of a job with a schedule: when it runs.
    pub(crate) timetable: Option<Timetable>,
    pub(crate) rollout: Rollout,
    /// Whether its slots are nodes, or were before it was gone.
    per_node: bool,
    likenesses: Likenesses,
}

/// How far what tasks of a service run is from what it asks for, compared once for all that run the same.
#[derive(Debug, Default)]
struct Likenesses(Vec<(Arc<TaskSpec>, Likeness)>);

/// Of how many specifications it is remembered. Slots hold tasks of few versions; if there are more, they are compared
/// again.
const LIKENESSES: usize = 16;

/// How it stands with a slot: what [`Book`] keeps of it in its sets.
#[derive(Clone, Copy, Debug, Default)]
struct Standing {
    taken: bool,
    waiting: bool,
    crowded: bool,
    up: bool,
}

// === impl Book ===

impl Book {
    pub(crate) fn is_blank(&self) -> bool {
        self.service.is_none() && self.slots.is_empty()
    }

    /// Slots whose tasks are not, or not only, what the service asks for.
    pub(crate) fn dirty(&self) -> impl Iterator<Item = &SlotKey> + Clone {
        self.waiting.iter().chain(&self.crowded)
    }

    pub(crate) fn is_per_node(&self) -> bool {
        self.per_node
    }

    pub(crate) fn key(&self, task: &Task) -> SlotKey {
        SlotKey::of(task, self.is_per_node())
    }

    pub(crate) fn take(&mut self, key: &SlotKey, task: &Task) {
        self.rollout.forget(&task.id);
        if let Some(slot) = self.slots.get_mut(key) {
            slot.take(&task.id);
            if slot.is_empty() {
                self.slots.remove(key);
            }
        }
    }

    pub(crate) fn set_service(
        &mut self,
        service: Option<Arc<Service>>,
        nodes: &BTreeMap<NodeId, Arc<Node>>,
        now: SystemTime,
    ) {
        let was_per_node = self.per_node;
        self.shape = service.as_deref().and_then(Shape::of);
        self.per_node = self.shape.map_or(was_per_node, Shape::is_per_node);
        self.template = service.as_deref().map(|service| Arc::new(Template::of(service, self.template.as_deref())));
        let placement = self.template.iter().filter_map(|template| template.spec.placement.as_ref()).next();
        let constraints = placement.map(|placement| constraint::parse_all(&placement.constraints));
        // What cannot be read constrains nothing here; the scheduler places no such task.
        self.constraints = constraints.and_then(Result::ok).unwrap_or_default();
        let schedule = service.as_deref().and_then(|service| service.spec.schedule.as_ref());
        // What cannot be read is never due; nobody lets it in.
        self.timetable = schedule.and_then(|when| Timetable::parse(&when.cron, &when.time_zone).ok());
        self.service = service;
        self.likenesses = Likenesses::default();
        if was_per_node != self.per_node {
            for seated in std::mem::take(&mut self.slots).into_values().flat_map(Slot::into_seated) {
                let key = SlotKey::of(&seated.task, self.per_node);
                self.slots.entry(key).or_default().put_by_age(seated.task, seated.since);
            }
        }
        self.review(nodes, now);
    }

    /// Takes over what is said of the rollout of the service. Nothing else has changed.
    pub(crate) fn set_progress(&mut self, service: Arc<Service>, now: SystemTime) {
        let began = |service: &Service| {
            service.update_status.as_ref().map(|status| (status.started_version, status.started_at))
        };
        if self.service.as_deref().and_then(began) != began(&service) {
            self.rollout = Rollout::of(&service, &self.slots, now);
        }
        self.service = Some(service);
    }

    /// Works out anew all that follows from the service and its slots.
    pub(crate) fn review(&mut self, nodes: &BTreeMap<NodeId, Arc<Node>>, now: SystemTime) {
        let rollout = self.service.as_deref().map(|service| Rollout::of(service, &self.slots, now));
        self.rollout = rollout.unwrap_or_default();
        for numbers in [&mut self.taken, &mut self.up] {
            numbers.clear();
        }
        self.ledgers.clear();
        for keys in [&mut self.waiting, &mut self.crowded, &mut self.idle] {
            keys.clear();
        }
        let slots = std::mem::take(&mut self.slots);
        for (key, slot) in &slots {
            self.note(key, Some(slot), nodes);
        }
        self.slots = slots;
    }

    /// Notes what a rollout has to know of a task, while it still can be told.
    pub(crate) fn observe(&mut self, key: &SlotKey, task: &Task, now: SystemTime) {
        if let (Some(service), Some(slot)) = (&self.service, self.slots.get(key)) {
            self.rollout.observe(service, key, slot, task, now);
        }
    }

    /// Works out anew whether a slot is taken, and whether it is dirty.
    pub(crate) fn classify(&mut self, key: &SlotKey, nodes: &BTreeMap<NodeId, Arc<Node>>) {
        let slots = std::mem::take(&mut self.slots);
        self.note(key, slots.get(key), nodes);
        self.slots = slots;
    }

    fn note(&mut self, key: &SlotKey, slot: Option<&Slot>, nodes: &BTreeMap<NodeId, Arc<Node>>) {
        if let SlotKey::Run(iteration, place) = key {
            return self.account(*iteration, place, slot);
        }
        self.compare(slot);
        let standing = self.standing(slot, nodes);
        if let SlotKey::Number(number) = key {
            self.taken.set(*number, standing.taken);
            self.up.set(*number, standing.up);
        }
        let sets = [
            (&mut self.waiting, standing.waiting),
            (&mut self.crowded, standing.crowded),
            (&mut self.idle, standing.taken && !standing.up),
        ];
        for (keys, belongs) in sets {
            if !belongs {
                keys.remove(key);
            } else if !keys.contains(key) {
                keys.insert(key.clone());
            }
        }
    }

    /// Compares what a slot's tasks of other versions run with what the service asks for, if that was not done yet.
    fn compare(&mut self, slot: Option<&Slot>) {
        let (Some(service), Some(slot)) = (&self.service, slot) else { return };
        let is_other = |task: &&Arc<Task>| task.spec_version.is_none() || task.spec_version != service.spec_version;
        for task in slot.tasks().filter(is_other) {
            self.likenesses.learn(&task.spec, service.spec.task.as_ref());
        }
    }

    /// Works out anew how far a slot of a run has come.
    fn account(&mut self, iteration: Version, place: &Place, slot: Option<&Slot>) {
        let failures = slot.map_or(0, |slot| slot.tasks().filter(|task| is_failure(task)).count() as u64);
        let ledger = self.ledgers.entry(iteration).or_default();
        ledger.set(place, slot.map_or(Progress::None, Slot::progress), failures);
        if ledger.is_empty() {
            self.ledgers.remove(&iteration);
        }
    }

    /// The slots of one run of a job.
    pub(crate) fn slots_of_run(&self, iteration: Version) -> impl Iterator<Item = (&SlotKey, &Slot)> {
        let first = SlotKey::Run(iteration, Place::Number(0));
        self.slots.range(first..).take_while(move |(key, _)| key.iteration() == Some(iteration))
    }

    fn standing(&self, slot: Option<&Slot>, nodes: &BTreeMap<NodeId, Arc<Node>>) -> Standing {
        let (Some(service), Some(slot)) = (&self.service, slot) else { return Standing::default() };
        let updatable = slot.updatable(service);
        let taken = !updatable.is_empty();
        let waiting = taken && updatable.iter().all(|task| self.is_dirty(task, nodes));
        let up = updatable.iter().any(|task| is_live(task) && task.status.state == TaskState::Running);
        let moves = || pair(&updatable).is_some() && !updatable.iter().any(|task| self.is_dirty(task, nodes));
        let crowded = !waiting && updatable.len() > 1 && !moves();
        Standing { taken, waiting, crowded, up }
    }

    /// Whether a task has to be replaced for the service to be as it was asked for.
    pub(crate) fn is_dirty(&self, task: &Task, nodes: &BTreeMap<NodeId, Arc<Node>>) -> bool {
        let node = task.node_id.as_ref().and_then(|node| nodes.get(node)).map(AsRef::as_ref);
        self.service.as_deref().is_some_and(|service| {
            let compared = || Likeness::of(&task.spec, service.spec.task.as_ref());
            is_dirty(task, service, &self.constraints, node, || {
                self.likenesses.get(&task.spec).unwrap_or_else(compared)
            })
        })
    }
}

// === impl Likenesses ===

impl Likenesses {
    fn get(&self, spec: &Arc<TaskSpec>) -> Option<Likeness> {
        self.0.iter().find(|(compared, _)| Arc::ptr_eq(compared, spec)).map(|(_, likeness)| *likeness)
    }

    fn learn(&mut self, spec: &Arc<TaskSpec>, wants: Option<&TaskSpec>) {
        if self.get(spec).is_none() {
            if self.0.len() >= LIKENESSES {
                self.0.remove(0);
            }
            self.0.push((spec.clone(), Likeness::of(spec, wants)));
        }
    }
}
