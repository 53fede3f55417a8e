//! Nodes that are promoted and demoted while they run.

use std::{sync::Arc, time::Duration};

use swarmkit_api::{Kind, Node as NodeObject, NodeRole, Task, TaskState, wire::node_status::State};
use swarmkit_executor::InertExecutor;
use swarmkit_node::Node;
use swarmkit_store::{Update, View, Watch};
use tokio_util::sync::CancellationToken;

use crate::{
    team::Team,
    world::{PATIENCE, Running, cluster, manager, state_of, tokens, until, worker},
};

fn role_of(view: &View, node: &Running) -> Option<NodeRole> {
    view.get::<NodeObject>(node.handle.id()).map(|node| node.role)
}

#[tokio::test]
async fn a_worker_that_is_promoted_runs_a_manager_and_one_that_is_demoted_forgets_its_log() {
    let mut team = Team::new(1).await;
    let worker = team.add_worker().await;
    for _ in 0..2 {
        team.promote(worker).await;
        team.until_managers(2).await;
        let node = &team.nodes[worker];
        assert_eq!(node.running.handle.role(), NodeRole::Manager);
        until(&node.running.handle.store().unwrap(), |view| view.cluster().is_some()).await;
        assert!(node.dir.path().join("raft").exists());

        team.demote(worker).await;
        team.until_managers(1).await;
        team.until_worker(worker).await;
        let node = &team.nodes[worker];
        assert!(!node.dir.path().join("raft").exists(), "its log is gone");
        let key = std::fs::read_to_string(node.dir.path().join("certificates/swarm-node.key")).unwrap();
        assert!(!key.contains("raft-dek") && key.contains("kek-version"), "and so is the key of the log");
        assert!(node.running.handle.store().is_none() && node.running.handle.control().is_none());
    }
    team.end().await;
}

#[tokio::test]
async fn a_change_of_role_leaves_the_tasks_of_the_node_alone() {
    let mut team = Team::new(1).await;
    let worker = team.add_worker().await;
    team.create_service("web", 4).await;
    let store = team.leader_store().await;
    let all_run = |view: &View| {
        let running = view.all::<Task>().filter(|task| task.status.state == TaskState::Running);
        running.count() == 4
    };
    until(&store, all_run).await;
    let tasks = |view: &View| view.all::<Task>().map(|task| task.id.clone()).collect::<Vec<_>>();
    let before = tasks(&store.view());
    team.promote(worker).await;
    team.until_managers(2).await;
    team.demote(worker).await;
    team.until_worker(worker).await;
    team.until_ready(worker).await;
    assert_eq!(tasks(&store.view()), before, "none was replaced");
    assert!(all_run(&store.view()));
    team.end().await;
}

/// What must not happen to a task that nobody has stopped.
fn check(task: &Task) {
    let state = task.status.state;
    let went_wrong = [TaskState::Failed, TaskState::Rejected, TaskState::Orphaned];
    assert!(!went_wrong.contains(&state), "a task has failed: {task:?}");
    // A task that is scaled away is to be removed. One that is replaced is to be shut down.
    assert_ne!(task.desired_state, TaskState::Shutdown, "a task was restarted: {task:?}");
}

/// Looks at every change of every task, until it is told that it has seen enough.
async fn check_all(mut updates: Watch, enough: CancellationToken) {
    loop {
        let update = tokio::select! { biased; // what has happened is looked at to its end
            update = updates.next() => update.expect("the store is open"),
            () = enough.cancelled() => return,
        };
        let Update::Delta(delta) = update else {
            update.view().all::<Task>().for_each(|task| check(task));
            continue;
        };
        for change in delta.changes.iter().filter_map(|change| change.as_::<Task>()) {
            match (&change.before, &change.after) {
                (_, Some(task)) => check(task),
                (Some(gone), None) => {
                    let is_over = gone.status.state > TaskState::Running || gone.desired_state > TaskState::Running;
                    assert!(is_over, "a task is lost: {gone:?}");
                }
                (None, None) => {}
            }
        }
    }
}

#[tokio::test]
async fn under_load_no_task_is_lost_or_restarted_while_its_node_becomes_a_manager_and_a_worker_again() {
    const COMPLETIONS: usize = 60;
    let mut team = Team::new(1).await;
    let worker = team.add_worker().await;
    let store = team.leader_store().await;
    let (changed, checked) = (CancellationToken::new(), CancellationToken::new());
    let watch = store.watch(Kind::Task);
    team.create_service("web", 4).await;
    team.create_batch(COMPLETIONS as u64, 4).await;
    let roles = async {
        for _ in 0..2 {
            team.promote(worker).await;
            team.until_managers(2).await;
            team.demote(worker).await;
            team.until_worker(worker).await;
        }
        team.until_ready(worker).await;
        changed.cancel();
    };
    let load = async {
        while !changed.is_cancelled() {
            for replicas in [8, 4] {
                team.scale("web", replicas).await;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        team.scale("web", 6).await;
        until(&store, |view| {
            let of = |name: &'static str, state| {
                let tasks = view.all::<Task>().filter(move |task| task.service_annotations.name == name);
                tasks
                    .filter(move |task| task.status.state == state && task.desired_state <= TaskState::Complete)
                    .count()
            };
            of("web", TaskState::Running) == 6 && of("batch", TaskState::Complete) == COMPLETIONS
        })
        .await;
        checked.cancel();
    };
    tokio::join!(roles, load, check_all(watch, checked.clone()));
    team.end().await;
}

#[tokio::test]
async fn a_follower_is_demoted_and_promoted_again() {
    let team = Team::new(3).await;
    let follower = team.follower().await;
    team.demote(follower).await;
    // While the first is under way.
    team.demote(follower).await;
    team.until_managers(2).await;
    team.until_worker(follower).await;
    team.demote(follower).await;
    team.until_ready(follower).await;
    team.promote(follower).await;
    team.promote(follower).await;
    team.until_managers(3).await;
    team.end().await;
}

#[tokio::test]
async fn a_leader_that_is_demoted_hands_over_and_may_come_back() {
    let team = Team::new(3).await;
    let first = team.leader().await;
    team.demote(first).await;
    team.until_managers(2).await;
    team.until_worker(first).await;
    assert_ne!(team.leader().await, first);
    team.until_ready(first).await;

    team.promote(first).await;
    team.until_managers(3).await;
    team.create_service("web", 1).await;
    team.end().await;
}

#[tokio::test]
async fn managers_are_demoted_down_to_one_which_goes_on() {
    let team = Team::new(3).await;
    for left in [2, 1] {
        let leader = team.leader().await;
        team.demote(leader).await;
        team.until_managers(left).await;
        team.until_worker(leader).await;
    }
    let last = team.leader().await;
    let refused = team.wish(last, NodeRole::Worker).await.unwrap_err();
    assert_eq!(refused.message(), "attempting to demote the last manager of the swarm");
    team.create_service("web", 1).await;
    team.end().await;
}

#[tokio::test]
async fn a_manager_that_was_demoted_while_it_was_away_comes_back_as_a_worker() {
    let mut team = Team::new(3).await;
    let away = team.follower().await;
    team.stop(away).await;
    team.demote(away).await;
    team.until_managers(2).await;
    team.start(away).await;
    team.until_worker(away).await;
    team.until_ready(away).await;
    assert!(!team.nodes[away].dir.path().join("raft").exists());
    team.end().await;
}

#[tokio::test]
async fn a_manager_that_was_removed_from_raft_while_it_was_away_and_is_wanted_again_comes_back_as_another_member() {
    let mut team = Team::new(3).await;
    let away = team.follower().await;
    let before = team.member(away, &[]).await;
    team.stop(away).await;
    team.demote(away).await;
    team.until_managers(2).await;
    team.promote(away).await;
    // Its certificate has never said anything else, and its log says that it is a member.
    team.start(away).await;
    team.member(away, &[before]).await;
    team.until_managers(3).await;
    team.end().await;
}

#[tokio::test]
async fn a_manager_that_has_lost_its_log_joins_again_as_another_member() {
    let mut team = Team::new(3).await;
    let lost = team.follower().await;
    let before = team.member(lost, &[]).await;
    team.stop(lost).await;
    std::fs::remove_dir_all(team.nodes[lost].dir.path().join("raft")).unwrap();
    team.start(lost).await;
    // A raft id never comes back without its log.
    team.member(lost, &[before]).await;
    team.until_managers(3).await;
    team.end().await;
}

#[tokio::test]
async fn a_node_that_is_removed_says_so_in_one_line_and_stops() {
    let mut team = Team::new(1).await;
    let worker = team.add_worker().await;
    team.remove(worker).await;
    let node = team.nodes.remove(worker);
    let error = node.running.failure().await.to_string();
    assert!(error.starts_with("this node was removed from its cluster: "), "{error}");
    assert!(!error.contains('\n'), "one line: {error}");

    // And again, when it is started again.
    let again = Running::start(Node::builder(node.dir.path(), Arc::new(InertExecutor::new()))).await.unwrap();
    let error = again.failure().await.to_string();
    assert!(error.starts_with("this node was removed from its cluster: "), "{error}");
    team.end().await;
}

#[tokio::test]
async fn a_manager_that_was_demoted_and_removed_while_it_was_away_says_so_and_stops() {
    let mut team = Team::new(3).await;
    let away = team.follower().await;
    team.stop(away).await;
    team.demote(away).await;
    team.until_managers(2).await;
    team.remove(away).await;
    team.start(away).await;
    let error = team.nodes.remove(away).running.failure().await.to_string();
    assert!(error.starts_with("this node was removed from its cluster: "), "{error}");
    team.end().await;
}

#[tokio::test]
async fn what_is_left_of_a_manager_that_was_killed_during_its_demotion_is_removed_at_the_next_start() {
    let (_dir, founder) = cluster().await;
    let store = founder.handle.store().unwrap();
    let address = founder.handle.remote_addr().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let joined = Running::start(worker(dir.path(), &address, &tokens(&store).0)).await.unwrap().ready().await;
    joined.end().await.unwrap();
    for folder in ["raft", "raft.removed"] {
        std::fs::create_dir(dir.path().join(folder)).unwrap();
        std::fs::write(dir.path().join(folder).join("x"), "x").unwrap();
    }
    let again = Running::start(manager(dir.path())).await.unwrap().ready().await;
    assert!(!dir.path().join("raft").exists() && !dir.path().join("raft.removed").exists());
    assert_eq!(role_of(&store.view(), &again), Some(NodeRole::Worker));
    again.end().await.unwrap();
    founder.end().await.unwrap();
}

#[tokio::test]
async fn a_manager_whose_agent_speaks_to_it_within_the_process_is_still_known_by_its_address() {
    let (_dir, founder) = cluster().await;
    let store = founder.handle.store().unwrap();
    until(&store, |view| state_of(view, &founder.handle) == Some(State::Ready)).await;
    let addr = store.view().get::<NodeObject>(founder.handle.id()).unwrap().status.addr.clone();
    assert_eq!(addr, "127.0.0.1");
    founder.end().await.unwrap();
}

#[tokio::test]
async fn a_leader_that_restarts_finds_the_other_nodes_ready_and_is_a_follower() {
    let mut team = Team::new(3).await;
    let worker = team.add_worker().await;
    let first = team.leader().await;
    team.stop(first).await;
    let second = team.leader().await;
    assert_ne!(second, first);
    team.start(first).await;
    team.until_managers(3).await;
    for node in [first, second, worker] {
        team.until_ready(node).await;
    }
    tokio::time::timeout(PATIENCE, team.nodes[first].running.handle.ready()).await.unwrap().unwrap();
    team.end().await;
}
