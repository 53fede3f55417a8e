//! The decision: what has to be done for a service to be as it was asked for.
//!
//! It looks at what is, never at what happened: whatever was missed is found again.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::SystemTime,
};

use swarmkit_api::{Service, ServiceId, Task, TaskState};

use crate::{
    book::Book,
    moving::replaced,
    plan::{Action, Plan, Step},
    policy::Shape,
    scale::surplus,
    slot::{Slot, SlotKey, is_live},
    start::{Start, start_of},
    template::Template,
    world::{Due, World},
};

/// The decision about one service, in the making.
pub(crate) struct Draft<'w> {
    pub(crate) world: &'w World,
    pub(crate) id: &'w ServiceId,
    pub(crate) book: &'w Book,
    pub(crate) now: SystemTime,
    pub(crate) plan: &'w mut Plan,
    /// Slots about which something is decided: nothing else is decided about them in the same plan.
    pub(crate) touched: BTreeSet<SlotKey>,
    /// Whether the service waits for others: no task of it is made, but for runs of a job that have begun already.
    pub(crate) is_held: bool,
}

// === impl World ===

impl World {
    /// Decides about everything that is due. The same world at the same time gives the same plan.
    pub(crate) fn plan(&self, due: &BTreeMap<ServiceId, Due>, now: SystemTime) -> Plan {
        let mut plan = Plan::default();
        for (id, due) in due {
            let Some(book) = self.services.get(id) else { continue };
            let touched = BTreeSet::new();
            Draft { world: self, id, book, now, plan: &mut plan, touched, is_held: false }.decide(due);
        }
        plan
    }
}

impl Draft<'_> {
    fn decide(&mut self, due: &Due) {
        let book = self.book;
        let keys: Vec<&SlotKey> = if due.whole { book.slots.keys().collect() } else { due.slots.iter().collect() };
        let (Some(service), Some(template)) = (&book.service, &book.template) else { return self.give_up(&keys) };
        self.hold(service);
        match book.shape {
            Some(Shape::Replicated { replicas }) => {
                self.scale(service, template, usize::try_from(replicas).unwrap_or(usize::MAX), &keys);
                keys.into_iter().for_each(|key| self.tend(template, key, true));
                self.roll(service, template, due);
            }
            Some(Shape::Global) => {
                let nodes = self.nodes(due);
                nodes.into_iter().for_each(|node| self.keep_on_node(service, template, node));
                self.roll(service, template, due);
            }
            Some(Shape::ReplicatedJob { .. } | Shape::GlobalJob) => self.run_job(service, template, due, &keys),
            None => tracing::debug!(service = %self.id, "the service is of no known mode"),
        }
    }

    /// The service is gone: its tasks shall be, too.
    fn give_up(&mut self, keys: &[&SlotKey]) {
        for key in keys {
            let tasks = self.book.slots.get(key).into_iter().flat_map(Slot::tasks);
            self.want(key, tasks.filter(|task| task.desired_state < TaskState::Remove).collect(), TaskState::Remove);
        }
    }

    /// Holds the service back as long as it waits for others, and says so in it.
    fn hold(&mut self, service: &Arc<Service>) {
        let message = self.world.waits(service, self.book);
        self.is_held = message.is_some();
        if service.waiting.as_ref().map(|waiting| &waiting.message) != message.as_ref() {
            let actions = vec![Action::Wait { service: service.clone(), message }];
            self.plan.steps.push(Step { service: self.id.clone(), slot: None, actions });
        }
    }

    // === Replicated services ===

    /// Makes as many slots as there shall be, or gives up those that are too many.
    fn scale(&mut self, service: &Service, template: &Arc<Template>, replicas: usize, keys: &[&SlotKey]) {
        let taken = &self.book.taken;
        let is_taken = |key: &SlotKey| matches!(key, SlotKey::Number(number) if taken.contains(*number));
        let slots = self.book.slots.iter().filter(|(key, _)| is_taken(key));
        let gone = if taken.len() > replicas { surplus(service, slots, replicas) } else { Vec::new() };
        for key in &gone {
            let Some(slot) = self.book.slots.get(key) else { continue };
            let tasks = slot.tasks().filter(|task| task.desired_state < TaskState::Remove);
            self.want(key, tasks.collect(), TaskState::Remove);
        }
        let missing = if self.is_held { 0 } else { replicas.saturating_sub(taken.len()) };
        for number in taken.missing(1).take(missing) {
            self.create(template, SlotKey::Number(number), TaskState::Running, Vec::new());
        }
        // What is left of dead slots is history of nothing. What still runs is not: it goes when it has stopped.
        for key in keys.iter().filter(|key| !is_taken(key) && !self.touched.contains(**key)).collect::<Vec<_>>() {
            let tasks = self.book.slots.get(key).into_iter().flat_map(Slot::tasks);
            let over = tasks.filter(|task| task.desired_state < TaskState::Remove && is_over(task));
            let deletions: Vec<_> = over.map(|task| Action::Delete { task: task.clone() }).collect();
            self.step(key, deletions);
        }
    }

    // === Any service ===

    /// Replaces the tasks of a slot that have ended or that are on a node that is no good, and starts those that were
    /// made to replace others when it is time.
    pub(crate) fn tend(&mut self, template: &Arc<Template>, key: &SlotKey, may_replace: bool) {
        let Some(slot) = self.book.slots.get(key).filter(|_| !self.touched.contains(key)) else { return };
        // A task that was given up for lost may have completed its slot all the same.
        let is_done = key.iteration().is_some() && slot.tasks().any(|task| task.status.state == TaskState::Complete);
        let (mut kept, mut stopped, mut actions) = (Vec::new(), Vec::new(), Vec::new());
        for seated in slot.seated().iter().filter(|seated| is_live(&seated.task)) {
            let task = &seated.task;
            let goal = template.goal();
            let has_ended = task.status.state > goal;
            let is_pending = task.desired_state < goal;
            let start = if is_pending { start_of(slot, seated, self.world, self.now) } else { Start::Now };
            match start {
                _ if is_done && task.status.state != TaskState::Complete => stopped.push(task),
                // One that fails before its time is not replaced before its time.
                Start::By(at) if has_ended || !self.world.fate(task).is_bad() => {
                    self.plan.alarms.push((at, self.id.clone(), Some(key.clone())));
                    kept.push(task);
                }
                _ if has_ended || (self.world.fate(task).is_bad() && task.status.state < TaskState::Complete) => {
                    stopped.push(task);
                }
                _ => {
                    kept.push(task);
                    if is_pending {
                        actions.push(Action::Want { task: task.clone(), state: goal });
                    }
                }
            }
        }
        if let Some(old) = replaced(&kept) {
            kept.retain(|task| task.id != old.id);
            stopped.push(old);
        }
        let is_dirty = |task: &&&Arc<Task>| self.book.is_dirty(task, &self.world.nodes);
        let is_filled = kept.iter().any(|task| !is_dirty(&task))
            || (!kept.is_empty() && stopped.iter().all(|task| is_dirty(&task)));
        let restart = may_replace && !is_done && !is_filled && stopped.iter().any(|task| slot.may_restart(task));
        actions.extend(stopped.into_iter().map(|task| Action::Want { task: task.clone(), state: TaskState::Shutdown }));
        if restart {
            self.create(template, key.clone(), TaskState::Ready, actions);
        } else {
            self.step(key, actions);
        }
    }

    pub(crate) fn create(
        &mut self,
        template: &Arc<Template>,
        slot: SlotKey,
        desired: TaskState,
        mut with: Vec<Action>,
    ) {
        if self.holds_back(slot.iteration()) {
            return self.step(&slot, with);
        }
        // What replaces one that makes room for others waits until that has stopped, as any replacement does.
        let is_left = self.book.slots.get(&slot).is_some_and(Slot::is_being_left);
        let desired = if is_left { TaskState::Ready } else { desired };
        with.push(Action::Create { template: template.clone(), slot: slot.clone(), desired });
        self.step(&slot, with);
    }

    pub(crate) fn want(&mut self, key: &SlotKey, tasks: Vec<&Arc<Task>>, state: TaskState) {
        let wants = tasks.into_iter().map(|task| Action::Want { task: task.clone(), state });
        self.step(key, wants.collect());
    }

    /// Decides about a slot, finally for this plan.
    pub(crate) fn step(&mut self, key: &SlotKey, actions: Vec<Action>) {
        if !actions.is_empty() {
            self.touched.insert(key.clone());
            self.plan.steps.push(Step { service: self.id.clone(), slot: Some(key.clone()), actions });
        }
    }
}

/// Whether nothing more will happen to a task: it has ended, or nobody has it.
pub(crate) fn is_over(task: &Task) -> bool {
    task.status.state > TaskState::Running || task.status.state < TaskState::Assigned
}
