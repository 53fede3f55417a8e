//! Every call ends.

use std::time::Duration;

use swarmkit_api::{NodeRole, wire};
use swarmkit_rpc::{Channel, ChannelOptions, MemoryNetwork, ServerOptions, ServerRole, Transport as _, serve};
use tokio::time::Instant;
use tonic::{Code, Request};

use crate::world::{Desk, NEVER, SUBSCRIPTIONS, World, check, identity, listen};

/// A manager in memory, so that time can be paused, and a connection to it.
async fn connected(world: &World) -> (Desk, Channel) {
    let network = MemoryNetwork::default();
    let own = identity("m1", NodeRole::Manager);
    let listener = network.transport(Some(own.clone())).listen("m1").await.unwrap();
    let desk = Desk::new(&world.root);
    let services = desk.services(swarmkit_rpc::Authority::fixed(own), None);
    drop(world.spawner().spawn("server", serve(listener, services, ServerOptions::default(), world.spawner())));
    let transport = network.transport(Some(identity("m2", NodeRole::Manager)));
    let options = ChannelOptions::default();
    let channel = Channel::connect(&transport, "m1", ServerRole::Manager, &options, &world.spawner()).await.unwrap();
    (desk, channel)
}

#[tokio::test(start_paused = true)]
async fn a_call_that_sets_a_deadline_ends_by_then_on_both_sides() {
    let world = World::new();
    let (desk, channel) = connected(&world).await;
    let mut request = Request::new(wire::HealthCheckRequest { service: NEVER.to_owned() });
    request.set_timeout(Duration::from_secs(3));
    let start = Instant::now();
    let status = wire::health_client::HealthClient::new(channel).check(request).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(start.elapsed().as_secs(), 3);
    desk.idle().await;
}

#[tokio::test(start_paused = true)]
async fn a_call_without_a_deadline_is_given_one() {
    let world = World::new();
    let (desk, channel) = connected(&world).await;
    let start = Instant::now();
    let status = check(&channel, NEVER).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(start.elapsed(), ChannelOptions::default().unary_timeout);
    desk.idle().await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_goes_on_without_one() {
    let world = World::new();
    let (_, channel) = connected(&world).await;
    let mut stream = listen(&channel).await.unwrap();
    for _ in 0..SUBSCRIPTIONS {
        stream.message().await.unwrap().unwrap();
    }
    let waited = tokio::time::timeout(Duration::from_secs(600), stream.message()).await;
    assert!(waited.is_err(), "the stream is open still");
}

#[tokio::test(start_paused = true)]
async fn a_stream_with_a_deadline_ends_by_then() {
    let world = World::new();
    let (desk, channel) = connected(&world).await;
    let mut request = Request::new(wire::ListenSubscriptionsRequest {});
    request.set_timeout(Duration::from_secs(3));
    let mut client = wire::log_broker_client::LogBrokerClient::new(channel);
    let mut stream = client.listen_subscriptions(request).await.unwrap().into_inner();
    for _ in 0..SUBSCRIPTIONS {
        stream.message().await.unwrap().unwrap();
    }
    assert_eq!(stream.message().await.unwrap_err().code(), Code::DeadlineExceeded);
    desk.idle().await;
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_gives_up_ends_the_work_for_it() {
    let world = World::new();
    let (desk, channel) = connected(&world).await;
    tokio::select! { biased; // the call is made before it is given up
        _ = check(&channel, NEVER) => panic!("never answered"),
        () = desk.busy() => {}
    }
    desk.idle().await;
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_no_longer_lives_is_noticed_while_calls_are_open() {
    let network = MemoryNetwork::default();
    let own = identity("m1", NodeRole::Manager);
    let mut listener = network.transport(Some(own)).listen("m1").await.unwrap();
    let world = World::new();
    let transport = network.transport(Some(identity("m2", NodeRole::Manager)));
    let options = ChannelOptions::default();
    let spawner = world.spawner();
    let dead_server = async {
        let mut link = listener.accept().await.unwrap().handshake.await.unwrap();
        let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
        tokio::io::AsyncWriteExt::write_all(&mut link.stream, &settings).await.unwrap();
        link
    };
    let connect = Channel::connect(&transport, "m1", ServerRole::Manager, &options, &spawner);
    let (channel, _open) = tokio::join!(connect, dead_server);
    let channel = channel.unwrap();
    let start = Instant::now();
    let status = listen(&channel).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    assert!(start.elapsed() <= Duration::from_secs(50), "{:?}", start.elapsed());
    channel.closed().await;
    assert!(!channel.is_open());
}
