//! How the cost grows with what there is.

use std::sync::Arc;

use anyhow::Result;
use swarmkit::{
    api::{Node, wire},
    store::{StoreError, Transaction},
};
use wire::{PlacementPreference, SpreadOver, placement_preference::Preference, swarmkit::scheduling::v1::Strategy};

use super::setting::{Asked, Setting, large_node, node, node_id, runtime, task};
use crate::lab::{Lab, Stopwatch};

const MANY: usize = 100_000;
const NODES: usize = 10_000;
/// How many tasks wait that nothing can run.
const WAITING: usize = 10_000;

/// `sched.grouped`
pub(super) fn grouped(_: &mut Lab, repeats: u32) -> Result<Vec<f64>> {
    milliseconds(repeats, || (NODES, vec![Asked::new(0)], MANY))
}

/// `sched.tree`
pub(super) fn tree(_: &mut Lab, repeats: u32) -> Result<Vec<f64>> {
    let preference = |descriptor: &str| PlacementPreference {
        preference: Some(Preference::Spread(SpreadOver { spread_descriptor: descriptor.to_owned() })),
    };
    let preferences = || vec![preference("node.labels.zone"), preference("node.labels.rack")];
    milliseconds(repeats, || {
        (NODES, vec![Asked::new(0).placement(|placement| placement.preferences = preferences())], MANY)
    })
}

/// `sched.packed`
pub(super) fn packed(_: &mut Lab, repeats: u32) -> Result<Vec<f64>> {
    let packed = |number| Asked { strategy: Strategy::BinPack, ..Asked::new(number).reserving(500_000_000, 1 << 30) };
    milliseconds(repeats, || (NODES, (0..100).map(packed).collect(), MANY))
}

/// `sched.growth_nodes_*`: with so many thousand nodes.
pub(super) fn by_nodes<const THOUSANDS: usize>(_: &mut Lab, repeats: u32) -> Result<Vec<f64>> {
    beside(THOUSANDS * 1000, 0, repeats)
}

/// `sched.growth_tasks_*`: with so many thousand tasks there.
pub(super) fn by_tasks<const THOUSANDS: usize>(_: &mut Lab, repeats: u32) -> Result<Vec<f64>> {
    beside(1000, THOUSANDS * 1000, repeats)
}

/// `sched.growth_services_*`: of so many services.
pub(super) fn by_services<const SERVICES: usize>(_: &mut Lab, repeats: u32) -> Result<Vec<f64>> {
    for_each_task(repeats, (0..SERVICES).map(Asked::new).collect())
}

/// `sched.growth_needs_*`: of 10,000 services with so many constraints.
pub(super) fn by_needs<const NEEDS: usize>(_: &mut Lab, repeats: u32) -> Result<Vec<f64>> {
    let asked = |number: usize| {
        Asked::new(number).placement(|placement| {
            let need = number % NEEDS;
            placement.constraints =
                vec![format!("node.labels.shelf == {}", need % 100), format!("node.labels.zone != x{need}")];
        })
    };
    for_each_task(repeats, (0..WAITING).map(asked).collect())
}

/// `sched.churn*`: ten thousand tasks wait for so many different things.
pub(super) fn churn<const NEEDS: usize>(_: &mut Lab, repeats: u32) -> Result<Vec<f64>> {
    const FEW: usize = 1000;
    let waiting = |number: usize| {
        Asked::new(number)
            .placement(|placement| placement.constraints = vec![format!("node.labels.nowhere == {}", number % NEEDS)])
    };
    runtime()?.block_on(async {
        let mut setting = Setting::begin().await?;
        let services: Vec<Asked> = (0..WAITING).map(waiting).collect();
        let told = setting.assigned(WAITING, |tx| {
            (0..FEW).try_for_each(|number| tx.create(node(number)).map(drop))?;
            services.iter().enumerate().try_for_each(|(number, asked)| {
                tx.create(asked.service())?;
                tx.create(asked.task(number, 1)).map(drop)
            })
        });
        told.await?;
        let mut samples = Vec::new();
        for sample in 0..repeats as usize {
            let watch = Stopwatch::start();
            setting.write(|tx| rename(tx, sample % FEW, sample)).await?;
            setting.write(|tx| tx.create(task(WAITING + sample)).map(drop)).await?;
            setting.seen(1).await?;
            samples.push(watch.seconds() * 1e3);
        }
        setting.end().await?;
        Ok(samples)
    })
}

/// Gives a node another label, which nobody asks for.
fn rename(tx: &mut Transaction, number: usize, value: usize) -> Result<(), StoreError> {
    tx.edit::<Node>(&node_id(number), |node| {
        let annotations = Arc::make_mut(&mut node.spec).annotations.get_or_insert_default();
        annotations.labels.insert("touched".to_owned(), value.to_string());
    })?;
    Ok(())
}

/// Microseconds for each of a thousand tasks of a service, beside others.
fn beside(nodes: usize, tasks: usize, repeats: u32) -> Result<Vec<f64>> {
    const GROUP: usize = 1000;
    runtime()?.block_on(async {
        let mut setting = Setting::begin().await?;
        let all = setting.assigned(tasks, |tx| {
            (0..nodes).try_for_each(|number| tx.create(node(number)).map(drop))?;
            (0..tasks).try_for_each(|number| tx.create(task(number)).map(drop))
        });
        all.await?;
        let mut samples = Vec::new();
        for sample in 0..repeats as usize {
            let asked = Asked::new(sample);
            let first = tasks + sample * GROUP;
            let seconds = setting.assigned(GROUP, |tx| {
                tx.create(asked.service())?;
                (0..GROUP).try_for_each(|slot| tx.create(asked.task(first + slot, slot + 1)).map(drop))
            });
            samples.push(seconds.await? * 1e6 / GROUP as f64);
        }
        setting.end().await?;
        Ok(samples)
    })
}

/// Microseconds for each of 10,000 tasks that services have between them, on 1,000 nodes.
fn for_each_task(repeats: u32, services: Vec<Asked>) -> Result<Vec<f64>> {
    const TASKS: usize = 10_000;
    let milliseconds = milliseconds(repeats, || (1000, services.clone(), TASKS))?;
    Ok(milliseconds.into_iter().map(|all| all * 1e3 / TASKS as f64).collect())
}

/// Milliseconds until all tasks of the services are assigned, of which each has as many.
fn milliseconds(repeats: u32, make: impl Fn() -> (usize, Vec<Asked>, usize)) -> Result<Vec<f64>> {
    let runtime = runtime()?;
    let sample = || {
        runtime.block_on(async {
            let (nodes, services, tasks) = make();
            let mut setting = Setting::begin().await?;
            let all = setting.assigned(tasks, |tx| {
                (0..nodes).try_for_each(|number| tx.create(large_node(number)).map(drop))?;
                services.iter().try_for_each(|asked| tx.create(asked.service()).map(drop))?;
                (0..tasks).try_for_each(|number| {
                    let (service, slot) = (&services[number % services.len()], number / services.len() + 1);
                    tx.create(service.task(number, slot)).map(drop)
                })
            });
            let seconds = all.await?;
            setting.end().await?;
            Ok(seconds * 1e3)
        })
    };
    (0..repeats).map(|_| sample()).collect()
}
