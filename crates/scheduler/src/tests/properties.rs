//! What holds for every world.

use std::collections::BTreeMap;

use proptest::prelude::*;
use swarmkit_api::{Node, Task, TaskState, constraint, resources};
use swarmkit_store::{Interest, TaskBy};

use super::*;

/// One thing that happens to a small cluster.
#[derive(Clone, Debug)]
enum Event {
    Node { id: u8, ready: bool, drained: bool, memory: i64, label: u8 },
    NodeGone(u8),
    Task { slot: u8, service: u8 },
    TaskState(u8, TaskState),
    Desired(u8, TaskState),
    TaskGone(u8),
}

fn event() -> impl Strategy<Value = Event> {
    let states = prop::sample::select(vec![
        TaskState::Accepted,
        TaskState::Running,
        TaskState::Complete,
        TaskState::Shutdown,
        TaskState::Failed,
        TaskState::Rejected,
    ]);
    let desired = prop::sample::select(vec![TaskState::Shutdown, TaskState::Remove]);
    prop_oneof![
        3 => (0..5_u8, any::<bool>(), any::<bool>(), 0..4_i64, 0..2_u8)
            .prop_map(|(id, ready, drained, memory, label)| Event::Node { id, ready, drained, memory, label }),
        1 => (0..5_u8).prop_map(Event::NodeGone),
        8 => (0..30_u8, 0..3_u8).prop_map(|(slot, service)| Event::Task { slot, service }),
        4 => (0..30_u8, states).prop_map(|(slot, state)| Event::TaskState(slot, state)),
        2 => (0..30_u8, desired).prop_map(|(slot, state)| Event::Desired(slot, state)),
        1 => (0..30_u8).prop_map(Event::TaskGone),
    ]
}

/// The three services: nothing special, one that reserves memory, one that wants a label and publishes a port.
fn happen(store: &Store, event: &Event) {
    let id = |slot: &u8| format!("t{slot:02}").as_str().into();
    write(store, |tx| {
        match event {
            Event::Node { id, ready, drained, memory, label } => {
                let mut node = testing::node(&format!("n{id}")).memory(*memory).label("zone", &label.to_string());
                node = if *ready { node.ready() } else { node.down() };
                node = if *drained { node.drain() } else { node };
                let node = node.build();
                match tx.get::<Node>(&node.id) {
                    None => tx.create(node).map(drop)?,
                    Some(stored) => {
                        let meta = stored.meta;
                        tx.update(Node { meta, ..node }).map(drop)?;
                    }
                }
            }
            Event::NodeGone(id) => drop(tx.delete::<Node>(&format!("n{id}").as_str().into())),
            Event::Task { slot, service } => {
                let task = testing::task(&format!("s{service}.{slot}")).state(TaskState::Pending).with(|task| {
                    task.id = id(slot);
                    task.spec = tx
                        .get::<Service>(&format!("s{service}").as_str().into())
                        .unwrap()
                        .spec
                        .task
                        .clone()
                        .unwrap()
                        .into();
                    if *service == 2 {
                        let port = wire::PortConfig { published_port: 80, publish_mode: 1, ..Default::default() };
                        task.endpoint = Some(wire::Endpoint { ports: vec![port], ..Default::default() }.into());
                    }
                });
                drop(tx.create(task.build()));
            }
            Event::TaskState(slot, state) => {
                let moves = |task: &std::sync::Arc<Task>| task.node_id.is_some() && task.status.state < *state;
                if tx.get::<Task>(&id(slot)).is_some_and(moves) {
                    tx.edit(&id(slot), |task: &mut Task| task.status.state = *state)?;
                }
            }
            Event::Desired(slot, state) => {
                if tx.get::<Task>(&id(slot)).is_some_and(|task| task.desired_state < *state) {
                    tx.edit(&id(slot), |task: &mut Task| task.desired_state = *state)?;
                }
            }
            Event::TaskGone(slot) => drop(tx.delete::<Task>(&id(slot))),
        }
        Ok(())
    });
}

/// Checks an assignment against the view that it was decided on, in the plainest way.
fn is_allowed(view: &View, placed: &BTreeMap<String, Vec<&Task>>, task: &Task, node: &Node) {
    assert_eq!(node.status.state(), wire::node_status::State::Ready);
    assert_eq!(node.spec.availability(), wire::node_spec::Availability::Active);
    assert!(
        task.node_id.is_none() && task.status.state == TaskState::Pending && task.desired_state == TaskState::Running
    );
    let there = view.find(TaskBy::Node(Some(&node.id))).map(AsRef::as_ref);
    let there = there.filter(|task| task.status.state <= TaskState::Running);
    let there: Vec<&Task> = there.chain(placed.get(node.id.as_str()).into_iter().flatten().copied()).collect();
    let memory = |task: &Task| resources::reservations(&task.spec).map_or(0, |wanted| wanted.memory_bytes);
    let has = node.description.as_ref().unwrap().resources.as_ref().unwrap().memory_bytes;
    let wants = memory(task);
    assert!(wants == 0 || there.iter().map(|task| memory(task)).sum::<i64>() + wants <= has, "memory of {}", node.id);
    let constraints = task.spec.placement.as_ref().map(|placement| placement.constraints.clone()).unwrap_or_default();
    assert!(constraint::all_match(&constraint::parse_all(&constraints).unwrap(), node));
    assert!(task.endpoint.is_none() || there.iter().all(|task| task.endpoint.is_none()), "port of {}", node.id);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..Default::default() })]

    #[test]
    fn every_assignment_passes_a_plain_check_and_books_do_not_drift(events in prop::collection::vec(event(), 1..80)) {
        let store = testing::store("service s0; service s1 memory=1; service s2 constraint=node.labels.zone==1");
        let mut updates = store.watch(Interest::all());
        let mut world = World::default();
        for batch in events.chunks(3) {
            batch.iter().for_each(|event| happen(&store, event));
            while let Some(update) = updates.try_next().unwrap() {
                world.absorb(&update, env().now());
            }
            let view = store.view();
            let (anew, _) = learned(&view);
            prop_assert!(world.books == anew.books, "books kept up differ from books built anew");

            let due = std::mem::take(&mut world.due);
            let plan = world.plan(&due, env().now());
            prop_assert_eq!(told(&plan), told(&world.plan(&due, env().now())), "the same world, the same plan");
            let mut placed = BTreeMap::<String, Vec<&Task>>::new();
            for decision in &plan.decisions {
                if let Decision::Assign { task, node, .. } = decision {
                    is_allowed(&view, &placed, task, node);
                    placed.entry(node.id.to_string()).or_default().push(task);
                }
            }
            write(&store, |tx| plan.decisions.iter().try_for_each(|decision| {
                assert!(decision.write(tx)?, "nothing happened since the decision");
                Ok(())
            }));
            let blocked = plan.blocked;
            world.note(blocked);

            // Whatever waits now, waits as well for someone who looks at everything afresh.
            while let Some(update) = updates.try_next().unwrap() {
                world.absorb(&update, env().now());
            }
            let (_, afresh) = learned(&store.view());
            let moved = afresh.decisions.iter().find(|decision| matches!(decision, Decision::Assign { .. }));
            prop_assert!(moved.is_none(), "a task that could be placed was left waiting: {}", moved.map(tell).unwrap_or_default());
        }
    }
}
