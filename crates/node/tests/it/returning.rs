//! Nodes that were away for longer than their certificates live.

use std::{fs, sync::Arc};

use swarmkit_api::{Node as NodeObject, NodeRole, wire::node_status::State};
use swarmkit_node::NodeError;
use swarmkit_runtime::Clock as _;
use swarmkit_store::Store;

use crate::{
    team::Team,
    world::{Running, Wall, manager, state_of, tokens, until},
};

const CERTIFICATE: &str = "certificates/swarm-node.crt";
const KEY: &str = "certificates/swarm-node.key";

/// Lets so much time pass that it is time for another certificate, and sees to it that these nodes get theirs. Each is
/// started again for that, since one that runs looks at the clock once in an hour.
async fn renew(team: &mut Team, wall: &Wall, nodes: &[usize]) {
    wall.go_ahead(80);
    for &number in nodes {
        let before = team.nodes[number].running.handle.certificate_end();
        team.stop(number).await;
        team.start(number).await;
        team.nodes[number].running.renewed(before).await;
        team.leader().await;
    }
}

fn refusal(started: Result<(), NodeError>) -> String {
    let error = started.expect_err("refused").to_string();
    assert!(!error.contains('\n'), "one line: {error}");
    error
}

fn role_in(store: &Store, team: &Team, number: usize) -> NodeRole {
    store.view().get::<NodeObject>(team.nodes[number].running.handle.id()).unwrap().role
}

#[tokio::test]
async fn a_worker_that_was_away_for_too_long_comes_back_as_it_was_with_a_token_for_workers() {
    let wall = Wall::default();
    let mut team = Team::with_clock(1, &wall).await;
    let away = team.add_worker().await;
    team.until_ready(away).await;
    let id = team.nodes[away].running.handle.id().clone();
    team.stop(away).await;
    renew(&mut team, &wall, &[0]).await;
    wall.go_ahead(40);
    let address = team.nodes[0].running.handle.remote_addr().unwrap();
    let (for_workers, for_managers) = tokens(&team.leader_store().await);
    let files = |team: &Team| [CERTIFICATE, KEY].map(|name| fs::read(team.nodes[away].dir.path().join(name)).unwrap());
    let before = files(&team);

    let told = refusal(team.start_with(away, |set_up| set_up).await);
    assert!(told.contains("not valid after") && told.contains("the join token for workers"), "{told}");
    let told = refusal(team.start_with(away, |set_up| set_up.join(&address, Some(for_managers))).await);
    assert!(told.starts_with("the certificate of this node has expired, and it cannot come back: "), "{told}");
    assert!(told.ends_with(&format!("node {id} is a worker: the join token for workers is necessary")), "{told}");
    assert_eq!(files(&team), before, "nothing has changed");

    // The manager was started again, so it is not where the node remembers it.
    team.start_with(away, |set_up| set_up.join(&address, Some(for_workers.clone()))).await.unwrap();
    assert_eq!(*team.nodes[away].running.handle.id(), id);
    team.until_ready(away).await;
    assert_eq!(team.leader_store().await.view().count::<NodeObject>(), 2, "no node was made");

    // And from now on it needs no token.
    team.stop(away).await;
    team.start(away).await;
    team.until_ready(away).await;
    team.end().await;
}

#[tokio::test]
async fn a_manager_that_was_away_for_too_long_comes_back_as_the_same_member_through_those_that_it_remembers() {
    let wall = Wall::default();
    let mut team = Team::with_clock(3, &wall).await;
    let away = team.follower().await;
    let (id, member) = (team.nodes[away].running.handle.id().clone(), team.member(away, &[]).await);
    let others: Vec<_> = (0..3).filter(|&number| number != away).collect();
    renew(&mut team, &wall, &others).await;
    team.until_managers(3).await;
    team.until_known(away, &others).await;
    team.stop(away).await;
    wall.go_ahead(40);
    let told = refusal(team.start_with(away, |set_up| set_up).await);
    assert!(told.contains("the join token for managers") && told.contains("swarm-rafttool renew-certs"), "{told}");

    let (_, for_managers) = tokens(&team.leader_store().await);
    team.start_with(away, |set_up| set_up.join_token(for_managers)).await.unwrap();
    assert_eq!(*team.nodes[away].running.handle.id(), id);
    team.until_managers(3).await;
    assert_eq!(team.member(away, &[]).await, member, "its log is the one that it had");
    team.end().await;
}

#[tokio::test]
async fn a_node_that_was_removed_while_it_was_away_for_too_long_is_told_so() {
    let wall = Wall::default();
    let mut team = Team::with_clock(1, &wall).await;
    let away = team.add_worker().await;
    team.stop(away).await;
    team.remove(away).await;
    renew(&mut team, &wall, &[0]).await;
    wall.go_ahead(40);
    let address = team.nodes[0].running.handle.remote_addr().unwrap();
    let (token, _) = tokens(&team.leader_store().await);
    let told = refusal(team.start_with(away, |set_up| set_up.join(&address, Some(token))).await);
    assert!(told.starts_with("this node was removed from its cluster: "), "{told}");
    team.end().await;
}

#[tokio::test]
async fn a_node_that_was_promoted_while_it_was_away_for_too_long_comes_back_as_a_manager() {
    let wall = Wall::default();
    let mut team = Team::with_clock(1, &wall).await;
    let away = team.add_worker().await;
    team.until_ready(away).await;
    team.stop(away).await;
    team.promote(away).await;
    renew(&mut team, &wall, &[0]).await;
    wall.go_ahead(40);
    let store = team.leader_store().await;
    assert_eq!(role_in(&store, &team, away), NodeRole::Manager);
    let address = team.nodes[0].running.handle.remote_addr().unwrap();
    let (_, for_managers) = tokens(&store);
    team.start_with(away, |set_up| set_up.join(&address, Some(for_managers))).await.unwrap();
    team.until_managers(2).await;
    team.end().await;
}

/// Two managers, in turns: the founder of a locked cluster, which goes on alone each time, and one that is away.
#[tokio::test]
async fn a_manager_whose_keys_are_locked_comes_back_with_both_keys_and_stays_locked() {
    let wall = Wall::default();
    let (dir, away_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let away_set_up = || manager(away_dir.path()).env(wall.env());
    let first = Running::start(manager(dir.path()).env(wall.env()).autolock(true)).await.unwrap().ready().await;
    let unlock = first.handle.unlock_key().unwrap();
    let store = first.handle.store().unwrap();
    let (for_workers, for_managers) = tokens(&store);
    let address = first.handle.remote_addr().unwrap();
    // A worker at first, so that the founder can do without it.
    let away = Running::start(away_set_up().join(&address, Some(for_workers))).await.unwrap().ready().await;
    let id = away.handle.id().clone();
    until(&store, |view| state_of(view, &away.handle) == Some(State::Ready)).await;
    away.end().await.unwrap();
    let promoted = |node: &mut NodeObject| Arc::make_mut(&mut node.spec).desired_role = NodeRole::Manager.into();
    store.update(|tx| tx.edit::<NodeObject>(&id, promoted)).await.unwrap();
    until(&store, |view| view.get::<NodeObject>(&id).is_some_and(|node| node.role == NodeRole::Manager)).await;
    first.end().await.unwrap();

    let later = async || {
        wall.go_ahead(120);
        let now = wall.now();
        let set_up = manager(dir.path()).env(wall.env()).force_new_cluster().unlock_key(Some(unlock.clone()));
        let alone = Running::start(set_up).await.unwrap().ready().await;
        alone.renewed(now).await;
        let address = alone.handle.remote_addr().unwrap();
        (alone, address)
    };
    let is_locked = || fs::read_to_string(away_dir.path().join(KEY)).unwrap().contains("BEGIN ENCRYPTED PRIVATE KEY");
    let (alone, address) = later().await;
    assert!(!is_locked());
    let away = Running::start(away_set_up().join(&address, Some(for_managers.clone()))).await.unwrap();
    assert_eq!((away.handle.id(), away.handle.role()), (&id, NodeRole::Manager));
    assert!(is_locked(), "it is a manager now, and locked from its first file on");
    away.end().await.unwrap();
    alone.end().await.unwrap();

    let (alone, address) = later().await;
    let set_up = || away_set_up().join(&address, Some(for_managers.clone()));
    let told = Running::start(set_up()).await.err().unwrap().to_string();
    assert_eq!(told, "node is locked, and needs a valid unlock key");
    let away = Running::start(set_up().unlock_key(Some(unlock.clone()))).await.unwrap();
    assert_eq!((away.handle.id(), away.handle.role()), (&id, NodeRole::Manager));
    assert!(is_locked());
    away.end().await.unwrap();
    alone.end().await.unwrap();
}
