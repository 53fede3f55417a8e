//! Calls that reach a manager which does not lead.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use swarmkit_api::NodeRole;
use swarmkit_ca::Credentials;
use swarmkit_rpc::{Channel, ChannelOptions, Channels, Forward, Leader, ServerOptions, ServerRole, TlsTransport};
use tokio::sync::watch;
use tonic::Code;

use crate::world::{SUBSCRIPTIONS, Served, World, identity, listen, publish, root_bundle, unlock_key};

/// A manager that follows, with the word on who leads in the test's hand.
struct Follower {
    served: Served,
    leader: watch::Sender<Leader>,
    forward: Forward,
}

async fn follower(world: &World, node: &str, leader: Leader) -> Follower {
    let (leader, word) = watch::channel(leader);
    let own = world.node(node, NodeRole::Manager);
    let transport = Arc::new(TlsTransport::new(own));
    let channels = Channels::new(transport, ChannelOptions::default(), world.spawner());
    let forward = Forward::new(word, channels).wait(Duration::from_millis(20));
    let served = world.manager_with(node, ServerOptions::default(), Some(forward.clone())).await;
    Follower { served, leader, forward }
}

async fn leader_and_follower(world: &World) -> (Served, Follower) {
    let leader = world.manager("leader").await;
    let follower = follower(world, "follower", Leader::At(leader.address.clone())).await;
    (leader, follower)
}

async fn call(world: &World, from: &Credentials, to: &Served) -> Channel {
    world.connect(from, &to.address).await.unwrap()
}

#[tokio::test]
async fn the_leader_answers_in_the_name_of_the_first_caller() {
    let world = World::new();
    let (leader, follower) = leader_and_follower(&world).await;
    let channel = call(&world, &world.node("w1", NodeRole::Worker), &follower.served).await;
    publish(&channel, &["a", "b"]).await.unwrap();
    assert_eq!(leader.desk.published(), ["a", "b"]);
    assert_eq!(follower.served.desk.calls(), 0);
    let caller = leader.desk.caller();
    assert_eq!(caller.identity, Some(identity("w1", NodeRole::Worker)));
    assert_eq!(caller.forwarded_by, Some("follower".into()));
    assert!(caller.addr.unwrap().ip().is_loopback());
    assert!(!caller.local);
}

#[tokio::test]
async fn streams_are_passed_on_piece_by_piece_and_end_with_their_caller() {
    let world = World::new();
    let (leader, follower) = leader_and_follower(&world).await;
    let channel = call(&world, &world.node("w1", NodeRole::Worker), &follower.served).await;
    let mut stream = listen(&channel).await.unwrap();
    for n in 0..SUBSCRIPTIONS {
        assert_eq!(stream.message().await.unwrap().unwrap().id, n.to_string());
    }
    drop(stream);
    leader.desk.idle().await;
}

#[tokio::test]
async fn a_caller_without_certificate_is_passed_on_as_nobody() {
    let world = World::new();
    let (leader, follower) = leader_and_follower(&world).await;
    let joining = TlsTransport::joining(&world.root, &world.env).unwrap();
    let channel = world.connect_by(&joining, &follower.served.address, ServerRole::Authority).await.unwrap();
    assert_eq!(root_bundle(&channel).await.unwrap(), world.root.bundle());
    let caller = leader.desk.caller();
    assert_eq!((caller.identity, caller.forwarded_by), (None, Some("follower".into())));
}

#[tokio::test]
async fn what_the_caller_may_not_do_is_refused_before_it_is_passed_on() {
    let world = World::new();
    let (leader, follower) = leader_and_follower(&world).await;
    let channel = call(&world, &world.node("w1", NodeRole::Worker), &follower.served).await;
    let status = unlock_key(&channel).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    assert_eq!(leader.desk.calls(), 0);
}

#[tokio::test]
async fn the_leaders_refusal_comes_back_as_it_is() {
    let world = World::new();
    let (leader, follower) = leader_and_follower(&world).await;
    leader.authority.set_removed(BTreeSet::from(["w1".into()]));
    let channel = call(&world, &world.node("w1", NodeRole::Worker), &follower.served).await;
    let status = publish(&channel, &["a"]).await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::PermissionDenied, "Permission denied: node w1 was removed from swarm")
    );
}

#[tokio::test]
async fn a_manager_that_leads_answers_itself_as_soon_as_it_does() {
    let world = World::new();
    let (leader, follower) = leader_and_follower(&world).await;
    let channel = call(&world, &world.node("m3", NodeRole::Manager), &follower.served).await;
    unlock_key(&channel).await.unwrap();
    follower.leader.send(Leader::Here).unwrap();
    unlock_key(&channel).await.unwrap();
    assert_eq!((leader.desk.calls(), follower.served.desk.calls()), (1, 1));
    assert_eq!(follower.served.desk.caller().forwarded_by, None);
    assert!(follower.forward.leader_channel().await.unwrap().is_none());
}

#[tokio::test]
async fn a_call_is_passed_on_once() {
    let world = World::new();
    let (_, middle) = leader_and_follower(&world).await;
    let outer = follower(&world, "outer", Leader::At(middle.served.address.clone())).await;
    let channel = call(&world, &world.node("w1", NodeRole::Worker), &outer.served).await;
    let status = publish(&channel, &["a"]).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.message().starts_with("more than one redirect to leader from: 127.0.0.1:"), "{status}");
}

#[tokio::test]
async fn without_a_leader_a_call_says_so() {
    let world = World::new();
    let follower = follower(&world, "follower", Leader::unknown()).await;
    let channel = call(&world, &world.node("m3", NodeRole::Manager), &follower.served).await;
    let status = unlock_key(&channel).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().starts_with("The swarm does not have a leader."), "{status}");
}

#[tokio::test]
async fn a_leader_that_is_gone_is_unavailable() {
    let world = World::new();
    let address = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    let follower = follower(&world, "follower", Leader::At(address.clone())).await;
    let channel = call(&world, &world.node("m3", NodeRole::Manager), &follower.served).await;
    let status = unlock_key(&channel).await.unwrap_err();
    let expected = format!("cannot reach {address}: connection refused");
    assert_eq!((status.code(), status.message()), (Code::Unavailable, expected.as_str()));
}

#[tokio::test]
async fn a_call_waits_for_an_election() {
    let world = World::new();
    let leader = world.manager("leader").await;
    let follower = follower(&world, "follower", Leader::unknown()).await;
    let forward = follower.forward.clone().wait(Duration::from_secs(60));
    let elected = async {
        tokio::task::yield_now().await;
        follower.leader.send(Leader::At(leader.address.clone())).unwrap();
    };
    let (channel, ()) = tokio::join!(forward.leader_channel(), elected);
    unlock_key(&channel.unwrap().unwrap()).await.unwrap();
    assert_eq!(leader.desk.caller().identity, Some(identity("follower", NodeRole::Manager)));
}

#[tokio::test]
async fn a_worker_that_claims_to_pass_on_a_call_is_refused() {
    let world = World::new();
    let leader = world.manager("leader").await;
    let channel = call(&world, &world.node("w1", NodeRole::Worker), &leader).await;
    let forge = |mut request: tonic::Request<()>| {
        for (name, value) in [
            ("forwarded_cert", "true"),
            ("forwarded_cert_cn", "m1"),
            ("forwarded_cert_org", "ours"),
            ("forwarded_cert_ou", "swarm-manager"),
        ] {
            request.metadata_mut().insert(name, value.parse().unwrap());
        }
        Ok(request)
    };
    let mut client = swarmkit_api::wire::ca_client::CaClient::with_interceptor(channel, forge);
    let status = client.get_unlock_key(swarmkit_api::wire::GetUnlockKeyRequest {}).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    assert!(status.message().starts_with("Permission denied: unauthorized forwarder role: "), "{status}");
    assert_eq!(leader.desk.calls(), 0);
}

#[tokio::test]
async fn calls_through_the_control_socket_go_out_as_the_managers_own() {
    let world = World::new();
    let (leader, follower) = leader_and_follower(&world).await;
    let services = follower.served.desk.services(follower.served.authority.clone(), Some(&follower.forward));
    unlock_key(&Channel::here(&services)).await.unwrap();
    let caller = leader.desk.caller();
    assert_eq!(caller.identity, Some(identity("follower", NodeRole::Manager)));
    assert_eq!(caller.forwarded_by, None);
}
