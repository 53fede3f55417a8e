//! Root certificates that managers tell.

use std::{fs, os::unix::fs::MetadataExt as _};

use swarmkit_api::NodeRole;
use swarmkit_ca::SystemKeys;
use tempfile::TempDir;

use super::*;
use crate::testing::{Authority, identity};

const ROOT: &str = "certificates/swarm-root-ca.crt";

struct World {
    authority: Authority,
    dir: TempDir,
    keys: KeyStore,
    credentials: Credentials,
}

impl World {
    async fn new(role: NodeRole) -> Self {
        let authority = Authority::new().await;
        let dir = tempfile::tempdir().unwrap();
        let keys = KeyStore::new(dir.path(), &authority.env);
        let (root, own) = (authority.root.without_signer(), authority.certificate(&identity("n", role)));
        keys.save_root(&root).unwrap();
        let credentials = Credentials::new(root, own, &authority.env).unwrap();
        Self { authority, dir, keys, credentials }
    }

    /// Follows what was told, until nothing is left to follow.
    async fn follow(&self, told: &str) {
        let root_ca = Bytes::copy_from_slice(told.as_bytes());
        let (_told, membership) = watch::channel(Membership { root_ca, ..Membership::default() });
        let stop = CancellationToken::new();
        stop.cancel();
        let (env, credentials) = (self.authority.env.clone(), self.credentials.clone());
        follow(env, credentials, self.keys.clone(), membership, stop).await.unwrap();
    }

    /// What is on the disk, and which file that is: one that is written anew is another one.
    fn file(&self) -> (String, u64) {
        let path = self.dir.path().join(ROOT);
        (fs::read_to_string(&path).unwrap(), fs::metadata(path).unwrap().ino())
    }

    fn other_root(&self) -> String {
        RootCa::create(&SystemKeys, &self.authority.env).unwrap().bundle().to_owned()
    }
}

#[tokio::test]
async fn new_roots_that_are_told_are_trusted_and_kept_by_managers_and_workers_alike() {
    for role in [NodeRole::Manager, NodeRole::Worker] {
        let world = World::new(role).await;
        let both = format!("{}{}", world.authority.root.bundle(), world.other_root());
        world.follow(&both).await;
        assert_eq!(world.file().0, both, "a file of two certificates");
        assert_eq!(world.credentials.trust().root().roots().len(), 2);
    }
}

#[tokio::test]
async fn the_same_roots_are_not_written_again() {
    let world = World::new(NodeRole::Worker).await;
    let (before, generation) = (world.file(), world.credentials.trust().generation());
    world.follow(world.authority.root.bundle()).await;
    world.follow("").await;
    assert_eq!((world.file(), world.credentials.trust().generation()), (before, generation));
}

#[tokio::test]
async fn roots_that_are_none_and_those_that_this_node_does_not_belong_to_are_told_of_and_nothing_more() {
    let world = World::new(NodeRole::Manager).await;
    let (before, generation) = (world.file(), world.credentials.trust().generation());
    for told in ["garbage".to_owned(), world.other_root()] {
        world.follow(&told).await;
        assert_eq!((world.file(), world.credentials.trust().generation()), (before.clone(), generation));
    }
}
