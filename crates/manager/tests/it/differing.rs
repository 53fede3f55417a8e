//! A manager that does not hold what the others hold.

use swarmkit_testing::tamper;

use crate::{
    group::{cluster, leader},
    said::Said,
    world::{add_worker, in_time, settle},
};

#[tokio::test(start_paused = true)]
async fn a_manager_that_does_not_hold_what_the_leader_holds_says_so_once_and_goes_on() {
    let said = Said::from_now_on();
    let seats = cluster(&["b", "c"]).await;
    let at = leader(&seats).await;
    let (leader, follower) = (seats[at].manager(), seats[(at + 1) % 3].manager());
    let mut noticed = follower.store().watch_divergence();
    tamper(follower.store(), |held| held.nodes[0].vxlanudp_port = 7);
    add_worker(leader.store(), "w1").await;
    let divergence = in_time(noticed.wait_for(Option::is_some)).await.unwrap().expect("that was waited for");
    add_worker(leader.store(), "w2").await;
    settle().await;

    assert_ne!(divergence.own, divergence.proposer);
    let said: Vec<_> =
        said.complaints().into_iter().filter(|line| line.contains("does not hold what the leader's held")).collect();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("ERROR") && said[0].contains(&divergence.own.to_string()), "{said:?}");
    assert_eq!((leader.store().divergence(), seats[(at + 2) % 3].manager().store().divergence()), (None, None));
    assert_eq!(follower.store().version(), leader.store().version(), "it goes on");
}
