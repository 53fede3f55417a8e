//! From an assignment to the end of a task.

use std::time::Duration;

use swarmkit_api::{Node, NodeId, TaskState, wire::node_status::State as NodeState};
use swarmkit_executor::{Behaviour, Ending, InertExecutor, Machine};
use tokio::time::sleep;

use crate::cluster::{Cluster, eventually};

#[tokio::test(start_paused = true)]
async fn an_assigned_task_runs_and_its_manager_knows() {
    let cluster = Cluster::new("node a").await;
    let (agent, machine) = cluster.start_inert("a");
    agent.handle.ready().await.unwrap();
    cluster.amend("task w.1 on a assigned");
    cluster.until_state("w.1", TaskState::Running).await;
    assert_eq!(machine.running(), 1);
    let status = cluster.task("w.1").status;
    assert_eq!((status.message.as_str(), status.err.as_str()), ("started", ""));
    assert_eq!(status.container.unwrap().container_id, "w.1");
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_has_an_agent_is_ready_and_described() {
    let cluster = Cluster::new("node a down").await;
    let (agent, _) = cluster.start_inert("a");
    agent.handle.ready().await.unwrap();
    cluster
        .until("a ready", |view| {
            let node = view.get::<Node>(&NodeId::from("a")).unwrap();
            node.status.state() == NodeState::Ready && node.hostname() == "a"
        })
        .await;
    let membership = agent.handle.membership().borrow().clone();
    assert_eq!(membership.node.unwrap().id, "a".into());
    assert_eq!(membership.managers.len(), 1);
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_node_stays_ready_as_long_as_its_agent_runs() {
    let cluster = Cluster::new("node a").await;
    let (agent, _) = cluster.start_inert("a");
    agent.handle.ready().await.unwrap();
    sleep(Duration::from_secs(600)).await;
    let node = |cluster: &Cluster| cluster.store.view().get::<Node>(&NodeId::from("a")).unwrap().status.state();
    assert_eq!(node(&cluster), NodeState::Ready);
    assert_eq!(agent.handle.contact().borrow().sessions, 1);
    agent.stop().await;
    sleep(Duration::from_secs(20)).await;
    assert_eq!(node(&cluster), NodeState::Down);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_shall_stop_stops_and_one_that_is_deleted_leaves_nothing() {
    let cluster = Cluster::new("node a; task w.1 on a assigned").await;
    let (agent, machine) = cluster.start_inert("a");
    cluster.until_state("w.1", TaskState::Running).await;
    cluster.edit("w.1", |task| task.desired_state = TaskState::Shutdown).await;
    cluster.until_state("w.1", TaskState::Shutdown).await;
    assert_eq!(machine.running(), 0);
    cluster.delete("w.1").await;
    cluster.amend("task w.2 on a assigned");
    cluster.until_state("w.2", TaskState::Running).await;
    cluster.delete("w.2").await;
    eventually("nothing runs", || machine.running() == 0).await;
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_task_is_reported_with_its_exit_code() {
    let cluster =
        Cluster::new("node a; task ok.1 on a assigned; task bad.1 on a assigned; task no.1 on a assigned").await;
    let executor = InertExecutor::on(Machine::new(cluster.env.clone())).behaving(|task| {
        let ends = |code| Behaviour { ending: Ending::After(Duration::from_secs(3), code), ..Behaviour::default() };
        match task.id.as_str() {
            "ok.1" => ends(0),
            "bad.1" => ends(3),
            _ => Behaviour { impossible: Some("no such kernel".into()), ..Behaviour::default() },
        }
    });
    let agent = cluster.start("a", executor, None);
    cluster.until_state("ok.1", TaskState::Complete).await;
    cluster.until_state("bad.1", TaskState::Failed).await;
    cluster.until_state("no.1", TaskState::Rejected).await;
    let bad = cluster.task("bad.1").status;
    assert_eq!((bad.err.as_str(), bad.container.unwrap().exit_code), ("task: non-zero exit (3)", 3));
    assert_eq!(cluster.task("no.1").status.err, "no such kernel");
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_task_that_shall_only_be_ready_waits_until_it_shall_run() {
    let cluster = Cluster::new("node a; task w.1 on a assigned wants ready").await;
    let (agent, machine) = cluster.start_inert("a");
    cluster.until_state("w.1", TaskState::Ready).await;
    sleep(Duration::from_secs(60)).await;
    assert_eq!((cluster.task("w.1").status.state, machine.running()), (TaskState::Ready, 0));
    cluster.edit("w.1", |task| task.desired_state = TaskState::Running).await;
    cluster.until_state("w.1", TaskState::Running).await;
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn stopping_a_task_that_is_still_being_prepared_does_not_wait_for_that() {
    let cluster = Cluster::new("node a; task w.1 on a assigned").await;
    let executor = InertExecutor::on(Machine::new(cluster.env.clone()))
        .behaving(|_| Behaviour { prepare: Duration::from_secs(3600), ..Behaviour::default() });
    let agent = cluster.start("a", executor, None);
    cluster.until_state("w.1", TaskState::Preparing).await;
    cluster.edit("w.1", |task| task.desired_state = TaskState::Shutdown).await;
    cluster.until_state("w.1", TaskState::Shutdown).await;
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_task_that_shall_also_be_removed_while_it_stops_keeps_its_grace() {
    let cluster = Cluster::new("node a; task w.1 on a assigned").await;
    let machine = Machine::new(cluster.env.clone());
    let executor =
        InertExecutor::on(machine.clone()).behaving(|_| Behaviour { ignores_stop: true, ..Behaviour::default() });
    let agent = cluster.start("a", executor, None);
    cluster.until_state("w.1", TaskState::Running).await;
    let begin = tokio::time::Instant::now();
    cluster.edit("w.1", |task| task.desired_state = TaskState::Shutdown).await;
    sleep(Duration::from_secs(6)).await;
    cluster.edit("w.1", |task| task.desired_state = TaskState::Remove).await;
    cluster.until_state("w.1", TaskState::Shutdown).await;
    assert_eq!(begin.elapsed().as_secs(), 10, "the grace was begun once");
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn leaving_stops_every_task_in_time_and_takes_no_more() {
    let cluster = Cluster::new("node a").await;
    let machine = Machine::new(cluster.env.clone());
    let executor =
        InertExecutor::on(machine.clone()).behaving(|_| Behaviour { ignores_stop: true, ..Behaviour::default() });
    let agent = cluster.start("a", executor, None);
    for n in 1..=20 {
        cluster.amend(&format!("task w.{n} on a assigned"));
    }
    cluster.until_state("w.20", TaskState::Running).await;
    let begin = tokio::time::Instant::now();
    agent.handle.leave(Duration::from_secs(4)).await.unwrap();
    assert_eq!(begin.elapsed().as_secs(), 4);
    assert_eq!(machine.running(), 0);
    cluster.amend("task w.21 on a assigned");
    sleep(Duration::from_secs(5)).await;
    assert_eq!((machine.running(), cluster.task("w.21").status.state), (0, TaskState::Assigned));
    agent.handle.leave(Duration::ZERO).await.unwrap();
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_thousand_tasks_all_run() {
    let cluster = Cluster::new("node a").await;
    let (agent, machine) = cluster.start_inert("a");
    let text: String = (1..=1000).map(|n| format!("task w.{n} on a assigned;")).collect();
    cluster.amend(&text);
    cluster
        .until("a thousand running", |view| {
            view.find(swarmkit_store::TaskBy::State(TaskState::Running)).count() == 1000
        })
        .await;
    assert_eq!(machine.running(), 1000);
    agent.stop().await;
}
