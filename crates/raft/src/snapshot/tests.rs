//! Snapshots that are whole, cut off, damaged, exchanged and given up.

use super::*;
use crate::{
    disk::{Crash, MemoryDisk},
    seal::LogKey,
    types::{Membership, StoredMembership, log_id},
};

fn meta(index: u64) -> SnapshotMeta {
    SnapshotMeta {
        last_log_id: Some(log_id(2, index)),
        last_membership: StoredMembership::new(Some(log_id(1, 0)), Membership::default()),
    }
}

async fn open(disk: &MemoryDisk) -> Result<Shelf, LogError> {
    Shelf::open(Arc::new(disk.clone()), &LogKey::new([7; 32]).into(), Env::real()).await
}

/// Keeps a snapshot of three pieces.
async fn keep(shelf: &Shelf, index: u64) -> SnapshotFile {
    let mut writer = shelf.begin(meta(index)).await.unwrap();
    for piece in [&b"one"[..], b"", b"three"] {
        writer.write(piece).await.unwrap();
    }
    shelf.adopt(writer.finish().await.unwrap()).await.unwrap()
}

async fn data(snapshot: &SnapshotFile) -> Result<Vec<u8>, LogError> {
    let (mut reader, mut data) = (snapshot.reader(), Vec::new());
    while let Some(piece) = reader.next().await? {
        data.extend_from_slice(&piece);
    }
    Ok(data)
}

async fn names(disk: &MemoryDisk) -> Vec<String> {
    disk.list().await.unwrap()
}

#[tokio::test]
async fn the_newest_snapshot_survives_a_crash_and_older_ones_are_gone() {
    let disk = MemoryDisk::new();
    let shelf = open(&disk).await.unwrap();
    assert!(shelf.newest().is_none());
    keep(&shelf, 10).await;
    keep(&shelf, 20).await;
    assert_eq!(names(&disk).await, ["0000000000000014-0000000000000002.snap"]);
    disk.crash(Crash::LoseAll);
    let found = open(&disk).await.unwrap().newest().unwrap();
    assert_eq!(found.meta, meta(20));
    assert_eq!(found.size, 8);
    assert_eq!(data(&found).await.unwrap(), b"onethree");
}

#[tokio::test]
async fn what_was_not_finished_is_removed() {
    let disk = MemoryDisk::new();
    let shelf = open(&disk).await.unwrap();
    keep(&shelf, 10).await;
    let mut given_up = shelf.begin(meta(20)).await.unwrap();
    given_up.write(b"half").await.unwrap();
    drop(given_up);
    assert_eq!(names(&disk).await.len(), 2);
    // The next one sweeps it away; one that somebody still holds stays.
    let held = shelf.begin(meta(30)).await.unwrap();
    let another = shelf.begin(meta(30)).await.unwrap();
    assert_eq!(names(&disk).await.len(), 3);
    drop((held, another));
    assert_eq!(open(&disk).await.unwrap().newest().unwrap().meta, meta(10));
    assert_eq!(names(&disk).await.len(), 1);
}

#[tokio::test]
async fn damage_anywhere_is_found() {
    let disk = MemoryDisk::new();
    keep(&open(&disk).await.unwrap(), 10).await;
    let name = names(&disk).await.remove(0);
    let whole = disk.content(&name).unwrap();
    for byte in 0..whole.len() {
        let damaged = disk.duplicate();
        let mut content = whole.clone();
        content[byte] ^= 1;
        damaged.overwrite(&name, content);
        let outcome = match open(&damaged).await {
            Ok(shelf) => data(&shelf.newest().unwrap()).await.map(|_| ()),
            Err(error) => Err(error),
        };
        let error = outcome.expect_err(&format!("byte {byte} of {}", whole.len())).to_string();
        assert!(error.starts_with(&name), "{error}");
    }
    for len in 0..whole.len() {
        let cut = disk.duplicate();
        cut.overwrite(&name, whole[..len].to_vec());
        assert!(open(&cut).await.is_err(), "cut to {len} of {}", whole.len());
    }
}

#[tokio::test]
async fn a_snapshot_of_another_folder_is_copied() {
    let (here, there) = (MemoryDisk::new(), MemoryDisk::new());
    let foreign = keep(&open(&there).await.unwrap(), 10).await;
    let shelf = open(&here).await.unwrap();
    let copy = shelf.adopt(foreign).await.unwrap();
    there.remove(&names(&there).await[0]).await.unwrap();
    assert_eq!(data(&copy).await.unwrap(), b"onethree");
    assert_eq!(open(&here).await.unwrap().newest().unwrap().meta, meta(10));
}

#[tokio::test]
async fn nothing_of_the_data_lies_on_the_disk_in_clear() {
    let disk = MemoryDisk::new();
    keep(&open(&disk).await.unwrap(), 10).await;
    let content = disk.content(&names(&disk).await[0]).unwrap();
    assert!(!content.windows(5).any(|part| part == b"three"));
    let other = Shelf::open(Arc::new(disk), &LogKey::new([8; 32]).into(), Env::real()).await;
    assert!(matches!(other.err().unwrap(), LogError::WrongKey { .. }));
}
