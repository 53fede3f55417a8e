//! Jobs: runs that end when all is done.
//!
//! What a slot is to a service it is to one run of a job, so slots are told apart by run, and several runs may go on side
//! by side. Which runs there are is in [`runs`]; how they begin and end is in [`record`].

mod ledger;
mod record;
pub(crate) mod runs;

use std::sync::Arc;

use swarmkit_api::{JobRun, Node, NodeId, Service, TaskState, Version, constraint, wire::node_status};

pub(crate) use ledger::Ledger;
pub(crate) use record::Record;
use record::{End, State};
use runs::{Stage, expiry, going_on, is_recorded, keeps_nothing, stage};

use crate::{
    decide::Draft,
    fate::Fate,
    plan::{Action, Step},
    policy::Shape,
    slot::{Place, Progress, Slot, SlotKey},
    template::Template,
    world::Due,
};

impl Draft<'_> {
    /// Sees to it that the runs of a job that go on do, and that what is left of others goes.
    pub(crate) fn run_job(&mut self, service: &Arc<Service>, template: &Arc<Template>, due: &Due, keys: &[&SlotKey]) {
        if is_recorded(service) && self.write_down(service) {
            // Everything is looked at again when that is written.
            return;
        }
        for key in keys {
            match key.iteration().map(|iteration| stage(service, iteration)) {
                Some(Stage::GoesOn) => {}
                Some(Stage::Over) => self.stop_unfinished(key),
                Some(Stage::Gone) | None => self.retire(service, key),
            }
        }
        self.expire(service);
        let is_on = |key: &&&SlotKey| key.iteration().is_some_and(|it| stage(service, it) == Stage::GoesOn);
        match self.book.shape {
            Some(Shape::ReplicatedJob { concurrent, completions }) => {
                for iteration in going_on(service) {
                    self.advance(template, iteration, concurrent, completions);
                }
                keys.iter().filter(is_on).for_each(|key| self.tend(template, key, true));
            }
            _ => {
                let nodes = self.nodes(due);
                for iteration in going_on(service) {
                    nodes.iter().for_each(|node| self.run_on_node(template, iteration, node));
                }
            }
        }
    }

    /// Brings the record of the runs up to date. Gives whether it was not.
    fn write_down(&mut self, service: &Arc<Service>) -> bool {
        let timetable = self.book.timetable.as_ref();
        let (record, alarm) = Record::next(service, timetable, |run| self.state(run), self.now);
        self.plan.alarms.extend(alarm.map(|at| (at, self.id.clone(), None)));
        let differs = record != Record::of(service);
        if differs {
            let action = Action::Record { service: service.clone(), record };
            self.plan.steps.push(Step { service: self.id.clone(), slot: None, actions: vec![action] });
        }
        differs
    }

    /// How far a run has come.
    fn state(&self, run: &JobRun) -> State {
        let nothing = Ledger::default();
        let ledger = self.book.ledgers.get(&Version(run.iteration)).unwrap_or(&nothing);
        let is_over = match self.book.shape {
            Some(Shape::ReplicatedJob { completions, .. }) => ledger.complete + ledger.spent >= completions,
            // Where there is no node for it yet, it waits for one.
            _ => {
                let open = || self.world.nodes.values().filter(|node| self.is_candidate(node));
                let is_open = |node: &Arc<Node>| ledger.progress(&Place::Node(node.id.clone())) == Progress::None;
                ledger.complete + ledger.spent > 0 && ledger.running == 0 && !open().any(is_open)
            }
        };
        let end = if ledger.spent > 0 { End::Spent(ledger.spent) } else { End::Complete };
        State { end: (is_over && ledger.running == 0).then_some(end), failures: ledger.failures }
    }

    /// Tasks of earlier iterations shall go.
    fn retire(&mut self, service: &Service, key: &SlotKey) {
        let all = self.book.is_per_node() || keeps_nothing(service);
        let tasks = self.book.slots.get(key).into_iter().flat_map(Slot::tasks);
        let old = tasks.filter(|task| task.desired_state < TaskState::Remove);
        self.want(key, old.filter(|task| all || task.status.state <= TaskState::Running).collect(), TaskState::Remove);
    }

    /// A run is over: what is not done is done no more.
    fn stop_unfinished(&mut self, key: &SlotKey) {
        let live = self.book.slots.get(key).into_iter().flat_map(Slot::live);
        self.want(key, live.filter(|task| task.status.state != TaskState::Complete).collect(), TaskState::Shutdown);
    }

    /// Tasks of runs that were over long enough ago shall go.
    fn expire(&mut self, service: &Service) {
        for run in &service.runs {
            let Some(at) = expiry(service, run) else { continue };
            if at > self.now {
                self.plan.alarms.push((at, self.id.clone(), None));
                continue;
            }
            for (key, slot) in self.book.slots_of_run(Version(run.iteration)) {
                let tasks = slot.tasks().filter(|task| task.desired_state < TaskState::Remove);
                self.want(key, tasks.collect(), TaskState::Remove);
            }
        }
    }

    /// Begins as many slots of a run as may be worked on at a time.
    fn advance(&mut self, template: &Arc<Template>, iteration: Version, concurrent: u64, completions: u64) {
        let nothing = Ledger::default();
        let ledger = self.book.ledgers.get(&iteration).unwrap_or(&nothing);
        let concurrent = if self.holds_back(Some(iteration)) { 0 } else { concurrent };
        let room = concurrent.saturating_sub(ledger.running);
        let left = completions.saturating_sub(ledger.taken.len() as u64);
        let new = usize::try_from(room.min(left)).unwrap_or(usize::MAX);
        for number in ledger.taken.missing(0).take_while(|number| *number < completions).take(new) {
            self.create(template, SlotKey::Run(iteration, Place::Number(number)), template.goal(), Vec::new());
        }
    }

    /// Sees to it that a run of a global job is done once on a node.
    fn run_on_node(&mut self, template: &Arc<Template>, iteration: Version, id: &NodeId) {
        let node = self.world.nodes.get(id).cloned();
        let fate = Fate::of(node.as_deref());
        let key = SlotKey::Run(iteration, Place::Node(id.clone()));
        let nothing = Slot::default();
        let slot = self.book.slots.get(&key).unwrap_or(&nothing);
        let Some(node) = node else { return self.forget(&key, slot) };
        if fate.is_bad() {
            let unfinished = slot.live().filter(|task| task.status.state != TaskState::Complete);
            return self.want(&key, unfinished.collect(), TaskState::Shutdown);
        }
        let matches = constraint::all_match(&self.book.constraints, &node);
        self.tend(template, &key, fate == Fate::Fine && matches);
        if self.is_candidate(&node) && !self.touched.contains(&key) && slot.progress() == Progress::None {
            self.create(template, key, template.goal(), Vec::new());
        }
    }

    /// Whether a global job is to be done on a node.
    fn is_candidate(&self, node: &Node) -> bool {
        constraint::all_match(&self.book.constraints, node)
            && Fate::of(Some(node)) == Fate::Fine
            && node.status.state() == node_status::State::Ready
    }
}
