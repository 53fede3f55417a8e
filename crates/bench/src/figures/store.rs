//! What the store costs by itself, without replication, in this program's process.
//!
//! The cases and sizes are those of upstream's own benchmarks where it has them (the rest of which are in `upstream.rs`);
//! the others are made alike. What is not measured (making the objects, dropping what was measured) lies outside of the
//! watch.
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow};
use swarmkit::CancellationToken;
use swarmkit::api::{Node, NodeId, Service, Task, TaskId, TaskState, Version, wire};
use swarmkit::runtime::{Crew, Env};
use swarmkit::store::{Interest, Store, StoreError, Transaction, Watch};

use crate::lab::{Lab, Stopwatch};
use crate::process;

/// How many nodes are there in the cases about nodes.
pub(super) const NODES: usize = 10_000;

/// How many tasks the cases of `_100k` have.
const TASKS: usize = 100_000;

/// How many the cases of `_1m` have.
pub(super) const MILLION: usize = 1_000_000;

/// `store.create`
pub(crate) fn create(lab: &mut Lab, repeats: u32) -> Result<Vec<f64>> {
    samples(lab, repeats, async || {
        let (store, nodes) = (Store::local(Env::real()), nodes(NODES));
        let watch = Stopwatch::start();
        store.update(|tx| nodes.into_iter().try_for_each(|node| tx.create(node).map(drop))).await?;
        Ok(watch.seconds() * 1e6 / NODES as f64)
    })
}

/// `store.update_tx`
pub(crate) fn update_tx(lab: &mut Lab, repeats: u32) -> Result<Vec<f64>> {
    samples(lab, repeats, async || {
        let (store, ids) = with_nodes(NODES).await?;
        let watch = Stopwatch::start();
        for id in &ids {
            touch(&store, id).await?;
        }
        Ok(watch.seconds() * 1e6 / NODES as f64)
    })
}

/// `store.get`
pub(crate) fn get(lab: &mut Lab, repeats: u32) -> Result<Vec<f64>> {
    const ROUNDS: usize = 20;
    samples(lab, repeats, async || {
        let (store, ids) = with_nodes(NODES).await?;
        let view = store.view();
        let watch = Stopwatch::start();
        let mut found = 0;
        for _ in 0..ROUNDS {
            found += ids.iter().filter(|id| view.get::<Node>(id).is_some()).count();
        }
        let nanoseconds = watch.seconds() * 1e9 / found as f64;
        (found == ROUNDS * NODES).then_some(nanoseconds).context("a node is missing")
    })
}

/// `store.list_10k_nodes`
pub(crate) fn list_10k_nodes(lab: &mut Lab, repeats: u32) -> Result<Vec<f64>> {
    samples(lab, repeats, async || {
        let (store, _) = with_nodes(NODES).await?;
        let watch = Stopwatch::start();
        let list: Vec<Arc<Node>> = store.view().all::<Node>().cloned().collect();
        let milliseconds = watch.seconds() * 1e3;
        (list.len() == NODES).then_some(milliseconds).context("a node is missing")
    })
}

/// `store.concurrency`
pub(crate) fn concurrency(_: &mut Lab, repeats: u32) -> Result<Vec<f64>> {
    const ROUNDS: usize = 2000;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build()?;
    let sample = || {
        runtime.block_on(async {
            let (store, ids) = with_nodes(NODES).await?;
            let ids: Arc<[NodeId]> = ids.into();
            let crew = Crew::under(&CancellationToken::new());
            let watch = Stopwatch::start();
            let parts: Vec<_> = (0..10)
                .map(|part| crew.spawner().spawn("part", one_of_ten(store.clone(), ids.clone(), part, ROUNDS)))
                .collect();
            for part in parts {
                part.await?.context("a part was stopped")??;
            }
            Ok(watch.seconds() * 1e6 / ROUNDS as f64)
        })
    };
    (0..repeats).map(|_| sample()).collect()
}

/// A writer, or a reader with one view.
async fn one_of_ten(store: Store, ids: Arc<[NodeId]>, part: usize, rounds: usize) -> Result<()> {
    let view = store.view();
    for round in 0..rounds {
        let id = &ids[(round * 10 + part) % ids.len()];
        if part.is_multiple_of(2) {
            touch(&store, id).await?;
        } else {
            view.get::<Node>(id).context("a node is missing")?;
        }
    }
    Ok(())
}

/// `store.create_100k_tasks`
pub(crate) fn create_100k_tasks(lab: &mut Lab, repeats: u32) -> Result<Vec<f64>> {
    samples(lab, repeats, async || {
        let (store, tasks) = (Store::local(Env::real()), tasks(TASKS, 100).collect::<Vec<_>>());
        let watch = Stopwatch::start();
        fill(&store, tasks).await?;
        Ok(watch.seconds())
    })
}

/// `store.save_100k`
pub(crate) fn save_100k(lab: &mut Lab, repeats: u32) -> Result<Vec<f64>> {
    let store = lab.block_on(async {
        let store = Store::local(Env::real());
        fill(&store, tasks(TASKS, 100)).await.map(|()| store)
    })?;
    samples(lab, repeats, async || {
        let watch = Stopwatch::start();
        let bytes: usize = store.applier().snapshot().chunks().map(|piece| piece.len()).sum();
        let milliseconds = watch.seconds() * 1e3;
        (bytes > TASKS).then_some(milliseconds).context("the snapshot is empty")
    })
}

/// `store.restore_100k`
pub(crate) fn restore_100k(lab: &mut Lab, repeats: u32) -> Result<Vec<f64>> {
    restore(lab, repeats, TASKS, 100)
}

/// `store.restore_1m`
pub(crate) fn restore_1m(lab: &mut Lab, repeats: u32) -> Result<Vec<f64>> {
    restore(lab, repeats, MILLION, 1000)
}

fn restore(lab: &Lab, repeats: u32, count: usize, services: usize) -> Result<Vec<f64>> {
    let pieces: Vec<_> = lab.block_on(async {
        let store = Store::local(Env::real());
        fill(&store, tasks(count, services)).await?;
        Ok(store.applier().snapshot().chunks().collect())
    })?;
    samples(lab, repeats, async || {
        let store = Store::local(Env::real());
        let watch = Stopwatch::start();
        let mut restore = store.applier().restore();
        pieces.iter().try_for_each(|piece| restore.chunk(piece))?;
        store.applier().install(restore)?;
        let seconds = watch.seconds();
        (store.view().count::<Task>() == count).then_some(seconds).context("a task is missing")
    })
}

/// `store.publish_idle_listener`
pub(crate) fn publish_idle_listener(lab: &mut Lab, repeats: u32) -> Result<Vec<f64>> {
    const LISTENERS: usize = 10_000;
    const COMMITS: usize = 2000;
    samples(lab, repeats, async || {
        let (store, ids) = with_nodes(100).await?;
        let commits = async || {
            let watch = Stopwatch::start();
            for _ in 0..COMMITS {
                touch(&store, &ids[0]).await?;
            }
            Ok::<_, anyhow::Error>(watch.seconds() * 1e9 / COMMITS as f64)
        };
        let alone = commits().await?;
        let interest = |number: usize| Interest::none().tasks_of_node(NodeId::from(format!("node-{number}")));
        let watches: Vec<Watch> = (0..LISTENERS).map(|number| store.watch(interest(number))).collect();
        let with_listeners = commits().await?;
        drop(watches);
        Ok((with_listeners - alone).max(0.0) / LISTENERS as f64)
    })
}

/// `store.bytes_per_task`
pub(crate) fn bytes_per_task(lab: &mut Lab, repeats: u32) -> Result<Vec<f64>> {
    let resident = || Ok::<_, anyhow::Error>(process::usage(std::process::id())?.resident_bytes);
    let mut stores = Vec::new();
    samples(lab, repeats, async || {
        // Earlier stores are kept, so that their memory is not taken for that of this one.
        let (store, before) = (Store::local(Env::real()), resident()?);
        fill(&store, tasks(MILLION, 1000)).await?;
        let grown = resident()?.saturating_sub(before);
        stores.push(store);
        Ok(grown as f64 / MILLION as f64)
    })
}

// === What is measured with ===

pub(super) fn samples(lab: &Lab, repeats: u32, mut sample: impl AsyncFnMut() -> Result<f64>) -> Result<Vec<f64>> {
    (0..repeats).map(|_| lab.block_on(sample())).collect()
}

/// Nodes with a name in their annotations and no description, as upstream has them.
fn nodes(count: usize) -> Vec<Node> {
    let env = Env::real();
    let one = |number: usize| {
        let mut node = Node::new(env.new_id().into());
        Arc::make_mut(&mut node.spec).annotations = Some(named(format!("name{number}")));
        node
    };
    (0..count).map(one).collect()
}

pub(super) async fn with_nodes(count: usize) -> Result<(Store, Vec<NodeId>)> {
    let (store, nodes) = (Store::local(Env::real()), nodes(count));
    let ids = nodes.iter().map(|node| node.id.clone()).collect();
    store.update(|tx| nodes.into_iter().try_for_each(|node| tx.create(node).map(drop))).await?;
    Ok((store, ids))
}

pub(super) async fn touch(store: &Store, id: &NodeId) -> Result<()> {
    store.update(|tx| tx.edit(id, |node: &mut Node| node.vxlan_udp_port += 1)).await?;
    Ok(())
}

fn named(name: String) -> wire::Annotations {
    wire::Annotations { name, ..Default::default() }
}

/// Running tasks of so many services, on a thousand nodes. All tasks of a service share its specification.
pub(super) fn tasks(count: usize, services: usize) -> impl Iterator<Item = Task> {
    let env = Env::real();
    let container = wire::ContainerSpec {
        image: "registry.example.com/team/web:1.4.2".into(),
        env: vec!["MODE=production".into(), "LOG=info".into()],
        ..Default::default()
    };
    let service = |number: usize| {
        let task = wire::TaskSpec {
            runtime: Some(wire::task_spec::Runtime::Container(container.clone())),
            ..Default::default()
        };
        let annotations = Some(named(format!("service-{number}")));
        let spec = wire::ServiceSpec { annotations, task: Some(task), ..Default::default() };
        Service::new(env.new_id().into(), spec)
    };
    let services: Vec<_> = (0..services)
        .map(service)
        .map(|service| {
            let spec = Arc::new(service.spec.task.clone().unwrap_or_default());
            (service.id.clone(), spec, Arc::new(named(service.name().to_owned())))
        })
        .collect();
    let node_ids: Vec<NodeId> = (0..1000).map(|_| env.new_id().into()).collect();
    (0..count).map(move |number| {
        let (service, spec, annotations) = &services[number % services.len()];
        let mut task = Task::new(TaskId::from(env.new_id()), spec.clone());
        task.service_id = Some(service.clone());
        task.service_annotations = annotations.clone();
        task.spec_version = Some(Version(1));
        task.slot = (number / services.len()) as u64 + 1;
        // Not in step with the services, so that each node has tasks of many.
        task.node_id = Some(node_ids[number.wrapping_mul(7919) % node_ids.len()].clone());
        task.status.state = TaskState::Running;
        task.status.message = "started".into();
        task.desired_state = TaskState::Running;
        task
    })
}

/// Creates tasks in the groups of a batch.
pub(super) async fn fill(store: &Store, tasks: impl IntoIterator<Item = Task>) -> Result<()> {
    let edits = tasks.into_iter().map(|task| move |tx: &mut Transaction| tx.create(task).map(drop));
    store.batch::<StoreError, _>(edits).await.map_err(|error| anyhow!(error))?;
    Ok(())
}
