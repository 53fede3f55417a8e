//! Members that change the key of their log.

use std::{io, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};
use swarmkit_raft::{
    KeyKeeper, KeyRotation, KeyRotator, LogError, LogKey, LogKeys, MemoryDisk, RaftError, RaftOptions,
};
use swarmkit_runtime::{Crew, Env};
use tokio_util::sync::CancellationToken;

use crate::{
    cluster::{Running, Site},
    group::{has, three, write},
};

const OLD: [u8; 32] = [7; 32];
const NEW: [u8; 32] = [8; 32];

fn small() -> RaftOptions {
    RaftOptions { snapshot_interval: 20, kept_entries: 5, segment_bytes: 2000, ..RaftOptions::default() }
}

/// A member alone, with so many objects, a snapshot and some segments.
async fn alone(objects: usize) -> (Site, MemoryDisk, Running) {
    let disk = MemoryDisk::new();
    let (site, member) = crate::cluster::alone(disk.clone(), small()).await;
    for n in 0..objects {
        member.write(&format!("n{n:03}")).await.expect("a member writes");
    }
    (site, disk, member)
}

async fn starts_with(site: &Site, keys: impl Into<LogKeys>) -> Result<Running, RaftError> {
    Site { keys: keys.into(), ..site.clone() }.start().await
}

fn is_wrong_key(started: Result<Running, RaftError>) -> bool {
    matches!(started.err(), Some(RaftError::Log(LogError::WrongKey { .. })))
}

#[tokio::test(start_paused = true)]
async fn an_idle_member_changes_its_key_and_the_old_one_no_longer_opens_its_data() {
    let (site, disk, member) = alone(50).await;
    member.raft.rotate_key(&LogKey::new(NEW)).await.unwrap();
    let at_that_moment = Site { disk: Arc::new(disk.duplicate()), ..site.clone() };
    assert!(is_wrong_key(starts_with(&at_that_moment, LogKey::new(OLD)).await));
    let copy = starts_with(&at_that_moment, LogKey::new(NEW)).await.unwrap();
    copy.lead().await;
    assert_eq!(copy.ids().len(), 50);
    drop(copy);

    member.write("z").await.unwrap();
    member.stop().await;
    assert!(is_wrong_key(starts_with(&site, LogKey::new(OLD)).await));
    let again = starts_with(&site, LogKey::new(NEW)).await.unwrap();
    again.lead().await;
    assert_eq!(again.ids().len(), 51);
}

#[tokio::test(start_paused = true)]
async fn a_member_that_stopped_in_the_middle_needs_both_keys_and_heals_itself() {
    let (site, disk, member) = alone(50).await;
    // Every write to the disk takes its time, so the power goes in the middle.
    disk.delay_syncs(Duration::from_millis(10));
    let changed = tokio::time::timeout(Duration::from_millis(35), member.raft.rotate_key(&LogKey::new(NEW))).await;
    assert!(changed.is_err());
    member.kill();
    disk.crash(swarmkit_raft::Crash::LoseAll);
    for one in [OLD, NEW] {
        assert!(is_wrong_key(starts_with(&site, LogKey::new(one)).await));
    }
    let both = LogKeys { current: LogKey::new(OLD), pending: Some(LogKey::new(NEW)) };
    let healed = starts_with(&site, both).await.unwrap();
    healed.lead().await;
    healed.raft.rotate_key(&LogKey::new(NEW)).await.unwrap();
    assert_eq!(healed.ids().len(), 50);
    healed.stop().await;
    assert_eq!(starts_with(&site, LogKey::new(NEW)).await.unwrap().ids().len(), 50);
}

#[tokio::test(start_paused = true)]
async fn keys_snapshots_and_writes_change_at_the_same_time_without_harm() {
    let (site, disk, member) = alone(0).await;
    disk.delay_syncs(Duration::from_millis(2));
    let writes = async {
        for n in 0..200 {
            member.write(&format!("n{n:03}")).await.unwrap();
        }
    };
    let changes = async {
        for n in 10..30 {
            member.raft.rotate_key(&LogKey::new([n; 32])).await.unwrap();
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    };
    tokio::join!(writes, changes);
    member.stop().await;
    let again = starts_with(&site, LogKey::new([29; 32])).await.unwrap();
    assert_eq!(again.ids().len(), 200);
}

/// A key file in memory, which counts how often it was written.
#[derive(Clone)]
struct KeyFile(Arc<Mutex<KeyFileState>>);

struct KeyFileState {
    keys: LogKeys,
    written: u32,
    failing: u32,
}

impl KeyFile {
    fn new(keys: LogKeys) -> Self {
        Self(Arc::new(Mutex::new(KeyFileState { keys, written: 0, failing: 0 })))
    }

    fn keys(&self) -> LogKeys {
        self.0.lock().keys.clone()
    }

    /// Runs the changes of a member's key until the token is cancelled.
    fn rotation(&self, member: &Running, stop: &CancellationToken) -> (KeyRotator, Crew) {
        let requests = KeyRotator::new();
        let rotation = KeyRotation {
            raft: member.raft.clone(),
            keys: self.keys(),
            keeper: self.clone(),
            requests: requests.clone(),
            env: Env::real(),
        };
        let mut crew = Crew::under(stop);
        crew.spawn("key rotation", |stop| rotation.run(stop));
        (requests, crew)
    }

    async fn settled(&self, changes: u32) {
        let settled = async {
            while self.0.lock().written < 2 * changes || self.keys().pending.is_some() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), settled).await.expect("the key is changed");
    }
}

impl KeyKeeper for KeyFile {
    fn keep(&self, keys: &LogKeys) -> BoxFuture<'_, io::Result<()>> {
        let mut state = self.0.lock();
        let kept = match state.failing.checked_sub(1) {
            Some(left) => {
                state.failing = left;
                Err(io::Error::other("the key file cannot be written"))
            }
            None => {
                state.keys = keys.clone();
                state.written += 1;
                Ok(())
            }
        };
        Box::pin(std::future::ready(kept))
    }
}

#[tokio::test(start_paused = true)]
async fn a_restart_with_only_the_pending_key_holding_the_data_finishes_at_once() {
    let (site, _, member) = alone(30).await;
    member.raft.rotate_key(&LogKey::new(NEW)).await.unwrap();
    member.stop().await;
    // The crash came before the key file said so.
    let file = KeyFile::new(LogKeys { current: LogKey::new(OLD), pending: Some(LogKey::new(NEW)) });
    let member = starts_with(&site, file.keys()).await.unwrap();
    let (_requests, crew) = file.rotation(&member, &CancellationToken::new());
    let finished = async {
        while file.keys().pending.is_some() {
            tokio::task::yield_now().await;
        }
    };
    finished.await;
    assert_eq!(file.keys().current.as_bytes(), &NEW);
    assert_eq!(file.0.lock().written, 1);
    drop(crew);
}

#[tokio::test(start_paused = true)]
async fn requests_during_a_change_lead_to_exactly_one_more() {
    let (site, disk, member) = alone(30).await;
    let file = KeyFile::new(LogKey::new(OLD).into());
    let stop = CancellationToken::new();
    let (requests, crew) = file.rotation(&member, &stop);
    disk.delay_syncs(Duration::from_millis(20));
    requests.request();
    tokio::time::sleep(Duration::from_millis(10)).await;
    let first = file.keys().pending.expect("the change is under way");
    for _ in 0..3 {
        requests.request();
    }
    file.settled(2).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(file.0.lock().written, 4, "two changes, each kept before and after");
    assert_ne!(file.keys().current.as_bytes(), first.as_bytes());
    stop.cancel();
    crew.finish().await.unwrap();
    member.stop().await;
    assert_eq!(starts_with(&site, file.keys()).await.unwrap().ids().len(), 30);
}

#[tokio::test(start_paused = true)]
async fn a_key_file_that_cannot_be_written_is_tried_again() {
    let (_, _, member) = alone(5).await;
    let file = KeyFile::new(LogKey::new(OLD).into());
    file.0.lock().failing = 3;
    let (requests, crew) = file.rotation(&member, &CancellationToken::new());
    requests.request();
    file.settled(1).await;
    assert_ne!(file.keys().current.as_bytes(), &OLD);
    drop(crew);
}

#[tokio::test(start_paused = true)]
async fn thirty_changes_with_restarts_under_writes_lose_nothing() {
    let mut rng = SmallRng::seed_from_u64(7);
    let mut places = three(small()).await;
    let files: Vec<KeyFile> = places.iter().map(|place| KeyFile::new(place.site.keys.clone())).collect();
    for place in &places {
        place.disk.delay_syncs(Duration::from_millis(1));
    }
    let mut written = Vec::new();
    let mut cut_short = 0;
    for round in 0..30 {
        let at = round % 3;
        let stop = CancellationToken::new();
        let (requests, crew) = files[at].rotation(places[at].member(), &stop);
        let before = files[at].0.lock().written;
        requests.request();
        for n in 0..4 {
            let id = format!("r{round:02}-{n}");
            write(&places, &id).await;
            written.push(id);
        }
        if rng.random_bool(0.5) {
            tokio::time::sleep(Duration::from_millis(rng.random_range(0..15))).await;
            let state = files[at].0.lock().written - before;
            cut_short += u32::from(state == 1);
            drop(crew);
            places[at].kill();
            places[at].site.keys = files[at].keys();
            places[at].restart().await;
            // The next life finishes what this one began.
            let pending = files[at].keys().pending.is_some();
            let (_requests, crew) = files[at].rotation(places[at].member(), &stop);
            if pending {
                while files[at].keys().pending.is_some() {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
            drop(crew);
        } else {
            files[at].settled(before / 2 + 1).await;
            drop(crew);
        }
        places[at].site.keys = files[at].keys();
    }
    assert!(cut_short > 0, "some restarts came in the middle of a change");
    let all: Vec<&str> = written.iter().map(String::as_str).collect();
    for place in &mut places {
        has(place.member(), &all).await;
        place.kill();
        let keys = place.site.keys.clone();
        assert!(keys.pending.is_none());
        assert!(is_wrong_key(starts_with(&place.site, LogKey::new(OLD)).await));
        place.restart().await;
    }
    for place in &places {
        has(place.member(), &all).await;
    }
}
