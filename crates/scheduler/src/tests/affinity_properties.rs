//! Whatever services ask of each other and whatever happens: what is decided is what the plainest reading allows.

use std::{collections::BTreeMap, sync::Arc};

use proptest::{collection::vec, prelude::*, sample::select};
use swarmkit_api::{
    Node, Task, TaskId, TaskState,
    constraint::Label,
    resources,
    wire::swarmkit::scheduling::v1::{Affinity, affinity::Direction},
};
use swarmkit_store::Interest;

use super::*;
use crate::{books::is_active, world::is_placed};

const NODES: u8 = 6;
const SERVICES: u8 = 4;

/// One thing that happens to a small cluster.
#[derive(Clone, Debug)]
enum Event {
    Node { id: u8, zone: &'static str, drained: bool },
    Task { slot: u8, service: u8 },
    Over(u8),
    Stops(u8),
    Asks(u8, Vec<Affinity>),
}

/// What a service may ask of those of lower numbers, of itself, and of one that there is not.
fn affinity(of: u8) -> impl Strategy<Value = Affinity> {
    let direction = select(vec![Direction::Near, Direction::Apart]);
    (0..=SERVICES, direction, select(vec!["", "node.labels.zone"]), any::<bool>()).prop_map(
        move |(other, direction, scope, required)| {
            // None waits for another that waits for it, which is refused when it is asked for.
            let is_low = other <= of || direction == Direction::Apart || !required;
            let other = if is_low { other } else { of };
            Affinity { service: format!("S{other}"), direction: direction.into(), scope: scope.to_owned(), required }
        },
    )
}

fn asked() -> impl Strategy<Value = Vec<Vec<Affinity>>> {
    (0..SERVICES).map(|of| vec(affinity(of), 0..3).boxed()).collect::<Vec<_>>()
}

fn event() -> impl Strategy<Value = Event> {
    let asks = (0..SERVICES).prop_flat_map(|of| vec(affinity(of), 0..3).prop_map(move |asked| Event::Asks(of, asked)));
    prop_oneof![
        3 => (0..NODES, select(vec!["", "a", "b"]), any::<bool>())
            .prop_map(|(id, zone, drained)| Event::Node { id, zone, drained }),
        9 => (1..12_u8, 0..SERVICES).prop_map(|(slot, service)| Event::Task { slot, service }),
        2 => (0..60_u8).prop_map(Event::Over),
        2 => (0..60_u8).prop_map(Event::Stops),
        1 => asks,
    ]
}

fn happen(store: &Store, number: usize, event: &Event) {
    let nth = |tx: &swarmkit_store::Transaction, nth: u8| {
        let tasks: Vec<TaskId> = tx.all::<Task>().filter(|task| is_placed(task)).map(|task| task.id.clone()).collect();
        (!tasks.is_empty()).then(|| tasks[usize::from(nth) % tasks.len()].clone())
    };
    write(store, |tx| {
        match event {
            Event::Node { id, zone, drained } => {
                let node = testing::node(&format!("n{id}")).ready().memory(i64::from(*id) + 2).label("zone", zone);
                let node = if *drained { node.drain() } else { node }.build();
                match tx.get::<Node>(&node.id).map(|stored| stored.meta) {
                    None => drop(tx.create(node)?),
                    Some(meta) => drop(tx.update(Node { meta, ..node })?),
                }
            }
            Event::Task { slot, service } => {
                let service = tx.get::<Service>(&format!("s{service}").as_str().into()).unwrap().clone();
                let task = testing::task(&format!("{}.{slot}", service.id)).of(&service).state(TaskState::Pending);
                let task = task.with(|task| task.id = format!("t{number:03}").as_str().into());
                drop(tx.create(task.build())?);
            }
            Event::Over(task) => {
                if let Some(id) = nth(tx, *task) {
                    // Not as a failure, which would come before all wishes.
                    tx.edit::<Task>(&id, |task| task.status.state = TaskState::Complete)?;
                }
            }
            Event::Stops(task) => {
                if let Some(id) = nth(tx, *task) {
                    tx.edit::<Task>(&id, |task| task.desired_state = TaskState::Shutdown)?;
                }
            }
            Event::Asks(service, asked) => {
                tx.edit::<Service>(&format!("s{service}").as_str().into(), |service| {
                    ask(service, asked);
                    service.spec_version = Some(swarmkit_api::Version(number as u64));
                })?;
            }
        }
        Ok(())
    });
}

fn ask(service: &mut Service, asked: &[Affinity]) {
    Arc::make_mut(&mut service.spec).scheduling.get_or_insert_default().affinities = asked.to_vec();
}

/// The cluster as it is while decisions are made one after the other.
struct Plain<'v> {
    view: &'v View,
    tasks: BTreeMap<TaskId, Task>,
}

impl Plain<'_> {
    fn of(view: &View) -> Plain<'_> {
        Plain { view, tasks: view.all::<Task>().map(|task| (task.id.clone(), Task::clone(task))).collect() }
    }

    fn place(&mut self, task: &Task, node: &Node) {
        let task = self.tasks.get_mut(&task.id).unwrap();
        (task.node_id, task.status.state) = (Some(node.id.clone()), TaskState::Assigned);
    }

    /// Nodes with tasks of a service, without those that a task replaces.
    fn there<'p>(&'p self, name: &'p str, instead_of: Option<&'p Task>) -> impl Iterator<Item = &'p Arc<Node>> {
        let counts = move |task: &&Task| {
            let is_meant = task.service_id.as_ref().is_some_and(|id| id.as_str().eq_ignore_ascii_case(name));
            let is_mate = |by: &Task| by.service_id == task.service_id && by.slot == task.slot;
            is_meant && is_placed(task) && is_active(task) && !instead_of.is_some_and(is_mate)
        };
        self.tasks.values().filter(counts).filter_map(|task| self.view.get::<Node>(task.node_id.as_ref()?))
    }

    /// What the tasks of a service ask, and what others ask of them, by the name of those that count.
    fn asked(&self, own: &str) -> Vec<(String, bool, Affinity)> {
        let mut all = Vec::new();
        for service in self.view.all::<Service>() {
            let asked = service.spec.scheduling.iter().flat_map(|scheduling| &scheduling.affinities);
            let (name, is_own) = (service.name().to_owned(), service.name().eq_ignore_ascii_case(own));
            for one in asked {
                if is_own {
                    all.push((one.service.clone(), one.service.eq_ignore_ascii_case(own), one.clone()));
                } else if one.direction() == Direction::Apart && one.service.eq_ignore_ascii_case(own) {
                    all.push((name.clone(), false, one.clone()));
                }
            }
        }
        all
    }

    /// Whether a node gives what is required.
    fn allows(&self, task: &Task, node: &Node, beside_mates: bool) -> bool {
        let own = task.service_id.as_ref().unwrap().as_str();
        self.asked(own).iter().filter(|(_, _, one)| one.required).all(|(other, is_self, one)| match one.direction() {
            Direction::Near if *is_self && self.there(other, None).next().is_none() => {
                one.scope.is_empty() || zone(&one.scope, node).is_some()
            }
            Direction::Near => self.there(other, None).any(|at| is_near(&one.scope, at, node)),
            Direction::Apart => {
                let mates = Some(task).filter(|_| *is_self && beside_mates);
                !self.there(other, mates).any(|at| at.id == node.id || is_near(&one.scope, at, node))
            }
        })
    }

    /// How many wishes a node goes against, less those that it fulfills.
    fn badness(&self, task: &Task, node: &Node) -> i32 {
        let own = task.service_id.as_ref().unwrap().as_str();
        let wishes = self.asked(own).into_iter().filter(|(_, _, one)| !one.required);
        let weight = |(other, _, one): (String, bool, Affinity)| match one.direction() {
            Direction::Near => -i32::from(self.there(&other, None).any(|at| is_near(&one.scope, at, node))),
            Direction::Apart => {
                i32::from(self.there(&other, None).any(|at| at.id == node.id || is_near(&one.scope, at, node)))
            }
        };
        wishes.map(weight).sum()
    }

    /// Whether a node has room, whatever company it offers.
    fn has_room(&self, task: &Task, node: &Node) -> bool {
        let memory = |task: &Task| resources::reservations(&task.spec).map_or(0, |wanted| wanted.memory_bytes);
        let there = self.tasks.values().filter(|there| is_placed(there) && there.node_id.as_ref() == Some(&node.id));
        let has = node.description.as_ref().unwrap().resources.as_ref().unwrap().memory_bytes;
        let is_open = node.spec.availability() == wire::node_spec::Availability::Active;
        is_open && there.map(memory).sum::<i64>() + memory(task) <= has
    }
}

fn zone<'n>(scope: &str, node: &'n Node) -> Option<&'n str> {
    Some(Label::parse(scope).unwrap().of(node)).filter(|value| !value.is_empty())
}

fn is_near(scope: &str, one: &Node, other: &Node) -> bool {
    if scope.is_empty() {
        return one.id == other.id;
    }
    zone(scope, one).is_some() && zone(scope, one) == zone(scope, other)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..Default::default() })]

    #[test]
    fn tasks_come_only_where_the_plainest_reading_lets_them_and_wait_only_where_it_does_not(
        asked in asked(),
        events in vec(event(), 1..60),
    ) {
        let store = testing::store("service s0 memory=1; service s1; service s2 memory=2; service s3");
        for (number, asked) in asked.iter().enumerate() {
            write(&store, |tx| tx.edit::<Service>(&format!("s{number}").as_str().into(), |service| ask(service, asked)).map(drop));
        }
        let mut updates = store.watch(Interest::all());
        let mut world = World::default();
        for (batch, events) in events.chunks(4).enumerate() {
            for (number, event) in events.iter().enumerate() {
                happen(&store, batch * 4 + number, event);
            }
            // A plan may leave something to the next one: who waits for a task that has just been placed.
            for _ in 0..=SERVICES {
                while let Some(update) = updates.try_next().unwrap() {
                    world.absorb(&update, env().now());
                }
                let view = store.view();
                let due = std::mem::take(&mut world.due);
                let plan = world.plan(&due, env().now());
                prop_assert_eq!(told(&plan), told(&world.plan(&due, env().now())), "the same world, the same plan");
                let mut plain = Plain::of(&view);
                for decision in &plan.decisions {
                    if let Decision::Assign { task, node, .. } = decision {
                        prop_assert!(plain.has_room(task, node), "{}", tell(decision));
                        prop_assert!(plain.allows(task, node, true), "{}", tell(decision));
                        let mut open = view.all::<Node>().filter(|other| plain.has_room(task, other) && plain.allows(task, other, false));
                        let better = open.find(|other| plain.badness(task, other) < plain.badness(task, node));
                        prop_assert!(better.is_none(), "{} though {} is better", tell(decision), better.unwrap().id);
                        plain.place(task, node);
                    }
                }
                write(&store, |tx| plan.decisions.iter().try_for_each(|decision| decision.write(tx).map(drop)));
                world.note(plan.blocked);
                world.due.put_back(plan.rest);
            }
            let view = store.view();
            let plain = Plain::of(&view);
            for task in view.all::<Task>().filter(|task| task.status.state == TaskState::Pending && task.node_id.is_none()) {
                let open = view.all::<Node>().find(|node| plain.has_room(task, node) && plain.allows(task, node, true));
                prop_assert!(open.is_none(), "{} waits though {} is open", task.id, open.unwrap().id);
            }
        }
    }
}
