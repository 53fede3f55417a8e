//! Snapshots: when they are taken, what they cost, and what stays of the log.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use swarmkit_api::{Config, ConfigId, wire};
use swarmkit_raft::{Disk, DiskFile, DiskFuture, MemoryDisk, RaftOptions, SnapshotPolicy};

use crate::{
    cluster::{Running, Site, alone},
    group::{Place, has, join, three},
};

const POLICY: SnapshotPolicy = SnapshotPolicy { interval: 20, kept_entries: 5, kept_snapshots: 0 };

fn every(interval: u64) -> RaftOptions {
    RaftOptions { snapshot_interval: interval, kept_entries: 5, segment_bytes: 2000, ..RaftOptions::default() }
}

async fn snapshots(disk: &MemoryDisk) -> Vec<String> {
    let mut names = disk.list().await.expect("a disk in memory lists");
    names.retain(|name| name.ends_with(".snap"));
    names
}

async fn write(member: &Running, ids: std::ops::Range<usize>) {
    for n in ids {
        member.write(&format!("n{n:03}")).await.expect("the leader writes");
    }
}

fn ids(upto: usize) -> Vec<String> {
    (0..upto).map(|n| format!("n{n:03}")).collect()
}

async fn has_all(places: &[Place], upto: usize) {
    let ids = ids(upto);
    for place in places.iter().filter(|place| place.running.is_some()) {
        has(place.member(), &ids.iter().map(String::as_str).collect::<Vec<_>>()).await;
    }
    // Snapshots are written beside.
    tokio::time::sleep(Duration::from_secs(1)).await;
}

/// An object of 100 kB.
async fn write_large(member: &Running, number: usize) {
    let mut config = Config::new(ConfigId::from(format!("c{number:03}")));
    let annotations = Some(wire::Annotations { name: format!("c{number}"), ..Default::default() });
    config.spec = Arc::new(wire::ConfigSpec { annotations, data: vec![7; 100_000].into(), ..Default::default() });
    member.store.update(|tx| tx.create(config)).await.expect("the leader writes");
}

#[tokio::test(start_paused = true)]
async fn no_member_takes_a_snapshot_before_the_interval_and_each_does_after_it_and_after_the_next() {
    let places = three(every(30)).await;
    write(places[0].member(), 0..15).await;
    has_all(&places, 15).await;
    for place in &places {
        assert!(snapshots(&place.disk).await.is_empty());
    }
    write(places[0].member(), 15..40).await;
    has_all(&places, 40).await;
    let mut first = Vec::new();
    for place in &places {
        first.push(snapshots(&place.disk).await);
        assert_eq!(first.last().map(Vec::len), Some(1));
    }
    write(places[0].member(), 40..80).await;
    has_all(&places, 80).await;
    for (place, first) in places.iter().zip(first) {
        let second = snapshots(&place.disk).await;
        assert_eq!(second.len(), 1);
        assert_ne!(second, first, "it is replaced by one of a new name");
    }
}

#[tokio::test(start_paused = true)]
async fn an_interval_of_zero_takes_no_snapshot() {
    let disk = MemoryDisk::new();
    let (_, member) = alone(disk.clone(), every(0)).await;
    write(&member, 0..100).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(snapshots(&disk).await.is_empty());
    // It takes effect without a restart, both ways.
    member.raft.set_snapshot_policy(POLICY);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let taken = snapshots(&disk).await;
    assert_eq!(taken.len(), 1, "100 entries wait already");
    member.raft.set_snapshot_policy(SnapshotPolicy { interval: 0, ..POLICY });
    write(&member, 100..200).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(snapshots(&disk).await, taken);
}

#[tokio::test(start_paused = true)]
async fn exactly_so_many_old_snapshots_are_kept_as_the_policy_says() {
    let disk = MemoryDisk::new();
    let (site, member) = alone(disk.clone(), every(20)).await;
    member.raft.set_snapshot_policy(SnapshotPolicy { kept_snapshots: 2, ..POLICY });
    for round in 0..5 {
        write(&member, 25 * round..25 * (round + 1)).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(snapshots(&disk).await.len(), 3);
    member.stop().await;
    let member = site.start().await.unwrap();
    member.lead().await;
    assert_eq!(member.ids(), ids(125));
    assert_eq!(snapshots(&disk).await.len(), 3, "a restart removes none, since it does not know the policy yet");
    write(&member, 125..150).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(snapshots(&disk).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn large_change_sets_are_enough_for_a_snapshot_whatever_their_number() {
    let disk = MemoryDisk::new();
    let options = RaftOptions { snapshot_bytes: 700_000, segment_bytes: 200_000, ..RaftOptions::default() };
    let (_, member) = alone(disk.clone(), options).await;
    for number in 0..5 {
        write_large(&member, number).await;
    }
    assert!(snapshots(&disk).await.is_empty());
    for number in 5..10 {
        write_large(&member, number).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(snapshots(&disk).await.len(), 1);
}

/// A group of three whose last member takes no snapshots of its own, so one that it has was sent to it.
async fn with_a_slow_follower(kept_entries: u64) -> Vec<Place> {
    let mut places = three(RaftOptions { kept_entries, ..every(20) }).await;
    places[2].kill();
    places[2].site.options = every(0);
    places
}

#[tokio::test(start_paused = true)]
async fn a_follower_that_lags_by_less_than_what_is_kept_is_served_from_the_log() {
    let mut places = with_a_slow_follower(500).await;
    write(places[0].member(), 0..100).await;
    has_all(&places, 100).await;
    assert_eq!(snapshots(&places[0].disk).await.len(), 1);
    places[2].restart().await;
    has_all(&places, 100).await;
    assert!(snapshots(&places[2].disk).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_follower_that_lags_by_more_is_served_by_a_snapshot() {
    let mut places = with_a_slow_follower(5).await;
    write(places[0].member(), 0..100).await;
    has_all(&places, 100).await;
    places[2].restart().await;
    has_all(&places, 100).await;
    assert_eq!(snapshots(&places[2].disk).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_new_member_gets_the_snapshot_and_the_same_member_list() {
    let mut places = three(every(20)).await;
    write(places[0].member(), 0..50).await;
    let newcomer = join(&places, "n4", &every(0)).await;
    places.push(newcomer);
    has_all(&places, 50).await;
    assert_eq!(snapshots(&places[3].disk).await.len(), 1);
    let list =
        |place: &Place| place.member().raft.members().into_iter().map(|status| status.member).collect::<Vec<_>>();
    assert_eq!(list(&places[3]).len(), 4);
    assert_eq!(list(&places[3]), list(&places[0]));
}

#[tokio::test(start_paused = true)]
async fn a_member_that_was_down_across_a_snapshot_and_new_members_has_all_of_it_and_again_after_a_restart() {
    let mut places = three(every(20)).await;
    places[2].kill();
    write(places[0].member(), 0..30).await;
    for name in ["n4", "n5"] {
        let newcomer = join(&places, name, &every(20)).await;
        places.push(newcomer);
    }
    write(places[0].member(), 30..60).await;
    has_all(&places, 60).await;
    for _ in 0..2 {
        places[2].restart().await;
        has_all(&places, 60).await;
        assert_eq!(places[2].member().raft.members().len(), 5);
        places[2].kill();
    }
}

/// A disk on which snapshots are another matter than logs.
struct Snapshots(MemoryDisk, Fate);

#[derive(Clone, Copy)]
enum Fate {
    /// They take their time.
    Slow,
    /// There is no room for them.
    Refused,
}

struct SnapshotFile(Box<dyn DiskFile>, Fate);

impl Disk for Snapshots {
    fn list(&self) -> DiskFuture<Vec<String>> {
        self.0.list()
    }

    fn create(&self, name: &str) -> DiskFuture<Box<dyn DiskFile>> {
        let (created, fate) = (self.0.create(name), name.ends_with(".tmp").then_some(self.1));
        Box::pin(async move {
            let file = created.await?;
            Ok(match fate {
                Some(fate) => Box::new(SnapshotFile(file, fate)) as Box<dyn DiskFile>,
                None => file,
            })
        })
    }

    fn open(&self, name: &str) -> DiskFuture<Box<dyn DiskFile>> {
        self.0.open(name)
    }

    fn rename(&self, from: &str, to: &str) -> DiskFuture<()> {
        self.0.rename(from, to)
    }

    fn remove(&self, name: &str) -> DiskFuture<()> {
        self.0.remove(name)
    }

    fn sync_names(&self) -> DiskFuture<()> {
        self.0.sync_names()
    }
}

impl DiskFile for SnapshotFile {
    fn size(&self) -> DiskFuture<u64> {
        self.0.size()
    }

    fn read_at(&self, offset: u64, len: usize) -> DiskFuture<Bytes> {
        self.0.read_at(offset, len)
    }

    fn append(&self, bytes: Bytes) -> DiskFuture<()> {
        let (appended, fate) = (self.0.append(bytes), self.1);
        Box::pin(async move {
            match fate {
                Fate::Slow => tokio::time::sleep(Duration::from_millis(100)).await,
                Fate::Refused => return Err(std::io::ErrorKind::StorageFull.into()),
            }
            appended.await
        })
    }

    fn sync(&self) -> DiskFuture<()> {
        self.0.sync()
    }

    fn append_and_sync(&self, bytes: Bytes) -> DiskFuture<()> {
        self.0.append_and_sync(bytes)
    }

    fn truncate(&self, len: u64) -> DiskFuture<()> {
        self.0.truncate(len)
    }
}

#[tokio::test(start_paused = true)]
async fn writes_go_on_at_their_pace_while_a_snapshot_is_taken() {
    let disk = MemoryDisk::new();
    disk.delay_syncs(Duration::from_millis(1));
    let (_, member) = alone(Snapshots(disk.clone(), Fate::Slow), every(40)).await;
    for number in 0..40 {
        write_large(&member, number).await;
    }
    let began = tokio::time::Instant::now();
    let mut written = 0;
    while snapshots(&disk).await.is_empty() {
        let asked = tokio::time::Instant::now();
        member.write(&format!("n{written:03}")).await.unwrap();
        assert!(asked.elapsed() <= Duration::from_millis(3), "{:?}", asked.elapsed());
        written += 1;
    }
    assert!(began.elapsed() > Duration::from_secs(1), "the snapshot took {:?}", began.elapsed());
    assert!(written > 300, "{written} writes while the snapshot was taken");
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_that_cannot_be_written_is_told_and_leaves_no_file() {
    let disk = MemoryDisk::new();
    let (site, member) = alone(Snapshots(disk.clone(), Fate::Refused), every(40)).await;
    write(&member, 0..35).await;
    let asked = member.write("n035").await;
    for n in 36..60 {
        // The member may end at any of these.
        let _ = member.write(&format!("n{n:03}")).await;
    }
    assert!(asked.is_ok());
    let reason = member.ended().await;
    assert!(reason.contains("no storage space"), "{reason}");
    assert!(snapshots(&disk).await.is_empty());

    let again = Site { disk: Arc::new(disk.clone()), ..site }.start().await.unwrap();
    again.lead().await;
    assert!(again.ids().len() >= 36, "{}", again.ids().len());
    let names = disk.list().await.unwrap();
    assert!(!names.iter().any(|name| name.ends_with(".tmp")), "{names:?}");
    again.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_to_a_member_that_dies_meanwhile_makes_it_unreachable_and_is_sent_again_when_it_is_back() {
    let mut places = with_a_slow_follower(5).await;
    write(places[0].member(), 0..100).await;
    has_all(&places, 100).await;
    let dying = places[2].site.node.clone();
    let reachable = |places: &[Place]| {
        let members = places[0].member().raft.members();
        members.into_iter().find(|status| status.member.node_id == dying).unwrap().reachable
    };
    // Its disk is slow, so the snapshot is under way for long.
    places[2].disk.delay_syncs(Duration::from_millis(400));
    places[2].restart().await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(places[2].member().ids().is_empty(), "it is not installed yet");
    places[2].kill();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(reachable(&places), Some(false));
    assert!(snapshots(&places[2].disk).await.is_empty());

    places[2].disk.delay_syncs(Duration::ZERO);
    places[2].restart().await;
    has_all(&places, 100).await;
    assert_eq!(reachable(&places), Some(true));
    assert_eq!(snapshots(&places[2].disk).await.len(), 1);
}

#[test]
fn the_defaults_are_those_that_operators_know() {
    let policy = SnapshotPolicy::from(&RaftOptions::default());
    assert_eq!(policy, SnapshotPolicy { interval: 10_000, kept_entries: 500, kept_snapshots: 0 });
}
