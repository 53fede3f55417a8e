//! Random histories: what happens to a cluster, and an engine that is told of it change by change.

use proptest::{prelude::*, sample::select};
use swarmkit_api::{Node, Service, Task, TaskId, TaskState, Version};
use swarmkit_store::{Interest, Watch};

use super::{
    held::{Reasons, are_allowed, outcomes},
    naive::Naive,
    worlds::*,
    *,
};

/// One thing that happens to a cluster.
#[derive(Clone, Debug)]
pub(super) enum Event {
    Node(u8, NodeShape),
    NodeGone(u8),
    Task(TaskShape),
    TaskState(u8, TaskState),
    Desired(u8, TaskState),
    TaskGone(u8),
    /// A service goes on to another version of its specification.
    Service(u8),
}

pub(super) fn event() -> impl Strategy<Value = Event> {
    let states = vec![TaskState::Accepted, TaskState::Running, TaskState::Complete, TaskState::Shutdown];
    let desired = vec![TaskState::Complete, TaskState::Shutdown, TaskState::Remove];
    prop_oneof![
        3 => (0..NODES, node_shape()).prop_map(|(id, node)| Event::Node(id, node)),
        1 => (0..NODES).prop_map(Event::NodeGone),
        // Failures are remembered longer than the tasks that failed, so that objects alone no longer tell of them.
        8 => task_shape(false).prop_map(Event::Task),
        4 => (0..40_u8, select(states)).prop_map(|(task, state)| Event::TaskState(task, state)),
        2 => (0..40_u8, select(desired)).prop_map(|(task, state)| Event::Desired(task, state)),
        1 => (0..40_u8).prop_map(Event::TaskGone),
        1 => (0..SERVICES).prop_map(Event::Service),
    ]
}

/// A cluster that lives, and the engine that is told of it change by change.
pub(super) struct Life {
    pub(super) store: Store,
    updates: Watch,
    world: World,
    services: Vec<ServiceShape>,
    born: usize,
}

impl Life {
    pub(super) fn begin(services: Vec<ServiceShape>) -> Self {
        let store = testing::store("");
        write(&store, |tx| put(tx, &[], &services, &[]));
        let updates = store.watch(Interest::all());
        Self { store, updates, world: World::default(), services, born: 0 }
    }

    pub(super) fn happen(&mut self, event: &Event) {
        let task = |number: &u8| TaskId::from(format!("t{number:02}").as_str());
        let (services, born) = (&self.services, &mut self.born);
        write(&self.store, |tx| {
            match event {
                Event::Node(id, shape) => {
                    let node = shape.build(*id);
                    match tx.get::<Node>(&node.id).map(|stored| stored.meta) {
                        None => tx.create(node).map(drop)?,
                        Some(meta) => tx.update(Node { meta, ..node }).map(drop)?,
                    }
                }
                Event::NodeGone(id) => drop(tx.delete::<Node>(&format!("n{id}").as_str().into())),
                Event::Task(shape) => {
                    tx.create(shape.build(*born, services))?;
                    *born += 1;
                }
                Event::TaskState(number, state) => {
                    let moves = |task: &std::sync::Arc<Task>| task.node_id.is_some() && task.status.state < *state;
                    if tx.get::<Task>(&task(number)).is_some_and(moves) {
                        tx.edit(&task(number), |task: &mut Task| task.status.state = *state)?;
                    }
                }
                Event::Desired(number, state) => {
                    if tx.get::<Task>(&task(number)).is_some_and(|task| task.desired_state < *state) {
                        tx.edit(&task(number), |task: &mut Task| task.desired_state = *state)?;
                    }
                }
                Event::TaskGone(number) => drop(tx.delete::<Task>(&task(number))),
                Event::Service(id) => {
                    let id = format!("s{id}").as_str().into();
                    if tx.get::<Service>(&id).is_some() {
                        tx.edit(&id, |service: &mut Service| {
                            service.spec_version = service.spec_version.map(|Version(number)| Version(number + 1));
                        })?;
                    }
                }
            }
            Ok(())
        });
    }

    fn absorb(&mut self) {
        while let Some(update) = self.updates.try_next().unwrap() {
            self.world.absorb(&update, env().now());
        }
    }

    /// Decides as the loop does, checks it, and writes it.
    pub(super) fn decide(&mut self) {
        self.absorb();
        let view = self.store.view();
        assert!(self.world.books == learned(&view).0.books, "books kept up differ from books built anew");
        let due = std::mem::take(&mut self.world.due);
        let plan = self.world.plan(&due, env().now());
        assert_eq!(told(&plan), told(&self.world.plan(&due, env().now())), "the same world, the same plan");
        are_allowed(&mut Naive::of(&view, env().now()), &outcomes(&plan), Reasons::Before);
        write(&self.store, |tx| {
            plan.decisions.iter().try_for_each(|decision| {
                assert!(decision.write(tx)?, "nothing happened since the decision");
                Ok(())
            })
        });
        self.world.note(plan.blocked);
        self.absorb();
    }
}
