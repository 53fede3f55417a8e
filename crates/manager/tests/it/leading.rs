//! Leadership that changes, and what callers and the managers themselves notice of it.

use std::{process::Command, time::Duration};

use swarmkit_api::{NodeRole, Service, wire};
use swarmkit_manager::Begin;
use tokio::{runtime::Handle, time::Instant};
use tonic::Code;
use wire::control_client::ControlClient;

use crate::{
    group::{Seat, cluster, leader, members},
    said::Said,
    world::{Machine, Running, identity, in_time, settle, until, web},
};

/// Forced changes of leadership.
const CHANGES: usize = 1000;
/// How many of them fill caches and pools before anything is counted.
const WARM_UP: usize = 200;

/// The memory of this process that is in use, in bytes.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split_whitespace().nth(1).unwrap().parse().unwrap();
    pages * 4096
}

/// Waits until everything that follows from a change has happened, and counts the futures that are alive then.
async fn futures_at_rest() -> usize {
    tokio::time::sleep(Duration::from_secs(5)).await;
    settle().await;
    Handle::current().metrics().num_alive_tasks()
}

/// Set in the process that [`a_thousand_changes_of_leadership_leave_nothing_behind`] starts for itself.
const ALONE: &str = "SWARMKIT_TEST_ALONE";

#[test]
fn a_thousand_changes_of_leadership_leave_nothing_behind() {
    if std::env::var_os(ALONE).is_some() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
        return runtime.unwrap().block_on(a_thousand_changes());
    }
    // Memory is that of a process, so no other test may run in it.
    let this = "leading::a_thousand_changes_of_leadership_leave_nothing_behind";
    let mut alone = Command::new(std::env::current_exe().unwrap());
    let output = alone.args(["--exact", this, "--nocapture"]).env(ALONE, "1").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

async fn a_thousand_changes() {
    let seats = cluster(&["m2", "m3"]).await;
    let mut counted = None;
    for change in 0..CHANGES {
        let at = leader(&seats).await;
        // Another one may have been quicker.
        let _ = seats[at].manager().handle.hand_over().await;
        if change == WARM_UP {
            leader(&seats).await;
            counted = Some((futures_at_rest().await, resident()));
        }
    }
    leader(&seats).await;
    let (futures, memory) = counted.unwrap();
    let (futures_after, memory_after) = (futures_at_rest().await, resident());
    assert!(futures_after <= futures + 3, "{futures} futures became {futures_after}");
    let grown = memory_after.saturating_sub(memory);
    assert!(grown < 32 << 20, "{CHANGES} changes have cost {grown} bytes");
    let view = seats[0].manager().store().view();
    assert!(view.cluster().is_some());
}

#[tokio::test(start_paused = true)]
async fn calls_through_any_manager_succeed_while_leadership_changes() {
    let seats = cluster(&["m2", "m3"]).await;
    for round in 0..30 {
        let at = leader(&seats).await;
        let handing = seats[at].manager().handle.hand_over();
        let mut client = seats[round % 3].manager().control();
        let (_, made) = tokio::join!(handing, client.create_service(web(&format!("s{round}"), 1)));
        match made {
            Ok(_) => {}
            // The one answer that must not be repeated by whoever passes it on.
            Err(status) => assert!(status.message().contains("outcome is not known"), "{status}"),
        }
        client.list_services(wire::ListServicesRequest::default()).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_of_leadership_while_the_loops_write_is_no_failure() {
    let said = Said::from_now_on();
    let seats = cluster(&["m2", "m3"]).await;
    crate::world::add_worker(seats[0].manager().store(), "w").await;
    for round in 0..40 {
        let at = leader(&seats).await;
        // Its tasks are made, given addresses and nodes, each with a write, while somebody else takes over.
        let mut client = seats[at].manager().control();
        let _ = client.create_service(web(&format!("s{round}"), 3)).await;
        for _ in 0..round * 3 {
            tokio::task::yield_now().await;
        }
        let _ = seats[at].manager().handle.hand_over().await;
    }
    leader(&seats).await;
    assert_eq!(said.complaints(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn every_loop_of_a_term_begins_and_ends_once_when_leadership_is_lost_and_won_back() {
    let said = Said::from_now_on();
    let seats = cluster(&["m2", "m3"]).await;
    for terms in 1..8 {
        let at = leader(&seats).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let loops = said.loops();
        for name in ["allocator", "dispatcher", "issuer", "log broker", "network keys", "role manager", "scheduler"] {
            assert!(loops.contains_key(name), "{name} in {:?}", loops.keys());
        }
        // Replicated and global services and jobs are one loop.
        for name in ["services", "reaper", "enforcer"] {
            assert!(loops.contains_key(&format!("orchestrator/{name}")), "{name} in {:?}", loops.keys());
        }
        for (path, counts) in &loops {
            assert_eq!(*counts, (terms, terms - 1), "{path}");
        }
        // Each of the three leads again after a while.
        seats[at].manager().handle.hand_over().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_stops_hands_over_first() {
    let mut seats = cluster(&["m2", "m3"]).await;
    let begin = Instant::now();
    seats[0].end().await;
    let next = leader(&seats[1..]).await;
    seats[1 + next].manager().control().create_service(web("web", 1)).await.unwrap();
    assert!(begin.elapsed() < Duration::from_millis(300), "no election was waited for: {:?}", begin.elapsed());
}

#[tokio::test(start_paused = true)]
async fn all_managers_are_stopped_and_started_again_and_the_data_is_there() {
    let mut seats = cluster(&["m2", "m3"]).await;
    seats[1].manager().control().create_service(web("before", 1)).await.unwrap();
    for seat in &mut seats {
        seat.end().await;
    }
    for seat in &mut seats {
        seat.start_again().await;
    }
    seats[2].takes_part().await;
    seats[2].manager().control().create_service(web("after", 1)).await.unwrap();
    for seat in &seats {
        until(seat.manager().store(), |view| view.count::<Service>() == 2).await;
    }
}

async fn kill_all_but(seats: &mut [Seat], left: usize) {
    for seat in &mut seats[left..] {
        seat.kill().await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn without_a_quorum_calls_wait_for_a_while_then_fail_at_once_and_one_more_member_is_enough_again() {
    let mut seats = cluster(&["m2", "m3"]).await;
    kill_all_but(&mut seats, 1).await;
    let version = seats[0].manager().store().version();
    let begin = Instant::now();
    let refused = seats[0].manager().control().create_service(web("web", 1)).await.unwrap_err();
    assert!(refused.message().starts_with("The swarm does not have a leader."), "{refused}");
    assert!(begin.elapsed() < Duration::from_secs(10), "counted from the loss: {:?}", begin.elapsed());
    let begin = Instant::now();
    assert_eq!(seats[0].manager().control().create_service(web("web", 1)).await.unwrap_err().code(), Code::Unavailable);
    assert_eq!(begin.elapsed(), Duration::ZERO);
    assert_eq!(seats[0].manager().store().version(), version);

    seats[1].start_again().await;
    leader(&seats[..2]).await;
    seats[0].manager().control().create_service(web("web", 1)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_follower_whose_leader_is_dead_and_not_replaced_says_so_within_the_time_that_calls_wait() {
    let mut seats = cluster(&["m2", "m3"]).await;
    assert_eq!(leader(&seats).await, 0);
    // Both at once: there is nobody left who could be elected with its vote.
    seats[0].kill().await;
    seats[1].kill().await;
    let begin = Instant::now();
    let refused = seats[2].manager().control().create_service(web("web", 1)).await.unwrap_err();
    let text = "The swarm does not have a leader. It's possible that too few managers are online. Make sure more than \
                half of the managers are online.";
    assert_eq!(refused.message(), text);
    assert!(begin.elapsed() < Duration::from_secs(12), "{:?}", begin.elapsed());
    assert!(begin.elapsed() > Duration::from_secs(5), "an election would have been waited for: {:?}", begin.elapsed());
    let begin = Instant::now();
    assert_eq!(seats[2].manager().control().create_service(web("web", 1)).await.unwrap_err().message(), text);
    assert_eq!(begin.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_manager_without_a_quorum_stops_at_once() {
    let mut seats = cluster(&["m2", "m3"]).await;
    kill_all_but(&mut seats, 1).await;
    let begin = Instant::now();
    seats[0].end().await;
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_manager_that_is_not_admitted_yet_stops_at_once() {
    let machine = Machine::new(swarmkit_testing::env());
    let begin = Begin::Join(swarmkit_rpc::Remotes::new(
        [swarmkit_rpc::Remote { node: None, address: "nowhere:1".to_owned() }],
        &machine.env,
    ));
    let running = Running::start(machine.config(begin)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let mut health = wire::health_client::HealthClient::new(running.handle.channel());
    let asked = wire::HealthCheckRequest { service: "ControlAPI".to_owned() };
    assert_eq!(health.check(asked).await.unwrap().into_inner().status, 2, "it does not serve yet");
    let begin = Instant::now();
    running.end().await.unwrap();
    assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
}

#[tokio::test(start_paused = true)]
async fn the_socket_of_a_follower_asks_the_leader_and_its_port_does_not() {
    let seats = cluster(&["m2"]).await;
    seats[1].manager().control().create_service(web("web", 1)).await.unwrap();
    let callers = seats[1].machine.callers();
    let channel = callers.connect_to("m2:1", Some(identity("m", NodeRole::Manager))).await;
    let refused = ControlClient::new(channel).create_service(web("db", 1)).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(refused.message().starts_with("raft: failed to process the request: node lost leader status"), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn agents_are_told_of_every_manager_whichever_they_ask() {
    let seats = cluster(&["m2", "m3"]).await;
    crate::world::add_worker(seats[0].manager().store(), "w").await;
    until(seats[2].manager().store(), |view| view.get::<swarmkit_api::Node>(&"w".into()).is_some()).await;
    let callers = seats[2].machine.callers();
    let channel = callers.connect_to("m3:1", Some(identity("w", NodeRole::Worker))).await;
    let mut dispatcher = wire::dispatcher_client::DispatcherClient::new(channel);
    let mut session = dispatcher.session(wire::SessionRequest::default()).await.unwrap().into_inner();
    let told = in_time(session.message()).await.unwrap().unwrap();
    let mut addresses: Vec<_> = told.managers.into_iter().filter_map(|manager| Some(manager.peer?.addr)).collect();
    addresses.sort_unstable();
    assert_eq!(addresses, ["m2:1", "m3:1", "m:1"]);
    assert_eq!(members(seats[2].manager()).await.len(), 3);
}
