//! What the store costs by itself, without replication: `cargo bench -p swarmkit-store`.
//!
//! The cases and their sizes are those of upstream's own benchmarks, so that the figures can be put side by side. Nodes
//! have a name in their annotations and no description, as there.

#![allow(clippy::unwrap_used, reason = "a benchmark that fails has nothing to report")]

use std::{hint::black_box, sync::Arc};

use divan::{Bencher, counter::ItemsCount};
use futures_util::FutureExt as _;
use swarmkit_api::{Kind, Node, NodeId, Service, Task, TaskId, TaskState};
use swarmkit_runtime::Env;
use swarmkit_store::{Interest, NodeBy, Store, StoreError, TaskBy, Transaction, Watch};
use swarmkit_testing::{named, service, task};

/// How many nodes are there before most cases begin.
const NODES: usize = 10_000;

/// How many tasks the cases about large states have.
const TASKS: usize = 100_000;

fn main() {
    divan::main();
}

fn commit<T>(store: &Store, edit: impl FnOnce(&mut Transaction) -> Result<T, StoreError>) -> T {
    store.update(edit).now_or_never().expect("a local store commits at once").unwrap().value
}

fn node(number: usize, id: String) -> Node {
    let mut node = Node::new(id.into());
    Arc::make_mut(&mut node.spec).annotations = Some(named(&format!("name{number}")));
    node
}

/// A store with so many nodes, and their ids.
fn with_nodes(count: usize) -> (Store, Vec<NodeId>) {
    let env = Env::real();
    let store = Store::local(env.clone());
    let nodes: Vec<_> = (0..count).map(|number| node(number, env.new_id())).collect();
    let ids = nodes.iter().map(|node| node.id.clone()).collect();
    commit(&store, |tx| nodes.into_iter().try_for_each(|node| tx.create(node).map(drop)));
    (store, ids)
}

/// So many tasks of a hundred services on a thousand nodes.
fn tasks(count: usize) -> Vec<Task> {
    let env = Env::real();
    let services: Vec<Service> = (0..100).map(|n| service(&format!("service-{n}")).build()).collect();
    let one = |number: usize| {
        let mut task = task("x.1").of(&services[number % services.len()]).state(TaskState::Running).build();
        task.id = TaskId::from(env.new_id());
        task.slot = (number / services.len()) as u64 + 1;
        task.node_id = Some(NodeId::from(format!("node-{:04}", number % 1000)));
        task
    };
    (0..count).map(one).collect()
}

/// Creates them in the groups of a batch.
fn fill(store: &Store, tasks: Vec<Task>) {
    let edits = tasks.into_iter().map(|task| move |tx: &mut Transaction| tx.create(task).map(drop));
    store.batch::<StoreError, _>(edits).now_or_never().expect("a local store commits at once").unwrap();
}

fn with_tasks() -> Store {
    let store = Store::local(Env::real());
    fill(&store, tasks(TASKS));
    store
}

/// `store.create`: nodes in one transaction, per node.
#[divan::bench]
fn create(bencher: Bencher) {
    bencher
        .counter(ItemsCount::new(NODES))
        .with_inputs(|| {
            let env = Env::real();
            let nodes: Vec<_> = (0..NODES).map(|number| node(number, env.new_id())).collect();
            (Store::local(env), nodes)
        })
        .bench_local_values(|(store, nodes)| {
            commit(&store, |tx| nodes.into_iter().try_for_each(|node| tx.create(node).map(drop)));
            store
        });
}

/// Updates in one transaction, per update.
#[divan::bench]
fn update(bencher: Bencher) {
    let (store, ids) = with_nodes(NODES);
    bencher.counter(ItemsCount::new(NODES)).bench_local(|| {
        commit(&store, |tx| {
            ids.iter().try_for_each(|id| tx.edit(id, |node: &mut Node| node.vxlan_udp_port += 1).map(drop))
        });
    });
}

/// `store.update_tx`: one transaction for each update.
#[divan::bench]
fn update_tx(bencher: Bencher) {
    let (store, ids) = with_nodes(NODES);
    let mut next = ids.iter().cycle();
    bencher.bench_local(move || {
        let id = next.next().unwrap();
        commit(&store, |tx| tx.edit(id, |node: &mut Node| node.vxlan_udp_port += 1))
    });
}

/// A transaction that deletes and is then given up.
#[divan::bench]
fn delete_tx_rolled_back(bencher: Bencher) {
    let (store, ids) = with_nodes(NODES);
    bencher.bench_local(|| {
        let refused = store.update(|tx| tx.delete::<Node>(&ids[0]).and(Err::<(), _>(StoreError::NotFound)));
        refused.now_or_never().unwrap().unwrap_err()
    });
}

/// The write that a cluster does most: the state of one task among many.
#[divan::bench]
fn task_status_tx(bencher: Bencher) {
    let store = with_tasks();
    let ids: Vec<_> = store.view().all::<Task>().map(|task| task.id.clone()).collect();
    let mut next = ids.iter().cycle();
    bencher.bench_local(move || {
        let id = next.next().unwrap();
        commit(&store, |tx| {
            tx.edit(id, |task: &mut Task| {
                task.status.state = match task.status.state {
                    TaskState::Running => TaskState::Failed,
                    _ => TaskState::Running,
                };
            })
        })
    });
}

/// `store.get`: each of them by id, per node.
#[divan::bench]
fn get(bencher: Bencher) {
    let (store, ids) = with_nodes(NODES);
    let view = store.view();
    bencher
        .counter(ItemsCount::new(NODES))
        .bench_local(|| ids.iter().filter(|id| view.get::<Node>(black_box(id)).is_some()).count());
}

/// By a name that nobody has.
#[divan::bench]
fn find_by_name(bencher: Bencher) {
    let (store, _) = with_nodes(NODES);
    let view = store.view();
    bencher.bench_local(|| view.find(NodeBy::Name(black_box("name7"))).count());
}

/// The tasks of one node among a thousand.
#[divan::bench]
fn find_tasks_of_node(bencher: Bencher) {
    let view = with_tasks().view();
    let id = NodeId::from("node-0500");
    bencher.counter(ItemsCount::new(TASKS / 1000)).bench_local(|| view.find(TaskBy::Node(Some(&id))).count());
}

/// `store.list_10k_nodes`: everything of a kind, as a list.
#[divan::bench]
fn list_10k_nodes(bencher: Bencher) {
    let (store, _) = with_nodes(NODES);
    bencher.bench_local(|| store.view().all::<Node>().cloned().collect::<Vec<_>>());
}

/// `store.concurrency`: 5 writers and 5 readers, each once, on two threads; per round of ten.
#[divan::bench]
fn concurrency(bencher: Bencher) {
    const ROUNDS: usize = 1000;
    let (store, ids) = with_nodes(NODES);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let crew = swarmkit_runtime::Crew::under(&tokio_util::sync::CancellationToken::new());
    let ids: Arc<[NodeId]> = ids.into();
    bencher.counter(ItemsCount::new(ROUNDS)).bench_local(|| {
        runtime.block_on(async {
            let parts: Vec<_> = (0..10)
                .map(|part| {
                    let (store, ids) = (store.clone(), ids.clone());
                    crew.spawner().spawn("part", async move {
                        let view = store.view();
                        for round in 0..ROUNDS {
                            let id = &ids[(round * 10 + part) % ids.len()];
                            if part % 2 == 0 {
                                store
                                    .update(|tx| tx.edit(id, |node: &mut Node| node.vxlan_udp_port += 1))
                                    .await
                                    .unwrap();
                            } else {
                                black_box(view.get::<Node>(id));
                            }
                        }
                    })
                })
                .collect();
            for part in parts {
                part.await.unwrap();
            }
        });
    });
}

/// One commit with so many watchers who all want to hear of it, and keep up.
#[divan::bench(args = [10, 100, 1000, 10_000])]
fn publish_to_all(bencher: Bencher, listeners: usize) {
    let (store, ids) = with_nodes(100);
    let mut watches: Vec<Watch> = (0..listeners).map(|_| store.watch(Kind::Node)).collect();
    let mut drain = move || watches.iter_mut().for_each(|watch| while watch.try_next().unwrap().is_some() {});
    drain();
    let mut commits = 0;
    bencher.counter(ItemsCount::new(listeners)).bench_local(move || {
        commit(&store, |tx| tx.edit(&ids[0], |node: &mut Node| node.vxlan_udp_port += 1));
        commits += 1;
        if commits % 100 == 0 {
            drain();
        }
    });
}

/// `store.publish_idle_listener`: one commit about one node, with so many watchers of the tasks of other nodes.
#[divan::bench(args = [0, 100, 10_000])]
fn publish_to_others(bencher: Bencher, listeners: usize) {
    let (store, ids) = with_nodes(100);
    let interest = |n: usize| Interest::none().tasks_of_node(NodeId::from(format!("node-{n}")));
    let watches: Vec<Watch> = (0..listeners).map(|n| store.watch(interest(n))).collect();
    bencher.bench_local(|| commit(&store, |tx| tx.edit(&ids[0], |node: &mut Node| node.vxlan_udp_port += 1)));
    drop(watches);
}

/// `store.create_100k_tasks`: in transactions of 200.
#[divan::bench(sample_count = 5)]
fn create_100k_tasks(bencher: Bencher) {
    bencher.with_inputs(|| (Store::local(Env::real()), tasks(TASKS))).bench_local_values(|(store, tasks)| {
        fill(&store, tasks);
        store
    });
}

/// `store.save_100k`: a snapshot of that many tasks, piece by piece.
#[divan::bench(sample_count = 10)]
fn save_100k(bencher: Bencher) {
    let store = with_tasks();
    bencher.bench_local(|| store.applier().snapshot().chunks().map(|piece| piece.len()).sum::<usize>());
}

/// `store.restore_100k`: and back, into an empty store.
#[divan::bench(sample_count = 5)]
fn restore_100k(bencher: Bencher) {
    let pieces: Vec<_> = with_tasks().applier().snapshot().chunks().collect();
    bencher.with_inputs(|| Store::local(Env::real())).bench_local_values(|store| {
        let mut restore = store.applier().restore();
        pieces.iter().for_each(|piece| restore.chunk(piece).unwrap());
        store.applier().install(restore).unwrap();
        store
    });
}
