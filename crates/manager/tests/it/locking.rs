//! A manager whose cluster locks it, locks it otherwise and unlocks it, and which is stopped on the way.

use std::{sync::Arc, time::Duration};

use swarmkit_api::{Cluster, Service, wire};
use swarmkit_ca::{DataKey, DataKeys, KeyStore, UnlockKey};
use swarmkit_manager::{Begin, Error};
use swarmkit_raft::{Crash, LogError, LogKey, RaftError};
use swarmkit_runtime::Env;
use swarmkit_store::Store;

use crate::world::{Machine, Running, in_time, until, web};

/// How often a file is looked at, of which nobody tells.
const POLL: Duration = Duration::from_millis(50);

fn key() -> UnlockKey {
    UnlockKey::generate(&Env::real())
}

/// Does to the cluster what an operator does who locks its managers, or unlocks them.
async fn lock(store: &Store, key: Option<&UnlockKey>) {
    let id = store.view().cluster().unwrap().id.clone();
    let edited = store.update(|tx| {
        tx.edit::<Cluster>(&id, |cluster: &mut Cluster| {
            let spec = Arc::make_mut(&mut cluster.spec);
            spec.encryption_config = Some(wire::EncryptionConfig { auto_lock_managers: key.is_some() });
            let managers = |key: &UnlockKey| wire::EncryptionKey {
                subsystem: "swarm-manager".to_owned(),
                key: key.as_bytes().to_vec().into(),
                ..Default::default()
            };
            cluster.unlock_keys = key.into_iter().map(managers).collect();
        })
    });
    edited.await.unwrap();
}

/// What is on the disk of a machine, for somebody who has this unlock key.
fn found(machine: &Machine, key: Option<&UnlockKey>) -> Result<DataKeys, swarmkit_ca::Error> {
    KeyStore::new(machine.state_dir(), &machine.env).with_unlock_key(key.cloned()).data_keys()
}

/// Waits until the keys of the log on the disk are as asked.
async fn until_keys(machine: &Machine, key: Option<&UnlockKey>, holds: impl Fn(&DataKeys) -> bool) -> DataKeys {
    in_time(async {
        loop {
            match found(machine, key) {
                Ok(keys) if holds(&keys) => return keys,
                _ => tokio::time::sleep(POLL).await,
            }
        }
    })
    .await
}

fn at_rest(keys: &DataKeys) -> bool {
    keys.pending.is_none() && !keys.needs_rotation
}

fn log_key(key: &DataKey) -> LogKey {
    LogKey::new(**key)
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_runs_is_locked_locked_otherwise_and_unlocked() {
    let machine = Machine::new(swarmkit_testing::env());
    let manager = machine.found().await;
    manager.control().create_service(web("web", 1)).await.unwrap();
    let clear = found(&machine, None).unwrap().current.unwrap();

    let first = key();
    lock(manager.store(), Some(&first)).await;
    let locked =
        until_keys(&machine, Some(&first), |keys| at_rest(keys) && keys.current.as_ref() != Some(&clear)).await;
    assert!(matches!(found(&machine, None), Err(swarmkit_ca::Error::Locked)));
    in_time(machine.locked.notified()).await;

    let second = key();
    lock(manager.store(), Some(&second)).await;
    assert_eq!(until_keys(&machine, Some(&second), |_| true).await, locked, "no other key of the log");
    assert!(matches!(found(&machine, Some(&first)), Err(swarmkit_ca::Error::Locked)));

    lock(manager.store(), None).await;
    assert_eq!(until_keys(&machine, None, |_| true).await, locked, "no other key of the log");
    manager.end().await.unwrap();

    // What had been in clear opens nothing any more, and the data is there.
    let mut config = machine.config(Begin::Restart);
    config.log_keys = log_key(&clear).into();
    let refused = Running::start(config).await.err().expect("another key");
    assert!(matches!(refused, Error::Raft(RaftError::Log(LogError::WrongKey { .. }))), "{refused}");
    let manager = machine.start_again().await;
    until(manager.store(), |view| view.count::<Service>() == 1).await;
    manager.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_file_that_cannot_be_written_is_tried_again_also_by_the_next_life() {
    for restarts in [false, true] {
        let machine = Machine::new(swarmkit_testing::env());
        let manager = machine.found().await;
        let (clear, key) = (found(&machine, None).unwrap(), key());
        // Where the new file would be written first, there is a folder.
        let in_the_way = machine.state_dir().join("certificates/.tmp-swarm-node.key");
        std::fs::create_dir(&in_the_way).unwrap();
        lock(manager.store(), Some(&key)).await;
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert_eq!(found(&machine, None).unwrap(), clear);
        let manager = if restarts {
            manager.end().await.unwrap();
            std::fs::remove_dir(&in_the_way).unwrap();
            machine.start_again().await
        } else {
            std::fs::remove_dir(&in_the_way).unwrap();
            manager
        };
        until_keys(&machine, Some(&key), |keys| at_rest(keys) && keys.current != clear.current).await;
        manager.end().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_of_the_log_key_that_a_stop_has_cut_short_goes_on_at_the_next_start() {
    let (old, next): (DataKey, DataKey) = ([1; 32].into(), [2; 32].into());
    for (pending, needs_rotation) in [(false, false), (false, true), (true, false), (true, true)] {
        let machine = Machine::new(swarmkit_testing::env());
        machine.keys.update_data_keys(|keys| keys.current = Some(old.clone())).unwrap();
        machine.found().await.end().await.unwrap();
        assert_eq!(machine.keys.data_keys().unwrap().current.as_ref(), Some(&old));
        let stopped = |keys: &mut DataKeys| {
            keys.pending = pending.then(|| next.clone());
            keys.needs_rotation = needs_rotation;
        };
        machine.keys.update_data_keys(stopped).unwrap();

        let manager = machine.start_again().await;
        let current = until_keys(&machine, None, at_rest).await.current.unwrap();
        match (pending, needs_rotation) {
            (false, false) => assert!(current == old, "nothing was asked for"),
            (true, false) => assert!(current == next, "what was begun is finished"),
            (false, true) => assert!(current != old, "what was to begin has begun"),
            (true, true) => assert!(current != old && current != next, "one more after the one that was begun"),
        }
        manager.end().await.unwrap();
        machine.start_again().await.end().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_no_unlock_key_changes_nothing_and_the_next_one_counts() {
    let machine = Machine::new(swarmkit_testing::env());
    let manager = machine.found().await;
    let (own, clear) = (key(), found(&machine, None).unwrap());
    lock(manager.store(), Some(&own)).await;
    let keys = until_keys(&machine, Some(&own), |keys| at_rest(keys) && keys.current != clear.current).await;
    let id = manager.store().view().cluster().unwrap().id.clone();
    let edited = manager.store().update(|tx| {
        tx.edit::<Cluster>(&id, |cluster: &mut Cluster| cluster.unlock_keys[0].key = b"short".as_slice().into())
    });
    edited.await.unwrap();
    lock(manager.store(), Some(&own)).await;
    let next = key();
    lock(manager.store(), Some(&next)).await;
    assert_eq!(until_keys(&machine, Some(&next), |_| true).await, keys);
    manager.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_kill_at_any_moment_of_a_change_of_the_lock_leaves_a_manager_that_starts_and_has_its_data() {
    const ROUNDS: u64 = 24;
    let mut machine = Machine::new(swarmkit_testing::env());
    machine.disk.delay_syncs(Duration::from_millis(1));
    let mut manager = machine.found().await;
    let (mut before, mut cut_short) = (None, 0);
    for round in 0..ROUNDS {
        // Locked, locked otherwise, unlocked.
        let wanted = (round % 3 < 2).then(key);
        lock(manager.store(), wanted.as_ref()).await;
        manager.control().create_service(web(&format!("web-{round}"), 1)).await.unwrap();
        tokio::time::sleep(Duration::from_millis(round * 5 % 23)).await;
        manager.kill();
        // What a thread has begun to write is written, or not at all.
        tokio::time::sleep(Duration::from_secs(1)).await;
        machine.disk.crash(Crash::LoseAll);

        let opens = |key: &&Option<UnlockKey>| found(&machine, key.as_ref()).is_ok();
        let opened = [&wanted, &before].into_iter().find(opens).expect("one of the two is in force");
        let (left, is_locked) = (found(&machine, opened.as_ref()).unwrap(), found(&machine, None).is_err());
        cut_short += u32::from(!at_rest(&left) || is_locked != wanted.is_some());
        machine.keys = KeyStore::new(machine.state_dir(), &machine.env).with_unlock_key(opened.clone());
        manager = machine.start_again().await;
        in_time(async {
            let follows = |keys: DataKeys| at_rest(&keys) && found(&machine, None).is_err() == wanted.is_some();
            while !found(&machine, wanted.as_ref()).is_ok_and(follows) {
                tokio::time::sleep(POLL).await;
            }
        })
        .await;
        before = wanted;
    }
    assert!(cut_short > 0, "some kills came in the middle of a change");
    let all = usize::try_from(ROUNDS).unwrap();
    until(manager.store(), |view| view.count::<Service>() == all).await;
    manager.end().await.unwrap();
}
