//! Which managers a node of a cluster knows, and which it turns to.

use std::sync::Arc;

use swarmkit_agent::{ClusterManagers, Managers as _};
use swarmkit_api::{NodeRole, wire};
use swarmkit_executor::InertExecutor;
use swarmkit_rpc::{ChannelOptions, Channels, MemoryNetwork, Remote, Remotes};
use swarmkit_runtime::Crew;
use tokio_util::sync::CancellationToken;

use crate::cluster::{Cluster, identity, next_session};

fn named(node: &str, addr: &str, weight: i64) -> wire::WeightedPeer {
    wire::WeightedPeer { peer: Some(wire::Peer { node_id: node.into(), addr: addr.into() }), weight }
}

#[tokio::test(start_paused = true)]
async fn managers_that_are_named_are_known_by_node_and_address_and_all_others_are_forgotten() {
    let env = swarmkit_testing::env();
    let bare = |address: &str| Remote { node: None, address: address.into() };
    let remote = |node: &str, address: &str| Remote { node: Some(node.into()), address: address.into() };
    let remotes = Remotes::new([bare("m1:1"), bare("old:1")], &env);
    let crew = Crew::under(&CancellationToken::new());
    let transport = Arc::new(MemoryNetwork::default().transport(Some(identity("a", NodeRole::Worker))));
    let channels = Channels::new(transport, ChannelOptions::default(), crew.spawner());
    let managers = ClusterManagers::new(remotes.clone(), channels);

    managers.learn(&[
        named("m1", "m1:1", 10),
        named("m2", "m2:1", 0),
        named("m3", "", 10),
        wire::WeightedPeer::default(),
    ]);
    assert_eq!(remotes.list(), [remote("m1", "m1:1"), remote("m2", "m2:1")]);
    managers.learn(&[named("m2", "m2:2", 10), named("m1", "m1:1", 10)]);
    assert_eq!(remotes.list(), [remote("m1", "m1:1"), remote("m2", "m2:2")]);
    crew.join().await;
}

#[tokio::test(start_paused = true)]
async fn an_agent_whose_manager_goes_away_turns_to_another_one() {
    let mut cluster = Cluster::new("node a").await;
    let agent = cluster.start_knowing("a", InertExecutor::new().hostname("a"), &["m1:4242", "m2:4242"]);
    cluster.name(&[("m1", "m1:4242"), ("m2", "m2:4242")]);
    let mut sessions = 0;
    for _ in 0..5 {
        // It is with the first, the only one that there is.
        sessions = next_session(&agent, sessions).await;
        let second = cluster.listen_at("m2", "m2:4242").await;
        cluster.cut();
        sessions = next_session(&agent, sessions).await;
        cluster.listen().await;
        drop(second);
    }
    next_session(&agent, sessions).await;
    agent.stop().await;
}
