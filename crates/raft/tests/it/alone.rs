//! A group of one: founding, writing, stopping, and starting again.

use std::{collections::BTreeSet, time::Duration};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};
use swarmkit_api::NodeId;
use swarmkit_raft::{Crash, Disk as _, LogKey, MemoryDisk, RaftOptions, RealDisk, Role};
use swarmkit_store::{ProposeError, StoreError};

use crate::cluster::Site;

#[tokio::test]
async fn a_founder_leads_and_commits() {
    let site = Site::new("n1", MemoryDisk::new());
    let member = site.start().await.unwrap();
    let term = member.lead().await;
    assert_eq!(member.raft.leadership().current(), Role::Leader { term });
    member.write("a").await.unwrap();
    assert_eq!(member.ids(), ["a"]);
    member.stop().await;
}

#[tokio::test]
async fn what_was_committed_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::new("n1", RealDisk::open(folder.path()).unwrap());
    let member = site.start().await.unwrap();
    member.lead().await;
    for id in ["a", "b", "c"] {
        member.write(id).await.unwrap();
    }
    let (raft_id, version) = (member.raft.raft_id(), member.store.version());
    member.stop().await;

    let again = site.start().await.unwrap();
    again.lead().await;
    assert_eq!(again.ids(), ["a", "b", "c"]);
    assert_eq!((again.raft.raft_id(), again.store.version()), (raft_id, version));
    again.write("d").await.unwrap();
    assert_eq!(again.ids(), ["a", "b", "c", "d"]);
    again.stop().await;
}

#[tokio::test]
async fn snapshots_replace_the_log() {
    let disk = MemoryDisk::new();
    let mut site = Site::new("n1", disk.clone());
    site.options = RaftOptions { snapshot_interval: 20, kept_entries: 5, segment_bytes: 2000, ..site.options };
    let member = site.start().await.unwrap();
    member.lead().await;
    let ids: Vec<String> = (0..100).map(|n| format!("n{n:03}")).collect();
    for id in &ids {
        member.write(id).await.unwrap();
    }
    member.stop().await;
    let names = swarmkit_raft::Disk::list(&disk).await.unwrap();
    assert_eq!(names.iter().filter(|name| name.ends_with(".snap")).count(), 1, "{names:?}");
    assert!(!names.contains(&format!("{:016x}.log", 0)), "{names:?}");

    let again = site.start().await.unwrap();
    again.lead().await;
    assert_eq!(again.ids(), ids);
    again.write("z").await.unwrap();
    again.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_member_that_is_alone_leads_at_once_after_a_restart() {
    let site = Site::new("n1", MemoryDisk::new());
    let member = site.start().await.unwrap();
    member.lead().await;
    member.write("a").await.unwrap();
    member.stop().await;
    let begin = tokio::time::Instant::now();
    let again = site.start().await.unwrap();
    again.lead().await;
    assert!(begin.elapsed() < site.options.election_min, "no election was waited for: {:?}", begin.elapsed());
    assert_eq!(again.ids(), ["a"], "it leads when it has everything");
    again.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_alone_sleeps_until_it_is_needed() {
    let site = Site::new("n1", MemoryDisk::new());
    let member = site.start().await.unwrap();
    member.lead().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let wakes = || tokio::runtime::Handle::current().metrics().worker_park_count(0);
    let before = wakes();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let woken = wakes() - before;
    assert!(woken < 20, "the runtime woke {woken} times in an idle hour");
    member.write("a").await.unwrap();
    member.stop().await;
}

#[tokio::test]
async fn a_write_on_an_idle_member_costs_one_sync() {
    let disk = MemoryDisk::new();
    let member = Site::new("n1", disk.clone()).start().await.unwrap();
    member.lead().await;
    let before = disk.syncs();
    for number in 0..50 {
        member.write(&format!("n{number}")).await.unwrap();
    }
    assert_eq!(disk.syncs() - before, 50);
    member.stop().await;
}

#[tokio::test]
async fn a_killed_member_keeps_everything_that_it_acknowledged() {
    let disk = MemoryDisk::new();
    let site = Site::new("n1", disk.clone());
    let member = site.start().await.unwrap();
    member.lead().await;
    for id in ["a", "b", "c"] {
        member.write(id).await.unwrap();
    }
    member.kill();
    disk.crash(Crash::LoseAll);

    let again = site.start().await.unwrap();
    again.lead().await;
    assert_eq!(again.ids(), ["a", "b", "c"]);
    again.stop().await;
}

#[tokio::test(start_paused = true)]
async fn power_cuts_at_any_moment_lose_nothing_that_was_acknowledged() {
    for seed in 0..20 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let disk = MemoryDisk::new();
        disk.delay_syncs(Duration::from_millis(3));
        let mut site = Site::new("n1", disk.clone());
        site.options = RaftOptions { snapshot_interval: 15, kept_entries: 3, segment_bytes: 3000, ..site.options };
        let mut acknowledged = BTreeSet::new();
        for life in 0..6 {
            let member = site.start().await.unwrap_or_else(|error| panic!("seed {seed}, life {life}: {error}"));
            member.lead().await;
            let there: BTreeSet<String> = member.ids().into_iter().collect();
            assert!(
                there.is_superset(&acknowledged),
                "seed {seed}, life {life}: {acknowledged:?} are not in {there:?}"
            );
            let ids: Vec<String> = (0..rng.random_range(1..40)).map(|number| format!("{life}-{number:02}")).collect();
            let mut writes: FuturesUnordered<_> =
                ids.iter().map(async |id| member.write(id).await.map(|()| id.clone())).collect();
            let until = tokio::time::sleep(Duration::from_millis(rng.random_range(0..12)));
            tokio::pin!(until);
            loop {
                tokio::select! { biased; // what is acknowledged at this moment still counts
                    Some(written) = writes.next() => { acknowledged.extend(written.ok()); }
                    () = &mut until => break,
                }
            }
            drop(writes);
            member.kill();
            disk.crash(Crash::Torn(&mut rng));
        }
    }
}

#[tokio::test]
async fn a_full_disk_ends_the_member_and_nothing_is_acknowledged() {
    let disk = MemoryDisk::new();
    let site = Site::new("n1", disk.clone());
    let member = site.start().await.unwrap();
    member.lead().await;
    member.write("a").await.unwrap();
    disk.fill_up_after(10);
    let refused = member.write("b").await.unwrap_err();
    assert_eq!(refused, StoreError::Propose(ProposeError::Unknown));
    let reason = member.ended().await;
    assert!(reason.starts_with("cannot write 0000000000000000.log: "), "{reason}");

    disk.crash(Crash::LoseAll);
    let again = site.start().await.unwrap();
    again.lead().await;
    assert_eq!(again.ids(), ["a"]);
    again.stop().await;
}

#[tokio::test]
async fn a_failed_sync_ends_the_member_and_nothing_is_acknowledged() {
    let disk = MemoryDisk::new();
    let site = Site::new("n1", disk.clone());
    let member = site.start().await.unwrap();
    member.lead().await;
    disk.fail_syncs();
    assert_eq!(member.write("a").await.unwrap_err(), StoreError::Propose(ProposeError::Unknown));
    let later = member.write("b").await.unwrap_err();
    assert!(matches!(later, StoreError::Propose(_)), "{later}");
    let reason = member.ended().await;
    assert_eq!(reason, "cannot write 0000000000000000.log: the disk has failed");
}

#[tokio::test(start_paused = true)]
async fn a_member_that_cannot_read_its_snapshot_says_so_at_its_start_instead_of_hanging() {
    let disk = MemoryDisk::new();
    let mut site = Site::new("n1", disk.clone());
    site.options = RaftOptions { snapshot_interval: 5, ..site.options };
    let member = site.start().await.unwrap();
    member.lead().await;
    for n in 0..20 {
        member.write(&format!("n{n}")).await.unwrap();
    }
    member.stop().await;
    for name in disk.list().await.unwrap().iter().filter(|name| name.ends_with(".snap")) {
        let mut content = disk.content(name).unwrap();
        let middle = content.len() / 2;
        content[middle] ^= 1;
        disk.overwrite(name, content);
    }
    let started = tokio::time::timeout(std::time::Duration::from_secs(60), site.start()).await;
    let error = started.expect("it does not hang").err().expect("it cannot start").to_string();
    assert!(error.contains("is damaged at byte"), "{error}");
}

#[tokio::test]
async fn a_wrong_key_is_told_from_damage() {
    let mut site = Site::new("n1", MemoryDisk::new());
    let member = site.start().await.unwrap();
    member.lead().await;
    member.stop().await;
    site.keys = LogKey::new([8; 32]).into();
    let error = site.start().await.err().unwrap();
    assert_eq!(error.to_string(), "0000000000000000.log is sealed with another key");
}

#[tokio::test]
async fn a_snapshot_whose_log_is_lost_is_not_taken_for_a_new_member() {
    let disk = MemoryDisk::new();
    let mut site = Site::new("n1", disk.clone());
    site.options = RaftOptions { snapshot_interval: 5, ..site.options };
    let member = site.start().await.unwrap();
    member.lead().await;
    for n in 0..20 {
        member.write(&format!("n{n}")).await.unwrap();
    }
    member.stop().await;
    for name in disk.list().await.unwrap().iter().filter(|name| name.ends_with(".log")) {
        disk.remove(name).await.unwrap();
    }
    let error = site.start().await.err().unwrap();
    assert_eq!(error.to_string(), "the log of this snapshot is missing");
}

#[tokio::test]
async fn the_state_of_another_node_is_refused() {
    let mut site = Site::new("n1", MemoryDisk::new());
    site.start().await.unwrap().stop().await;
    site.node = NodeId::from("n2");
    let error = site.start().await.err().unwrap();
    assert_eq!(error.to_string(), "the state on the disk belongs to node n1, not to n2");
}
