//! What callers without a certificate may take, and that it is nothing that members need.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use swarmkit_api::NodeRole;
use swarmkit_ca::Identity;
use swarmkit_rpc::{
    Authority, Channel, ChannelOptions, MemoryNetwork, ServerOptions, ServerRole, StrangerLimits, TlsTransport,
    Transport as _, serve,
};
use tokio::{io::AsyncReadExt as _, net::TcpStream};
use tonic::Code;

use crate::world::{Desk, Served, World, check, identity, listen, root_bundle, root_bundle_with, unlock_key};

/// Everything here happens in less than a second; a test that waits longer has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// Room for a few, each of which has so much time.
fn few(visit_least: Duration) -> StrangerLimits {
    StrangerLimits { visits_max: 8, visit_least, visits_per_address: 8, ..StrangerLimits::default() }
}

async fn stranger(world: &World, manager: &Served) -> Channel {
    let joining = TlsTransport::joining(&world.root, &world.env).unwrap();
    world.connect_by(&joining, &manager.address, ServerRole::Authority).await.unwrap()
}

async fn in_time<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("in time")
}

#[tokio::test]
async fn connections_that_say_nothing_keep_nobody_out() {
    let world = World::new();
    let manager = world.manager_bounding(few(Duration::ZERO)).await;
    let before = world.connect(&world.node("w1", NodeRole::Worker), &manager.address).await.unwrap();
    let mut subscriptions = listen(&before).await.unwrap();
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(TcpStream::connect(&manager.address).await.unwrap());
    }
    let member = world.connect(&world.node("w2", NodeRole::Worker), &manager.address).await.unwrap();
    listen(&member).await.unwrap();
    root_bundle(&stranger(&world, &manager).await).await.unwrap();
    assert!(manager.services.visits() <= 8);
    // The oldest had to leave, whether they have said something or not.
    for stream in silent.iter_mut().take(80) {
        let read = in_time(stream.read(&mut [0; 1])).await;
        assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    }
    subscriptions.message().await.unwrap().expect("what a member has open goes on");
}

#[tokio::test]
async fn members_that_come_all_at_once_take_turns_and_then_no_place_of_strangers() {
    let world = World::new();
    let manager = world.manager_bounding(few(PATIENCE)).await;
    let members: Vec<_> = (0..20).map(|n| world.node(&format!("w{n}"), NodeRole::Worker)).collect();
    let connected = join_all(members.iter().map(|member| world.connect(member, &manager.address))).await;
    let members: Vec<_> = connected.into_iter().map(Result::unwrap).collect();
    assert_eq!(manager.services.visits(), 0, "members take no place of strangers");
    for member in &members {
        listen(member).await.unwrap();
    }
}

#[tokio::test]
async fn a_certificate_that_does_not_count_is_that_of_a_stranger() {
    let world = World::new();
    let manager = world.manager_bounding(few(PATIENCE)).await;
    let foreign = Identity::new("w".into(), NodeRole::Manager, "theirs".into());
    let foreign = world.node_of(&foreign);
    let _foreign = world.connect(&foreign, &manager.address).await.unwrap();
    assert_eq!(manager.services.visits(), 1, "a certificate of another cluster under the same root");
    manager.authority.set_removed([swarmkit_api::NodeId::from("gone")].into());
    let _gone = world.connect(&world.node("gone", NodeRole::Manager), &manager.address).await.unwrap();
    assert_eq!(manager.services.visits(), 2, "a node that was removed");
    let _nobody = stranger(&world, &manager).await;
    assert_eq!(manager.services.visits(), 3);
}

#[tokio::test]
async fn a_stranger_that_is_displaced_loses_its_connection_and_may_come_again() {
    let world = World::new();
    let manager = world.manager_bounding(StrangerLimits { visits_max: 100, ..few(PATIENCE) }).await;
    let first = stranger(&world, &manager).await;
    root_bundle(&first).await.unwrap();
    let mut others = Vec::new();
    for _ in 0..7 {
        others.push(stranger(&world, &manager).await);
    }
    assert!(first.is_open());
    others.push(stranger(&world, &manager).await);
    in_time(first.closed()).await;
    let again = stranger(&world, &manager).await;
    root_bundle(&again).await.unwrap();
    in_time(others[0].closed()).await;
    assert!(others[1..].iter().all(Channel::is_open), "only the oldest has to leave");
}

#[tokio::test]
async fn who_asks_too_often_is_refused_and_members_are_not() {
    let world = World::new();
    let limits = StrangerLimits { asked_at_once: 20, ..StrangerLimits::default() };
    let manager = world.manager_bounding(limits).await;
    let (curious, member) = (
        stranger(&world, &manager).await,
        world.connect(&world.node("w", NodeRole::Worker), &manager.address).await.unwrap(),
    );
    let mut refused = 0;
    // 200 a second come back, so the last of so many is refused however slow this machine is.
    for _ in 0..20_000 {
        match root_bundle(&curious).await {
            Ok(_) => {}
            Err(status) => {
                assert_eq!(status.code(), Code::ResourceExhausted);
                assert!(status.message().ends_with("try again later"), "{status}");
                refused += 1;
                break;
            }
        }
    }
    assert_eq!(refused, 1);
    for _ in 0..100 {
        root_bundle(&member).await.expect("what comes from the same address does not count for members");
    }
}

#[tokio::test]
async fn a_message_to_what_anyone_may_call_is_short() {
    let world = World::new();
    let manager = world.manager("m").await;
    let member = world.connect(&world.node("m2", NodeRole::Manager), &manager.address).await.unwrap();
    for channel in [stranger(&world, &manager).await, member.clone()] {
        root_bundle_with(&channel, 60 * 1024).await.unwrap();
        let refused = root_bundle_with(&channel, 70 * 1024).await.unwrap_err();
        assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
        assert_eq!(refused.message(), "the message is larger than the 65536 bytes of this call");
        root_bundle(&channel).await.unwrap();
    }
    check(&member, &"x".repeat(1024 * 1024)).await.unwrap();
    unlock_key(&member).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stranger_does_not_stay() {
    let world = World::new();
    let network = MemoryNetwork::default();
    let own = identity("m", NodeRole::Manager);
    let listener = network.transport(Some(own.clone())).listen("m").await.unwrap();
    let services = Desk::new(&world.root).services(Authority::fixed(own), None);
    drop(world.spawner().spawn("server", serve(listener, services, ServerOptions::default(), world.spawner())));
    let options = ChannelOptions { keep_alive: None, ..ChannelOptions::default() };
    let connect = async |own| {
        let way = Arc::new(network.transport(own));
        Channel::connect(&*way, "m", ServerRole::Authority, &options, &world.spawner()).await.unwrap()
    };
    let (stranger, member) = (connect(None).await, connect(Some(identity("w", NodeRole::Worker))).await);
    let begin = tokio::time::Instant::now();
    stranger.closed().await;
    assert!(begin.elapsed() <= Duration::from_secs(130), "{:?}", begin.elapsed());
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert!(member.is_open());
}
