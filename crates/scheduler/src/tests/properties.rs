//! What holds for every cluster: the engine decides what the [plainest reading](super::naive) allows, and forgets nothing.

use std::collections::BTreeMap;

use proptest::{collection::vec, prelude::*, sample::select};
use swarmkit_api::{Node, NodeId, Service, Task, TaskId, TaskState, Version};
use swarmkit_store::{Interest, Watch};
use wire::GenericResource;

use super::{naive::Naive, worlds::*, *};

/// A decision, as far as objects show it.
#[derive(Debug)]
enum Outcome {
    Placed { task: TaskId, node: NodeId, given: Vec<GenericResource> },
    Told { task: TaskId, err: String },
    Stopped { task: TaskId },
}

fn outcomes(plan: &Plan) -> Vec<Outcome> {
    let outcome = |decision: &Decision| match decision {
        Decision::Assign { task, node, given, .. } => {
            Outcome::Placed { task: task.id.clone(), node: node.id.clone(), given: given.clone() }
        }
        Decision::Explain { task, err } => Outcome::Told { task: task.id.clone(), err: err.to_string() },
        Decision::Stop { task } => Outcome::Stopped { task: task.id.clone() },
        // No cluster has volumes here.
        Decision::MakeRoom { .. } | Decision::Release { .. } => panic!("nobody asks for a priority"),
        Decision::Free { .. } => panic!("nothing is to be let go of"),
    };
    plan.decisions.iter().map(outcome).collect()
}

/// When the reasons that tasks are told were worked out.
#[derive(Clone, Copy, PartialEq)]
enum Reasons {
    Now,
    /// A task that joins others that wait is told what they were told.
    Before,
}

/// Checks decisions one by one, each at its turn.
fn are_allowed(naive: &mut Naive, outcomes: &[Outcome], reasons: Reasons) {
    for outcome in outcomes {
        match outcome {
            Outcome::Placed { task, node, given } => {
                let task = naive.tasks[task].clone();
                let on = &naive.nodes[node].clone();
                assert!(naive::waits(&task), "{} was not to be placed: {task:?}", task.id);
                assert_eq!(naive.refusal(&task, on), None, "{} cannot run on {node}", task.id);
                match &task.node_id {
                    Some(own) => assert_eq!(node, own, "{} was made for another node", task.id),
                    None => {
                        let best = naive.best(&task);
                        assert!(best.contains(node), "{} is better off on {best:?} than on {node}", task.id);
                    }
                }
                assert_eq!(*given, naive.given(&task, on), "what {} is given", task.id);
                naive.place(&task.id, node, given);
            }
            Outcome::Told { task, err } => {
                let task = &naive.tasks[task];
                assert!(naive::waits(task) && *err != task.status.err, "{} was not to be told {err}", task.id);
                let expected = match &task.node_id {
                    None => naive.no_suitable_node(task),
                    Some(own) => match naive.nodes.get(own) {
                        Some(node) => naive.not_there(task, naive.refusal(task, node).expect("its node refuses it")),
                        None => format!("node {own} does not exist"),
                    },
                };
                let is_known = reasons == Reasons::Before && task.node_id.is_none();
                assert!(*err == expected || is_known, "{} is told {err}, which is {expected}", task.id);
                assert!(task.node_id.is_some() || naive.is_told(task), "nobody asks about {} any more", task.id);
            }
            Outcome::Stopped { task } => {
                let task = &naive.tasks[task];
                assert_eq!(task.status.state, TaskState::Pending);
                assert_eq!(task.desired_state, TaskState::Shutdown);
            }
        }
    }
}

/// Checks that whatever still waits cannot be placed, and knows why.
fn nothing_is_left_out(naive: &Naive, outcomes: &[Outcome]) {
    let is_told =
        |id: &TaskId| outcomes.iter().any(|outcome| matches!(outcome, Outcome::Told { task, .. } if task == id));
    for task in naive.tasks.values().filter(|task| naive::waits(task)) {
        match &task.node_id {
            None => {
                assert!(naive.best(task).is_empty(), "{} could be placed", task.id);
                assert!(!task.status.err.is_empty() || !naive.is_told(task) || is_told(&task.id), "{}", task.id);
            }
            Some(own) => {
                let refusal = naive.nodes.get(own).map(|node| naive.refusal(task, node));
                assert_ne!(refusal, Some(None), "{} could be confirmed", task.id);
            }
        }
    }
}

/// How many tasks of the first service are on the nodes that share a value of its first label.
fn per_branch(naive: &Naive, preferences: &[&str]) -> Vec<usize> {
    let Some(task) = naive.tasks.values().next() else { return Vec::new() };
    let level = preferences.iter().find_map(|descriptor| swarmkit_api::constraint::Label::parse(descriptor));
    let mut branches = BTreeMap::<String, usize>::new();
    for node in naive.nodes.values() {
        let value = level.as_ref().map_or(node.id.as_str(), |level| level.of(node));
        *branches.entry(value.to_owned()).or_default() += naive.of_service(task, &node.id);
    }
    let mut counts: Vec<_> = branches.into_values().collect();
    counts.sort_unstable();
    counts
}

/// One thing that happens to a cluster.
#[derive(Clone, Debug)]
enum Event {
    Node(u8, NodeShape),
    NodeGone(u8),
    Task(TaskShape),
    TaskState(u8, TaskState),
    Desired(u8, TaskState),
    TaskGone(u8),
    /// A service goes on to another version of its specification.
    Service(u8),
}

fn event() -> impl Strategy<Value = Event> {
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
struct Life {
    store: Store,
    updates: Watch,
    world: World,
    services: Vec<ServiceShape>,
    born: usize,
}

impl Life {
    fn begin(services: Vec<ServiceShape>) -> Self {
        let store = testing::store("");
        write(&store, |tx| put(tx, &[], &services, &[]));
        let updates = store.watch(Interest::all());
        Self { store, updates, world: World::default(), services, born: 0 }
    }

    fn happen(&mut self, event: &Event) {
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
    fn decide(&mut self) {
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

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..Default::default() })]

    #[test]
    fn what_is_decided_about_a_whole_cluster_is_what_the_plainest_reading_allows(
        nodes in vec(node_shape(), 0..usize::from(NODES)),
        services in vec(service_shape(true), usize::from(SERVICES)),
        tasks in vec(task_shape(true), 0..40),
        failed in vec(failures(), 0..4),
        strategy in strategy(),
    ) {
        let tasks = [tasks, failed.concat()].concat();
        let store = testing::store("");
        write(&store, |tx| {
            tx.create(cluster(strategy))?;
            put(tx, &nodes, &services, &tasks)
        });
        let view = store.view();
        let (world, plan) = learned(&view);
        prop_assert_eq!(told(&plan), told(&world.plan(&world.due, env().now())), "the same world, the same plan");
        let mut naive = Naive::of(&view, env().now());
        let outcomes = outcomes(&plan);
        are_allowed(&mut naive, &outcomes, Reasons::Now);
        nothing_is_left_out(&naive, &outcomes);
    }

    #[test]
    fn one_service_is_placed_as_far_and_as_evenly_as_it_can_be(
        nodes in vec(node_shape(), 0..usize::from(NODES)),
        service in plain_service(),
        tasks in vec(plain_task(), 1..30),
    ) {
        let store = testing::store("");
        write(&store, |tx| put(tx, &nodes, std::slice::from_ref(&service), &tasks));
        let view = store.view();
        let waiting = Naive::of(&view, env().now()).waiting();
        // How many more each node can take does not depend on the others.
        let room = |node: &Node| {
            let mut alone = Naive::of(&view, env().now());
            let taken = waiting.iter().take_while(|task| {
                let fits = alone.refusal(task, node).is_none();
                if fits {
                    alone.place(&task.id, &node.id, &[]);
                }
                fits
            });
            taken.count()
        };
        let most = view.all::<Node>().map(|node| room(node)).sum::<usize>().min(waiting.len());

        let (mut engine, mut plain) = (Naive::of(&view, env().now()), Naive::of(&view, env().now()));
        let outcomes = outcomes(&learned(&view).1);
        are_allowed(&mut engine, &outcomes, Reasons::Now);
        prop_assert_eq!(engine.waiting().len(), waiting.len() - most, "as many as there is room for");
        for task in &waiting {
            if let Some(node) = plain.best(task).pop_first() {
                plain.place(&task.id, &node, &[]);
            }
        }
        prop_assert_eq!(per_branch(&engine, &service.preferences), per_branch(&plain, &service.preferences));
        prop_assert_eq!(waiting.len(), tasks.iter().filter(|task| task.waits()).count());
    }

    #[test]
    fn whatever_happens_every_decision_is_allowed_and_nothing_that_fits_is_left_waiting(
        services in vec(service_shape(false), usize::from(SERVICES)),
        events in vec(event(), 1..60),
    ) {
        let mut life = Life::begin(services);
        for batch in events.chunks(3) {
            batch.iter().for_each(|event| life.happen(event));
            life.decide();
            // Whatever waits now, waits as well for someone who looks at everything afresh.
            let (_, afresh) = learned(&life.store.view());
            let moved = afresh.decisions.iter().find(|decision| matches!(decision, Decision::Assign { .. }));
            prop_assert!(moved.is_none(), "a task that could be placed was left waiting: {}", moved.map(tell).unwrap_or_default());
        }
    }
}
