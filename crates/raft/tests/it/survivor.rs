//! Going on alone after the quorum was lost for good.

use std::{sync::Arc, time::Duration};

use rand::{SeedableRng as _, rngs::SmallRng};
use swarmkit_raft::{Begin, Crash, Exchange, MemoryDisk, RaftError, RaftOptions, Role, new_raft_id};
use swarmkit_runtime::Env;
use swarmkit_store::{ProposeError, StoreError};

use crate::{
    cluster::{Running, Site},
    group::{Place, has, join, three},
    mortal::MortalDisk,
};

/// The site of a member, to be started alone from its state, out of reach of the others.
fn alone(place: &Place) -> Site {
    Site { begin: Begin::ForceNew, exchange: Exchange::default(), ..place.site.clone() }
}

fn kill_all(places: &mut [Place]) {
    for place in places {
        if place.running.is_some() {
            place.kill();
        }
    }
}

async fn force(site: &Site) -> Running {
    let member = site.start().await.expect("the survivor starts");
    tokio::time::timeout(Duration::from_secs(10), member.lead()).await.expect("the survivor leads");
    member
}

#[tokio::test(start_paused = true)]
async fn a_survivor_of_three_goes_on_with_all_data_and_two_new_members_join_it() {
    for survivor in 0..3 {
        let mut places = three(RaftOptions::default()).await;
        for id in ["a", "b", "c"] {
            places[0].member().write(id).await.unwrap();
        }
        has(places[survivor].member(), &["a", "b", "c"]).await;
        let old_id = places[survivor].member().raft.raft_id();
        kill_all(&mut places);

        let site = alone(&places[survivor]);
        let member = force(&site).await;
        assert_eq!(member.ids(), ["a", "b", "c"]);
        assert_ne!(member.raft.raft_id(), old_id, "nobody of the old group knows it by its new id");
        assert_eq!(member.raft.members().len(), 1);
        member.write("d").await.unwrap();
        let place = Place { site, disk: places[survivor].disk.clone(), running: Some(member) };
        let mut places = vec![place];
        for name in ["n8", "n9"] {
            let newcomer = join(&places, name, &RaftOptions::default()).await;
            places.push(newcomer);
        }
        places[0].member().write("e").await.unwrap();
        for place in &places {
            has(place.member(), &["a", "b", "c", "d", "e"]).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_acknowledged_at_the_last_moment_is_on_every_survivor_that_has_it() {
    let mut places = three(RaftOptions::default()).await;
    places[2].kill();
    places[0].member().write("a").await.unwrap();
    // The follower has the entry, and does not know yet that it is committed.
    kill_all(&mut places);
    for survivor in &places[..2] {
        assert_eq!(force(&alone(survivor)).await.ids(), ["a"]);
    }
}

#[tokio::test(start_paused = true)]
async fn entries_that_were_never_committed_are_dropped() {
    for stopped_in_order in [false, true] {
        let mut places = three(RaftOptions::default()).await;
        places[0].member().write("a").await.unwrap();
        places[1].kill();
        places[2].kill();
        let lost = places[0].member().write("b").await.unwrap_err();
        assert_eq!(lost, StoreError::Propose(ProposeError::Unknown));
        if stopped_in_order {
            places[0].running.take().unwrap().stop().await;
        } else {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        kill_all(&mut places);
        let site = alone(&places[0]);
        let member = force(&site).await;
        assert_eq!(member.ids(), ["a"]);
        member.write("c").await.unwrap();
        member.kill();
        places[0].disk.crash(Crash::LoseAll);
        assert_eq!(force(&site).await.ids(), ["a", "c"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_and_a_removed_member_do_not_stand_in_the_way() {
    let options = RaftOptions { snapshot_interval: 20, kept_entries: 5, segment_bytes: 2000, ..RaftOptions::default() };
    let mut places = three(options).await;
    let ids: Vec<String> = (0..60).map(|n| format!("n{n:03}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    for id in &ids[..50] {
        places[0].member().write(id).await.unwrap();
    }
    let removed = places[2].member().raft.raft_id();
    places[0].member().raft.remove(removed).await.unwrap();
    for id in &ids[50..] {
        places[0].member().write(id).await.unwrap();
    }
    has(places[1].member(), &ids).await;
    kill_all(&mut places);
    let site = alone(&places[1]);
    let member = force(&site).await;
    assert_eq!(member.ids(), ids);
    assert_eq!(member.raft.members().len(), 1);
    member.write("z").await.expect("the survivor writes");
    member.stop().await;
    let again = Site { begin: Begin::Bootstrap, ..site }.start().await.unwrap();
    again.lead().await;
    assert_eq!(again.ids().len(), 61);
}

#[tokio::test(start_paused = true)]
async fn a_member_that_is_alone_already_only_starts() {
    let mut places = three(RaftOptions::default()).await;
    places[0].member().write("a").await.unwrap();
    kill_all(&mut places);
    let site = alone(&places[0]);
    let first = force(&site).await;
    let id = first.raft.raft_id();
    first.stop().await;
    let second = force(&site).await;
    assert_eq!(second.raft.raft_id(), id);
    second.write("b").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_disk_without_state_is_no_survivor() {
    let site = Site { begin: Begin::ForceNew, ..Site::new("n1", MemoryDisk::new()) };
    assert!(matches!(site.start().await.err(), Some(RaftError::NothingToGoOnFrom)));

    // A member that joined and never heard of its group has nothing either.
    let disk = MemoryDisk::new();
    let joined = Site { begin: Begin::Join { raft_id: 5 }, ..Site::new("n1", disk.clone()) };
    joined.start().await.unwrap().stop().await;
    let site = Site { begin: Begin::ForceNew, ..joined };
    assert!(matches!(site.start().await.err(), Some(RaftError::NothingToGoOnFrom)));
    assert!(Site { begin: Begin::Join { raft_id: 5 }, ..site }.start().await.is_ok(), "and it was not harmed");
}

#[tokio::test(start_paused = true)]
async fn survivors_of_the_old_group_can_not_take_the_new_one_over() {
    let mut places = three(RaftOptions::default()).await;
    places[0].member().write("a").await.unwrap();
    places[2].kill();
    places[1].kill();
    kill_all(&mut places);
    // It stays where the others look for it.
    let site = Site { begin: Begin::ForceNew, ..places[0].site.clone() };
    let member = force(&site).await;
    member.write("new").await.unwrap();
    for place in &mut places[1..] {
        place.restart().await;
    }
    let mut leadership = member.raft.leadership();
    let role = leadership.latest();
    let lost = tokio::time::timeout(Duration::from_secs(20), leadership.changed()).await;
    assert!(lost.is_err(), "{role:?} became {lost:?}");
    member.write("newer").await.unwrap();
    assert_eq!(member.ids(), ["a", "new", "newer"]);
    // The old ones have a quorum of their own, if both are back; they are another group now.
    assert!(places[1..].iter().all(|place| !place.member().ids().contains(&"new".to_owned())));
}

/// A disk from before, and how a crash leaves it.
async fn state_of_three() -> (MemoryDisk, Site) {
    let options = RaftOptions { snapshot_interval: 20, kept_entries: 5, segment_bytes: 3000, ..RaftOptions::default() };
    let mut places = three(options).await;
    for n in 0..30 {
        places[0].member().write(&format!("n{n:03}")).await.expect("the leader writes");
    }
    let all = places[0].member().ids();
    has(places[1].member(), &all.iter().map(String::as_str).collect::<Vec<_>>()).await;
    kill_all(&mut places);
    (places[1].disk.clone(), alone(&places[1]))
}

#[tokio::test(start_paused = true)]
async fn a_crash_at_any_operation_of_the_disk_leaves_the_old_member_or_the_new_one() {
    let (state, site) = state_of_three().await;
    let mut rng = SmallRng::seed_from_u64(1);
    let mut deaths = 0;
    for changes in 0.. {
        let mut survived = false;
        for crash in 0..4 {
            let disk = state.duplicate();
            let mortal = MortalDisk::new(disk.clone(), changes);
            let site = Site { disk: Arc::new(mortal.clone()), ..site.clone() };
            if let Ok(member) = site.start().await {
                let _ = tokio::time::timeout(Duration::from_secs(2), member.raft.leadership().lead()).await;
                member.kill();
            }
            survived |= !mortal.is_dead();
            deaths += u32::from(mortal.is_dead());
            disk.crash(match crash {
                0 => Crash::LoseAll,
                1 => Crash::KeepBytes(usize::MAX),
                _ => Crash::Torn(&mut rng),
            });
            comes_back(&site, &disk, changes).await;
        }
        if survived {
            break;
        }
    }
    assert!(deaths >= 8, "{deaths} crashes were tried");
}

/// The member starts as what it is, and goes on alone when it is told to.
async fn comes_back(site: &Site, disk: &MemoryDisk, changes: u64) {
    let copy = disk.duplicate();
    let plain =
        Site { disk: Arc::new(copy), begin: Begin::Join { raft_id: new_raft_id(&Env::real()) }, ..site.clone() };
    let member = plain.start().await.unwrap_or_else(|error| panic!("crash after {changes} changes: {error}"));
    let _ = tokio::time::timeout(Duration::from_secs(2), member.raft.leadership().lead()).await;
    match (member.raft.members().len(), member.raft.leadership().current()) {
        (1, Role::Leader { .. }) | (3, Role::Follower { .. }) => {}
        other => panic!("crash after {changes} changes: {other:?}"),
    }
    member.kill();

    let forced = Site { disk: Arc::new(disk.clone()), ..site.clone() };
    let member = force(&forced).await;
    assert_eq!(member.ids().len(), 30, "crash after {changes} changes");
    member.write("z").await.expect("the survivor writes");
    member.stop().await;
}
