//! A cluster whose root of trust is replaced while it runs.

use std::{sync::Arc, time::Duration};

use swarmkit_api::{Node as NodeObject, NodeRole, Task, TaskState, wire};
use swarmkit_ca::IssuerInfo;
use swarmkit_executor::InertExecutor;
use swarmkit_node::Node;
use swarmkit_store::{Store, View};

use crate::{
    team::Team,
    world::{PATIENCE, Running, tokens, until, worker},
};

/// How often a file is looked at.
const POLL: Duration = Duration::from_millis(10);

/// Has the cluster make itself another root, as an operator does who tries again while the cluster changes.
async fn rotate(team: &Team) {
    let attempts = async {
        loop {
            let mut control = team.nodes[team.leader().await].running.handle.control().expect("a manager");
            let clusters = control.list_clusters(wire::ListClustersRequest::default()).await.unwrap().into_inner();
            let cluster = clusters.clusters.into_iter().next().unwrap();
            let mut spec = cluster.spec.unwrap();
            spec.ca_config.get_or_insert_default().force_rotate += 1;
            let request = wire::UpdateClusterRequest {
                cluster_id: cluster.id,
                cluster_version: cluster.meta.unwrap().version,
                spec: Some(spec),
                rotation: None,
            };
            match control.update_cluster(request).await {
                Ok(_) => return,
                Err(status) => assert!(status.message().contains("out of sequence"), "{status}"),
            }
        }
    };
    tokio::time::timeout(PATIENCE, attempts).await.expect("in time");
}

/// The certificate of the root, if it is not being replaced.
fn settled_root(view: &View) -> Option<bytes::Bytes> {
    let root_ca = &view.cluster()?.root_ca;
    root_ca.root_rotation.is_none().then(|| root_ca.ca_cert.clone())
}

/// Waits until the cluster has another root than that one.
async fn replaced(store: &Store, before: &[u8]) -> bytes::Bytes {
    until(store, |view| settled_root(view).is_some_and(|root| root != before)).await;
    settled_root(&store.view()).unwrap()
}

/// Waits until a node trusts that root and no other, also after a restart.
async fn until_trusted(team: &Team, number: usize, root: &[u8]) {
    let file = team.nodes[number].dir.path().join("certificates/swarm-root-ca.crt");
    let trusted = async {
        while std::fs::read(&file).unwrap() != root {
            tokio::time::sleep(POLL).await;
        }
    };
    tokio::time::timeout(PATIENCE, trusted).await.expect("in time");
}

fn tasks(view: &View) -> Vec<(String, TaskState)> {
    view.all::<Task>().map(|task| (task.id.to_string(), task.status.state)).collect()
}

#[tokio::test]
async fn a_root_is_replaced_twice_in_a_row_under_three_managers_and_two_workers() {
    let mut team = Team::new(3).await;
    team.add_worker().await;
    team.add_worker().await;
    team.create_service("web", 5).await;
    let store = team.leader_store().await;
    until(&store, |view| tasks(view).iter().filter(|(_, state)| *state == TaskState::Running).count() == 5).await;
    let before = (tasks(&store.view()), tokens(&store));

    let first = settled_root(&store.view()).unwrap();
    let mut root = first.clone();
    for _ in 0..2 {
        rotate(&team).await;
        root = replaced(&store, &root).await;
    }
    let issuer = IssuerInfo::of_signer(std::str::from_utf8(&root).unwrap()).unwrap();
    for number in 0..team.nodes.len() {
        until_trusted(&team, number, &root).await;
        team.until_ready(number).await;
        let view = store.view();
        let node = view.get::<NodeObject>(team.nodes[number].running.handle.id()).unwrap();
        let told = node.description.as_ref().unwrap().tls_info.as_ref().unwrap();
        assert_eq!(
            (&*told.cert_issuer_subject, &*told.cert_issuer_public_key),
            (&*issuer.subject, &*issuer.public_key)
        );
    }
    assert_eq!(tasks(&store.view()), before.0, "no task was replaced, and all of them run");

    let address = team.nodes[team.leader().await].running.handle.remote_addr().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let refused = Running::start(worker(dir.path(), &address, &before.1.0)).await.err().expect("refused");
    assert!(refused.to_string().contains("remote CA does not match fingerprint"), "{refused}");
    let added = team.add_worker().await;
    team.until_ready(added).await;
    until_trusted(&team, added, &root).await;
    team.end().await;
}

#[tokio::test]
async fn a_rotation_outlives_its_leader_and_waits_for_whoever_is_down() {
    let mut team = Team::new(3).await;
    let worker = team.add_worker().await;
    let root = settled_root(&team.leader_store().await.view()).unwrap();
    team.stop(worker).await;
    rotate(&team).await;
    let leader = team.leader().await;
    team.stop(leader).await;

    let store = team.leader_store().await;
    let gone = [worker, leader].map(|number| team.nodes[number].running.handle.id().clone());
    until(&store, |view| {
        let rotation = view.cluster().unwrap().root_ca.root_rotation.as_ref().expect("it is under way");
        let issuer = IssuerInfo::of_signer(std::str::from_utf8(&rotation.ca_cert).unwrap()).unwrap();
        let has_turned = |node: &NodeObject| {
            let told = node.description.as_ref().and_then(|description| description.tls_info.as_ref());
            told.is_some_and(|told| told.cert_issuer_public_key == issuer.public_key)
        };
        view.all::<NodeObject>().filter(|node| !gone.contains(&node.id)).all(|node| has_turned(node))
    })
    .await;

    for number in [leader, worker] {
        assert_eq!(settled_root(&store.view()), None, "one is waited for that is down");
        team.start(number).await;
        team.until_ready(number).await;
    }
    let root = replaced(&store, &root).await;
    for number in 0..team.nodes.len() {
        until_trusted(&team, number, &root).await;
        team.until_ready(number).await;
    }
    assert_eq!(team.nodes[worker].running.handle.role(), NodeRole::Worker);
    team.end().await;
}

#[tokio::test]
async fn a_node_that_is_down_and_removed_is_waited_for_no_longer() {
    let mut team = Team::new(1).await;
    let worker = team.add_worker().await;
    team.until_ready(worker).await;
    let store = team.leader_store().await;
    let root = settled_root(&store.view()).unwrap();
    team.stop(worker).await;
    rotate(&team).await;
    let manager = team.nodes[0].running.handle.id().clone();
    until(&store, |view| {
        let issued = &view.get::<NodeObject>(&manager).unwrap().certificate;
        // It is renewed, and has told so.
        issued.status.as_ref().unwrap().state() == wire::issuance_status::State::Issued && !issued.csr.is_empty()
    })
    .await;
    assert_eq!(settled_root(&store.view()), None);
    team.remove(worker).await;
    let root = replaced(&store, &root).await;
    until_trusted(&team, 0, &root).await;
    // Whoever was removed has to begin again, as a machine that has never been here.
    let dir = tempfile::tempdir().unwrap();
    let address = team.nodes[0].running.handle.remote_addr().unwrap();
    let set_up = Node::builder(dir.path(), Arc::new(InertExecutor::new())).join(address, Some(tokens(&store).0));
    Running::start(set_up).await.unwrap().ready().await.end().await.unwrap();
    team.end().await;
}
