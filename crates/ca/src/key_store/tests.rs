//! Key files as they are found after good and bad days.

use tempfile::TempDir;

use super::*;
use crate::data_keys::DataKeys;
use crate::testing::{copy_of, env, fixture, manager, member, noon, root, worker};

struct Disk {
    directory: TempDir,
    store: KeyStore,
}

fn disk() -> Disk {
    let directory = tempfile::tempdir().unwrap();
    let store = KeyStore::new(directory.path(), &env());
    Disk { directory, store }
}

impl Disk {
    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join("certificates").join(name)
    }

    fn mode(&self, name: &str) -> u32 {
        fs::metadata(self.path(name)).unwrap().permissions().mode() & 0o777
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.directory.path().join("certificates")).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

#[test]
fn an_empty_directory_has_neither_root_nor_node() {
    let disk = disk();
    let error = disk.store.load_root().unwrap_err();
    assert_eq!(error.to_string(), "local root CA certificate does not exist");
    assert!(matches!(disk.store.load_node(), Err(Error::NoLocalCertificate { .. })));
}

#[test]
fn a_root_reads_back_without_its_key_and_anyone_may_read_it() {
    let (disk, root) = (disk(), root());
    disk.store.save_root(&root).unwrap();
    let read = disk.store.load_root().unwrap();
    assert_eq!(read.digest(), root.digest());
    assert!(!read.can_sign());
    let text = fs::read_to_string(disk.path(ROOT_CERTIFICATE)).unwrap();
    assert_eq!(text, crate::normalize_pem(&text).unwrap());
    assert_eq!((disk.mode(ROOT_CERTIFICATE), disk.mode("")), (0o644, 0o755));
    assert_eq!(disk.names(), [ROOT_CERTIFICATE]);
}

#[test]
fn a_root_key_of_old_versions_is_read_where_it_fits() {
    let (disk, root) = (disk(), root());
    disk.store.save_root(&root).unwrap();
    fs::write(disk.path(ROOT_KEY), &*root.signing_key().unwrap().to_pem()).unwrap();
    assert!(disk.store.load_root().unwrap().can_sign());
    fs::write(disk.path(ROOT_KEY), fixture!("p256-sec1.key")).unwrap();
    assert!(matches!(disk.store.load_root(), Err(Error::KeyMismatch)));
    fs::write(disk.path(ROOT_KEY), "garbage").unwrap();
    assert_eq!(disk.store.load_root().unwrap_err().to_string(), "malformed private key");
}

#[test]
fn a_node_reads_back_and_its_key_is_its_own() {
    let disk = disk();
    let node = member(&root(), &worker());
    disk.store.save_node(&node).unwrap();
    let read = disk.store.load_node().unwrap();
    assert_eq!(read.chain_pem(), node.chain_pem());
    assert_eq!(read.key().public_key(), node.key().public_key());
    assert_eq!((disk.mode(NODE_CERTIFICATE), disk.mode(NODE_KEY)), (0o644, 0o600));
    assert_eq!(disk.names(), [NODE_CERTIFICATE, NODE_KEY]);
    let text = fs::read_to_string(disk.path(NODE_KEY)).unwrap();
    assert!(text.starts_with("-----BEGIN PRIVATE KEY-----\nkek-version: 0\n\n"), "{text}");
}

#[test]
fn a_chain_is_written_and_read_as_long_as_it_is() {
    let (old, new) = (root(), root());
    let cross = old.cross_sign(new.bundle()).unwrap();
    let rotating = old.without_signer().with_intermediates(&cross, noon()).unwrap();
    let rotating = rotating.with_signer(&cross, copy_of(new.signing_key().unwrap()), &env()).unwrap();
    for (authority, length) in [(&old, 1), (&rotating, 2)] {
        let disk = disk();
        disk.store.save_node(&member(authority, &worker())).unwrap();
        let text = fs::read_to_string(disk.path(NODE_CERTIFICATE)).unwrap();
        assert_eq!(text.matches("BEGIN CERTIFICATE").count(), length);
        assert_eq!(disk.store.load_node().unwrap().chain().len(), length);
    }
}

#[test]
fn keys_of_other_programs_are_read_in_both_their_forms() {
    let key = KeyPair::from_pem(fixture!("p256-sec1.key")).unwrap();
    for text in [fixture!("p256-sec1.key"), &*key.to_pem()] {
        let disk = disk();
        disk.store.save_node(&member(&root(), &worker())).unwrap();
        fs::write(disk.path(NODE_CERTIFICATE), fixture!("chain-manager.crt")).unwrap();
        fs::write(disk.path(NODE_KEY), text).unwrap();
        assert_eq!(disk.store.load_node().unwrap().identity(), &manager());
    }
}

/// A node's files, with those that an early version has left beside.
fn early(in_place: &NodeCertificate, key: &str, beside: &str) -> Disk {
    let disk = disk();
    disk.store.save_node(in_place).unwrap();
    fs::write(disk.path(NODE_KEY), key).unwrap();
    fs::write(disk.path(NODE_KEY_EARLY), beside).unwrap();
    disk
}

#[test]
fn looking_reads_what_a_cut_off_write_left_and_changes_nothing() {
    let root = root();
    let (old, new) = (member(&root, &worker()), member(&root, &manager()));
    let disk = disk();
    disk.store.save_node(&new).unwrap();
    // The new key is in place, and its certificate waits beside the old one.
    fs::rename(disk.path(NODE_CERTIFICATE), disk.path(NODE_CERTIFICATE_NEXT)).unwrap();
    fs::write(disk.path(NODE_CERTIFICATE), old.chain_pem()).unwrap();
    fs::set_permissions(disk.path(NODE_KEY), Permissions::from_mode(0o644)).unwrap();
    let before = disk.names();
    let looking = disk.store.clone().looking_only();
    assert_eq!(looking.load_node().unwrap().identity(), &manager());
    assert_eq!(looking.named().unwrap(), worker(), "the certificate in place is the one that is named");
    assert_eq!((disk.names(), disk.mode(NODE_KEY)), (before, 0o644));
    fs::write(disk.path(NODE_CERTIFICATE_NEXT), "garbage").unwrap();
    assert!(looking.load_node().is_err() && disk.path(NODE_CERTIFICATE_NEXT).exists());
}

#[test]
fn a_key_that_an_early_version_left_beside_its_certificate_is_put_in_place() {
    let root = root();
    let (old, new) = (member(&root, &worker()), member(&root, &manager()));
    let disk = early(&new, &old.key().to_pem(), &new.key().to_pem());
    assert_eq!(disk.store.load_node().unwrap().identity(), &manager());
    assert_eq!(disk.names(), [NODE_CERTIFICATE, NODE_KEY]);
    assert_eq!(disk.store.load_node().unwrap().identity(), &manager());
}

#[test]
fn a_key_that_an_early_version_left_and_that_belongs_to_nothing_is_removed() {
    let root = root();
    let (node, stranger) = (member(&root, &worker()), member(&root, &manager()));
    for beside in [&*stranger.key().to_pem(), "garbage", ""] {
        let disk = early(&node, &node.key().to_pem(), beside);
        assert_eq!(disk.store.load_node().unwrap().identity(), &worker());
        assert_eq!(disk.names(), [NODE_CERTIFICATE, NODE_KEY]);
    }
}

#[test]
fn a_key_that_an_early_version_left_locked_is_kept_while_nothing_opens_it() {
    let node = member(&root(), &worker());
    let disk = early(&node, &node.key().to_pem(), fixture!("p256-locked.key"));
    assert_eq!(disk.store.load_node().unwrap().identity(), &worker());
    assert_eq!(disk.names(), [NODE_KEY_EARLY, NODE_CERTIFICATE, NODE_KEY]);
    disk.store.remove_node().unwrap();
    assert!(disk.names().is_empty());
}

#[test]
fn a_renewal_keeps_the_headers_of_the_key_file() {
    let (disk, root) = (disk(), root());
    disk.store.save_node(&member(&root, &worker())).unwrap();
    let data_keys = DataKeys { current: Some([7; 32].into()), pending: None, needs_rotation: true };
    disk.store.update_data_keys(|keys| *keys = data_keys.clone()).unwrap();
    let renewed = member(&root, &manager());
    disk.store.save_node(&renewed).unwrap();
    assert_eq!(disk.store.data_keys().unwrap(), data_keys);
    assert_eq!(disk.store.load_node().unwrap().identity(), &manager());
    assert_eq!(disk.mode(NODE_KEY), 0o600);
}

#[test]
fn a_write_cut_off_before_the_key_leaves_the_old_pair() {
    let (disk, root) = (disk(), root());
    let (old, new) = (member(&root, &worker()), member(&root, &manager()));
    disk.store.save_node(&old).unwrap();
    fs::write(disk.path(NODE_CERTIFICATE_NEXT), new.chain_pem()).unwrap();
    assert_eq!(disk.store.load_node().unwrap().identity(), &worker());
}

#[test]
fn a_write_cut_off_after_the_key_is_completed() {
    let (disk, root) = (disk(), root());
    let (old, new) = (member(&root, &worker()), member(&root, &manager()));
    disk.store.save_node(&new).unwrap();
    fs::rename(disk.path(NODE_CERTIFICATE), disk.path(NODE_CERTIFICATE_NEXT)).unwrap();
    fs::write(disk.path(NODE_CERTIFICATE), old.chain_pem()).unwrap();
    assert_eq!(disk.store.load_node().unwrap().identity(), &manager());
    assert_eq!(disk.names(), [NODE_CERTIFICATE, NODE_KEY]);
    assert_eq!(disk.store.load_node().unwrap().identity(), &manager());
}

#[test]
fn a_certificate_that_waits_and_does_not_fit_either_is_removed() {
    let (disk, root) = (disk(), root());
    disk.store.save_node(&member(&root, &worker())).unwrap();
    let stranger = member(&root, &manager()).chain_pem();
    fs::write(disk.path(NODE_CERTIFICATE), &stranger).unwrap();
    fs::write(disk.path(NODE_CERTIFICATE_NEXT), &stranger).unwrap();
    assert!(matches!(disk.store.load_node(), Err(Error::KeyMismatch)));
    assert_eq!(disk.names(), [NODE_CERTIFICATE, NODE_KEY]);
}

#[test]
fn garbage_on_disk_is_refused_and_can_be_replaced() {
    let (disk, root) = (disk(), root());
    let node = member(&root, &worker());
    disk.store.save_node(&node).unwrap();
    fs::write(disk.path(NODE_CERTIFICATE), "garbage").unwrap();
    assert!(disk.store.load_node().is_err());
    fs::write(disk.path(NODE_KEY), "garbage").unwrap();
    assert!(matches!(disk.store.load_node(), Err(Error::MalformedKey)));
    disk.store.save_node(&node).unwrap();
    assert!(disk.store.load_node().is_ok());
    fs::write(disk.path(ROOT_CERTIFICATE), "garbage").unwrap();
    assert_eq!(disk.store.load_root().unwrap_err().to_string(), "no valid root CA certificates found");
    disk.store.save_root(&root).unwrap();
    assert!(disk.store.load_root().is_ok());
}

#[test]
fn a_locked_key_is_named_and_never_overwritten() {
    let (disk, root) = (disk(), root());
    let node = member(&root, &worker());
    disk.store.save_node(&node).unwrap();
    fs::write(disk.path(NODE_KEY), fixture!("p256-encrypted.key")).unwrap();
    let error = disk.store.load_node().unwrap_err();
    assert_eq!(error.to_string(), "node is locked, and needs a valid unlock key");
    assert!(matches!(disk.store.save_node(&node), Err(Error::Locked)));
    assert_eq!(fs::read_to_string(disk.path(NODE_KEY)).unwrap(), fixture!("p256-encrypted.key"));
}

#[test]
fn a_key_that_others_may_read_is_closed_to_them() {
    let disk = disk();
    disk.store.save_node(&member(&root(), &worker())).unwrap();
    fs::set_permissions(disk.path(NODE_KEY), Permissions::from_mode(0o644)).unwrap();
    disk.store.load_node().unwrap();
    assert_eq!(disk.mode(NODE_KEY), 0o600);
}

#[test]
fn removing_a_node_leaves_its_root() {
    let (disk, root) = (disk(), root());
    disk.store.save_root(&root).unwrap();
    disk.store.save_node(&member(&root, &worker())).unwrap();
    disk.store.remove_node().unwrap();
    assert_eq!(disk.names(), [ROOT_CERTIFICATE]);
    disk.store.remove_node().unwrap();
}

#[test]
fn a_renewal_and_a_change_of_the_headers_at_the_same_time_lose_nothing_of_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let keys = KeyStore::new(dir.path(), &env());
    let nodes: Vec<_> = (0..20).map(|_| member(&root(), &worker())).collect();
    keys.save_node(&nodes[0]).unwrap();
    std::thread::scope(|threads| {
        threads.spawn(|| nodes.iter().for_each(|node| keys.save_node(node).unwrap()));
        for number in 0..20u8 {
            let next = Some([number; 32].into());
            keys.update_data_keys(|keys| keys.current = next).unwrap();
            assert_eq!(keys.data_keys().unwrap().current, Some([number; 32].into()));
        }
    });
    assert_eq!(keys.load_node().unwrap().chain_pem(), nodes[19].chain_pem());
    assert_eq!(keys.data_keys().unwrap().current, Some([19; 32].into()));
}
