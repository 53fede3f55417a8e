//! An agent beside a manager of its own node.

use swarmkit_api::{Node, NodeRole, wire::node_status::State};
use swarmkit_rpc::{Authority, Channel, Services};
use tokio::sync::watch;

use crate::cluster::{Cluster, identity};

async fn until_ready(cluster: &Cluster) {
    let is_ready = |node: &Node| node.status.state() == State::Ready;
    cluster.until("the node is ready", |view| view.get::<Node>(&"a".into()).is_some_and(|node| is_ready(node))).await;
}

#[tokio::test(start_paused = true)]
async fn the_manager_of_this_node_is_asked_before_any_other() {
    let mut cluster = Cluster::new("cluster; node a manager unknown").await;
    cluster.cut();
    let services = cluster.services(identity("a", NodeRole::Manager));
    let (_own, channel) = watch::channel(Some(Channel::here(&services)));
    let node = cluster.start_beside("a", channel);
    node.handle.ready().await.unwrap();
    until_ready(&cluster).await;
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_manager_of_this_node_that_fails_is_passed_over_for_another_one() {
    let cluster = Cluster::new("cluster; node a manager unknown").await;
    // It serves nothing, as one does that has left its group.
    let services = Services::new(Authority::fixed(identity("a", NodeRole::Manager)));
    let (_own, channel) = watch::channel(Some(Channel::here(&services)));
    let node = cluster.start_beside("a", channel);
    node.handle.ready().await.unwrap();
    until_ready(&cluster).await;
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_manager_of_this_node_that_is_the_only_one_is_asked_again() {
    let mut cluster = Cluster::new("cluster; node a manager unknown").await;
    cluster.cut();
    let services = cluster.services(identity("a", NodeRole::Manager));
    cluster.resign();
    let (_own, channel) = watch::channel(Some(Channel::here(&services)));
    let node = cluster.start_beside("a", channel);
    let mut contact = node.handle.contact();
    contact.wait_for(|contact| contact.failures >= 2).await.unwrap();
    cluster.lead();
    node.handle.ready().await.unwrap();
    node.stop().await;
}
