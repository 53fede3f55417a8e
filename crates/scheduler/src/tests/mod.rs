//! Stories: a world in, decisions out.

mod affinity;
mod affinity_properties;
mod basics;
mod books;
mod explanations;
mod filters;
mod held;
mod lives;
mod loops;
mod naive;
mod packing;
mod placement;
mod preassigned;
mod preemption;
mod properties;
mod refusals;
mod waiting;
mod worlds;

pub(crate) use loops::{scheduled, settle};

use std::fmt::Write as _;

use swarmkit_api::{Service, ServiceId, wire};
use swarmkit_runtime::Env;
use swarmkit_store::{Store, StoreError, Update, View};
use swarmkit_testing as testing;

use crate::{decision::Decision, plan::Plan, world::World};

/// What is decided in a world, in its words (see [`testing::store`]), a line for each decision.
#[track_caller]
pub(crate) fn check(text: &str, expected: &[&str]) {
    assert_eq!(decisions(&testing::world(text)), expected);
}

/// What is decided when everything that there is was just learned.
fn decisions(view: &View) -> Vec<String> {
    let (world, plan) = learned(view);
    assert_eq!(told(&plan), told(&world.plan(&world.due, testing::env().now())), "the same world, the same plan");
    told(&plan)
}

pub(crate) fn learned(view: &View) -> (World, Plan) {
    let now = testing::env().now();
    let mut world = World::default();
    world.absorb(&Update::Snapshot(view.clone()), now);
    let plan = world.plan(&world.due, now);
    (world, plan)
}

fn told(plan: &Plan) -> Vec<String> {
    plan.decisions.iter().map(tell).collect()
}

pub(crate) fn tell(decision: &Decision) -> String {
    let mut line = decision.task().map(|task| task.id.to_string()).unwrap_or_default();
    match decision {
        Decision::Assign { node, given, volumes, .. } => {
            write!(line, " goes to {}", node.id).unwrap();
            volumes.iter().for_each(|chosen| write!(line, " with {}", chosen.volume.id).unwrap());
            for unit in given.iter().filter_map(|given| given.resource.as_ref()) {
                match unit {
                    wire::generic_resource::Resource::NamedResourceSpec(unit) => {
                        write!(line, " with {}={}", unit.kind, unit.value).unwrap();
                    }
                    wire::generic_resource::Resource::DiscreteResourceSpec(unit) => {
                        write!(line, " with {} {}", unit.value, unit.kind).unwrap();
                    }
                }
            }
        }
        Decision::MakeRoom { room, .. } => {
            let gone: Vec<_> = room.gone.iter().map(|task| task.id.as_str()).collect();
            write!(line, " {}: [{}] go", room.err, gone.join(" ")).unwrap();
        }
        Decision::Release { err, .. } => write!(line, " waits otherwise: {err}").unwrap(),
        Decision::Explain { err, .. } => write!(line, " waits: {err}").unwrap(),
        Decision::Stop { .. } => line.push_str(" is stopped"),
        Decision::Free { idle } => write!(line, "{} is let go of by {}", idle.volume, idle.node).unwrap(),
    }
    line
}

/// The world of a text, with one service changed in a way that the text has no words for. Tasks come after.
fn with_service(text: &str, name: &str, change: impl FnOnce(&mut wire::ServiceSpec), tasks: &str) -> Store {
    let store = testing::store(text);
    write(&store, |tx| {
        tx.edit::<Service>(&ServiceId::from(name), |service| change(std::sync::Arc::make_mut(&mut service.spec)))?;
        Ok(())
    });
    testing::amend(&store, tasks);
    store
}

/// Writes to a local store, which commits at once.
pub(crate) fn write(store: &Store, edit: impl FnOnce(&mut swarmkit_store::Transaction) -> Result<(), StoreError>) {
    use futures_util::FutureExt as _;
    store.update(edit).now_or_never().expect("a local store commits at once").expect("the store takes it");
}

pub(crate) fn env() -> Env {
    testing::env()
}
