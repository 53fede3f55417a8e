//! When a channel is used again, and when it is made anew.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use swarmkit_api::NodeRole;
use swarmkit_ca::{Credentials, RootCa};
use swarmkit_rpc::{
    Authority, ChannelOptions, Channels, MemoryNetwork, ServerOptions, TlsTransport, Transport as _, serve,
};
use tonic::Code;

use crate::world::{Desk, World, check, identity, publish, unlock_key};

fn channels(world: &World, credentials: &Credentials) -> Channels {
    let transport = Arc::new(TlsTransport::new(credentials.clone()));
    Channels::new(transport, ChannelOptions::default(), world.spawner())
}

#[tokio::test]
async fn one_connection_serves_all_calls_to_an_address() {
    let world = World::new();
    let manager = world.manager("m1").await;
    let channels = channels(&world, &world.node("m2", NodeRole::Manager));
    let opened = join_all((0..10).map(|_| channels.manager(&manager.address))).await;
    let mut callers = Vec::new();
    for channel in opened {
        check(&channel.unwrap(), "").await.unwrap();
        callers.push(manager.desk.caller().addr);
    }
    callers.dedup();
    assert_eq!(callers.len(), 1);
}

#[tokio::test]
async fn a_new_certificate_means_a_new_connection_and_the_old_one_goes_on() {
    let world = World::new();
    let manager = world.manager("m1").await;
    let credentials = world.node("n", NodeRole::Worker);
    let channels = channels(&world, &credentials);
    let old = channels.manager(&manager.address).await.unwrap();
    assert_eq!(unlock_key(&old).await.unwrap_err().code(), Code::PermissionDenied);

    credentials.replace_certificate(world.certificate("n", NodeRole::Manager)).unwrap();
    let new = channels.manager(&manager.address).await.unwrap();
    unlock_key(&new).await.unwrap();
    assert_eq!(manager.desk.caller().identity, Some(identity("n", NodeRole::Manager)));
    publish(&old, &["a"]).await.unwrap();
    assert_eq!(manager.desk.caller().identity, Some(identity("n", NodeRole::Worker)));
}

#[tokio::test]
async fn new_trust_means_a_new_connection() {
    let (world, other) = (World::new(), World::new());
    let manager = world.manager("m1").await;
    let credentials = world.node("m2", NodeRole::Manager);
    let channels = channels(&world, &credentials);
    check(&channels.manager(&manager.address).await.unwrap(), "").await.unwrap();
    let before = manager.desk.caller().addr;
    let both = format!("{}{}", world.root.bundle(), other.root.bundle());
    credentials.replace_root(RootCa::from_pem(&both, world.env.now()).unwrap()).unwrap();
    check(&channels.manager(&manager.address).await.unwrap(), "").await.unwrap();
    assert_ne!(manager.desk.caller().addr, before);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_the_server_ends_is_made_anew() {
    let world = World::new();
    let network = MemoryNetwork::default();
    let own = identity("m1", NodeRole::Manager);
    let listener = network.transport(Some(own.clone())).listen("m1").await.unwrap();
    let services = Desk::new(&world.root).services(Authority::fixed(own), None);
    let options = ServerOptions { connection_age_max: Some(Duration::from_secs(600)), ..ServerOptions::default() };
    drop(world.spawner().spawn("server", serve(listener, services, options, world.spawner())));

    let way = Arc::new(network.transport(Some(identity("m2", NodeRole::Manager))));
    let channels = Channels::new(way, ChannelOptions::default(), world.spawner());
    let first = channels.manager("m1").await.unwrap();
    first.closed().await;
    let status = check(&first, "").await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    check(&channels.manager("m1").await.unwrap(), "").await.unwrap();
}

#[tokio::test]
async fn a_failure_is_not_remembered() {
    let world = World::new();
    let channels = channels(&world, &world.node("m2", NodeRole::Manager));
    let port = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = port.local_addr().unwrap().to_string();
    drop(port);
    assert!(channels.manager(&address).await.is_err());
    assert!(channels.manager(&address).await.is_err());
    let manager = world.manager("m1").await;
    check(&channels.manager(&manager.address).await.unwrap(), "").await.unwrap();
}
