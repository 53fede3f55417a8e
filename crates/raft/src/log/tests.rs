//! The log against openraft's own suite, torn tails, damage and crashes.

mod crash;
mod keys;
mod suite;

use std::sync::Arc;

use openraft::{EntryPayload, storage::RaftLogStorage as _};
use swarmkit_runtime::{Crew, Env};
use tokio_util::sync::CancellationToken;

use super::{Log, LogError, LogOptions, Owner, settle};
use crate::{
    disk::{Disk, MemoryDisk},
    seal::LogKey,
    types::{Command, Entry, LogId, Vote, log_id},
};

/// Segments so small that a few entries fill one.
const SMALL: LogOptions = LogOptions { segment_bytes: 600 };

fn owner() -> Owner {
    Owner { raft_id: 1, node_id: "n1".into() }
}

/// A log with its writer.
struct Opened {
    log: Log,
    crew: Crew,
}

async fn open_with(disk: &(impl Disk + Clone), options: LogOptions) -> Result<Opened, LogError> {
    open_beside(disk, None, options).await
}

/// Opens the log of a member whose newest snapshot ends with an entry.
async fn open_beside(
    disk: &(impl Disk + Clone),
    snapshot: Option<LogId>,
    options: LogOptions,
) -> Result<Opened, LogError> {
    let (env, key) = (Env::real(), LogKey::new([7; 32]).into());
    let (log, mut writer) = Log::open(Arc::new(disk.clone()), &key, &env, &owner(), options).await?;
    settle(&log, &mut writer, snapshot).await?;
    let mut crew = Crew::under(&CancellationToken::new());
    crew.spawn("raft log", |_| writer.run());
    Ok(Opened { log, crew })
}

async fn open(disk: &(impl Disk + Clone)) -> Result<Opened, LogError> {
    open_with(disk, LogOptions { segment_bytes: 16 << 20 }).await
}

impl Opened {
    /// Appends entries and waits until they are durable.
    async fn append(&mut self, entries: impl IntoIterator<Item = Entry>) {
        let (flushed, wait) = flushed();
        self.log.append(entries.into_iter().collect::<Vec<_>>(), flushed).await.unwrap();
        wait.await.unwrap().unwrap();
    }

    async fn entries(&self) -> Vec<Entry> {
        self.log.shared.read(0..u64::MAX).await.unwrap()
    }

    async fn state(&mut self) -> (Option<LogId>, Option<LogId>) {
        let state = self.log.get_log_state().await.unwrap();
        (state.last_purged_log_id, state.last_log_id)
    }

    fn vote(&self) -> Option<Vote> {
        self.log.shared.index.lock().vote
    }

    async fn close(self) {
        self.log.close().await.unwrap();
        self.crew.finish().await.unwrap();
    }
}

type Wait = <openraft_rt_tokio::TokioOneshot as openraft_rt::Oneshot>::Receiver<std::io::Result<()>>;

fn flushed() -> (openraft::storage::IOFlushed<crate::types::Types>, Wait) {
    use openraft_rt::Oneshot as _;
    let (done, wait) = openraft_rt_tokio::TokioOneshot::channel();
    (openraft::storage::IOFlushed::signal(done), wait)
}

/// An entry whose payload tells its id, and has so many bytes.
fn entry_of(term: u64, index: u64, bytes: usize) -> Entry {
    let mut payload = format!("{term}.{index} ").into_bytes();
    payload.resize(bytes, b'x');
    Entry { log_id: log_id(term, index), payload: EntryPayload::Normal(Command { payload: payload.into() }) }
}

fn entry(term: u64, index: u64) -> Entry {
    entry_of(term, index, 40)
}

fn name(number: u64) -> String {
    super::segment::name(number)
}

#[tokio::test]
async fn everything_is_there_again_when_the_log_is_reopened() {
    let disk = MemoryDisk::new();
    let mut log = open(&disk).await.unwrap();
    log.log.save_vote(&Vote::new_committed(3, 1)).await.unwrap();
    log.append((0..5).map(|index| entry(3, index))).await;
    log.log.save_committed(Some(log_id(3, 2))).await.unwrap();
    log.close().await;

    let mut log = open(&disk).await.unwrap();
    assert_eq!(log.vote(), Some(Vote::new_committed(3, 1)));
    assert_eq!(log.entries().await, (0..5).map(|index| entry(3, index)).collect::<Vec<_>>());
    assert_eq!(log.state().await, (None, Some(log_id(3, 4))));
    assert_eq!(log.log.read_committed().await.unwrap(), Some(log_id(3, 2)));
    assert!(!log.log.is_pristine());
    log.close().await;
}

#[tokio::test(start_paused = true)]
async fn the_log_never_claims_that_an_entry_is_committed_which_it_has_not() {
    let disk = MemoryDisk::new();
    disk.delay_syncs(std::time::Duration::from_millis(5));
    let mut log = open(&disk).await.unwrap();
    log.append([entry(1, 0)]).await;
    // A quorum of others has both entries. Here the first one fills a batch, and the power goes before the next.
    let ((large, first), (small, _second)) = (flushed(), flushed());
    log.log.append([entry_of(1, 1, 5 << 20)], large).await.unwrap();
    log.log.append([entry(1, 2)], small).await.unwrap();
    log.log.save_committed(Some(log_id(1, 2))).await.unwrap();
    first.await.unwrap().unwrap();
    disk.crash(crate::disk::Crash::LoseAll);
    let mut log = open(&disk).await.unwrap();
    assert_eq!(log.state().await, (None, Some(log_id(1, 1))));
    assert_eq!(log.log.read_committed().await.unwrap(), None);
}

#[tokio::test]
async fn payloads_do_not_lie_on_the_disk_in_clear() {
    let disk = MemoryDisk::new();
    let mut log = open(&disk).await.unwrap();
    let secret = Command { payload: bytes::Bytes::from_static(b"the password is swordfish") };
    log.append([Entry { log_id: log_id(1, 0), payload: EntryPayload::Normal(secret) }]).await;
    let file = disk.content(&name(0)).unwrap();
    assert!(!file.windows(9).any(|part| part == b"swordfish"));
}

#[tokio::test]
async fn entries_that_the_cache_has_dropped_are_read_from_the_disk() {
    let disk = MemoryDisk::new();
    let large = |index| entry_of(1, index, 300_000);
    let mut log = open_with(&disk, LogOptions { segment_bytes: 2 << 20 }).await.unwrap();
    for index in 0..60 {
        log.append([large(index)]).await;
    }
    let cached = |log: &Opened| log.log.shared.index.lock().cached();
    assert!((20..30).contains(&cached(&log)), "{} entries are cached", cached(&log));
    assert_eq!(log.entries().await, (0..60).map(large).collect::<Vec<_>>());
    log.close().await;
    let log = open(&disk).await.unwrap();
    assert!((20..30).contains(&cached(&log)), "{} entries are cached", cached(&log));
    assert_eq!(log.entries().await, (0..60).map(large).collect::<Vec<_>>());
}

#[tokio::test]
async fn many_appends_share_one_sync() {
    let disk = MemoryDisk::new();
    disk.delay_syncs(std::time::Duration::from_millis(5));
    tokio::time::pause();
    let mut log = open(&disk).await.unwrap();
    let before = disk.syncs();
    let mut waits = Vec::new();
    for index in 0..200 {
        let (flushed, wait) = flushed();
        log.log.append([entry(1, index)], flushed).await.unwrap();
        waits.push(wait);
    }
    for wait in waits {
        wait.await.unwrap().unwrap();
    }
    let syncs = disk.syncs() - before;
    assert!(syncs <= 3, "{syncs} syncs for 200 appends that did not wait for each other");
}

#[tokio::test]
async fn a_truncated_log_is_continued_with_other_entries() {
    let disk = MemoryDisk::new();
    let mut log = open_with(&disk, SMALL).await.unwrap();
    for index in 0..20 {
        log.append([entry(1, index)]).await;
    }
    log.log.truncate_after(Some(log_id(1, 4))).await.unwrap();
    log.append([entry(2, 5), entry(2, 6)]).await;
    let expected: Vec<_> = (0..5).map(|index| entry(1, index)).chain([entry(2, 5), entry(2, 6)]).collect();
    assert_eq!(log.entries().await, expected);
    log.close().await;
    let mut log = open_with(&disk, SMALL).await.unwrap();
    assert_eq!(log.entries().await, expected);
    log.log.truncate_after(None).await.unwrap();
    log.close().await;
    let mut log = open_with(&disk, SMALL).await.unwrap();
    assert_eq!(log.state().await, (None, None));
    log.close().await;
}

#[tokio::test]
async fn purging_removes_whole_segments_and_keeps_the_vote() {
    let disk = MemoryDisk::new();
    let mut log = open_with(&disk, SMALL).await.unwrap();
    log.log.save_vote(&Vote::new_committed(1, 1)).await.unwrap();
    for index in 0..50 {
        log.append([entry(1, index)]).await;
    }
    let full = disk.list().await.unwrap().len();
    log.log.purge(log_id(1, 39)).await.unwrap();
    log.append([entry(1, 50)]).await;
    log.close().await;
    let left = disk.list().await.unwrap();
    assert!(full > 8 && left.len() <= 4, "{full} segments, then {left:?}");

    let mut log = open_with(&disk, SMALL).await.unwrap();
    assert_eq!(log.vote(), Some(Vote::new_committed(1, 1)));
    assert_eq!(log.state().await, (Some(log_id(1, 39)), Some(log_id(1, 50))));
    assert_eq!(log.entries().await, (40..51).map(|index| entry(1, index)).collect::<Vec<_>>());
    log.close().await;
}

#[tokio::test]
async fn a_log_may_be_purged_beyond_its_end() {
    let disk = MemoryDisk::new();
    let mut log = open_with(&disk, SMALL).await.unwrap();
    for index in 0..30 {
        log.append([entry(1, index)]).await;
    }
    log.log.purge(log_id(4, 100)).await.unwrap();
    assert_eq!(log.state().await, (Some(log_id(4, 100)), Some(log_id(4, 100))));
    log.append([entry(4, 101)]).await;
    log.close().await;
    assert!(disk.list().await.unwrap().len() <= 2);
    let mut log = open_with(&disk, SMALL).await.unwrap();
    assert_eq!(log.state().await, (Some(log_id(4, 100)), Some(log_id(4, 101))));
    log.close().await;
}

#[tokio::test]
async fn a_log_that_was_cut_back_into_removed_segments_opens_again() {
    let disk = MemoryDisk::new();
    let mut log = open_with(&disk, SMALL).await.unwrap();
    for index in 0..20 {
        log.append([entry(1, index)]).await;
    }
    // The newest segment begins after entry 19; entries 10 to 19 are cut off in it, and the others purged.
    log.log.truncate_after(Some(log_id(1, 9))).await.unwrap();
    for index in 10..13 {
        log.append([entry(2, index)]).await;
    }
    log.log.purge(log_id(1, 9)).await.unwrap();
    log.append([entry(2, 13)]).await;
    log.close().await;
    let mut log = open_with(&disk, SMALL).await.unwrap();
    assert_eq!(log.state().await, (Some(log_id(1, 9)), Some(log_id(2, 13))));
    assert_eq!(log.entries().await, (10..14).map(|index| entry(2, index)).collect::<Vec<_>>());
    log.close().await;
}

#[tokio::test]
async fn a_record_that_is_torn_anywhere_is_cut_off() {
    let disk = MemoryDisk::new();
    let mut log = open(&disk).await.unwrap();
    log.log.save_vote(&Vote::new_committed(1, 1)).await.unwrap();
    log.append([entry(1, 0), entry(1, 1)]).await;
    let whole = disk.content(&name(0)).unwrap().len();
    log.append([entry(1, 2)]).await;
    let file = disk.content(&name(0)).unwrap();
    for len in whole..file.len() {
        for end in [Vec::new(), vec![0; 1], vec![0; 700], vec![0xA7; 30]] {
            let torn = MemoryDisk::new();
            torn.create(&name(0)).await.unwrap();
            torn.overwrite(&name(0), [&file[..len], &end[..]].concat());
            let mut log = open(&torn).await.unwrap_or_else(|error| panic!("cut at {len} of {whole}: {error}"));
            assert_eq!(log.entries().await, [entry(1, 0), entry(1, 1)], "cut at {len}");
            assert_eq!(log.vote(), Some(Vote::new_committed(1, 1)));
            log.append([entry(2, 2)]).await;
            log.close().await;
            let log = open(&torn).await.unwrap();
            assert_eq!(log.entries().await, [entry(1, 0), entry(1, 1), entry(2, 2)], "cut at {len}");
        }
    }
}

#[tokio::test]
async fn a_batch_that_is_torn_in_its_middle_is_cut_off_although_its_end_is_there() {
    let disk = MemoryDisk::new();
    let mut log = open(&disk).await.unwrap();
    log.append([entry(1, 0)]).await;
    let whole = disk.content(&name(0)).unwrap().len();
    log.append([entry(1, 1), entry(1, 2), entry(1, 3)]).await;
    let file = disk.content(&name(0)).unwrap();
    for hole in [whole, whole + 60, whole + 150] {
        let torn = disk.duplicate();
        let mut content = file.clone();
        content[hole..hole + 20].fill(0);
        torn.overwrite(&name(0), content);
        let log = open(&torn).await.unwrap();
        assert_eq!(log.entries().await, [entry(1, 0)]);
    }
}

#[tokio::test]
async fn a_segment_that_never_began_is_forgotten() {
    let disk = MemoryDisk::new();
    let mut log = open(&disk).await.unwrap();
    log.append([entry(1, 0)]).await;
    log.close().await;
    for content in [vec![], vec![0xA7, 0x81], vec![0; 64]] {
        let disk = disk.duplicate();
        disk.create(&name(1)).await.unwrap();
        disk.overwrite(&name(1), content);
        let mut log = open_with(&disk, SMALL).await.unwrap();
        for index in 1..20 {
            log.append([entry(1, index)]).await;
        }
        log.close().await;
        let log = open(&disk).await.unwrap();
        assert_eq!(log.entries().await.len(), 20);
    }
}

#[tokio::test]
async fn damage_before_the_tail_is_reported_with_file_and_offset() {
    let disk = MemoryDisk::new();
    let mut log = open_with(&disk, SMALL).await.unwrap();
    let mut offsets = Vec::new();
    for index in 0..12 {
        log.append([entry(1, index)]).await;
        let index = log.log.shared.index.lock();
        offsets.push(index.location(index.range().end - 1).unwrap());
    }
    log.close().await;
    let newest = offsets.last().unwrap().segment;
    assert!(newest >= 2, "the entries fill some segments");
    for location in offsets.iter().take(11) {
        for byte in [0, 1, 2, 5, 9, 13, 16, 30] {
            let decayed = disk.duplicate();
            let mut content = decayed.content(&name(location.segment)).unwrap();
            content[location.offset as usize + byte] ^= 0x10;
            decayed.overwrite(&name(location.segment), content);
            match open(&decayed).await.map(|_| ()) {
                Err(LogError::Damaged { file, offset, .. }) => {
                    assert_eq!((file, offset), (name(location.segment), location.offset), "byte {byte}");
                }
                other => panic!("damage at {location:?}, byte {byte}, gave {other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn a_missing_segment_is_reported_by_name() {
    let disk = MemoryDisk::new();
    let mut log = open_with(&disk, SMALL).await.unwrap();
    for index in 0..20 {
        log.append([entry(1, index)]).await;
    }
    log.close().await;
    for missing in [0, 1] {
        let disk = disk.duplicate();
        disk.remove(&name(missing)).await.unwrap();
        let error = open(&disk).await.map(|_| ()).unwrap_err();
        assert_eq!(error.to_string(), format!("{} is missing", name(missing)));
    }
}

#[tokio::test]
async fn a_format_of_the_future_is_refused_by_number() {
    use super::{
        record::{self, Place, Record, Start},
        segment::FORMAT,
    };
    let disk = MemoryDisk::new();
    disk.create(&name(0)).await.unwrap();
    let mut bytes = bytes::BytesMut::new();
    let start = Record::Start(Start { format: FORMAT + 1, ..Start::default() });
    record::put(&mut bytes, Place { segment: 0, offset: 0 }, 0, &start, true);
    disk.overwrite(&name(0), bytes.to_vec());
    let error = open(&disk).await.map(|_| ()).unwrap_err();
    assert_eq!(error.to_string(), format!("{} has format 2, which this version cannot read", name(0)));
}

#[tokio::test]
async fn an_append_that_leaves_a_gap_is_refused() {
    let disk = MemoryDisk::new();
    let mut log = open(&disk).await.unwrap();
    log.append([entry(1, 0)]).await;
    let (flushed, _) = flushed();
    let error = log.log.append([entry(1, 2)], flushed).await.unwrap_err();
    assert_eq!(error.to_string(), "entry 2 is appended where 1 belongs");
}

#[tokio::test]
async fn room_that_was_reserved_is_no_torn_tail_and_is_gone_from_older_segments() {
    use crate::disk::RealDisk;
    let folder = tempfile::tempdir().unwrap();
    let len = |number| std::fs::metadata(folder.path().join(name(number))).unwrap().len();
    let disk = RealDisk::open(folder.path()).unwrap();
    let mut log = open_with(&disk, SMALL).await.unwrap();
    for index in 0..20 {
        log.append([entry(1, index)]).await;
    }
    let newest = log.log.shared.index.lock().location(19).unwrap();
    let end = newest.offset + u64::from(newest.len);
    assert!(len(newest.segment) > end, "there is room for more");
    assert!((0..newest.segment).all(|older| len(older) < 1000));
    // As a crash leaves it.
    drop(log);
    let mut log = open_with(&disk, SMALL).await.unwrap();
    assert_eq!(log.entries().await, (0..20).map(|index| entry(1, index)).collect::<Vec<_>>());
    log.append([entry(1, 20)]).await;
    let newest = log.log.shared.index.lock().location(20).unwrap();
    log.close().await;
    assert_eq!(len(newest.segment), newest.offset + u64::from(newest.len), "nothing stays reserved");
    assert_eq!(open_with(&disk, SMALL).await.unwrap().entries().await.len(), 21);
}

#[tokio::test]
async fn entries_that_contradict_an_installed_snapshot_are_gone_at_the_next_start() {
    for (purged, options) in
        [(None, SMALL), (Some(log_id(1, 2)), SMALL), (None, LogOptions { segment_bytes: 16 << 20 })]
    {
        let disk = MemoryDisk::new();
        let mut log = open_with(&disk, options.clone()).await.unwrap();
        log.log.save_vote(&Vote::new_committed(10, 2)).await.unwrap();
        log.append((0..8).map(|index| entry(9, index))).await;
        if let Some(purged) = purged {
            log.log.purge(purged).await.unwrap();
        }
        log.close().await;

        // A later leader has committed another entry 4, and the power went after the snapshot of it had its name.
        let snapshot = log_id(10, 4);
        let mut log = open_beside(&disk, Some(snapshot), options.clone()).await.unwrap();
        assert_eq!(log.state().await, (Some(snapshot), Some(snapshot)));
        assert!(log.entries().await.is_empty());
        log.append([entry(10, 5)]).await;
        log.close().await;

        let mut log = open_beside(&disk, Some(snapshot), options).await.unwrap();
        assert_eq!(log.state().await, (Some(snapshot), Some(log_id(10, 5))));
        assert_eq!(log.entries().await, [entry(10, 5)]);
        assert_eq!(log.vote(), Some(Vote::new_committed(10, 2)));
        log.close().await;
    }
}

#[tokio::test]
async fn entries_that_agree_with_a_snapshot_stay() {
    let disk = MemoryDisk::new();
    let mut log = open(&disk).await.unwrap();
    log.append((0..8).map(|index| entry(9, index))).await;
    log.close().await;
    for snapshot in [log_id(9, 4), log_id(9, 7), log_id(10, 8)] {
        let log = open_beside(&disk, Some(snapshot), SMALL).await.unwrap();
        assert_eq!(log.entries().await.len(), 8);
        log.close().await;
    }
}
