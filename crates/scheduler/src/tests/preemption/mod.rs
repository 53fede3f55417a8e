//! Room that tasks make for more important ones.

mod limits;
mod properties;
mod room;
mod who;

use swarmkit_api::{Task, TaskState};

use super::*;
use crate::decision::Decision;

/// Commits plans and gives the deltas to the world, as the loop does.
pub(super) struct Rounds {
    pub(super) store: Store,
    pub(super) updates: swarmkit_store::Watch,
    pub(super) world: World,
}

impl Rounds {
    pub(super) fn start(text: &str) -> Self {
        let store = testing::store(text);
        let updates = store.watch(swarmkit_store::Interest::all());
        Self { store, updates, world: World::default() }
    }

    pub(super) fn absorb(&mut self) {
        while let Some(update) = self.updates.try_next().unwrap() {
            self.world.absorb(&update, env().now());
        }
    }

    /// Decides once, and writes what still holds.
    pub(super) fn pass(&mut self) -> Vec<Decision> {
        let due = std::mem::take(&mut self.world.due);
        let plan = self.world.plan(&due, env().now());
        let mut refused = Vec::new();
        write(&self.store, |tx| {
            for decision in &plan.decisions {
                if !decision.write(tx)? {
                    refused.push(decision.clone());
                }
            }
            Ok(())
        });
        self.world.note(plan.blocked);
        self.world.note_limited(plan.limited);
        self.world.due.put_back(plan.rest);
        self.absorb();
        refused.iter().for_each(|decision| self.world.retry(decision));
        plan.decisions
    }

    /// Decides until nothing is due.
    pub(super) fn settle(&mut self) -> Vec<String> {
        let mut all = Vec::new();
        for _ in 0..100 {
            self.absorb();
            if self.world.due.is_empty() {
                return all;
            }
            all.extend(self.pass().iter().map(tell));
        }
        panic!("it goes on deciding: {all:?}");
    }

    pub(super) fn amend(&mut self, text: &str) -> Vec<String> {
        testing::amend(&self.store, text);
        self.settle()
    }

    pub(super) fn edit(&mut self, id: &str, change: impl FnOnce(&mut Task)) -> Vec<String> {
        write(&self.store, |tx| tx.edit(&id.into(), change).map(drop));
        self.settle()
    }

    /// A task ends.
    pub(super) fn end(&mut self, id: &str) -> Vec<String> {
        self.edit(id, |task| task.status.state = TaskState::Shutdown)
    }

    pub(super) fn change(&mut self, service: &str, change: impl FnOnce(&mut wire::ServiceSpec)) -> Vec<String> {
        write(&self.store, |tx| {
            let edit = |service: &mut Service| change(std::sync::Arc::make_mut(&mut service.spec));
            tx.edit(&ServiceId::from(service), edit).map(drop)
        });
        self.settle()
    }

    pub(super) fn task(&self, id: &str) -> Task {
        Task::clone(self.store.view().get::<Task>(&id.into()).expect("the task is there"))
    }

    /// The next leader, who knows nothing but what is stored.
    pub(super) fn next_leader(&mut self) -> Vec<String> {
        self.updates = self.store.watch(swarmkit_store::Interest::all());
        self.world = World::default();
        self.settle()
    }
}

const NONE: [&str; 0] = [];

/// A node that is full of what has no priority.
const FULL: &str = "node a memory=2GiB; service low memory=1GiB; task low.1 on a; task low.2 on a";
