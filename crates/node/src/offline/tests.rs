//! Mending state directories.

use std::{fs, time::Duration};

use swarmkit_ca::{KeyStore, LEAF_VALIDITY_MIN, ManagerLock, RootCa};
use tempfile::TempDir;

use super::*;
use crate::testing::{Authority, identity};

/// The state directory of a manager whose certificate has expired, and its cluster. Without `unlock` it is not locked.
async fn expired(unlock: Option<&UnlockKey>) -> (TempDir, Authority, KeyStore) {
    let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new().await);
    let keys = KeyStore::new(dir.path(), &authority.env);
    let certificate = authority.certificate(&identity("n", NodeRole::Manager));
    keys.save_root(&authority.root).unwrap();
    keys.save_manager(&certificate, &ManagerLock { key: unlock.cloned(), ..ManagerLock::default() }).unwrap();
    keys.update_data_keys(|keys| keys.current = Some([7; 32].into())).unwrap();
    authority.env.sleep(2 * LEAF_VALIDITY_MIN).await;
    let found = keys.load_node().unwrap().verify(&authority.root, Expiry::Enforced, authority.env.now());
    assert!(found.is_err(), "it has expired");
    (dir, authority, keys)
}

fn cluster(authority: &Authority) -> Arc<Cluster> {
    Arc::clone(authority.store.view().cluster().unwrap())
}

#[tokio::test(start_paused = true)]
async fn an_expired_certificate_is_renewed_for_the_same_node_and_the_log_key_stays() {
    let unlock = UnlockKey::generate(&Env::real());
    for unlock in [None, Some(unlock)] {
        let (dir, authority, keys) = expired(unlock.as_ref()).await;
        let old = keys.load_node().unwrap();
        let offline = Offline::open(dir.path(), unlock.clone(), &authority.env).await.unwrap();
        let renewed = offline.renew_certificate(cluster(&authority)).await.unwrap();
        assert_eq!((renewed.node.as_str(), renewed.role), ("n", NodeRole::Manager));
        let left = renewed.not_after.duration_since(authority.env.now()).unwrap();
        assert!(
            left > LEAF_VALIDITY_MIN - Duration::from_secs(60) && left <= LEAF_VALIDITY_MIN,
            "the cluster's: {left:?}"
        );

        let new = keys.load_node().unwrap();
        new.verify(&authority.root, Expiry::Enforced, authority.env.now()).unwrap();
        assert_eq!(new.identity(), old.identity());
        assert_ne!(new.key().public_key(), old.key().public_key(), "with a key of its own");
        assert_eq!(keys.data_keys().unwrap().current.unwrap()[..], [7; 32]);
        let file = fs::read_to_string(dir.path().join("certificates/swarm-node.key")).unwrap();
        assert_eq!(file.contains("ENCRYPTED PRIVATE KEY"), unlock.is_some(), "as locked as before");
    }
}

#[tokio::test(start_paused = true)]
async fn a_certificate_that_cannot_be_renewed_is_left_alone() {
    let unlock = UnlockKey::generate(&Env::real());
    let (dir, authority, _) = expired(Some(&unlock)).await;
    let files =
        || ["crt", "key"].map(|kind| fs::read(dir.path().join(format!("certificates/swarm-node.{kind}"))).unwrap());
    let before = files();
    let of = |change: &dyn Fn(&mut Cluster)| {
        let mut changed = cluster(&authority).as_ref().clone();
        change(&mut changed);
        Arc::new(changed)
    };
    let another = RootCa::create(&SystemKeys, &authority.env).unwrap();
    for (unlock, cluster, expected) in [
        (None, cluster(&authority), "node is locked, and needs a valid unlock key"),
        (
            Some(unlock.clone()),
            of(&|cluster| cluster.id = "other".into()),
            "the node is one of cluster c, and the state is that of cluster other",
        ),
        (
            Some(unlock.clone()),
            of(&|cluster| Arc::make_mut(&mut cluster.root_ca).ca_key.clear()),
            "the key of the cluster's root is kept by an external authority, which alone can make a certificate",
        ),
        (
            Some(unlock.clone()),
            of(&|cluster| {
                let root = Arc::make_mut(&mut cluster.root_ca);
                root.ca_cert = another.bundle().to_owned().into();
                root.ca_key = another.signing_key().unwrap().to_pem().as_bytes().to_vec().into();
            }),
            "error while loading TLS certificate",
        ),
    ] {
        let offline = Offline::open(dir.path(), unlock, &authority.env).await.unwrap();
        let told = offline.renew_certificate(cluster).await.unwrap_err().to_string();
        assert!(told.starts_with(expected), "{told}");
        assert_eq!(files(), before);
    }
}

#[tokio::test]
async fn a_directory_that_is_not_there_is_not_made_and_one_in_use_is_refused() {
    let (dir, env) = (tempfile::tempdir().unwrap(), Env::real());
    let none = dir.path().join("none");
    assert!(Offline::open(&none, None, &env).await.is_err() && !none.exists());
    let first = Offline::open(dir.path(), None, &env).await.unwrap();
    let told = Offline::open(dir.path(), None, &env).await.unwrap_err().to_string();
    assert_eq!(told, format!("{} is in use by another node", dir.path().display()));
    drop(first);
    Offline::open(dir.path(), None, &env).await.unwrap();
}
