//! Which services have to come before others.
//!
//! A service gets its first tasks when all that it depends on has come as far as it says. Until then it has none, also
//! none that are held back: those would keep resources from what they wait for. Once it has a task it has started, and
//! is no more held, whatever becomes of the others; a job starts with each of its runs.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use swarmkit_api::{
    NodeId, Service, ServiceId, TaskState, Version, constraint,
    wire::{
        swarmkit::orchestration::v1::{Dependency, Waiting, dependency::Condition, job_run::Outcome},
        update_status::UpdateState,
    },
};
use swarmkit_store::{StoreError, Transaction};

use crate::{
    book::Book,
    decide::Draft,
    fate::Fate,
    jobs::{Ledger, runs::present},
    policy::{self, Shape},
    slot::{Place, Progress, Slot, SlotKey},
    world::{Due, World},
};

/// Which service has a name, and which services depend on that name.
#[derive(Debug, Default)]
pub(crate) struct Names {
    ids: BTreeMap<String, ServiceId>,
    dependents: BTreeMap<String, BTreeSet<ServiceId>>,
    /// Names of which something changed that is nothing to look at for their service itself.
    touched: BTreeSet<String>,
}

/// What a dependency lacks. What is written of it says this and no number, so that it is not written with every task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lack {
    Absent,
    NotRunning,
    NotHealthy,
    Rolling,
    NotComplete,
    Failed,
    NoJob,
}

// === impl Names ===

impl Names {
    /// Takes over a change of a service.
    pub(crate) fn absorb(&mut self, before: Option<&Service>, after: Option<&Service>) {
        if before.zip(after).is_some_and(|(before, after)| before.name() != after.name()) {
            self.absorb(before, None);
            return self.absorb(None, after);
        }
        if let Some(before) = before {
            let name = fold(before.name());
            if after.is_none() && self.ids.get(&name) == Some(&before.id) {
                self.ids.remove(&name);
            }
            if after.is_none_or(|after| after.spec.depends_on != before.spec.depends_on) {
                self.change_dependents(before, |dependents, id| {
                    dependents.remove(id);
                });
            }
            if after.is_none_or(|after| after.runs != before.runs) {
                self.touched.insert(name);
            }
        }
        if let Some(after) = after {
            if before.is_none() {
                self.ids.insert(fold(after.name()), after.id.clone());
                self.touched.insert(fold(after.name()));
            }
            if before.is_none_or(|before| after.spec.depends_on != before.spec.depends_on) {
                self.change_dependents(after, |dependents, id| {
                    dependents.insert(id.clone());
                });
            }
        }
    }

    fn change_dependents(&mut self, service: &Service, change: impl Fn(&mut BTreeSet<ServiceId>, &ServiceId)) {
        for dependency in &service.spec.depends_on {
            let name = fold(&dependency.service);
            let dependents = self.dependents.entry(name.clone()).or_default();
            change(dependents, &service.id);
            if dependents.is_empty() {
                self.dependents.remove(&name);
            }
        }
    }
}

// === impl World ===

impl World {
    /// Takes what is due, and with each service those that wait for it.
    pub(crate) fn take_due(&mut self) -> BTreeMap<ServiceId, Due> {
        let mut due = std::mem::take(&mut self.due);
        let touched = std::mem::take(&mut self.names.touched);
        if self.names.dependents.is_empty() {
            return due;
        }
        let of = |id: &ServiceId| Some(fold(self.services.get(id)?.service.as_deref()?.name()));
        let names: Vec<_> = due.keys().filter_map(of).chain(touched).collect();
        for dependent in names.iter().filter_map(|name| self.names.dependents.get(name)).flatten() {
            if self.services.get(dependent).is_some_and(|book| !book.has_started()) {
                due.entry(dependent.clone()).or_default().whole = true;
            }
        }
        due
    }

    /// What a service waits for, in words. `None` when it may start, has started, or has nothing to start.
    pub(crate) fn waits(&self, service: &Service, book: &Book) -> Option<String> {
        let dependencies = &service.spec.depends_on;
        if dependencies.is_empty() || !book.has_work() || book.has_started() {
            return None;
        }
        let told: Vec<_> = dependencies.iter().filter_map(|one| Some(tell(one, self.lack(one)?))).collect();
        (!told.is_empty()).then(|| format!("waits for {}", told.join(", for ")))
    }

    fn lack(&self, dependency: &Dependency) -> Option<Lack> {
        let id = self.names.ids.get(&fold(&dependency.service));
        let book = id.and_then(|id| self.services.get(id));
        let Some((book, service)) = book.and_then(|book| Some((book, book.service.as_deref()?))) else {
            return Some(Lack::Absent);
        };
        match dependency.condition() {
            Condition::Running => (!book.runs(service)).then_some(Lack::NotRunning),
            Condition::Healthy if book.is_rolling(service) => Some(Lack::Rolling),
            Condition::Healthy => (!self.all_run(book, service)).then_some(Lack::NotHealthy),
            Condition::Completed if !book.shape.is_some_and(Shape::is_job) => Some(Lack::NoJob),
            Condition::Completed => self.incomplete(book, service),
        }
    }

    /// Whether every task that a service should have runs, and there is one.
    fn all_run(&self, book: &Book, service: &Service) -> bool {
        book.runs(service)
            && match book.shape {
                Some(Shape::Replicated { replicas }) => book.up.len() as u64 >= replicas,
                Some(Shape::Global) => {
                    self.on_every_node(book, |node| book.slots.get(&SlotKey::Node(node)).is_some_and(runs))
                }
                // What is worked on runs, and nothing was given up.
                Some(Shape::ReplicatedJob { .. } | Shape::GlobalJob) => {
                    book.slots_of_run(present(service)).all(|(_, slot)| match slot.progress() {
                        Progress::Running => runs(slot),
                        Progress::None | Progress::Complete => true,
                        Progress::Spent => false,
                    })
                }
                None => false,
            }
    }

    /// What the present run of a job lacks to have succeeded.
    fn incomplete(&self, book: &Book, service: &Service) -> Option<Lack> {
        match run(service).map(|run| run.outcome()) {
            Some(Outcome::Succeeded) => return None,
            Some(Outcome::Failed | Outcome::Replaced) => return Some(Lack::Failed),
            None if service.spec.schedule.is_some() => return Some(Lack::NotComplete),
            Some(Outcome::Running) | None => {}
        }
        let nothing = Ledger::default();
        let ledger = book.ledgers.get(&present(service)).unwrap_or(&nothing);
        let is_done = |node| ledger.progress(&Place::Node(node)) == Progress::Complete;
        let is_complete = match book.shape {
            Some(Shape::ReplicatedJob { completions, .. }) => ledger.complete >= completions,
            Some(Shape::GlobalJob) => book.runs(service) && self.on_every_node(book, is_done),
            _ => false,
        };
        let lack = if ledger.spent > 0 { Lack::Failed } else { Lack::NotComplete };
        (!is_complete).then_some(lack)
    }

    /// Whether something holds of all nodes that take the tasks of a service.
    fn on_every_node(&self, book: &Book, holds: impl Fn(NodeId) -> bool) -> bool {
        self.nodes.iter().all(|(id, node)| {
            let is_taken = Fate::of(Some(node)) == Fate::Fine && constraint::all_match(&book.constraints, node);
            !is_taken || holds(id.clone())
        })
    }
}

// === impl Draft ===

impl Draft<'_> {
    /// Whether no task may be made because the service waits for others. Of a job only its present run waits: those
    /// before it have started.
    pub(crate) fn holds_back(&self, iteration: Option<Version>) -> bool {
        let is_present = |run| self.book.service.as_deref().is_none_or(|service| present(service) == run);
        self.is_held && iteration.is_none_or(is_present)
    }
}

// === impl Book ===

impl Book {
    /// Whether there is a task that says that the service has started: any that is live or history. Of a job only those
    /// of the present run count.
    pub(crate) fn has_started(&self) -> bool {
        let wanted = |slot: &Slot| slot.tasks().any(|task| task.desired_state < TaskState::Remove);
        match self.service.as_deref().filter(|_| self.shape.is_some_and(Shape::is_job)) {
            Some(service) => self.slots_of_run(present(service)).any(|(_, slot)| wanted(slot)),
            None => self.taken.len() > 0 || self.slots.values().any(wanted),
        }
    }

    /// Whether a service is to have tasks at all.
    fn has_work(&self) -> bool {
        let Some(service) = self.service.as_deref() else { return false };
        match self.shape {
            Some(Shape::Replicated { replicas }) => replicas > 0,
            Some(Shape::Global) => true,
            Some(Shape::ReplicatedJob { .. } | Shape::GlobalJob) => match run(service) {
                Some(run) => run.outcome() == Outcome::Running,
                None => service.spec.schedule.is_none(),
            },
            None => false,
        }
    }

    /// Whether a task runs, or, of a job, has completed.
    fn runs(&self, service: &Service) -> bool {
        let counts = |(_, slot): (&SlotKey, &Slot)| match slot.progress() {
            Progress::Complete => true,
            Progress::Running => runs(slot),
            Progress::None | Progress::Spent => false,
        };
        match self.shape {
            _ if self.up.len() > 0 => true,
            // Those that run were counted.
            Some(Shape::Replicated { .. }) => false,
            Some(Shape::Global) | None => self.slots.values().any(runs),
            Some(Shape::ReplicatedJob { .. } | Shape::GlobalJob) => self.slots_of_run(present(service)).any(counts),
        }
    }

    fn is_rolling(&self, service: &Service) -> bool {
        match policy::state(service) {
            Some(UpdateState::Updating | UpdateState::RollbackStarted) => true,
            // What stopped half-way does not go on by itself.
            Some(UpdateState::Paused | UpdateState::RollbackPaused) => false,
            _ => self.dirty().next().is_some(),
        }
    }
}

/// Whether a wanted task of a slot runs.
fn runs(slot: &Slot) -> bool {
    slot.live().any(|task| task.status.state == TaskState::Running)
}

/// What the wait of a service is, written into it: since when it waits stays, whatever it waits for.
pub(crate) fn write(tx: &mut Transaction, service: &Arc<Service>, message: Option<&String>) -> Result<(), StoreError> {
    let now = tx.now();
    tx.edit::<Service>(&service.id, |service| {
        let since = service.waiting.take().and_then(|waiting| waiting.since).unwrap_or(now);
        service.waiting = message.map(|message| Waiting { since: Some(since), message: message.clone() });
    })?;
    Ok(())
}

/// The record of the present run of a job, where there are records.
fn run(service: &Service) -> Option<&swarmkit_api::JobRun> {
    let present = present(service).0;
    service.runs.iter().rfind(|run| run.iteration == present)
}

fn tell(dependency: &Dependency, lack: Lack) -> String {
    let name = &dependency.service;
    match lack {
        Lack::Absent => format!("{name} to be created"),
        Lack::NotRunning => format!("{name} to run"),
        Lack::NotHealthy => format!("{name} to be healthy"),
        Lack::Rolling => format!("{name} to be healthy (an update of it is under way)"),
        Lack::NotComplete => format!("{name} to complete"),
        Lack::Failed => format!("{name} to complete (its last run has failed)"),
        Lack::NoJob => format!("{name} to complete (it is no job and never will)"),
    }
}

/// Names differ in more than case, as the store has it.
fn fold(name: &str) -> String {
    name.to_lowercase()
}
