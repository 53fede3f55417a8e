//! Nodes that are cut off from their managers, for less and for longer than it takes to be given up.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};
use swarmkit_api::{
    Kind, Node, NodeId, Task, TaskState, TaskStatus,
    wire::{node_spec::Availability, node_status::State as NodeState},
};
use swarmkit_executor::Machine;
use swarmkit_store::View;
use tokio::time::sleep;

use crate::{
    cluster::{Cluster, Running, eventually, next_session},
    counting::Counting,
};

/// The longest cut that no node is given up for, whatever its heartbeats and its managers draw: three of the shortest
/// periods, less the longest one before the cut, and less the longest wait after it.
const SHORT: Duration = Duration::from_millis(3 * 4_500 - 5_500 - 2_000);

/// A cluster whose manager has everything that makes, places and replaces tasks, and nodes that are each with a server of
/// their own.
async fn busy(text: &str) -> Cluster {
    let cluster = Cluster::new(text).await;
    // Nodes learn of no other managers, so that one node alone can be cut off.
    cluster.name(&[]);
    cluster.orchestrate();
    cluster
}

fn state_of(view: &View, node: &str) -> NodeState {
    view.get::<Node>(&NodeId::from(node)).unwrap().status.state()
}

/// What is known of each task that shall run.
fn wanted(view: &View) -> BTreeMap<String, TaskStatus> {
    let tasks = view.all::<Task>().filter(|task| task.desired_state == TaskState::Running);
    tasks.map(|task| (task.id.to_string(), task.status.clone())).collect()
}

async fn until_running(cluster: &Cluster, count: usize) {
    let all_run = |view: &View| {
        let wanted = wanted(view);
        wanted.len() == count && wanted.values().all(|status| status.state == TaskState::Running)
    };
    cluster.until(&format!("{count} tasks run"), all_run).await;
}

#[tokio::test(start_paused = true)]
async fn two_hundred_cuts_that_are_shorter_than_the_grace_restart_nothing() {
    let mut rng = SmallRng::seed_from_u64(200);
    let mut cluster = busy("cluster; node a; node b; service w replicas=8").await;
    let machines: Vec<_> = (0..2).map(|_| Machine::new(cluster.env.clone())).collect();
    let executors = [Counting::on(&machines[0], "a"), Counting::on(&machines[1], "b")];
    let agents: Vec<Running> =
        ["a", "b"].iter().zip(&executors).map(|(node, executor)| cluster.start(node, executor.clone(), None)).collect();
    until_running(&cluster, 8).await;
    let before = wanted(&cluster.store.view());
    let mut nodes = cluster.store.watch(Kind::Node);
    for _ in 0..200 {
        sleep(Duration::from_millis(rng.random_range(0..8_000))).await;
        let sessions: Vec<_> = agents.iter().map(|agent| agent.handle.contact().borrow().sessions).collect();
        cluster.cut();
        sleep(Duration::from_millis(rng.random_range(0..u64::try_from(SHORT.as_millis()).unwrap()))).await;
        cluster.listen().await;
        for (agent, before) in agents.iter().zip(sessions) {
            next_session(agent, before).await;
        }
        while let Some(update) = nodes.try_next().unwrap() {
            for node in ["a", "b"] {
                assert_ne!(state_of(update.view(), node), NodeState::Down, "{node} was given up");
            }
        }
    }
    sleep(Duration::from_secs(60)).await;
    assert_eq!(wanted(&cluster.store.view()), before, "no task was replaced, and none has anything new to say");
    assert_eq!(machines.iter().map(Machine::running).sum::<usize>(), 8);
    let started: Vec<_> = executors.iter().flat_map(|executor| executor.calls("start")).collect();
    assert_eq!(started, [1; 8]);
    for executor in &executors {
        assert_eq!((executor.calls("shutdown"), executor.calls("remove")), (vec![], vec![]));
    }
    for agent in agents {
        agent.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_was_cut_off_for_longer_is_replaced_and_stops_its_old_tasks_once_when_it_is_back() {
    let mut cluster = busy("cluster; node a; node b drain; service w replicas=4").await;
    let _second = cluster.listen_at("m2", "m2:4242").await;
    let machines = [Machine::new(cluster.env.clone()), Machine::new(cluster.env.clone())];
    let executors = [Counting::on(&machines[0], "a"), Counting::on(&machines[1], "b")];
    let a = cluster.start_knowing("a", executors[0].clone(), &["m1:4242"]);
    let b = cluster.start_knowing("b", executors[1].clone(), &["m2:4242"]);
    until_running(&cluster, 4).await;
    let sessions = next_session(&a, 0).await;
    cluster
        .store
        .update(|tx| {
            tx.edit::<Node>(&NodeId::from("b"), |node| {
                Arc::make_mut(&mut node.spec).set_availability(Availability::Active);
            })
        })
        .await
        .unwrap();

    cluster.cut();
    cluster.until("a is down", |view| state_of(view, "a") == NodeState::Down).await;
    let on_b = |view: &View| {
        let tasks = view.all::<Task>().filter(|task| task.desired_state == TaskState::Running);
        let b = NodeId::from("b");
        tasks.filter(|task| task.node_id.as_ref() == Some(&b) && task.status.state == TaskState::Running).count() == 4
    };
    cluster.until("all run on b", on_b).await;
    sleep(Duration::from_secs(600)).await;
    assert_eq!(machines[0].running(), 4, "a node that hears nobody keeps what it has");

    cluster.listen().await;
    next_session(&a, sessions).await;
    eventually("the old ones are stopped", || machines[0].running() == 0).await;
    cluster.until("a is back", |view| state_of(view, "a") == NodeState::Ready).await;
    sleep(Duration::from_secs(600)).await;
    assert_eq!((executors[0].calls("start"), executors[0].calls("shutdown")), (vec![1; 4], vec![1; 4]));
    assert_eq!((machines[0].running(), machines[1].running()), (0, 4));
    assert_eq!((executors[1].calls("start"), executors[1].calls("shutdown")), (vec![1; 4], vec![]));
    a.stop().await;
    b.stop().await;
}
