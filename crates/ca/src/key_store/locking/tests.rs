//! Key files that are locked, locked otherwise and unlocked.

use std::{fs, path::PathBuf};

use swarmkit_api::Version;
use tempfile::TempDir;

use super::*;
use crate::testing::{env, fixture, manager, member, root, worker};

struct Disk {
    directory: TempDir,
    store: KeyStore,
}

/// The disk of a manager whose log has a key, in clear.
fn clear() -> Disk {
    let directory = tempfile::tempdir().unwrap();
    let store = KeyStore::new(directory.path(), &env());
    store.save_node(&member(&root(), &manager())).unwrap();
    store.update_data_keys(|keys| *keys = data_keys()).unwrap();
    Disk { directory, store }
}

/// The same, locked with a key as of version 5.
fn locked() -> (Disk, UnlockKey) {
    let (disk, lock) = (clear(), lock(5));
    assert_eq!(disk.store.set_lock(&lock).unwrap(), LockChange::Lock);
    (disk, lock.key.unwrap())
}

fn data_keys() -> DataKeys {
    DataKeys { current: Some([7; 32].into()), pending: Some([8; 32].into()), needs_rotation: false }
}

/// A lock with a key that nobody had before.
fn lock(version: u64) -> ManagerLock {
    ManagerLock { version: Version(version), key: Some(UnlockKey::generate(&swarmkit_runtime::Env::real())) }
}

fn no_lock(version: u64) -> ManagerLock {
    ManagerLock { version: Version(version), key: None }
}

impl Disk {
    fn text(&self) -> String {
        fs::read_to_string(self.directory.path().join("certificates").join(NODE_KEY)).unwrap()
    }

    /// What a later start of the node finds with this key.
    fn with(&self, key: Option<&UnlockKey>) -> KeyStore {
        KeyStore::new(self.directory.path(), &env()).with_unlock_key(key.cloned())
    }

    fn is_clear(&self) -> bool {
        self.text().starts_with("-----BEGIN PRIVATE KEY-----\n")
    }

    /// Makes writing fail until the result is dropped.
    fn read_only(&self) -> impl Drop {
        struct Writable(PathBuf);
        impl Drop for Writable {
            fn drop(&mut self) {
                fs::remove_dir_all(&self.0).unwrap();
            }
        }
        // A folder in the place of the temporary file stops root too.
        let path = self.directory.path().join("certificates/.tmp-swarm-node.key");
        fs::create_dir(&path).unwrap();
        Writable(path)
    }
}

#[test]
fn a_locked_file_opens_with_its_key_only_and_tells_nothing_in_clear() {
    let in_clear = clear();
    let node = in_clear.store.load_node().unwrap();
    let lock = lock(5);
    assert_eq!(in_clear.store.set_lock(&lock).unwrap(), LockChange::Lock);
    let text = in_clear.text();
    assert!(text.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----\nkek-version: 5\n"), "{text}");
    for store in [&in_clear.store, &in_clear.with(lock.key.as_ref())] {
        assert_eq!(*store.load_node().unwrap().key().to_pem(), *node.key().to_pem());
        assert_eq!(store.data_keys().unwrap(), DataKeys { needs_rotation: true, ..data_keys() });
    }
    for wrong in [None, super::tests::lock(5).key] {
        let store = in_clear.with(wrong.as_ref());
        for error in [store.load_node().err(), store.data_keys().err(), store.headers().err()] {
            assert_eq!(error.unwrap().to_string(), "node is locked, and needs a valid unlock key");
        }
        assert!(matches!(store.save_node(&node), Err(Error::Locked)));
        assert!(matches!(store.save_manager(&node, &no_lock(9)), Err(Error::Locked)));
        assert!(matches!(store.update_data_keys(|_| unreachable!()), Err(Error::Locked)));
        assert!(matches!(store.set_lock(&no_lock(9)), Err(Error::Locked)));
    }
    assert_eq!(in_clear.text(), text, "whoever cannot open it changes nothing");
}

#[test]
fn a_private_key_that_had_been_in_clear_is_to_be_replaced_until_it_is_or_is_in_clear_again() {
    let (disk, first) = locked();
    assert!(disk.store.needs_renewal().unwrap());
    disk.store.update_data_keys(|keys| keys.needs_rotation = false).unwrap();
    let second = lock(6);
    disk.store.set_lock(&second).unwrap();
    assert!(disk.with(second.key.as_ref()).needs_renewal().unwrap(), "also in a later life, under another lock");
    disk.store.save_node(&member(&root(), &manager())).unwrap();
    assert!(!disk.store.needs_renewal().unwrap());
    let again = ManagerLock { version: Version(7), key: Some(first) };
    disk.store.set_lock(&again).unwrap();
    assert!(!disk.store.needs_renewal().unwrap(), "it has never been in clear");

    let (disk, _) = locked();
    disk.store.set_lock(&no_lock(6)).unwrap();
    assert!(!disk.store.needs_renewal().unwrap());
}

#[test]
fn what_lies_beside_the_private_key_says_whether_an_unlock_key_is_right() {
    let (disk, key) = locked();
    // The private key of this file opens with `other`, and its headers do not.
    let other = lock(5).key.unwrap();
    let sealed_with_other = clear();
    let node_key = sealed_with_other.store.load_node().unwrap();
    let body = key_file::encode(node_key.key(), &disk.store.headers().unwrap(), Some(&other), &env()).unwrap();
    fs::write(disk.directory.path().join("certificates").join(NODE_KEY), &*body).unwrap();
    for wrong in [&key, &other] {
        assert!(matches!(disk.with(Some(wrong)).headers(), Err(Error::Locked)));
    }
}

#[test]
fn locking_again_changes_the_key_and_asks_for_no_other_key_of_the_log() {
    let (disk, first) = locked();
    disk.store.update_data_keys(|keys| *keys = data_keys()).unwrap();
    let second = lock(6);
    assert_eq!(disk.store.set_lock(&second).unwrap(), LockChange::Relock);
    assert!(matches!(disk.with(Some(&first)).load_node(), Err(Error::Locked)));
    let store = disk.with(second.key.as_ref());
    assert_eq!(store.data_keys().unwrap(), data_keys());
    assert_eq!(store.headers().unwrap()["kek-version"], "6");
}

#[test]
fn unlocking_writes_everything_in_clear_and_leaves_the_keys_of_the_log_as_they_are() {
    let (disk, _) = locked();
    let before = disk.store.data_keys().unwrap();
    assert_eq!(disk.store.set_lock(&no_lock(6)).unwrap(), LockChange::Unlock);
    assert!(disk.is_clear());
    assert_eq!(disk.with(None).data_keys().unwrap(), before);
    assert_eq!(disk.with(None).headers().unwrap()["kek-version"], "6");
    assert!(disk.with(lock(9).key.as_ref()).load_node().is_ok(), "a key that is not needed does no harm");
}

#[test]
fn old_news_and_the_same_key_write_nothing() {
    let (disk, key) = locked();
    let text = disk.text();
    let same = ManagerLock { version: Version(9), key: Some(key) };
    for lock in [same, lock(4), no_lock(4)] {
        assert_eq!(disk.store.set_lock(&lock).unwrap(), LockChange::None);
    }
    assert!(matches!(disk.store.set_lock(&lock(5)), Err(Error::LockConflict { version: Version(5) })));
    assert!(matches!(disk.store.set_lock(&no_lock(5)), Err(Error::LockConflict { .. })));
    assert_eq!(disk.text(), text);
}

#[test]
fn an_unlock_key_that_was_given_does_not_count_as_the_lock_of_a_file_in_clear() {
    let disk = clear();
    let lock = lock(5);
    // The cluster was locked while this node was away, and it comes back with the key.
    let store = disk.with(lock.key.as_ref());
    store.load_node().unwrap();
    assert_eq!(store.set_lock(&lock).unwrap(), LockChange::Lock);
    assert!(!disk.is_clear());
    assert!(store.data_keys().unwrap().needs_rotation);
}

#[test]
fn a_failed_write_changes_neither_the_file_nor_the_key_at_hand() {
    let (disk, key) = locked();
    let text = disk.text();
    let stuck = disk.read_only();
    assert!(matches!(disk.store.set_lock(&lock(6)), Err(Error::Io { .. })));
    assert!(matches!(disk.store.set_lock(&no_lock(6)), Err(Error::Io { .. })));
    assert!(matches!(disk.store.update_data_keys(|keys| keys.pending = None), Err(Error::Io { .. })));
    drop(stuck);
    assert_eq!(disk.text(), text);
    let keys = disk.store.data_keys().unwrap();
    assert!(keys.pending.is_some());
    assert_eq!(disk.with(Some(&key)).data_keys().unwrap(), keys);
}

#[test]
fn a_renewal_and_a_change_of_the_log_key_keep_the_file_locked() {
    let (disk, key) = locked();
    let renewed = member(&root(), &manager());
    disk.store.save_node(&renewed).unwrap();
    disk.store.update_data_keys(|keys| keys.pending = None).unwrap();
    assert!(!disk.is_clear());
    let store = disk.with(Some(&key));
    assert_eq!(store.load_node().unwrap().chain_pem(), renewed.chain_pem());
    assert_eq!(store.data_keys().unwrap().pending, None);
    assert!(matches!(disk.with(None).data_keys(), Err(Error::Locked)));
}

#[test]
fn a_manager_of_a_locked_cluster_is_locked_from_its_first_file_on() {
    let directory = tempfile::tempdir().unwrap();
    let store = KeyStore::new(directory.path(), &env());
    let (lock, node) = (lock(5), member(&root(), &manager()));
    store.save_manager(&node, &lock).unwrap();
    let disk = Disk { directory, store };
    assert!(!disk.is_clear());
    assert!(matches!(disk.with(None).load_node(), Err(Error::Locked)));
    disk.store.update_data_keys(|keys| *keys = data_keys()).unwrap();
    let again = disk.with(lock.key.as_ref());
    assert_eq!(again.data_keys().unwrap(), data_keys(), "never in clear, so there is nothing to replace");
    assert_eq!(again.set_lock(&lock).unwrap(), LockChange::None);
}

#[test]
fn a_demoted_manager_has_its_own_key_in_clear_and_never_those_of_its_log() {
    let (disk, key) = locked();
    disk.store.save_node(&member(&root(), &worker())).unwrap();
    assert!(disk.is_clear());
    // Its manager may go on for a moment.
    disk.store.update_data_keys(|keys| keys.pending = Some([9; 32].into())).unwrap();
    assert_eq!(disk.store.set_lock(&lock(6)).unwrap(), LockChange::None, "the key of a worker is not locked");
    assert!(disk.is_clear());
    let restarted = disk.with(None);
    assert!(restarted.load_node().is_ok());
    assert!(matches!(restarted.data_keys(), Err(Error::Locked)));
    assert_eq!(disk.with(Some(&key)).data_keys().unwrap().pending, Some([9; 32].into()));

    restarted.forget_data_keys().unwrap();
    assert_eq!(restarted.headers().unwrap().into_iter().collect::<Vec<_>>(), [("kek-version".into(), "5".into())]);
    assert_eq!(restarted.data_keys().unwrap(), DataKeys::default());
}

#[test]
fn a_node_that_is_promoted_again_follows_the_lock_of_that_time() {
    let (disk, _) = locked();
    disk.store.save_node(&member(&root(), &worker())).unwrap();
    disk.store.forget_data_keys().unwrap();
    disk.store.save_manager(&member(&root(), &manager()), &no_lock(8)).unwrap();
    assert!(disk.is_clear());
    let lock = lock(9);
    assert_eq!(disk.store.set_lock(&lock).unwrap(), LockChange::Lock);
    assert!(!disk.store.data_keys().unwrap().needs_rotation, "there is no key of the log yet");

    disk.store.save_node(&member(&root(), &worker())).unwrap();
    disk.store.save_manager(&member(&root(), &manager()), &lock).unwrap();
    assert!(disk.with(lock.key.as_ref()).load_node().is_ok() && !disk.is_clear());
}

#[test]
fn a_key_file_that_upstream_has_locked_opens() {
    let directory = tempfile::tempdir().unwrap();
    let key = UnlockKey::from_bytes(b"an-unlock-key-of-thirty-two-byte").unwrap();
    let store = KeyStore::new(directory.path(), &env()).with_unlock_key(Some(key));
    fs::create_dir(directory.path().join("certificates")).unwrap();
    fs::write(directory.path().join("certificates").join(NODE_KEY), fixture!("p256-locked.key")).unwrap();
    assert!(store.headers().unwrap().is_empty());
    // The form before that is known, and not read.
    let legacy = fixture!("p256-legacy-encrypted.key");
    fs::write(directory.path().join("certificates").join(NODE_KEY), legacy).unwrap();
    assert!(matches!(store.headers(), Err(Error::Locked)));
}
