//! Stories: a world in, decisions out; and whole lives of services on a store, with agents that are played.

mod attempts;
mod deallocator;
mod depend;
mod enforcer;
mod global;
mod global_histories;
mod health;
mod histories;
mod jobs;
mod leaders;
mod life;
mod moves;
mod outlooks;
mod preempted;
mod reaper;
mod replicated;
mod restarts;
mod rollout_limits;
mod rollouts;
mod schedules;
mod stage;
mod volumes;
mod waits;
mod worlds;

use std::{sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use swarmkit_api::{JobRun, Kind, Node, Service, ServiceId, Task, TaskState, Version, wire};
use swarmkit_runtime::Crew;
use swarmkit_store::{Store, StoreError, TaskBy, Transaction, Update, View};
use swarmkit_testing::{self as testing, env};
use tokio_util::sync::CancellationToken;

use crate::{
    plan::{Action, Plan, Step},
    slot::{Place, SlotKey},
    world::World,
};

/// What is decided in a world, in its words (see [`testing::store`]), a line for each step.
#[track_caller]
fn check(text: &str, expected: &[&str]) {
    assert_eq!(decisions(&testing::world(text)), expected);
}

/// What is decided when everything that there is was just learned.
fn decisions(view: &View) -> Vec<String> {
    later(view, Duration::ZERO)
}

/// What is decided some time after everything that there is was learned.
fn later(view: &View, passed: Duration) -> Vec<String> {
    let now = env().now();
    let mut world = World::default();
    world.absorb(&Update::Snapshot(view.clone()), now);
    let due = world.take_due();
    let plan = world.plan(&due, now + passed);
    assert_eq!(told(&plan), told(&world.plan(&due, now + passed)), "the same world, the same plan");
    told(&plan)
}

fn told(plan: &Plan) -> Vec<String> {
    plan.steps
        .iter()
        .map(|step| step.actions.iter().map(|action| tell(step, action)).collect::<Vec<_>>().join("; "))
        .collect()
}

fn tell(step: &Step, action: &Action) -> String {
    match action {
        Action::Create { slot, desired, .. } => {
            let hold = if *desired == TaskState::Ready { " on hold" } else { "" };
            match slot {
                SlotKey::Number(number) => format!("make {}.{number}{hold}", step.service),
                SlotKey::Node(node) => format!("make {}.{node}{hold}", step.service),
                SlotKey::Run(_, Place::Number(number)) => format!("make {}.{number}{hold}", step.service),
                SlotKey::Run(_, Place::Node(node)) => format!("make {}.{node}{hold}", step.service),
            }
        }
        Action::Want { task, state: TaskState::Running | TaskState::Complete } => format!("start {}", task.id),
        Action::Want { task, state: TaskState::Shutdown } => format!("stop {}", task.id),
        Action::Want { task, state: TaskState::Remove } => format!("remove {}", task.id),
        Action::Want { task, state } => format!("{} to {}", task.id, state.as_str_name()),
        Action::Delete { task } => format!("forget {}", task.id),
        Action::Report { state, message, .. } => format!("report {}: {message}", state.as_str_name()),
        Action::Wait { service, message } => {
            format!("{}: {}", service.id, message.as_deref().unwrap_or("waits no more"))
        }
        Action::Record { record, .. } => {
            let run = |run: &JobRun| format!(" {} {}", run.iteration, run.outcome().as_str_name().to_lowercase());
            format!("record{}", record.runs.iter().map(run).collect::<String>())
        }
        Action::RollBack { message, .. } => format!("roll back: {message}"),
    }
}

/// Runs one loop on a store, which first does what there is to do at its start, then what a story gives it to do. It is
/// alone, so that what it writes stays as it is.
async fn alone<P>(store: &Store, part: impl FnOnce(Store, CancellationToken) -> P, story: impl AsyncFnOnce(&Store))
where
    P: Future<Output = Result<(), crate::Error>> + Send + 'static,
{
    let stop = CancellationToken::new();
    let mut crew = Crew::under(&stop);
    crew.spawn("alone", |stop| part(store.clone(), stop));
    // Time is paused, so it only goes on when every part waits.
    tokio::time::sleep(Duration::from_millis(1)).await;
    story(store).await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    stop.cancel();
    crew.finish().await.unwrap();
}

/// Writes to a local store, which commits at once.
fn write(store: &Store, edit: impl FnOnce(&mut Transaction) -> Result<(), StoreError>) {
    let written = tokio::task::unconstrained(store.update(edit)).now_or_never();
    written.expect("a local store commits at once").expect("the store takes it");
}

fn edit_task(store: &Store, id: &str, change: impl FnOnce(&mut Task)) {
    write(store, |tx| tx.edit(&id.into(), change).map(drop));
}

fn edit_node(store: &Store, id: &str, change: impl FnOnce(&mut Node)) {
    write(store, |tx| tx.edit(&id.into(), change).map(drop));
}

/// Removes a node as the control API does, which gives its tasks up for lost.
fn remove_node(store: &Store, node: &str) {
    let view = store.view();
    let tasks = view.find(TaskBy::Node(Some(&node.into()))).filter(|task| task.status.state < TaskState::Complete);
    write(store, |tx| {
        for task in tasks {
            tx.edit(&task.id, |task: &mut Task| task.status.state = TaskState::Orphaned)?;
        }
        tx.delete::<Node>(&node.into()).map(drop)
    });
}

fn set_state(node: &mut Node, state: wire::node_status::State) {
    node.status.set_state(state);
}

fn set_availability(node: &mut Node, availability: wire::node_spec::Availability) {
    Arc::make_mut(&mut node.spec).set_availability(availability);
}

/// Changes a service as the control API does when a client asks for it.
fn update(store: &Store, id: &str, change: impl FnOnce(&mut wire::ServiceSpec)) {
    write(store, |tx| {
        let version = tx.version();
        tx.edit(&ServiceId::from(id), |service: &mut Service| {
            service.previous_spec = Some(service.spec.clone());
            service.previous_spec_version = service.spec_version;
            service.spec_version = Some(Version(version.0 + 1000));
            service.update_status = None;
            if let Some(job) = &mut service.job_status {
                job.job_iteration.get_or_insert_default().index += 1;
            }
            change(Arc::make_mut(&mut service.spec));
        })
        .map(drop)
    });
}

fn set_replicas(replicas: u64) -> impl FnOnce(&mut wire::ServiceSpec) {
    move |spec| spec.mode = Some(wire::service_spec::Mode::Replicated(wire::ReplicatedService { replicas }))
}

fn set_image(image: &'static str) -> impl FnOnce(&mut wire::ServiceSpec) {
    move |spec| spec.task = Some(testing::container(image))
}
