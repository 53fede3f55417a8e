//! Agents that are stopped or killed and started again, and managers that go away and come back.

use std::time::Duration;

use swarmkit_api::{Node, NodeId, TaskState, wire::node_status::State as NodeState};
use swarmkit_executor::{Behaviour, Ending, InertExecutor, Machine};
use tokio::time::sleep;

use crate::cluster::{Cluster, eventually};

#[tokio::test(start_paused = true)]
async fn stopping_the_agent_leaves_its_tasks_running_and_the_next_one_takes_them_up() {
    let cluster = Cluster::new("node a; task w.1 on a assigned").await;
    let dir = tempfile::tempdir().unwrap();
    let machine = Machine::new(cluster.env.clone());
    let start = || cluster.start("a", InertExecutor::on(machine.clone()), Some(&dir));
    let agent = start();
    cluster.until_state("w.1", TaskState::Running).await;
    let before = cluster.task("w.1").status;
    agent.stop().await;
    assert_eq!(machine.running(), 1);

    let agent = start();
    agent.handle.ready().await.unwrap();
    sleep(Duration::from_secs(5)).await;
    assert_eq!((machine.running(), cluster.task("w.1").status), (1, before));
    cluster.edit("w.1", |task| task.desired_state = TaskState::Shutdown).await;
    cluster.until_state("w.1", TaskState::Shutdown).await;
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_agent_killed_at_any_moment_finds_its_tasks_again() {
    let cluster = Cluster::new("node a").await;
    let mut dir = tempfile::tempdir().unwrap();
    let machine = Machine::new(cluster.env.clone());
    let slow = Behaviour { prepare: Duration::from_millis(3), start: Duration::from_millis(3), ..Behaviour::default() };
    for n in 1..=40 {
        let slow = slow.clone();
        let executor = InertExecutor::on(machine.clone()).behaving(move |_| slow.clone());
        let agent = cluster.start("a", executor, Some(&dir));
        cluster.amend(&format!("task w.{n} on a assigned"));
        sleep(Duration::from_millis(n / 2)).await;
        dir = agent.kill().await;
    }
    let agent = cluster.start("a", InertExecutor::on(machine.clone()), Some(&dir));
    cluster
        .until("all forty running", |view| view.find(swarmkit_store::TaskBy::State(TaskState::Running)).count() == 40)
        .await;
    assert_eq!(machine.running(), 40);
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_ended_while_no_agent_was_there_is_reported_by_the_next_one() {
    let cluster = Cluster::new("node a; task w.1 on a assigned").await;
    let dir = tempfile::tempdir().unwrap();
    let machine = Machine::new(cluster.env.clone());
    let executor = InertExecutor::on(machine.clone())
        .behaving(|_| Behaviour { ending: Ending::After(Duration::from_secs(10), 7), ..Behaviour::default() });
    let agent = cluster.start("a", executor.clone(), Some(&dir));
    cluster.until_state("w.1", TaskState::Running).await;
    let dir = agent.kill().await;
    sleep(Duration::from_secs(11)).await;
    let agent = cluster.start("a", executor, Some(&dir));
    cluster.until_state("w.1", TaskState::Failed).await;
    assert_eq!(cluster.task("w.1").status.container.unwrap().exit_code, 7);
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_was_taken_from_the_node_while_no_agent_was_there_is_cleared() {
    let cluster = Cluster::new("node a; task w.1 on a assigned; task w.2 on a assigned").await;
    let dir = tempfile::tempdir().unwrap();
    let machine = Machine::new(cluster.env.clone());
    let agent = cluster.start("a", InertExecutor::on(machine.clone()), Some(&dir));
    cluster.until_state("w.1", TaskState::Running).await;
    cluster.until_state("w.2", TaskState::Running).await;
    let dir = agent.kill().await;
    cluster.delete("w.1").await;
    let agent = cluster.start("a", InertExecutor::on(machine.clone()), Some(&dir));
    eventually("one task is left", || machine.running() == 1).await;
    assert_eq!(cluster.task("w.2").status.state, TaskState::Running);
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_lost_its_database_clears_the_machine_and_begins_again() {
    let cluster = Cluster::new("node a; task w.1 on a assigned").await;
    let machine = Machine::new(cluster.env.clone());
    let agent = cluster.start("a", InertExecutor::on(machine.clone()), None);
    cluster.until_state("w.1", TaskState::Running).await;
    drop(agent.kill().await);
    assert_eq!(machine.running(), 1);
    let agent = cluster.start("a", InertExecutor::on(machine.clone()), None);
    cluster.until_state("w.1", TaskState::Failed).await;
    assert_eq!(machine.running(), 0);
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_cut_connection_harms_no_task_and_is_made_again() {
    let mut cluster = Cluster::new("node a; task w.1 on a assigned").await;
    let (agent, machine) = cluster.start_inert("a");
    cluster.until_state("w.1", TaskState::Running).await;
    for _ in 0..10 {
        cluster.cut();
        let mut contact = agent.handle.contact();
        contact.wait_for(|contact| !contact.established).await.unwrap();
        sleep(Duration::from_secs(3)).await;
        cluster.listen().await;
        contact.wait_for(|contact| contact.established).await.unwrap();
        assert_eq!(machine.running(), 1);
    }
    assert_eq!(cluster.task("w.1").status.state, TaskState::Running);
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn news_of_a_task_that_could_not_be_told_are_told_later() {
    let mut cluster = Cluster::new("node a; task w.1 on a assigned").await;
    let executor = InertExecutor::on(Machine::new(cluster.env.clone()))
        .behaving(|_| Behaviour { ending: Ending::After(Duration::from_secs(5), 0), ..Behaviour::default() });
    let agent = cluster.start("a", executor, None);
    cluster.until_state("w.1", TaskState::Running).await;
    cluster.cut();
    sleep(Duration::from_secs(10)).await;
    assert_eq!(cluster.task("w.1").status.state, TaskState::Running);
    cluster.listen().await;
    cluster.until_state("w.1", TaskState::Complete).await;
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_change_of_leader_harms_no_task_and_no_node_is_ever_down() {
    let mut cluster = Cluster::new("node a; task w.1 on a assigned").await;
    let (agent, machine) = cluster.start_inert("a");
    cluster.until_state("w.1", TaskState::Running).await;
    let mut watch = cluster.store.watch(swarmkit_api::Kind::Node);
    for _ in 0..5 {
        cluster.resign();
        sleep(Duration::from_secs(2)).await;
        let ready = |view: &swarmkit_store::View| {
            view.get::<Node>(&NodeId::from("a")).unwrap().status.state() == NodeState::Ready
        };
        let mut contact = agent.handle.contact();
        let sessions = contact.borrow().sessions;
        cluster.lead();
        // Whether the node is seen as unknown in between depends on who is first: the agent, or the term's first look.
        let again = contact.wait_for(|contact| contact.sessions > sessions);
        tokio::time::timeout(Duration::from_secs(60), again).await.expect("the agent comes back").unwrap();
        cluster.until("a ready", ready).await;
    }
    sleep(Duration::from_secs(60)).await;
    watch.next().await.unwrap();
    while let Some(update) = watch.try_next().unwrap() {
        let state = update.view().get::<Node>(&NodeId::from("a")).unwrap().status.state();
        assert!(matches!(state, NodeState::Ready | NodeState::Unknown), "{state:?}");
    }
    assert_eq!((machine.running(), cluster.task("w.1").status.state), (1, TaskState::Running));
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn without_any_manager_the_agent_waits_longer_and_longer() {
    let mut cluster = Cluster::new("node a").await;
    cluster.cut();
    let (agent, _) = cluster.start_inert("a");
    sleep(Duration::from_secs(60)).await;
    let contact = agent.handle.contact().borrow().clone();
    assert!(!contact.established);
    assert!((10..60).contains(&contact.failures), "{}", contact.failures);
    assert_eq!(contact.error.unwrap().to_string(), "cannot reach m1:4242: connection refused");
    agent.stop().await;
}
