//! How a server ends.

use std::{sync::Arc, time::Duration};

use swarmkit_api::NodeRole;
use swarmkit_rpc::{
    Authority, Channel, ChannelOptions, Channels, MemoryNetwork, MemoryTransport, ServerOptions, ServerRole,
    Transport as _, serve,
};
use swarmkit_runtime::Crew;
use tokio::{io::AsyncReadExt as _, time::Instant};
use tokio_util::sync::CancellationToken;
use tonic::Code;

use crate::world::{Desk, SOON, World, check, identity, listen};

/// A server on a crew of its own, with time in the test's hand, and a way to it.
struct Hall {
    world: World,
    stop: CancellationToken,
    crew: Crew,
    desk: Desk,
    way: MemoryTransport,
}

async fn hall(options: ServerOptions) -> Hall {
    let world = World::new();
    let stop = CancellationToken::new();
    let mut crew = Crew::under(&stop);
    let network = MemoryNetwork::default();
    let own = identity("m1", NodeRole::Manager);
    let listener = network.transport(Some(own.clone())).listen("m1").await.unwrap();
    let desk = Desk::new(&world.root);
    let serving = serve(listener, desk.services(Authority::fixed(own), None), options, crew.spawner());
    crew.spawn("server", async move |_| {
        serving.await;
        Ok::<(), std::io::Error>(())
    });
    let way = network.transport(Some(identity("m2", NodeRole::Manager)));
    Hall { world, stop, crew, desk, way }
}

impl Hall {
    async fn enter(&self) -> Channel {
        let options = ChannelOptions::default();
        Channel::connect(&self.way, "m1", ServerRole::Manager, &options, &self.world.spawner()).await.unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn with_nothing_open_it_ends_at_once() {
    let hall = hall(ServerOptions::default()).await;
    let channel = hall.enter().await;
    check(&channel, "").await.unwrap();
    hall.stop.cancel();
    let start = Instant::now();
    hall.crew.finish().await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    channel.closed().await;
    assert!(matches!(check(&channel, "").await.unwrap_err().code(), Code::Unavailable));
}

#[tokio::test(start_paused = true)]
async fn an_open_call_is_given_time_and_no_more() {
    let hall = hall(ServerOptions::default()).await;
    let channel = hall.enter().await;
    let mut stream = listen(&channel).await.unwrap();
    stream.message().await.unwrap().unwrap();
    hall.stop.cancel();
    let start = Instant::now();
    hall.crew.finish().await.unwrap();
    assert_eq!(start.elapsed(), ServerOptions::default().drain);
    hall.desk.idle().await;
    while let Ok(message) = stream.message().await {
        assert!(message.is_some(), "a stream that was cut off does not end well");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_finishes_while_draining_is_answered() {
    let hall = hall(ServerOptions::default()).await;
    let channel = hall.enter().await;
    let start = Instant::now();
    let stopping = async {
        hall.desk.busy().await;
        hall.stop.cancel();
    };
    let (answer, ()) = tokio::join!(check(&channel, SOON), stopping);
    answer.unwrap();
    hall.crew.finish().await.unwrap();
    assert_eq!(start.elapsed().as_secs(), 1);
}

#[tokio::test(start_paused = true)]
async fn more_connections_than_allowed_wait_for_their_turn() {
    let hall = hall(ServerOptions { connections_max: 1, ..ServerOptions::default() }).await;
    let first = hall.enter().await;
    check(&first, "").await.unwrap();
    let options = ChannelOptions::default();
    let spawner = hall.world.spawner();
    let second = Channel::connect(&hall.way, "m1", ServerRole::Manager, &options, &spawner).await;
    assert_eq!(second.unwrap_err().to_string(), "m1 took the connection and said nothing within 5000 ms");
    check(&first, "").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_silent_caller_is_shown_out() {
    let hall = hall(ServerOptions::default()).await;
    let mut link = hall.way.dial("m1", ServerRole::Manager).await.unwrap();
    let mut seen = Vec::new();
    let start = Instant::now();
    link.stream.read_to_end(&mut seen).await.unwrap();
    assert_eq!(start.elapsed(), ServerOptions::default().handshake_timeout);
    assert!(!seen.is_empty(), "it was spoken to first");
}

#[tokio::test(start_paused = true)]
async fn an_old_connection_is_ended_and_its_calls_first() {
    let age = Duration::from_secs(600);
    let hall = hall(ServerOptions { connection_age_max: Some(age), ..ServerOptions::default() }).await;
    let channel = hall.enter().await;
    let start = Instant::now();
    channel.closed().await;
    assert!(start.elapsed() >= age && start.elapsed() < age + Duration::from_secs(10), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn channels_that_are_closed_hold_up_no_crew_though_somebody_keeps_one() {
    let hall = hall(ServerOptions::default()).await;
    let crew = Crew::under(&CancellationToken::new());
    let channels = Channels::new(Arc::new(hall.way.clone()), ChannelOptions::default(), crew.spawner());
    let kept = channels.manager("m1").await.unwrap();
    check(&kept, "").await.unwrap();
    channels.close();
    tokio::time::timeout(Duration::from_secs(1), crew.finish()).await.expect("it ends").unwrap();
    assert!(!kept.is_open());
    let refused = channels.manager("m1").await.unwrap_err().to_string();
    assert_eq!(refused, "m1 closed the connection: this node is stopping");
}
