//! The decision: which task is moved next, if any.
//!
//! One at a time: where a task goes is for the scheduler to say, and it can only say so when those before it have their
//! nodes.

use std::{
    collections::BTreeSet,
    ops::Bound,
    time::{Duration, SystemTime},
};

use swarmkit_api::{NodeId, ServiceId};
use swarmkit_orchestrator::moving::{Move, MovePolicy};
use swarmkit_scheduler::prospect;
use swarmkit_store::State;

use crate::{book::Book, world::World};

/// How many nodes are considered to take a task from, in one look at a service. Mostly the first one decides.
const SOURCES: usize = 16;

/// After which time a node is looked at again that would take a task but has no room: nobody says when others leave it.
const NO_ROOM: Duration = Duration::from_secs(60);

/// What is to be done.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// The task that is moved next.
    pub(crate) wish: Option<Move>,
    /// The services that are no longer due.
    pub(crate) done: BTreeSet<ServiceId>,
    /// When to look again for no other reason than the time.
    pub(crate) alarms: Vec<(SystemTime, Option<ServiceId>)>,
}

/// What there is to do for one service.
#[derive(Debug)]
enum Verdict {
    /// Nothing, until something changes.
    Rest,
    /// Nothing before that time.
    Later(SystemTime),
    Move(Move),
}

// === impl World ===

impl World {
    /// Decides what is moved next, of what is due. The same world at the same time gives the same plan.
    pub(crate) fn plan(&self, now: SystemTime) -> Plan {
        let mut plan = Plan::default();
        let Some(view) = self.view.as_deref().filter(|_| !self.due.is_empty()) else { return plan };
        if let Some(at) = self.moves.held_until(self.cluster.limit, now) {
            plan.alarms.push((at, None));
            return plan;
        }
        for id in self.in_turn() {
            match self.books.get(id).map_or(Verdict::Rest, |book| self.verdict(book, view, now)) {
                Verdict::Rest => {
                    plan.done.insert(id.clone());
                }
                Verdict::Later(at) => {
                    plan.done.insert(id.clone());
                    plan.alarms.push((at, Some(id.clone())));
                }
                Verdict::Move(wish) => {
                    plan.wish = Some(wish);
                    break;
                }
            }
        }
        plan
    }

    /// What is moved next, if anything is now.
    pub(crate) fn next_move(&mut self, now: SystemTime) -> Option<Move> {
        let plan = self.plan(now);
        self.conclude(plan)
    }

    /// Takes over what a plan says of the future, and gives what is to be written now.
    fn conclude(&mut self, plan: Plan) -> Option<Move> {
        self.due.retain(|id| !plan.done.contains(id));
        plan.alarms.into_iter().for_each(|(at, service)| self.set_alarm(at, service));
        self.last = plan.wish.as_ref().map(|wish| wish.service.id.clone()).or(self.last.take());
        plan.wish
    }

    /// What is due, those first that come after the one that was served last.
    fn in_turn(&self) -> impl Iterator<Item = &ServiceId> {
        let last = self.last.as_ref();
        let after = last.map_or(Bound::Unbounded, Bound::Excluded);
        let others = last.map(|last| self.due.range::<ServiceId, _>(..=last));
        self.due.range::<ServiceId, _>((after, Bound::Unbounded)).chain(others.into_iter().flatten())
    }

    fn verdict(&self, book: &Book, state: &State, now: SystemTime) -> Verdict {
        let Some(policy) = MovePolicy::of(&book.service).filter(|_| book.is_calm()) else { return Verdict::Rest };
        if let Some(at) = book.gives_up_until(now) {
            return Verdict::Later(at);
        }
        let resting: Vec<_> = book.resting(policy.delay, now).collect();
        let at_a_time = policy.at_a_time.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        if book.moving() + resting.len() >= at_a_time {
            return resting.last().map_or(Verdict::Rest, |at| Verdict::Later(*at));
        }
        let by_count = book.by_count();
        if self.is_even(&by_count) || !by_count.iter().all(|(_, node)| self.nodes.is_ready(node)) {
            return Verdict::Rest;
        }
        if let Some(at) = self.moves.service_held_until(&book.service.id, book.limit, now) {
            return Verdict::Later(at);
        }
        self.choose(book, &by_count, state, now)
    }

    /// Whether no node that takes tasks has two slots fewer than the one that has most. Looks at counts alone.
    fn is_even(&self, by_count: &[(usize, &NodeId)]) -> bool {
        let Some((most, _)) = by_count.first() else { return true };
        let close = by_count.iter().filter(|(count, node)| count + 2 > *most && self.nodes.is_open(node));
        *most < 2 || close.count() == self.nodes.open()
    }

    /// Finds a task that the scheduler would now put on a node that has at least two fewer than the one it is on. So each
    /// move makes the counts more even, and there is a last one.
    fn choose(&self, book: &Book, by_count: &[(usize, &NodeId)], state: &State, now: SystemTime) -> Verdict {
        let mut later: Option<SystemTime> = None;
        let mut wait = |at: SystemTime| later = Some(later.map_or(at, |other| other.min(at)));
        for (count, from) in by_count.iter().copied().take(SOURCES) {
            let Some(task) = book.newest(from).filter(|_| count >= 2) else { continue };
            let mut wish = Move { service: book.service.clone(), task: task.clone(), message: String::new() };
            let found = prospect(state, &wish.prospective(), now);
            let is_better = |node: &NodeId| book.count(node) + 2 <= count;
            let Some(to) = found.node.filter(is_better) else {
                if found.without_room.iter().any(is_better) {
                    wait(now + NO_ROOM);
                }
                continue;
            };
            let settles = self.nodes.settles_at(&to).filter(|at| *at > now);
            if let Some(at) = settles.max(book.avoids_until(&to, now)) {
                wait(at);
                continue;
            }
            wish.message = format!(
                "moved from node {}, which has {count} tasks of this service, to even out {count} and {}",
                self.nodes.name(from),
                book.count(&to)
            );
            return Verdict::Move(wish);
        }
        later.map_or(Verdict::Rest, Verdict::Later)
    }
}
