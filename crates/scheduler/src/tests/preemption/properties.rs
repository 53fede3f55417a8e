//! What holds for room that is made, in every world.

use std::{cell::Cell, collections::BTreeMap};

use proptest::prelude::*;
use swarmkit_api::{Node, NodeId, TaskId};
use swarmkit_store::TaskBy;

use super::*;
use crate::{
    books::is_active,
    preemption::{claim, max_disrupted, missing, priority, yields},
    world::is_placed,
};

/// One thing that happens from outside.
#[derive(Clone, Debug)]
enum Event {
    Node(u8, i64),
    Drain(u8),
    Task(u8),
    End(u8),
    Stop(u8),
    Runs(u8),
    Priority(u8, Option<i32>),
    Limit(u8, Option<u64>),
}

fn event() -> impl Strategy<Value = Event> {
    let service = || 0..4_u8;
    prop_oneof![
        2 => (0..4_u8, 1..5_i64).prop_map(|(node, memory)| Event::Node(node, memory)),
        1 => (0..4_u8).prop_map(Event::Drain),
        8 => service().prop_map(Event::Task),
        2 => any::<u8>().prop_map(Event::End),
        1 => any::<u8>().prop_map(Event::Stop),
        4 => any::<u8>().prop_map(Event::Runs),
        1 => (service(), prop::option::of(-1..3_i32)).prop_map(|(service, level)| Event::Priority(service, level)),
        1 => (service(), prop::option::of(0..3_u64)).prop_map(|(service, limit)| Event::Limit(service, limit)),
    ]
}

/// A cluster, and all that is played around the scheduler.
struct Play {
    rounds: Rounds,
    made: Cell<u32>,
    /// Since the last thing that happened from outside: the highest priority of those who came to a node.
    came: BTreeMap<NodeId, i32>,
}

impl Play {
    fn start() -> Self {
        let text = "service s0 memory=1 replicas=0; service s1 memory=1 priority=1 replicas=0
            service s2 memory=2 priority=2 replicas=0; service s3 memory=3 priority=1 replicas=0";
        Self { rounds: Rounds::start(text), made: Cell::new(0), came: BTreeMap::new() }
    }

    fn nth(&self, number: u8, which: impl Fn(&Task) -> bool) -> Option<TaskId> {
        let view = self.rounds.store.view();
        let tasks: Vec<_> = view.all::<Task>().filter(|task| which(task)).map(|task| task.id.clone()).collect();
        (!tasks.is_empty()).then(|| tasks[usize::from(number) % tasks.len()].clone())
    }

    /// One task more of a service is wanted, or one that replaces another.
    fn create(&self, service: &str, is_new: bool) {
        self.made.set(self.made.get() + 1);
        write(&self.rounds.store, |tx| {
            if is_new {
                tx.edit::<Service>(&service.into(), |service| {
                    let spec = std::sync::Arc::make_mut(&mut service.spec);
                    if let Some(wire::service_spec::Mode::Replicated(replicated)) = &mut spec.mode {
                        replicated.replicas += 1;
                    }
                })?;
            }
            let of = tx.get::<Service>(&service.into()).unwrap().clone();
            let task = testing::task(&format!("{service}.{}", self.made.get())).of(&of).state(TaskState::Pending);
            tx.create(task.build()).map(drop)
        });
    }

    fn edit(&self, id: &TaskId, change: impl FnOnce(&mut Task)) {
        write(&self.rounds.store, |tx| tx.edit(id, change).map(drop));
    }

    fn say(&self, service: u8, change: impl FnOnce(&mut wire::swarmkit::scheduling::v1::ServiceScheduling)) {
        write(&self.rounds.store, |tx| {
            tx.edit::<Service>(&format!("s{service}").as_str().into(), |service| {
                change(std::sync::Arc::make_mut(&mut service.spec).scheduling.get_or_insert_default());
            })
            .map(drop)
        });
    }

    fn happen(&self, event: &Event) {
        let goes = |task: &Task| is_placed(task) && is_active(task);
        match event {
            Event::Node(node, memory) => write(&self.rounds.store, |tx| {
                let node = testing::node(&format!("n{node}")).memory(*memory).ready().build();
                match tx.get::<Node>(&node.id).map(|stored| stored.meta) {
                    None => tx.create(node).map(drop),
                    Some(meta) => tx.update(Node { meta, ..node }).map(drop),
                }
            }),
            Event::Drain(node) => write(&self.rounds.store, |tx| {
                let id = format!("n{node}").as_str().into();
                let drain = |node: &mut Node| {
                    std::sync::Arc::make_mut(&mut node.spec).set_availability(wire::node_spec::Availability::Drain);
                };
                if tx.get::<Node>(&id).is_some() { tx.edit(&id, drain).map(drop) } else { Ok(()) }
            }),
            Event::Task(service) => self.create(&format!("s{service}"), true),
            Event::End(number) => {
                if let Some(id) = self.nth(*number, goes) {
                    self.edit(&id, |task| {
                        (task.status.state, task.desired_state) = (TaskState::Failed, TaskState::Shutdown)
                    });
                    self.create(&id.as_str()[..2], false);
                }
            }
            Event::Stop(number) => {
                if let Some(id) = self.nth(*number, goes) {
                    self.edit(&id, |task| task.desired_state = TaskState::Shutdown);
                }
            }
            Event::Runs(number) => {
                if let Some(id) = self.nth(*number, |task| goes(task) && task.status.state < TaskState::Running) {
                    self.edit(&id, |task| task.status.state = TaskState::Running);
                }
            }
            Event::Priority(service, level) => self.say(*service, |said| said.priority = *level),
            Event::Limit(service, limit) => self.say(*service, |said| said.max_disrupted = *limit),
        }
    }

    /// Lets the scheduler decide until nothing is due, and checks each decision; what makes room is replaced at once.
    fn settle(&mut self) {
        for pass in 0.. {
            assert!(pass < 200, "it goes on deciding");
            self.rounds.absorb();
            if self.rounds.world.due.is_empty() {
                return;
            }
            let before = self.rounds.store.view();
            let plan = self.rounds.pass();
            let after = self.rounds.store.view();
            let mut gone = Vec::new();
            for decision in &plan {
                match decision {
                    Decision::Assign { task, node, .. } => self.comes(&before, task, &node.id),
                    Decision::MakeRoom { task, room } => {
                        self.comes(&before, task, &room.node.id);
                        for victim in &room.gone {
                            assert!(
                                level(&before, victim) < level(&before, task),
                                "{} goes for {}",
                                victim.id,
                                task.id
                            );
                            assert!(is_placed(victim) && is_active(victim));
                            gone.push(victim.clone());
                        }
                    }
                    Decision::Release { task, .. } => {
                        let node = NodeId::from(claim(task).unwrap().node_id.as_str());
                        let highest = self.came.get(&node).copied();
                        assert!(
                            highest.is_some_and(|highest| highest > level(&before, task)),
                            "{} yields for nothing on {node}: {highest:?}",
                            task.id
                        );
                    }
                    _ => {}
                }
            }
            for victim in &gone {
                let service = after.get::<Service>(victim.service_id.as_ref().unwrap()).unwrap();
                let limit = max_disrupted(service).unwrap_or(u64::MAX);
                assert!(missing(&after, service) <= limit, "{} can spare no {}", service.id, victim.id);
                self.create(&victim.id.as_str()[..2], false);
            }
        }
    }

    fn comes(&mut self, view: &View, task: &Task, node: &NodeId) {
        let level = level(view, task);
        let highest = self.came.entry(node.clone()).or_insert(level);
        *highest = level.max(*highest);
    }
}

fn level(view: &View, task: &Task) -> i32 {
    priority(task.service_id.as_ref().and_then(|service| view.get::<Service>(service)).map(AsRef::as_ref))
}

/// Plays a history, and holds it to what is promised.
fn hold(events: &[Event], order: u8, every: usize) -> Result<(), TestCaseError> {
    let mut play = Play::start();
    for (number, batch) in events.chunks(every).enumerate() {
        batch.iter().for_each(|event| play.happen(event));
        // Whoever was let down by what happened outside may say so now.
        play.came = (0..4).map(|node| (NodeId::from(format!("n{node}").as_str()), i32::MAX)).collect();
        play.settle();
        play.came.clear();
        if number % 3 != 2 {
            continue;
        }
        // Nothing more happens but that those stop who were told to, one by one, and what starts runs.
        for step in 0.. {
            prop_assert!(step < 500, "somebody always has to go");
            if let Some(id) =
                play.nth(0, |task| is_placed(task) && is_active(task) && task.status.state < TaskState::Running)
            {
                play.edit(&id, |task| task.status.state = TaskState::Running);
            } else if let Some(id) = play.nth(order, |task| is_placed(task) && !is_active(task)) {
                play.edit(&id, |task| task.status.state = TaskState::Shutdown);
            } else {
                break;
            }
            play.settle();
        }
        let view = play.rounds.store.view();
        let claims = view.all::<Task>().find(|task| claim(task).is_some());
        prop_assert!(claims.is_none(), "{} waits for room that nobody makes", claims.unwrap().id);
        let reserved = |node: &NodeId| {
            let here = view.find(TaskBy::Node(Some(node))).filter(|task| is_placed(task));
            here.map(|task| swarmkit_api::resources::reservations(&task.spec).unwrap().memory_bytes).sum::<i64>()
        };
        for task in view.all::<Task>().filter(|task| task.status.state == TaskState::Assigned) {
            let node = view.get::<Node>(task.node_id.as_ref().unwrap()).unwrap();
            let has = node.description.as_ref().unwrap().resources.as_ref().unwrap().memory_bytes;
            prop_assert!(reserved(&node.id) <= has, "{} has too much", node.id);
        }
        prop_assert!(view.all::<Task>().filter(|task| yields(task)).all(|task| !is_placed(task)));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..Default::default() })]

    #[test]
    fn only_lesser_ones_go_within_what_can_be_spared_for_tasks_that_then_fit_and_it_ends(
        events in prop::collection::vec(event(), 1..60), order in any::<u8>(), every in 1..8_usize
    ) {
        hold(&events, order, every)?;
    }
}

#[test]
fn a_history_that_once_failed_holds() {
    use Event::{Drain, End, Node, Stop, Task};
    let events = [
        Node(0, 4),
        End(0),
        Node(0, 4),
        End(0),
        Task(2),
        Task(3),
        Stop(0),
        Task(3),
        Task(2),
        End(0),
        Node(0, 4),
        Drain(1),
    ];
    hold(&events, 0, 1).unwrap();
}
