//! Leaders whose writes take their time, or fail.

use std::time::Duration;

use futures_util::{FutureExt as _, future::join_all};
use swarmkit_api::{Kind, Node, TaskState};
use swarmkit_dispatcher::DispatcherConfig;
use swarmkit_store::{Update, Watch};
use tokio::time::{Instant, sleep};
use tonic::Code;
use wire::node_status::State as NodeState;

use crate::{
    gate::Gate,
    world::{World, refusal},
};
use swarmkit_api::wire;

async fn world(text: &str) -> (Gate, World) {
    let (gate, store) = Gate::store();
    swarmkit_testing::amend(&store, text);
    let mut world = World::over(store, DispatcherConfig::default());
    world.lead().await;
    (gate, world)
}

/// Never ends, and fails when a node is marked down.
async fn nobody_is_down(mut watch: Watch) {
    loop {
        let update = watch.next().await.unwrap();
        let nodes: Vec<_> = match &update {
            Update::Snapshot(view) => view.all::<Node>().cloned().collect(),
            Update::Delta(delta) => {
                delta.changes.iter().filter_map(|change| change.as_::<Node>()?.after.clone()).collect()
            }
        };
        for node in nodes {
            assert_ne!(node.status.state(), NodeState::Down, "{}: {}", node.id, node.status.message);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_registration_that_waits_for_its_write_ends_with_the_term() {
    let (gate, world) = world("node a").await;
    sleep(Duration::from_secs(1)).await;
    gate.hold();
    let before = Instant::now();
    let open = async { refusal(world.open("a", "").await) };
    let resign = async {
        sleep(Duration::from_millis(1)).await;
        world.resign().await;
    };
    let (refused, ()) = tokio::join!(open, resign);
    assert_eq!(refused, (Code::Aborted, "dispatcher is stopped".into()));
    assert_eq!(before.elapsed(), Duration::from_millis(1));
    gate.open();
}

#[tokio::test(start_paused = true)]
async fn a_registration_is_answered_when_it_is_written_whatever_else_is() {
    let (gate, world) = world("node a; node b").await;
    sleep(Duration::from_secs(1)).await;
    gate.hold();
    let open = async { world.register("a").await };
    let release = async {
        sleep(Duration::from_secs(40)).await;
        assert_eq!(world.condition("a").0, NodeState::Unknown);
        gate.open();
    };
    let (session, ()) = tokio::join!(open, release);
    assert_eq!(world.condition("a").0, NodeState::Ready);
    world.beat("a", &session).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_cannot_be_written_down_is_told_so_and_may_try_again() {
    let (gate, world) = world("node a; task w.1 on a assigned").await;
    sleep(Duration::from_secs(1)).await;
    gate.fail();
    assert_eq!(refusal(world.open("a", "").await).0, Code::Unavailable);
    gate.open();
    let session = world.register("a").await;
    gate.fail();
    let report = world.report("a", &session, &[("w.1", TaskState::Running)]).await;
    assert_eq!(refusal(report).0, Code::Unavailable);
    assert_eq!(world.task("w.1").status.state, TaskState::Assigned);
    gate.open();
    world.report("a", &session, &[("w.1", TaskState::Running)]).await.unwrap();
    assert_eq!(world.task("w.1").status.state, TaskState::Running);
}

#[tokio::test(start_paused = true)]
async fn reports_that_wait_for_the_same_write_are_merged_by_state_and_all_are_answered() {
    let (gate, world) = world("node a; task w.1 on a assigned; task w.2 on a assigned").await;
    let session = world.register("a").await;
    gate.hold();
    let report = async |after: u64, task: &str, state: TaskState| {
        sleep(Duration::from_millis(after)).await;
        world.report("a", &session, &[(task, state)]).await.unwrap();
    };
    let release = async {
        sleep(Duration::from_secs(1)).await;
        assert_eq!(world.task("w.1").status.state, TaskState::Assigned);
        gate.open();
    };
    tokio::join!(
        // This one is being written when the others come.
        report(0, "w.2", TaskState::Accepted),
        report(1, "w.1", TaskState::Running),
        report(2, "w.1", TaskState::Starting),
        release,
    );
    let states = ["w.1", "w.2"].map(|task| world.task(task).status.state);
    assert_eq!(states, [TaskState::Running, TaskState::Accepted]);
}

#[tokio::test(start_paused = true)]
async fn a_report_that_the_term_does_not_live_to_write_is_refused() {
    let (gate, world) = world("node a; task w.1 on a assigned").await;
    let session = world.register("a").await;
    gate.hold();
    let report = async { refusal(world.report("a", &session, &[("w.1", TaskState::Running)]).await) };
    let resign = async {
        sleep(Duration::from_millis(1)).await;
        world.resign().await;
    };
    let (refused, ()) = tokio::join!(report, resign);
    assert_eq!(refused, (Code::Aborted, "dispatcher is stopped".into()));
    gate.open();
}

#[tokio::test(start_paused = true)]
async fn what_the_dispatcher_has_to_say_itself_is_written_as_soon_as_that_works() {
    let (gate, world) = world("node a").await;
    world.register("a").await;
    gate.fail();
    sleep(Duration::from_secs(30)).await;
    assert_eq!(world.condition("a").0, NodeState::Ready);
    gate.open();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(world.condition("a"), (NodeState::Down, "heartbeat failure".into()));
}

#[tokio::test(start_paused = true)]
async fn when_a_slow_leader_takes_over_and_every_node_comes_back_none_of_them_is_ever_down() {
    let names: Vec<_> = (0..500_u64).map(|n| format!("n{n:03}")).collect();
    let text: String = names.iter().map(|name| format!("node {name};")).collect();
    let (gate, mut world) = world(&text).await;
    join_all(names.iter().map(|name| world.register(name))).await;
    world.resign().await;

    let watch = world.store.watch(Kind::Node);
    gate.hold();
    world.lead().await;
    let nodes = async {
        join_all(names.iter().enumerate().map(|(n, name)| {
            let (world, n) = (&world, n as u64);
            async move {
                // Each comes back in its own time, before six periods are over.
                sleep(Duration::from_millis(n * 50)).await;
                let session = world.register(name).await;
                for _ in 0..5 {
                    // Late, and still within the grace of three of the shortest periods.
                    world.beat(name, &session).await.unwrap();
                    sleep(Duration::from_millis(13_400)).await;
                }
                world.beat(name, &session).await.unwrap();
            }
        }))
        .await;
    };
    let release = async {
        // Longer than any deadline of those that wait.
        sleep(Duration::from_secs(70)).await;
        gate.open();
    };
    let all = async { tokio::join!(nodes, release) };
    tokio::select! { biased; // what is wrong first
        () = nobody_is_down(watch) => unreachable!("it never ends"),
        _ = all => {}
    }
    assert!(names.iter().all(|name| world.condition(name) == (NodeState::Ready, String::new())));
}

#[tokio::test(start_paused = true)]
async fn a_manager_that_was_stopped_for_a_while_hears_its_nodes_before_it_judges_them() {
    let (_gate, world) = world("node a; node b").await;
    let a = world.register("a").await;
    world.register("b").await;
    // The clock goes on, and nothing else does.
    tokio::time::advance(Duration::from_secs(120)).await;
    assert!(sleep(Duration::from_secs(1)).now_or_never().is_none());
    sleep(Duration::from_secs(1)).await;
    assert_eq!(world.condition("a").0, NodeState::Ready);
    for _ in 0..5 {
        sleep(world.beat("a", &a).await.unwrap()).await;
    }
    assert_eq!(world.condition("a").0, NodeState::Ready);
    assert_eq!(world.condition("b"), (NodeState::Down, "heartbeat failure".into()));
}
