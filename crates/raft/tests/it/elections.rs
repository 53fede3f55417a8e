//! Who leads, who may not, and what becomes of writes meanwhile.

use std::time::Duration;

use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};
use swarmkit_raft::{RaftOptions, Role};
use swarmkit_store::{ProposeError, StoreError};

use crate::group::{Place, has, join, leader, listed, three, write};

async fn five() -> Vec<Place> {
    let mut places = three(RaftOptions::default()).await;
    for name in ["n4", "n5"] {
        let newcomer = join(&places, name, &RaftOptions::default()).await;
        places.push(newcomer);
    }
    places
}

fn term(place: &Place) -> Option<u64> {
    match place.member().raft.leadership().current() {
        Role::Leader { term } => Some(term),
        Role::Follower { .. } => None,
    }
}

#[tokio::test(start_paused = true)]
async fn a_member_that_was_cut_off_for_long_comes_back_without_deposing_the_leader() {
    let places = three(RaftOptions::default()).await;
    let before = term(&places[0]).expect("the first one leads");
    let mut leadership = places[0].member().raft.leadership();
    let _ = leadership.latest();
    places[2].cut_off(true);
    tokio::time::sleep(Duration::from_secs(60)).await;
    places[0].member().write("a").await.unwrap();
    places[2].cut_off(false);
    has(places[2].member(), &["a"]).await;
    let changed = tokio::time::timeout(Duration::from_secs(60), leadership.changed()).await;
    assert!(changed.is_err(), "{changed:?}");
    assert_eq!(term(&places[0]), Some(before), "it asked nobody for a real vote");
}

#[tokio::test(start_paused = true)]
async fn a_leader_without_a_quorum_is_announced_as_follower_and_its_writes_come_back_unknown() {
    let mut places = three(RaftOptions::default()).await;
    places[1].kill();
    places[2].kill();
    let mut leadership = places[0].member().raft.leadership();
    assert!(matches!(leadership.latest(), Role::Leader { .. }));
    // All that wait hear of it, and what was built on what.
    let waiting: Vec<String> = (0..20).map(|n| format!("lost{n}")).collect();
    let waiting = waiting.iter().map(|id| places[0].member().write(id));
    for lost in futures_util::future::join_all(waiting).await {
        assert_eq!(lost.unwrap_err(), StoreError::Propose(ProposeError::Unknown));
    }
    assert_eq!(leadership.latest(), Role::Follower { leader: None });
    let again = tokio::time::timeout(Duration::from_secs(60), leadership.changed()).await;
    assert!(again.is_err(), "it is told once: {again:?}");
    let refused = places[0].member().write("refused").await.unwrap_err();
    assert_eq!(refused, StoreError::Propose(ProposeError::NotLeader { leader: None }));
    assert!(places[0].member().ids().is_empty(), "nobody sees what is not committed");

    // One that comes back is enough.
    places[1].restart().await;
    write(&places, "a").await;
    assert!(!places[leader(&places).await].member().ids().contains(&"refused".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn five_members_of_which_three_are_down_apply_nothing() {
    let mut places = five().await;
    for place in &mut places[2..] {
        place.kill();
    }
    assert!(places[0].member().write("a").await.is_err());
    tokio::time::sleep(Duration::from_secs(10)).await;
    for place in &places[..2] {
        assert!(place.member().ids().is_empty());
        assert_eq!(term(place), None);
    }
    places[4].restart().await;
    write(&places, "b").await;
}

#[tokio::test(start_paused = true)]
async fn a_group_that_is_restarted_one_after_the_other_keeps_everything() {
    let mut places = three(RaftOptions::default()).await;
    let mut ids = Vec::new();
    for round in 0..3 {
        for at in 0..3 {
            ids.push(format!("r{round}-{at}"));
            write(&places, ids.last().expect("it was just pushed")).await;
            places[at].kill();
            tokio::time::sleep(Duration::from_millis(300 * at as u64)).await;
            places[at].restart().await;
        }
    }
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    write(&places, "z").await;
    for place in &places {
        has(place.member(), &[&ids[..], &["z"]].concat()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_leader_leaves_and_the_rest_goes_on_with_one_less() {
    let places = three(RaftOptions::default()).await;
    let first = places[0].member();
    first.raft.remove(first.raft.raft_id()).await.unwrap();
    let next = leader(&places[1..]).await + 1;
    places[next].member().write("a").await.unwrap();
    assert_eq!(places[next].member().raft.members().len(), 2);
    for place in &places[1..] {
        has(place.member(), &["a"]).await;
    }
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(term(&places[0]), None, "the one that left leads nobody, and disturbs nobody");
    assert!(places[1..].iter().any(|place| term(place).is_some()));
}

#[tokio::test(start_paused = true)]
async fn leadership_can_be_handed_over_thirty_times_under_writes_and_nothing_is_lost() {
    let places = three(RaftOptions::default()).await;
    let mut ids = Vec::new();
    for round in 0..30 {
        let at = leader(&places).await;
        let id = format!("n{round:03}");
        let (handed, ()) = tokio::join!(places[at].member().raft.transfer_leadership(None), write(&places, &id));
        handed.unwrap();
        ids.push(id);
    }
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    for place in &places {
        has(place.member(), &ids).await;
    }
}

#[tokio::test(start_paused = true)]
async fn members_killed_and_started_at_random_lose_no_write_and_end_up_equal() {
    five_hundred_rounds([0, 1]).await;
}

/// The same from other seeds, at the same time.
#[tokio::test(start_paused = true)]
async fn members_killed_and_started_at_random_five_hundred_times_more_end_up_equal() {
    five_hundred_rounds([2, 3]).await;
}

async fn five_hundred_rounds(seeds: [u64; 2]) {
    for seed in seeds {
        let mut rng = SmallRng::seed_from_u64(seed);
        let options =
            RaftOptions { snapshot_interval: 30, kept_entries: 5, segment_bytes: 3000, ..RaftOptions::default() };
        let mut places = three(options).await;
        let mut acknowledged = Vec::new();
        for round in 0..250 {
            let at = rng.random_range(0..3);
            if places[at].running.is_some() {
                places[at].kill();
            } else {
                places[at].restart().await;
            }
            tokio::time::sleep(Duration::from_millis(rng.random_range(0..1500))).await;
            let up = places.iter().filter(|place| place.running.is_some()).count();
            let leading: Vec<usize> =
                (0..3).filter(|&at| places[at].running.is_some() && term(&places[at]).is_some()).collect();
            assert!(leading.len() <= 1, "seed {seed}: {leading:?} lead at once");
            let Some(&leading) = leading.first() else { continue };
            let id = format!("n{round:03}");
            if places[leading].member().write(&id).await.is_ok() {
                assert!(up >= 2, "seed {seed}: {up} members accepted a write");
                acknowledged.push(id);
            }
        }
        for place in places.iter_mut().filter(|place| place.running.is_none()) {
            place.restart().await;
        }
        write(&places, "last").await;
        let all = places[leader(&places).await].member().ids();
        assert!(acknowledged.iter().all(|id| all.contains(id)), "seed {seed}: {acknowledged:?} in {all:?}");
        for place in &places {
            has(place.member(), &all.iter().map(String::as_str).collect::<Vec<_>>()).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_follower_stops_naming_a_dead_leader_that_nobody_replaces_and_names_it_again_when_it_is_back() {
    let mut places = three(RaftOptions::default()).await;
    let mut leadership = places[2].member().raft.leadership();
    let named = |role: &Role| matches!(role, Role::Follower { leader: Some(leader) } if leader.addr == "n1:2377");
    while !named(&leadership.latest()) {
        leadership.changed().await.unwrap();
    }
    let undisturbed = tokio::time::timeout(Duration::from_secs(60), leadership.changed()).await;
    assert!(undisturbed.is_err(), "{undisturbed:?}");

    places[1].kill();
    places[0].cut_off(true);
    let lost_at = tokio::time::Instant::now();
    assert_eq!(leadership.changed().await.unwrap(), Role::Follower { leader: None });
    let lease = RaftOptions::default().election_max;
    assert!(lost_at.elapsed() <= 2 * lease, "{:?}", lost_at.elapsed());
    assert!(lost_at.elapsed() > lease, "a leader that is replaced in time is not missed: {:?}", lost_at.elapsed());
    assert!(places[2].member().raft.members().iter().all(|status| !status.leader), "nor do listings show one");
    let silent = tokio::time::timeout(Duration::from_secs(60), leadership.changed()).await;
    assert!(silent.is_err(), "{silent:?}");

    places[0].cut_off(false);
    let next = leader(&places).await;
    if next == 0 {
        assert!(named(&leadership.changed().await.unwrap()));
    }
    places[next].member().write("a").await.unwrap();
    has(places[2 - next].member(), &["a"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_follower_that_comes_back_names_the_leader_as_soon_as_it_hears_from_it() {
    let mut places = three(RaftOptions::default()).await;
    places[0].member().write("a").await.unwrap();
    places[2].kill();
    tokio::time::sleep(Duration::from_secs(5)).await;
    places[2].restart().await;
    let mut leadership = places[2].member().raft.leadership();
    assert_eq!(leadership.latest(), Role::Follower { leader: None }, "what its log says may be over");
    let named = tokio::time::timeout(Duration::from_secs(2), leadership.changed()).await.unwrap().unwrap();
    assert!(matches!(&named, Role::Follower { leader: Some(leader) } if leader.addr == "n1:2377"), "{named:?}");
}

#[tokio::test(start_paused = true)]
async fn two_that_are_left_of_three_start_again_together() {
    let mut places = three(RaftOptions::default()).await;
    let removed = places[2].member().raft.raft_id();
    places[2].kill();
    tokio::time::sleep(Duration::from_secs(1)).await;
    places[0].member().raft.remove(removed).await.unwrap();
    for place in &mut places[..2] {
        place.kill();
    }
    for place in &mut places[..2] {
        place.restart().await;
    }
    write(&places[..2], "a").await;
    assert_eq!(places[leader(&places).await].member().raft.members().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_write_on_a_follower_while_the_leader_is_gone_fails_and_is_applied_nowhere() {
    let mut places = three(RaftOptions::default()).await;
    places[0].kill();
    let refused = places[1].member().write("a").await.unwrap_err();
    assert!(matches!(refused, StoreError::Propose(ProposeError::NotLeader { .. })), "{refused}");
    let next = leader(&places).await;
    places[next].member().write("b").await.unwrap();
    places[0].restart().await;
    for place in &places {
        has(place.member(), &["b"]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_follower_that_is_cut_off_gets_what_it_missed_when_it_is_reached_again() {
    let places = three(RaftOptions::default()).await;
    places[2].cut_off(true);
    for id in ["a", "b", "c"] {
        places[0].member().write(id).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(places[2].member().ids().is_empty());
    places[2].cut_off(false);
    has(places[2].member(), &["a", "b", "c"]).await;
    assert_eq!(listed(&places[2]).len(), 3);
}
