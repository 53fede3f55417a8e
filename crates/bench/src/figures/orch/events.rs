//! What one event costs, and that it costs the same however much there is.
//!
//! Everything runs on one thread, and what is measured is the processor time of that thread: the write of the event, all that
//! the loops do about it, and their writes. So it says what the work is, also on a machine that has other work.

use std::collections::BTreeMap;

use anyhow::Result;
use swarmkit::{
    api::{Kind, Node, NodeId, Task, TaskId, TaskState, wire::node_status},
    store::Interest,
};

use super::setting::{FEW, SMALL_NODES, Setting, made, service_id, small_node, task_id};
use crate::{lab::Lab, process::thread_time};

/// How many events one sample is made of.
const EVENTS: usize = 300;
const STATUS_EVENTS: usize = 5000;
const NODE_EVENTS: usize = 100;
/// Each sample has services of its own, and nodes, which go down for good.
const SAMPLES_MAX: usize =
    if SMALL_NODES / NODE_EVENTS < 1000 / EVENTS { SMALL_NODES / NODE_EVENTS } else { 1000 / EVENTS };
/// The slots of services that events are about: those of nodes are in the first ones.
const SLOT: usize = 10;

/// Microseconds for each event of a kind.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Costs {
    status: f64,
    task: f64,
    node: f64,
    update: f64,
}

/// `orch.event_status_*`, with so many thousand services.
pub(super) fn status<const THOUSANDS: usize>(lab: &mut Lab, repeats: u32) -> Result<Vec<f64>> {
    Ok(costs(lab, THOUSANDS, repeats)?.into_iter().map(|cost| cost.status).collect())
}

/// `orch.event_task_*`
pub(super) fn task<const THOUSANDS: usize>(lab: &mut Lab, repeats: u32) -> Result<Vec<f64>> {
    Ok(costs(lab, THOUSANDS, repeats)?.into_iter().map(|cost| cost.task).collect())
}

/// `orch.event_node_*`
pub(super) fn node<const THOUSANDS: usize>(lab: &mut Lab, repeats: u32) -> Result<Vec<f64>> {
    Ok(costs(lab, THOUSANDS, repeats)?.into_iter().map(|cost| cost.node).collect())
}

/// `orch.event_update_*`
pub(super) fn update<const THOUSANDS: usize>(lab: &mut Lab, repeats: u32) -> Result<Vec<f64>> {
    Ok(costs(lab, THOUSANDS, repeats)?.into_iter().map(|cost| cost.update).collect())
}

/// All kinds come from one setting, which takes seconds to build.
fn costs(lab: &mut Lab, thousands: usize, repeats: u32) -> Result<Vec<Costs>> {
    if let Some(known) = lab.events.get(&thousands) {
        return Ok(known.clone());
    }
    let measured = lab.block_on(async {
        let mut setting = Setting::of(thousands * 1000, SLOT).await?;
        setting.begin().await?;
        let mut measured = Vec::new();
        for round in 0..(repeats as usize).min(SAMPLES_MAX) {
            measured.push(sample(&setting, round).await?);
        }
        setting.end().await?;
        Ok(measured)
    })?;
    lab.events.insert(thousands, measured.clone());
    Ok(measured)
}

async fn sample(setting: &Setting, round: usize) -> Result<Costs> {
    let first = round * EVENTS;
    let begin = thread_time();
    for number in 0..STATUS_EVENTS {
        let id = task_id(number % 1000, SLOT);
        edit_task(setting, &id, |task| task.status.message = format!("still there, {round}")).await?;
    }
    // The loops have seen them all when this was seen.
    react(setting, first, round).await?;
    let status = per_event(begin, STATUS_EVENTS);

    let begin = thread_time();
    for number in 0..EVENTS {
        let mut tasks = setting.tasks_of(&service_id(first + number)).await?;
        edit_task(setting, &task_id(first + number, SLOT - 1), |task| task.status.state = TaskState::Failed).await?;
        made(&mut tasks, 1).await?;
    }
    let task = per_event(begin, EVENTS);

    let mut tasks = setting.store.watch(Interest::none().kinds([Kind::Task]));
    tasks.next().await?;
    let begin = thread_time();
    for number in 0..NODE_EVENTS {
        edit_node(setting, &small_node(round * NODE_EVENTS + number)).await?;
        made(&mut tasks, FEW).await?;
    }
    let node = per_event(begin, NODE_EVENTS);
    drop(tasks);

    let begin = thread_time();
    for number in 0..EVENTS {
        react(setting, first + number, round + 1).await?;
    }
    Ok(Costs { status, task, node, update: per_event(begin, EVENTS) })
}

fn per_event(begin: std::time::Duration, events: usize) -> f64 {
    thread_time().saturating_sub(begin).as_secs_f64() * 1e6 / events as f64
}

async fn react(setting: &Setting, service: usize, round: usize) -> Result<()> {
    let id = service_id(service);
    let mut tasks = setting.tasks_of(&id).await?;
    setting.update(&id, &format!("web:{service}.{round}")).await?;
    made(&mut tasks, 1).await
}

async fn edit_task(setting: &Setting, id: &TaskId, edit: impl Fn(&mut Task) + Send + Sync) -> Result<()> {
    setting.store.update(|tx| tx.edit::<Task>(id, &edit)).await?;
    Ok(())
}

async fn edit_node(setting: &Setting, id: &NodeId) -> Result<()> {
    let down = |node: &mut Node| node.status.state = node_status::State::Down.into();
    setting.store.update(|tx| tx.edit::<Node>(id, down)).await?;
    Ok(())
}

/// What was measured, by thousands of services.
pub(crate) type Events = BTreeMap<usize, Vec<Costs>>;
