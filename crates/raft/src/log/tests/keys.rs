//! Logs that change their key.

use std::sync::Arc;

use super::{super::Op, *};
use crate::{
    disk::Crash,
    seal::{LogKeys, Sealer},
};

const OLD: [u8; 32] = [7; 32];
const NEW: [u8; 32] = [8; 32];

fn key(bytes: [u8; 32]) -> LogKeys {
    LogKey::new(bytes).into()
}

fn both() -> LogKeys {
    LogKeys { current: LogKey::new(OLD), pending: Some(LogKey::new(NEW)) }
}

async fn open_keyed(disk: &MemoryDisk, keys: &LogKeys) -> Result<Opened, LogError> {
    let owner = Owner { raft_id: 1, node_id: "n1".into() };
    let (log, writer) = Log::open(Arc::new(disk.clone()), keys, &Env::real(), &owner, SMALL).await?;
    let mut crew = Crew::under(&CancellationToken::new());
    crew.spawn("raft log", |_| writer.run());
    Ok(Opened { log, crew })
}

/// A log of some segments under the old key, and its entries.
async fn old_log() -> (MemoryDisk, Vec<Entry>) {
    let disk = MemoryDisk::new();
    let mut log = open_with(&disk, SMALL).await.unwrap();
    let entries: Vec<Entry> = (0..30).map(|index| entry(1, index)).collect();
    for entry in &entries {
        log.append([entry.clone()]).await;
    }
    log.log.purge(log_id(1, 3)).await.unwrap();
    log.close().await;
    (disk, entries[4..].to_vec())
}

fn sealer() -> Sealer {
    Sealer::new(&LogKey::new(NEW), Env::real())
}

#[tokio::test]
async fn a_log_that_was_sealed_anew_is_the_same_under_the_new_key_and_nothing_opens_with_the_old_one() {
    let (disk, mut entries) = old_log().await;
    let mut log = open_keyed(&disk, &key(OLD)).await.unwrap();
    log.log.reseal(&disk, &sealer(), ".tmp").await.unwrap();
    assert_eq!(log.entries().await, entries, "what is cached and what lies on the disk can be read at once");
    log.append([entry(2, 30)]).await;
    entries.push(entry(2, 30));
    log.close().await;
    assert!(matches!(open_keyed(&disk, &key(OLD)).await.err(), Some(LogError::WrongKey { .. })));
    let log = open_keyed(&disk, &key(NEW)).await.unwrap();
    assert_eq!(log.entries().await, entries);
    assert!(disk.list().await.unwrap().iter().all(|name| name.ends_with(".log")));
}

#[tokio::test]
async fn a_log_in_the_middle_of_a_change_opens_with_both_keys_only_and_the_change_can_be_finished() {
    let (disk, entries) = old_log().await;
    let mut log = open_keyed(&disk, &both()).await.unwrap();
    // The new key is in use, and no older segment sealed anew.
    log.log.wait_for(|done| Op::Rekey(sealer(), done)).await.unwrap();
    log.append([entry(2, 30)]).await;
    log.close().await;
    for one in [key(OLD), key(NEW)] {
        assert!(matches!(open_keyed(&disk, &one).await.err(), Some(LogError::WrongKey { .. })));
    }
    let log = open_keyed(&disk, &both()).await.unwrap();
    assert_eq!(log.entries().await.len(), entries.len() + 1);
    log.log.reseal(&disk, &sealer(), ".tmp").await.unwrap();
    log.close().await;
    assert_eq!(open_keyed(&disk, &key(NEW)).await.unwrap().entries().await.len(), entries.len() + 1);
}

#[tokio::test]
async fn a_segment_that_is_purged_while_it_is_sealed_anew_does_not_come_back() {
    let (disk, _) = old_log().await;
    let mut log = open_keyed(&disk, &both()).await.unwrap();
    let resealing = log.log.clone();
    let reseal = async { resealing.reseal(&disk, &sealer(), ".tmp").await.unwrap() };
    let purge = async {
        tokio::task::yield_now().await;
        log.log.purge(log_id(1, 25)).await.unwrap();
        log.append([entry(1, 30)]).await;
    };
    tokio::join!(reseal, purge);
    log.close().await;
    let log = open_keyed(&disk, &key(NEW)).await.unwrap();
    assert_eq!(log.entries().await, (26..31).map(|index| entry(1, index)).collect::<Vec<_>>());
    assert!(disk.list().await.unwrap().iter().all(|name| name.ends_with(".log")));
}

#[tokio::test]
async fn damage_that_is_found_on_the_way_is_reported_and_ends_the_log() {
    let (disk, _) = old_log().await;
    let log = open_keyed(&disk, &both()).await.unwrap();
    let victim = disk.list().await.unwrap().into_iter().nth(1).unwrap();
    let mut content = disk.content(&victim).unwrap();
    content[200] ^= 1;
    disk.overwrite(&victim, content);
    let error = log.log.reseal(&disk, &sealer(), ".tmp").await.unwrap_err();
    assert!(matches!(&error, LogError::Damaged { file, .. } if *file == victim), "{error}");
    assert_eq!(log.log.failure().unwrap().to_string(), error.to_string());
}

#[tokio::test(start_paused = true)]
async fn a_crash_in_the_middle_of_a_change_loses_nothing() {
    use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};
    let (state, entries) = old_log().await;
    for seed in 0..40 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let disk = state.duplicate();
        disk.delay_syncs(std::time::Duration::from_millis(3));
        let mut lives = 0;
        loop {
            let log = open_keyed(&disk, &both()).await.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            assert_eq!(log.entries().await, entries, "seed {seed}");
            let sealer = sealer();
            let reseal = log.log.reseal(&disk, &sealer, ".tmp");
            let life = std::time::Duration::from_millis(rng.random_range(0..40) + 4 * lives);
            let finished = tokio::time::timeout(life, reseal).await;
            for name in disk.list().await.unwrap().iter().filter(|name| name.ends_with(".tmp")) {
                disk.remove(name).await.unwrap();
            }
            if finished.is_ok() {
                break;
            }
            disk.crash(Crash::Torn(&mut rng));
            for name in disk.list().await.unwrap().iter().filter(|name| name.ends_with(".tmp")) {
                disk.remove(name).await.unwrap();
            }
            lives += 1;
        }
        disk.crash(Crash::LoseAll);
        assert_eq!(open_keyed(&disk, &key(NEW)).await.unwrap().entries().await, entries, "seed {seed}");
    }
}
