//! Registering, staying alive, and being lost.

use std::time::Duration;

use swarmkit_api::{Cluster, Node, NodeId, TaskState, wire};
use swarmkit_dispatcher::DispatcherConfig;
use tokio::time::{advance, sleep};
use tokio_util::sync::CancellationToken;
use tonic::Code;
use wire::node_status::State as NodeState;

use crate::world::{World, peer, refusal};

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 3600);

#[tokio::test(start_paused = true)]
async fn a_node_that_registers_is_ready_and_gets_everything_it_needs_to_know() {
    let world = World::new("cluster; node a down").await;
    world
        .write(|tx| {
            tx.edit::<Cluster>(&cluster_id(tx), |cluster| {
                std::sync::Arc::make_mut(&mut cluster.root_ca).ca_cert = "root".into();
                cluster.network_bootstrap_keys = vec![wire::EncryptionKey { lamport_time: 3, ..Default::default() }];
            })
        })
        .await;
    let message = world.open("a", "").await.unwrap().next().await;
    assert!(!message.session_id.is_empty());
    assert_eq!(message.node.unwrap().id, "a");
    let manager = wire::WeightedPeer { peer: Some(peer("m1")), weight: 10 };
    assert_eq!(message.managers, [manager]);
    assert_eq!(message.root_ca, "root");
    assert_eq!(message.network_bootstrap_keys[0].lamport_time, 3);
    let node = world.node("a");
    assert_eq!((node.status.state(), node.status.addr.as_str(), node.hostname()), (NodeState::Ready, "10.1.2.3", "a"));
}

fn cluster_id(state: &swarmkit_store::State) -> swarmkit_api::ClusterId {
    state.all::<Cluster>().next().unwrap().id.clone()
}

#[tokio::test(start_paused = true)]
async fn who_is_no_member_cannot_register() {
    let world = World::new("node a").await;
    assert_eq!(refusal(world.open("b", "").await), (Code::Unknown, "node not found".into()));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_comes_a_moment_before_the_term_begins_is_waited_with() {
    let world = World::stopped("node a", DispatcherConfig::default());
    assert_eq!(refusal(world.open("a", "").await), (Code::Aborted, "dispatcher is stopped".into()));

    let stop = CancellationToken::new();
    let open = async {
        let opened = world.open("a", "").await;
        stop.cancel();
        opened
    };
    let lead = async {
        sleep(Duration::from_millis(100)).await;
        world.dispatcher.run(stop.clone()).await
    };
    let (opened, led) = tokio::join!(open, lead);
    led.unwrap();
    assert!(opened.is_ok());
}

#[tokio::test(start_paused = true)]
async fn registering_again_makes_a_new_session_and_ends_the_old_one() {
    let world = World::new("node a").await;
    let mut first = world.open("a", "").await.unwrap();
    let old = first.next().await.session_id;
    let mut assignments = world.assignments("a", &old).await.unwrap();
    assignments.next().await;
    let new = world.register("a").await;
    assert_ne!(old, new);
    let refused = (Code::InvalidArgument, "session invalid".to_owned());
    assert_eq!(refusal(world.beat("a", &old).await), refused);
    assert_eq!(refusal(assignments.try_next().await), refused);
    while let Ok(message) = first.try_next().await {
        assert_eq!(message.session_id, old);
    }
}

#[tokio::test(start_paused = true)]
async fn coming_back_with_the_session_keeps_it_and_takes_the_new_description() {
    let world = World::new("node a").await;
    let session = world.register("a").await;
    let description = wire::NodeDescription { hostname: "renamed".into(), ..Default::default() };
    let mut again = world.announce("a", &session, description).await.unwrap();
    assert_eq!(again.next().await.session_id, session);
    while world.node("a").hostname() != "renamed" {
        again.next().await;
    }
    world.beat("a", &session).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_node_may_register_three_times_in_eight_seconds() {
    let world = World::new("node a").await;
    for _ in 0..3 {
        world.register("a").await;
    }
    let refused = (Code::Unavailable, "node a exceeded rate limit count of registrations".to_owned());
    assert_eq!(refusal(world.open("a", "").await), refused);
    sleep(Duration::from_millis(8001)).await;
    world.register("a").await;
}

#[tokio::test(start_paused = true)]
async fn attempts_that_were_refused_do_not_count_against_a_node() {
    let world = World::new("node a").await;
    for _ in 0..3 {
        world.register("a").await;
    }
    for _ in 0..8 {
        assert_eq!(refusal(world.open("a", "").await).0, Code::Unavailable);
        sleep(Duration::from_secs(1)).await;
    }
    sleep(Duration::from_millis(1)).await;
    world.register("a").await;
}

#[tokio::test(start_paused = true)]
async fn coming_back_with_the_session_is_no_registration() {
    let world = World::new("node a").await;
    let session = world.register("a").await;
    for _ in 0..10 {
        assert_eq!(world.open("a", &session).await.unwrap().next().await.session_id, session);
    }
    world.register("a").await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_breaks_costs_a_node_nothing() {
    let world = World::new("node a").await;
    let session = world.register("a").await;
    for _ in 0..10 {
        drop(world.open("a", &session).await.unwrap());
        sleep(world.beat("a", &session).await.unwrap()).await;
    }
    assert_eq!(world.condition("a").0, NodeState::Ready);
}

#[tokio::test(start_paused = true)]
async fn without_a_window_a_node_may_register_as_often_as_it_likes() {
    let config = DispatcherConfig { registration_window: Duration::ZERO, ..DispatcherConfig::default() };
    let world = World::with("node a", config).await;
    for _ in 0..20 {
        world.register("a").await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_gives_a_period_around_the_configured_one() {
    let world = World::new("node a").await;
    let session = world.register("a").await;
    for _ in 0..50 {
        let period = world.beat("a", &session).await.unwrap();
        assert!((Duration::from_millis(4500)..Duration::from_millis(5500)).contains(&period), "{period:?}");
    }
    assert_eq!(refusal(world.beat("a", "").await), (Code::InvalidArgument, "session invalid".into()));
    assert_eq!(refusal(world.beat("b", &session).await), (Code::NotFound, "node not registered".into()));
}

#[tokio::test(start_paused = true)]
async fn the_period_of_the_clusters_specification_counts() {
    let world = World::new("cluster; node a").await;
    let session = world.register("a").await;
    world
        .write(|tx| {
            tx.edit::<Cluster>(&cluster_id(tx), |cluster| {
                let period = Some(prost_types::Duration { seconds: 60, nanos: 0 });
                let spec = std::sync::Arc::make_mut(&mut cluster.spec);
                spec.dispatcher = Some(wire::DispatcherConfig { heartbeat_period: period });
            })
        })
        .await;
    tokio::task::yield_now().await;
    let period = world.beat("a", &session).await.unwrap();
    assert!((Duration::from_millis(59_500)..Duration::from_millis(60_500)).contains(&period), "{period:?}");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_calls_stays_ready_and_one_that_falls_silent_is_down() {
    let world = World::new("node a; node b").await;
    let (a, b) = (world.register("a").await, world.register("b").await);
    for _ in 0..20 {
        let period = world.beat("a", &a).await.unwrap();
        sleep(period).await;
    }
    assert_eq!(world.condition("a"), (NodeState::Ready, String::new()));
    assert_eq!(world.condition("b"), (NodeState::Down, "heartbeat failure".into()));
    assert_eq!(refusal(world.beat("b", &b).await), (Code::NotFound, "node not registered".into()));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_was_down_comes_back() {
    let world = World::new("node a").await;
    world.register("a").await;
    sleep(MINUTE).await;
    assert_eq!(world.condition("a").0, NodeState::Down);
    world.register("a").await;
    assert_eq!(world.condition("a"), (NodeState::Ready, String::new()));
}

#[tokio::test(start_paused = true)]
async fn a_new_leader_knows_of_no_node_whether_it_lives_except_of_those_that_are_down() {
    let world = World::new("node a; node b down").await;
    sleep(Duration::from_secs(1)).await;
    let unknown = "Node moved to \"unknown\" state due to leadership change in cluster";
    assert_eq!(world.condition("a"), (NodeState::Unknown, unknown.into()));
    assert_eq!(world.condition("b").0, NodeState::Down);
    assert_eq!(refusal(world.beat("a", "x").await), (Code::InvalidArgument, "session invalid".into()));
    sleep(Duration::from_secs(25)).await;
    assert_eq!(world.condition("a").0, NodeState::Unknown);
    sleep(Duration::from_secs(8)).await;
    assert_eq!(world.condition("a"), (NodeState::Down, "heartbeat failure for node in \"unknown\" state".into()));
}

#[tokio::test(start_paused = true)]
async fn after_a_change_of_leader_no_node_that_comes_back_is_ever_down() {
    let names: Vec<_> = (0..50).map(|n| format!("n{n}")).collect();
    let text: String = names.iter().map(|name| format!("node {name};")).collect();
    let mut world = World::new(&text).await;
    for name in &names {
        world.register(name).await;
    }
    let mut watch = world.store.watch(swarmkit_api::Kind::Node);
    world.resign().await;
    world.lead().await;
    for (n, name) in names.iter().enumerate() {
        advance(Duration::from_millis(500)).await;
        let session = world.register(name).await;
        world.beat(name, &session).await.unwrap();
        assert_eq!(world.condition(name), (NodeState::Ready, String::new()), "after {n}");
    }
    watch.next().await.unwrap();
    while let Some(swarmkit_store::Update::Delta(delta)) = watch.try_next().unwrap() {
        for change in delta.changes.iter() {
            let node = change.as_::<Node>().unwrap().object();
            let late = node.status.state() == NodeState::Down;
            assert!(!late, "{} was marked down", node.id);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn calls_are_refused_while_another_manager_leads() {
    let mut world = World::new("node a").await;
    let mut stream = world.open("a", "").await.unwrap();
    let session = stream.next().await.session_id;
    let mut assignments = world.assignments("a", &session).await.unwrap();
    assignments.next().await;
    world.resign().await;
    let mut last = None;
    let end = loop {
        match stream.try_next().await {
            Ok(message) => last = Some(message),
            Err(status) => break status,
        }
    };
    assert!(!last.expect("a last word").managers.is_empty());
    assert_eq!((end.code(), end.message()), (Code::Aborted, "node must disconnect"));
    assert_eq!(assignments.try_next().await.unwrap_err().code(), Code::Cancelled);
    let stopped = (Code::Aborted, "dispatcher is stopped".to_owned());
    assert_eq!(refusal(world.open("a", &session).await), stopped);
    assert_eq!(refusal(world.beat("a", &session).await), stopped);
    world.lead().await;
    assert_eq!(refusal(world.beat("a", &session).await), (Code::InvalidArgument, "session invalid".into()));
}

#[tokio::test(start_paused = true)]
async fn two_terms_at_once_are_refused() {
    let world = World::new("node a").await;
    let error = world.dispatcher.run(tokio_util::sync::CancellationToken::new()).await.unwrap_err();
    assert_eq!(error.to_string(), "dispatcher is already running");
    world.register("a").await;
}

#[tokio::test(start_paused = true)]
async fn tasks_of_a_node_that_is_down_for_a_day_are_lost() {
    let text =
        "node a; node b; task w.1 on a running; task w.2 on a complete; task w.3 on b running; task w.4 on a pending";
    let world = World::new(text).await;
    let b = world.register("b").await;
    let keep_b = async {
        loop {
            sleep(world.beat("b", &b).await.unwrap()).await;
        }
    };
    tokio::select! { biased;
        () = keep_b => {}
        () = sleep(DAY) => {}
    }
    assert_eq!(world.task("w.1").status.state, TaskState::Running);
    sleep(MINUTE).await;
    let lost = world.task("w.1").status;
    assert_eq!(lost.state, TaskState::Orphaned);
    assert!(lost.timestamp.is_some() && !lost.message.is_empty());
    assert_eq!(world.task("w.2").status.state, TaskState::Complete);
    assert_eq!(world.task("w.3").status.state, TaskState::Running);
    assert_eq!(world.task("w.4").status.state, TaskState::Pending);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_comes_back_within_the_day_keeps_its_tasks() {
    let world = World::new("node a; task w.1 on a running").await;
    sleep(DAY - MINUTE).await;
    let session = world.register("a").await;
    for _ in 0..60 {
        sleep(world.beat("a", &session).await.unwrap()).await;
    }
    assert_eq!(world.task("w.1").status.state, TaskState::Running);
}

#[tokio::test(start_paused = true)]
async fn a_new_leader_does_not_begin_the_day_anew() {
    let mut world = World::new("node a; task w.1 on a running").await;
    sleep(MINUTE).await;
    assert_eq!(world.condition("a").0, NodeState::Down);
    sleep(DAY / 2).await;
    world.resign().await;
    world.lead().await;
    sleep(DAY / 2).await;
    assert_eq!(world.task("w.1").status.state, TaskState::Orphaned);
}

#[tokio::test(start_paused = true)]
async fn who_edits_a_node_that_is_down_does_not_begin_its_day_anew_whoever_leads() {
    let mut world = World::new("node a; task w.1 on a running").await;
    sleep(MINUTE).await;
    let since = world.node("a").status.down_since;
    assert!(since.is_some());
    for number in 0..4 {
        sleep(DAY / 8).await;
        let label = |node: &mut swarmkit_api::Node| {
            let annotations = std::sync::Arc::make_mut(&mut node.spec).annotations.get_or_insert_default();
            annotations.labels.insert("edited".to_owned(), number.to_string());
        };
        world.write(|tx| tx.edit(&"a".into(), label).map(drop)).await;
        world.resign().await;
        world.lead().await;
    }
    assert_eq!(world.node("a").status.down_since, since);
    sleep(DAY / 2 - 5 * MINUTE).await;
    assert_eq!(world.task("w.1").status.state, TaskState::Running);
    sleep(5 * MINUTE).await;
    assert_eq!(world.task("w.1").status.state, TaskState::Orphaned);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_removed_loses_its_session() {
    let world = World::new("node a").await;
    let session = world.register("a").await;
    let mut assignments = world.assignments("a", &session).await.unwrap();
    assignments.next().await;
    world.write(|tx| tx.delete::<Node>(&NodeId::from("a"))).await;
    let gone = (Code::NotFound, "node not registered".to_owned());
    assert_eq!(refusal(assignments.try_next().await), gone);
    assert_eq!(refusal(world.beat("a", &session).await), gone);
}

#[tokio::test(start_paused = true)]
async fn whatever_a_session_shows_is_shown_again_when_it_changes() {
    let world = World::new("cluster; node a").await;
    let mut stream = world.open("a", "").await.unwrap();
    stream.next().await;
    assert!(stream.is_silent().await);

    world.managers.send(vec![peer("m1"), peer("m2")]).unwrap();
    assert_eq!(stream.next().await.managers.len(), 2);

    world.write(|tx| tx.edit::<Cluster>(&cluster_id(tx), |c| c.network_bootstrap_keys.push(Default::default()))).await;
    assert_eq!(stream.next().await.network_bootstrap_keys.len(), 1);

    world
        .write(|tx| {
            tx.edit::<Cluster>(&cluster_id(tx), |c| std::sync::Arc::make_mut(&mut c.root_ca).ca_cert = "new".into())
        })
        .await;
    assert_eq!(stream.next().await.root_ca, "new");

    world.write(|tx| tx.edit::<Node>(&"a".into(), |n| n.vxlan_udp_port = 4790)).await;
    assert_eq!(stream.next().await.node.unwrap().vxlanudp_port, 4790);

    world.write(|tx| tx.edit::<Cluster>(&cluster_id(tx), |c| c.fips = true)).await;
    assert!(stream.is_silent().await, "nothing that is shown has changed");
}
