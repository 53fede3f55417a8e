//! Managers that join, leave, and come back.

use std::time::Duration;

use swarmkit_api::Service;
use swarmkit_manager::Begin;
use swarmkit_rpc::{Remote, Remotes};
use swarmkit_testing::env;
use tokio::time::Instant;

use crate::{
    group::{cluster, is_reachable, leader, members},
    world::{Running, in_time, until, web},
};

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
    seats[0].kill();
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
    seats[2].kill();
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
