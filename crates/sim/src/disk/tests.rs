//! What a disk keeps and loses.

use bytes::Bytes;
use rand::SeedableRng as _;

use super::*;

fn disk(seed: u64, bug: Option<Bug>) -> SimDisk {
    SimDisk::new(NodeId::from("n1"), SmallRng::seed_from_u64(seed), Trace::new(), bug)
}

fn mounted(disk: &SimDisk) -> (Arc<dyn Disk>, CancellationToken) {
    let life = CancellationToken::new();
    (disk.mount(life.clone()), life)
}

/// What a new life finds in a file; nothing if there is no such file.
async fn found(disk: &SimDisk, name: &str) -> Option<Vec<u8>> {
    let (folder, _life) = mounted(disk);
    let file = folder.open(name).await.ok()?;
    let size = file.size().await.expect("it is mounted");
    Some(file.read_at(0, usize::try_from(size).expect("it is small")).await.expect("it has that many").to_vec())
}

#[tokio::test(start_paused = true)]
async fn a_crash_keeps_what_was_synced_and_any_part_of_the_rest() {
    let mut lengths = std::collections::BTreeSet::new();
    let mut torn = 0;
    for seed in 0..100 {
        let disk = disk(seed, None);
        let (folder, life) = mounted(&disk);
        let file = folder.create("a").await.unwrap();
        file.append_and_sync(Bytes::from_static(b"kept")).await.unwrap();
        folder.sync_names().await.unwrap();
        file.append(Bytes::from_static(b"perhaps")).await.unwrap();
        disk.lose_power();
        life.cancel();
        let left = found(&disk, "a").await.expect("its name was synced");
        assert_eq!(&left[..4], b"kept", "seed {seed}");
        torn += usize::from(!b"keptperhaps".starts_with(&left));
        lengths.insert(left.len());
    }
    assert_eq!(lengths, (4..=11).collect(), "every length is possible");
    assert!(torn > 10, "and so is a block that was not written: {torn}");
}

#[tokio::test(start_paused = true)]
async fn a_name_that_was_not_synced_may_be_lost_or_stay() {
    let mut outcomes = std::collections::BTreeSet::new();
    for seed in 0..100 {
        let disk = disk(seed, None);
        let (folder, _life) = mounted(&disk);
        folder.create("old").await.unwrap().append_and_sync(Bytes::from_static(b"1")).await.unwrap();
        folder.sync_names().await.unwrap();
        folder.rename("old", "new").await.unwrap();
        folder.create("other").await.unwrap();
        disk.lose_power();
        outcomes.insert((found(&disk, "old").await.is_some(), found(&disk, "other").await.is_some()));
        assert!(found(&disk, "old").await.is_some() ^ found(&disk, "new").await.is_some(), "seed {seed}");
    }
    assert_eq!(outcomes.len(), 4, "{outcomes:?}");
}

#[tokio::test(start_paused = true)]
async fn a_cut_that_was_not_synced_may_be_undone() {
    let mut outcomes = std::collections::BTreeSet::new();
    for seed in 0..50 {
        let disk = disk(seed, None);
        let (folder, _life) = mounted(&disk);
        let file = folder.create("a").await.unwrap();
        file.append_and_sync(Bytes::from_static(b"0123456789")).await.unwrap();
        folder.sync_names().await.unwrap();
        file.truncate(4).await.unwrap();
        disk.lose_power();
        outcomes.insert(found(&disk, "a").await);
    }
    assert_eq!(outcomes, [Some(b"0123".to_vec()), Some(b"0123456789".to_vec())].into());
}

#[tokio::test(start_paused = true)]
async fn the_power_goes_off_at_the_moment_that_was_chosen_and_nothing_works_after_it() {
    let disk = disk(1, None);
    let (folder, life) = mounted(&disk);
    let file = folder.create("a").await.unwrap();
    folder.sync_names().await.unwrap();
    disk.cut_power_at(Moment::Appended, 1);
    file.append_and_sync(Bytes::from_static(b"1")).await.unwrap();
    assert!(!life.is_cancelled());
    file.append_and_sync(Bytes::from_static(b"2")).await.unwrap_err();
    assert!(life.is_cancelled());
    file.append(Bytes::from_static(b"3")).await.unwrap_err();
    folder.create("b").await.map(drop).unwrap_err();
    folder.list().await.unwrap_err();
    assert_eq!(found(&disk, "a").await.map(|left| left[0]), Some(b'1'));
}

#[tokio::test(start_paused = true)]
async fn a_sync_covers_what_was_there_when_it_began() {
    let disk = disk(1, None);
    let (folder, _life) = mounted(&disk);
    let file = folder.create("a").await.unwrap();
    folder.sync_names().await.unwrap();
    file.append(Bytes::from_static(b"1")).await.unwrap();
    let syncing = file.sync();
    let (synced, ()) = tokio::join!(syncing, async {
        tokio::task::yield_now().await;
        file.append(Bytes::from_static(b"2")).await.unwrap();
    });
    synced.unwrap();
    let state = disk.0.state.lock();
    assert_eq!(state.files[state.names["a"]].synced(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_takes_a_part_and_says_so() {
    let disk = disk(1, None);
    let (folder, _life) = mounted(&disk);
    let file = folder.create("a").await.unwrap();
    disk.fill_up_after(3);
    let error = file.append(Bytes::from_static(b"12345")).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert_eq!(file.size().await.unwrap(), 3);
    disk.repair();
    file.append(Bytes::from_static(b"45")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn decay_spares_what_the_last_sync_made_durable() {
    for seed in 0..50 {
        let disk = disk(seed, None);
        let (folder, _life) = mounted(&disk);
        let file = folder.create("a").await.unwrap();
        file.append_and_sync(Bytes::from_static(b"old")).await.unwrap();
        assert_eq!(disk.decay(), None);
        file.append_and_sync(Bytes::from_static(b"new")).await.unwrap();
        assert!(disk.decay().is_some() && disk.has_decayed());
        let left = found(&disk, "a").await.expect("it is there");
        assert!(&left[..3] != b"old" && &left[3..] == b"new", "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_acknowledges_too_early_loses_what_it_acknowledged() {
    let lost = async |bug| {
        let disk = disk(3, bug);
        let (folder, _life) = mounted(&disk);
        let file = folder.create("0.log").await.unwrap();
        folder.sync_names().await.unwrap();
        let mut lost = 0;
        for at in 1..40_u8 {
            file.append_and_sync(Bytes::copy_from_slice(&[at])).await.unwrap();
            let state = disk.0.state.lock();
            lost += usize::from(state.files[state.names["0.log"]].synced() < usize::from(at));
        }
        lost
    };
    assert_eq!(lost(None).await, 0);
    assert!(lost(Some(Bug::AckBeforeSync)).await > 0);
}
