//! Members whose state is damaged or lost.

use std::{sync::Arc, time::Duration};

use swarmkit_raft::{Begin, Crash, Disk as _, MemoryDisk, Raft, RaftError, RaftOptions, Role};

use crate::{
    cluster::Site,
    group::{Place, has, join, three},
    mortal::MortalDisk,
};

fn small() -> RaftOptions {
    RaftOptions { snapshot_interval: 20, kept_entries: 15, segment_bytes: 1500, ..RaftOptions::default() }
}

/// Three members with some segments and a snapshot each, of which the last is dead.
async fn two_and_a_dead_one() -> (Vec<Place>, Vec<String>) {
    let mut places = three(small()).await;
    let ids: Vec<String> = (0..30).map(|n| format!("n{n:03}")).collect();
    for id in &ids {
        places[0].member().write(id).await.expect("the leader writes");
    }
    has(places[2].member(), &ids.iter().map(String::as_str).collect::<Vec<_>>()).await;
    places[2].running.take().expect("it runs").stop().await;
    places[2].site.exchange.remove(&places[2].site.node);
    // The others find out that it is gone.
    tokio::time::sleep(Duration::from_secs(1)).await;
    (places, ids)
}

fn raft_id_of_the_dead_one(places: &[Place]) -> u64 {
    let mut members = places[0].member().raft.members().into_iter();
    members.find(|of| of.member.node_id == places[2].site.node).expect("it is a member").member.raft_id
}

/// Changes one byte in the middle of a file of the log.
async fn damage(disk: &MemoryDisk, segment: usize) -> String {
    let names = disk.list().await.expect("a disk in memory lists");
    let name = names.into_iter().filter(|name| name.ends_with(".log")).nth(segment).expect("there are some segments");
    let mut content = disk.content(&name).expect("the file is there");
    let middle = content.len() / 2;
    content[middle] ^= 1;
    disk.overwrite(&name, content);
    name
}

#[tokio::test(start_paused = true)]
async fn a_damaged_member_is_replaced_from_the_others_under_another_raft_id() {
    let (mut places, mut ids) = two_and_a_dead_one().await;
    let old_id = raft_id_of_the_dead_one(&places);
    let file = damage(&places[2].disk, 0).await;
    let refused = places[2].site.start().await.err().unwrap();
    assert!(refused.is_damage() && refused.to_string().starts_with(&file), "{refused}");

    let files = Raft::set_aside(&places[2].disk).await.unwrap();
    assert!(files.contains(&file));
    assert!(!Raft::has_state(&places[2].disk).await.unwrap());
    assert!(places[2].disk.content(&format!("{file}.damaged")).is_some(), "it is there for whoever wants to look");

    places[0].member().raft.remove(old_id).await.unwrap();
    let again = join(&places[..2], "n3", &small()).await;
    assert_ne!(again.member().raft.raft_id(), old_id);
    places[2] = again;
    ids.push("z".to_owned());
    places[0].member().write("z").await.unwrap();
    let all: Vec<&str> = ids.iter().map(String::as_str).collect();
    has(places[2].member(), &all).await;
    // It counts: with another one gone, the two have a quorum.
    places[1].kill();
    places[0].member().write("zz").await.unwrap();
    assert_eq!(places[0].member().raft.members().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_crash_while_a_state_is_set_aside_never_leaves_one_that_opens() {
    let (places, _) = two_and_a_dead_one().await;
    damage(&places[2].disk, 1).await;
    for changes in 0.. {
        for crash in [Crash::LoseAll, Crash::KeepBytes(0)] {
            let disk = places[2].disk.duplicate();
            let mortal = MortalDisk::new(disk.clone(), changes);
            let set_aside = Raft::set_aside(&mortal).await;
            disk.crash(crash);
            let site = Site { disk: Arc::new(disk.clone()), ..places[2].site.clone() };
            if Raft::has_state(&disk).await.unwrap() {
                let refused = site.start().await.err();
                assert!(refused.as_ref().is_some_and(RaftError::is_damage), "after {changes} changes: {refused:?}");
            }
            Raft::set_aside(&disk).await.unwrap();
            assert!(!Raft::has_state(&disk).await.unwrap());
            if set_aside.is_ok() && !mortal.is_dead() {
                return;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_snapshot_is_found_before_anything_is_made_of_the_log_behind_it() {
    let (places, _) = two_and_a_dead_one().await;
    let disk = &places[2].disk;
    for name in disk.list().await.unwrap().iter().filter(|name| name.ends_with(".snap")) {
        disk.remove(name).await.unwrap();
    }
    let refused = places[2].site.start().await.err().unwrap();
    assert!(refused.is_damage());
    assert_eq!(refused.to_string(), "the snapshot that the log begins after is missing");
}

#[tokio::test(start_paused = true)]
async fn another_key_is_no_damage() {
    let (places, _) = two_and_a_dead_one().await;
    let site = Site { keys: swarmkit_raft::LogKey::new([1; 32]).into(), ..places[2].site.clone() };
    assert!(!site.start().await.err().unwrap().is_damage());
}

#[tokio::test(start_paused = true)]
async fn a_wiped_member_that_comes_back_under_its_old_raft_id_harms_nobody_and_is_replaced() {
    let (mut places, ids) = two_and_a_dead_one().await;
    let old_id = raft_id_of_the_dead_one(&places);
    // No manager of ours does this; a copied machine might.
    let disk = MemoryDisk::new();
    places[2].site.disk = Arc::new(disk.clone());
    places[2].site.begin = Begin::Join { raft_id: old_id };
    places[2].disk = disk;
    places[2].restart().await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    places[0].member().write("z").await.unwrap();
    assert!(matches!(places[0].member().raft.leadership().current(), Role::Leader { term: 1 }));

    places[2].kill();
    tokio::time::sleep(Duration::from_secs(1)).await;
    places[0].member().raft.remove(old_id).await.unwrap();
    let again = join(&places[..2], "n3", &small()).await;
    let all: Vec<&str> = ids.iter().map(String::as_str).chain(["z"]).collect();
    has(again.member(), &all).await;
}
