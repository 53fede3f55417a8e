//! Managers that are to be locked, and the key that locks them.

use std::sync::Arc;

use swarmkit_api::{Cluster, wire};
use tonic::Code;

use crate::world::{World, default_cluster, no_argument};

/// Another subsystem, whose key is none of this service's business.
const OTHER: &str = "networking:gossip";

const ROTATE: wire::KeyRotation =
    wire::KeyRotation { worker_join_token: false, manager_join_token: false, manager_unlock_key: true };

/// A cluster with a key of another subsystem.
async fn world() -> World {
    let world = World::with_cluster().await;
    let key = wire::EncryptionKey { subsystem: OTHER.into(), key: b"gossip".as_slice().into(), ..Default::default() };
    world.put(|tx| tx.edit::<Cluster>(&default_cluster(), |cluster| cluster.unlock_keys = vec![key]).map(drop)).await;
    world
}

/// Changes the cluster, sees that no key is in the answer, and gives the one that locks managers from then on.
async fn update(world: &World, change: impl FnOnce(&mut wire::UpdateClusterRequest)) -> Option<bytes::Bytes> {
    let mut request = world.cluster_update();
    change(&mut request);
    let answer = world.control().update_cluster(request).await.unwrap().into_inner().cluster.unwrap();
    assert!(answer.unlock_keys.is_empty(), "a key is in the answer");
    let view = world.view();
    let keys = &view.cluster().unwrap().unlock_keys;
    let of = |subsystem: &str| {
        let mut of = keys.iter().filter(|key| key.subsystem == subsystem).map(|key| key.key.clone());
        let first = of.next();
        assert_eq!(of.next(), None, "one key for a subsystem");
        first
    };
    assert_eq!(of(OTHER).as_deref(), Some(&b"gossip"[..]), "the key of another subsystem");
    of("swarm-manager")
}

fn lock(on: bool) -> impl Fn(&mut wire::UpdateClusterRequest) {
    move |request| {
        let spec = request.spec.as_mut().unwrap();
        spec.encryption_config = Some(wire::EncryptionConfig { auto_lock_managers: on });
    }
}

#[tokio::test]
async fn locking_makes_a_key_that_unrelated_changes_keep() {
    let world = world().await;
    assert_eq!(update(&world, |_| {}).await, None, "managers are not locked");
    let key = update(&world, lock(true)).await.unwrap();
    assert_eq!(key.len(), 32);
    let unrelated = |request: &mut wire::UpdateClusterRequest| {
        let orchestration = wire::OrchestrationConfig { task_history_retention_limit: 3, ..Default::default() };
        request.spec.as_mut().unwrap().orchestration = Some(orchestration);
        request.rotation = Some(wire::KeyRotation { manager_unlock_key: false, ..ROTATE });
    };
    assert_eq!(update(&world, unrelated).await.unwrap(), key);
    assert_eq!(update(&world, lock(true)).await.unwrap(), key, "locked already");
}

#[tokio::test]
async fn a_rotation_replaces_the_key_of_managers_alone() {
    let world = world().await;
    let first = update(&world, lock(true)).await.unwrap();
    let second = update(&world, |request| request.rotation = Some(ROTATE)).await.unwrap();
    assert!(second.len() == 32 && second != first);
    let third = update(&world, |request| {
        lock(true)(request);
        request.rotation = Some(ROTATE);
    });
    assert_ne!(third.await.unwrap(), second);
}

#[tokio::test]
async fn unlocking_removes_the_key_and_locking_again_makes_another() {
    let world = world().await;
    let first = update(&world, lock(true)).await.unwrap();
    assert_eq!(update(&world, lock(false)).await, None);
    assert_eq!(update(&world, |request| request.rotation = Some(ROTATE)).await, None, "there is nothing to replace");
    let second = update(&world, lock(true)).await.unwrap();
    assert_ne!(second, first);
    // Settings without this part say that managers are not locked, as those of a client that has never heard of it.
    assert_eq!(update(&world, |request| request.spec.as_mut().unwrap().encryption_config = None).await, None);
}

#[tokio::test]
async fn a_refused_change_makes_no_key() {
    let world = world().await;
    let mut stale = world.cluster_update();
    lock(true)(&mut stale);
    update(&world, |_| {}).await;
    assert_eq!(world.refused(world.control().update_cluster(stale)).await.1, "update out of sequence");
    let mut nameless = world.cluster_update();
    lock(true)(&mut nameless);
    nameless.cluster_version = None;
    assert_eq!(world.refused(world.control().update_cluster(nameless)).await, no_argument());
    let mut renamed = world.cluster_update();
    lock(true)(&mut renamed);
    renamed.spec.as_mut().unwrap().annotations = None;
    assert_eq!(world.refused(world.control().update_cluster(renamed)).await.0, Code::InvalidArgument);
    let cluster = Arc::clone(world.view().cluster().unwrap());
    assert_eq!(cluster.unlock_keys.len(), 1, "that of the other subsystem");
}
