//! Managers that join, leave, and come back.

use std::time::Duration;

use swarmkit_api::{NodeRole, Service, wire};
use swarmkit_manager::{Begin, Error};
use swarmkit_raft::MemoryDisk;
use swarmkit_rpc::{Remote, Remotes};
use swarmkit_testing::env;
use tokio::time::Instant;
use tonic::{Code, Status};
use wire::raft_membership_client::RaftMembershipClient;

use crate::{
    group::{Seat, cluster, is_reachable, leader, member, members},
    world::{Machine, Running, add_manager, identity, in_time, until, web},
};

/// Asks the manager of a seat to end a membership, as a node.
async fn leave(seat: &Seat, node: &str, raft_id: u64) -> Result<(), Status> {
    let callers = seat.machine.callers();
    let channel = callers.connect_to(&seat.machine.address(), Some(identity(node, NodeRole::Manager))).await;
    let member = wire::RaftMember { raft_id, ..Default::default() };
    let left = RaftMembershipClient::new(channel).leave(wire::LeaveRequest { node: Some(member) }).await;
    left.map(drop)
}

async fn raft_id(seat: &Seat, node: &str) -> u64 {
    member(seat.manager(), node).await.expect("it is a member").raft_id
}

/// Waits until a node is a member that is reached at an address.
async fn reached_at(seat: &Seat, node: &str, address: &str) -> wire::ManagerStatus {
    in_time(async {
        loop {
            match member(seat.manager(), node).await {
                Some(member) if member.addr == address && is_reachable(&member) => return member,
                _ => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn three_managers_form_a_group_and_everybody_has_what_the_leader_wrote() {
    let mut seats = cluster(&["m2", "m3"]).await;
    seats[2].manager().control().create_service(web("web", 2)).await.unwrap();
    for seat in &seats {
        until(seat.manager().store(), |view| view.count::<Service>() == 1).await;
        let members = members(seat.manager()).await;
        assert_eq!(members.len(), 3);
        assert_eq!(members.iter().filter(|member| member.leader).count(), 1);
    }
    for seat in &mut seats {
        seat.end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_others_go_on_when_the_leader_is_killed() {
    let mut seats = cluster(&["m2", "m3"]).await;
    seats[0].manager().control().create_service(web("before", 1)).await.unwrap();
    seats[0].kill().await;
    leader(&seats[1..]).await;
    seats[2].manager().control().create_service(web("after", 1)).await.unwrap();
    for seat in &seats[1..] {
        until(seat.manager().store(), |view| view.count::<Service>() == 2).await;
    }
    let members = members(seats[1].manager()).await;
    assert_eq!(members.len(), 3);
    assert_eq!(members.iter().filter(|member| is_reachable(member)).count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_follower_that_has_passed_calls_on_stops_while_the_others_go_on() {
    let mut seats = cluster(&["m2", "m3"]).await;
    seats[2].manager().control().create_service(web("before", 1)).await.unwrap();
    let begin = Instant::now();
    seats[2].end().await;
    assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
    seats[1].manager().control().create_service(web("after", 1)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_manager_whose_log_is_damaged_says_where_and_is_replaced_from_the_others_at_its_next_start() {
    let mut seats = cluster(&["m2", "m3"]).await;
    seats[0].manager().control().create_service(web("web", 1)).await.unwrap();
    until(seats[2].manager().store(), |view| view.count::<Service>() == 1).await;
    seats[2].kill().await;
    let file = "0000000000000000.log";
    let disk = &seats[2].machine.disk;
    let mut content = disk.content(file).unwrap();
    content[300] ^= 1;
    disk.overwrite(file, content);
    // The others find out that it is gone.
    tokio::time::sleep(Duration::from_secs(1)).await;

    let others = [seats[0].machine.address(), seats[1].machine.address()];
    let begin = || Begin::Join(Remotes::new(others.clone().map(|address| Remote { node: None, address }), &env()));
    let machine = &seats[2].machine;
    let refused = Running::start(machine.config(begin())).await.err().unwrap().to_string();
    assert!(refused.starts_with(&format!("{file} is damaged at byte ")), "{refused}");
    let running = Running::start(machine.config(begin())).await.unwrap();
    running.ready().await;
    in_time(running.handle.has_vote()).await.unwrap();
    until(running.store(), |view| view.count::<Service>() == 1).await;
    assert_eq!(members(seats[0].manager()).await.len(), 3);
    seats[2].running = Some(running);
}

#[tokio::test(start_paused = true)]
async fn one_joins_through_a_follower_and_has_all_that_was_written_before() {
    let mut seats = cluster(&["m2"]).await;
    seats[0].manager().control().create_service(web("web", 2)).await.unwrap();
    add_manager(seats[0].manager().store(), "m3").await;
    let machine = seats[0].machine.beside("m3");
    let begin = machine.through("m2:1");
    let mut third = Seat { machine, running: None };
    third.start(third.machine.config(begin)).await;
    third.takes_part().await;
    until(third.manager().store(), |view| view.count::<Service>() == 1).await;
    seats.push(third);
    assert_eq!(members(seats[2].manager()).await.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_member_that_moves_keeps_its_raft_id_and_is_found_at_its_new_address() {
    let mut seats = cluster(&["m2", "m3"]).await;
    let before = raft_id(&seats[0], "m2").await;
    seats[1].end().await;
    let mut config = seats[1].machine.config(Begin::Restart);
    config.listen_remote = "m2:2".to_owned();
    seats[1].start(config.clone()).await;
    let moved = reached_at(&seats[0], "m2", "m2:2").await;
    assert_eq!(moved.raft_id, before);
    for seat in &seats {
        // What agents are told.
        assert_eq!(members(seat.manager()).await.len(), 3);
    }
    seats[1].kill().await;
    seats[1].start(config).await;
    assert_eq!(reached_at(&seats[2], "m2", "m2:2").await.raft_id, before);
    // The others know it after restarts of their own.
    for other in [0, 2] {
        seats[other].kill().await;
        seats[other].start_again().await;
        seats[other].takes_part().await;
        assert_eq!(reached_at(&seats[other], "m2", "m2:2").await.raft_id, before);
    }
}

#[tokio::test(start_paused = true)]
async fn a_manager_that_is_alone_may_move_too() {
    let machine = Machine::new(swarmkit_testing::env());
    machine.found().await.end().await.unwrap();
    let mut config = machine.config(Begin::Restart);
    config.listen_remote = "m:9".to_owned();
    let running = Running::start(config).await.unwrap();
    running.ready().await;
    let seat = Seat { machine, running: Some(running) };
    reached_at(&seat, "m", "m:9").await;
}

#[tokio::test(start_paused = true)]
async fn a_member_that_has_lost_its_disk_is_replaced_under_another_raft_id() {
    let mut seats = cluster(&["m2", "m3"]).await;
    seats[0].manager().control().create_service(web("web", 1)).await.unwrap();
    let before = raft_id(&seats[0], "m3").await;
    seats[2].kill().await;
    seats[2].machine.disk = MemoryDisk::new();
    let begin = seats[2].machine.through("m2:1");
    let config = seats[2].machine.config(begin);
    seats[2].start(config).await;
    seats[2].takes_part().await;
    until(seats[2].manager().store(), |view| view.count::<Service>() == 1).await;
    assert_ne!(raft_id(&seats[0], "m3").await, before);
    assert_eq!(members(seats[0].manager()).await.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn one_that_cannot_be_called_back_is_not_admitted_and_nothing_is_changed() {
    let mut seats = cluster(&["m2"]).await;
    add_manager(seats[0].manager().store(), "m3").await;
    let machine = seats[0].machine.beside("m3");
    let mut config = machine.config(machine.through("m:1"));
    config.advertise = Some("elsewhere:1".to_owned());
    let told = Running::start(config).await.unwrap().failure().await;
    let expected = "could not connect to prospective new cluster member using its advertised address: ";
    assert!(told.contains(expected), "{told}");
    assert_eq!(members(seats[0].manager()).await.len(), 2);

    // Somebody else is there.
    let mut config = machine.config(machine.through("m:1"));
    config.advertise = Some("m2:1".to_owned());
    let told = Running::start(config).await.unwrap().failure().await;
    assert!(told.contains("m2:1 is node m2"), "{told}");
    assert_eq!(members(seats[1].manager()).await.len(), 2);
    for seat in &mut seats {
        seat.end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_not_to_be_a_manager_is_not_admitted() {
    let seats = cluster(&[]).await;
    let machine = seats[0].machine.beside("nobody");
    let running = Running::start(machine.config(machine.through("m:1"))).await.unwrap();
    let told = running.failure().await;
    assert!(told.ends_with("node nobody is not to be a manager of this cluster"), "{told}");
    assert_eq!(members(seats[0].manager()).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn without_a_log_or_a_manager_to_join_a_manager_does_not_start() {
    let machine = Machine::new(swarmkit_testing::env());
    let refused = Running::start(machine.config(Begin::Restart)).await.err().unwrap();
    assert!(matches!(refused, Error::NoLog), "{refused}");
    let running = Running::start(machine.config(machine.through("m:1"))).await.unwrap();
    let told = running.failure().await;
    assert_eq!(told, "can't initialize raft node: no manager to join is known", "it does not ask itself");
}

#[tokio::test(start_paused = true)]
async fn a_follower_leaves_then_the_leader_and_the_last_one_may_not() {
    let mut seats = cluster(&["m2", "m3"]).await;
    let ids = [raft_id(&seats[0], "m").await, raft_id(&seats[0], "m2").await, raft_id(&seats[0], "m3").await];
    let refused = leave(&seats[1], "m2", ids[2]).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "a manager may end its own membership only");
    assert_eq!(leave(&seats[1], "m2", 12345).await.unwrap_err().code(), Code::NotFound);

    leave(&seats[1], "m3", ids[2]).await.unwrap();
    seats[2].kill().await;
    assert_eq!(members(seats[0].manager()).await.len(), 2);
    leave(&seats[1], "m", ids[0]).await.unwrap();
    leader(&seats[1..]).await;
    seats[0].kill().await;
    seats[1].manager().control().create_service(web("web", 1)).await.unwrap();
    assert_eq!(members(seats[1].manager()).await.len(), 1);
    let refused = leave(&seats[1], "m2", ids[1]).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert_eq!(refused.message(), "raft: member cannot be removed, because removing it may result in loss of quorum");
}

#[tokio::test(start_paused = true)]
async fn of_three_with_one_down_only_that_one_may_go() {
    let mut seats = cluster(&["m2", "m3"]).await;
    let ids = [raft_id(&seats[0], "m2").await, raft_id(&seats[0], "m3").await];
    seats[2].kill().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(leave(&seats[0], "m2", ids[0]).await.unwrap_err().code(), Code::FailedPrecondition);
    leave(&seats[0], "m3", ids[1]).await.unwrap();
    assert_eq!(members(seats[1].manager()).await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_manager_tells_where_the_members_are() {
    let seats = cluster(&["m2"]).await;
    let id = raft_id(&seats[0], "m").await;
    let callers = seats[1].machine.callers();
    let channel = callers.connect_to("m2:1", Some(identity("m", NodeRole::Manager))).await;
    let mut raft = wire::raft_client::RaftClient::new(channel);
    let answer = raft.resolve_address(wire::ResolveAddressRequest { raft_id: id }).await.unwrap().into_inner();
    assert_eq!(answer.addr, "m:1");
    let refused = raft.resolve_address(wire::ResolveAddressRequest { raft_id: 5 }).await.unwrap_err();
    assert_eq!((refused.code(), refused.message()), (Code::NotFound, "raft: member unknown"));
}

#[tokio::test(start_paused = true)]
async fn a_member_that_was_removed_while_it_was_away_is_told_so_within_seconds_and_never_returns_under_its_raft_id() {
    let mut seats = cluster(&["m2", "m3"]).await;
    let removed = raft_id(&seats[0], "m3").await;
    seats[2].kill().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    leave(&seats[1], "m3", removed).await.unwrap();
    // Its log names the managers, so it need not be told whom to ask; and being told changes nothing.
    for begin in [Begin::Restart, seats[2].machine.through("m2:1")] {
        let back = Instant::now();
        let told = Running::start(seats[2].machine.config(begin)).await.unwrap().failure().await;
        assert_eq!(told, "raft: member was removed from the cluster");
        assert!(back.elapsed() < Duration::from_secs(5), "{:?}", back.elapsed());
    }
    assert_eq!(members(seats[0].manager()).await.len(), 2);

    // Those who have restarted since say the same.
    for seat in &mut seats[..2] {
        seat.kill().await;
    }
    for seat in &mut seats[..2] {
        seat.start_again().await;
    }
    leader(&seats[..2]).await;
    let told = Running::start(seats[2].machine.config(Begin::Restart)).await.unwrap().failure().await;
    assert_eq!(told, "raft: member was removed from the cluster");

    seats[2].machine.disk = MemoryDisk::new();
    let begin = seats[2].machine.through("m2:1");
    let config = seats[2].machine.config(begin);
    seats[2].start(config).await;
    seats[2].takes_part().await;
    assert_ne!(raft_id(&seats[0], "m3").await, removed);
}

#[tokio::test(start_paused = true)]
async fn a_member_that_is_removed_while_it_runs_ends_within_seconds() {
    let mut seats = cluster(&["m2", "m3"]).await;
    let removed = raft_id(&seats[0], "m3").await;
    let begin = Instant::now();
    leave(&seats[0], "m3", removed).await.unwrap();
    let told = seats[2].running.take().expect("it runs").failure().await;
    assert_eq!(told, "raft: member was removed from the cluster");
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
}

#[tokio::test(start_paused = true)]
async fn members_that_have_no_leader_or_are_cut_off_are_not_taken_for_removed() {
    let mut seats = cluster(&["m2", "m3"]).await;
    seats[0].kill().await;
    seats[1].kill().await;
    tokio::time::sleep(Duration::from_secs(120)).await;
    let alone = seats[2].manager();
    assert!(!alone.handle.leads());
    // One that asks too is a member for it, and there is no leader to deny either.
    seats[1].start_again().await;
    leader(&seats[1..]).await;
    seats[2].manager().control().create_service(web("web", 1)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn only_a_leader_that_a_quorum_confirms_denies_a_member() {
    use swarmkit_api::wire::swarmkit::raft::v1::{DescribeRequest, raft_member_client::RaftMemberClient};
    let mut seats = cluster(&["m2", "m3"]).await;
    let callers = seats[0].machine.callers();
    let ask = async |address: &str, raft_id: u64| {
        let channel = callers.connect_to(address, Some(identity("m", NodeRole::Manager))).await;
        let described = RaftMemberClient::new(channel).describe(DescribeRequest { raft_id }).await;
        let described = described.unwrap().into_inner();
        (described.leads, described.is_member)
    };
    let known = raft_id(&seats[0], "m3").await;
    assert_eq!(ask("m:1", known).await, (true, true));
    assert_eq!(ask("m:1", 12345).await, (true, false));
    assert_eq!(ask("m2:1", known).await, (false, true));
    assert_eq!(ask("m2:1", 12345).await, (false, false), "which proves nothing");
    // It does not know yet that the others are gone, and nobody confirms it.
    seats[1].running.take().unwrap().kill();
    seats[2].running.take().unwrap().kill();
    assert_eq!(ask("m:1", 12345).await, (false, false));
}
