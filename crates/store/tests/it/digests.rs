//! What a state comes to, and how replicas notice that they differ.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;
use swarmkit_api::{
    Cluster, Config, Endpoint, Extension, Meta, Network, Node, Object as _, Resource, Secret, Service, Task, TaskState,
    Version, Volume, wire,
};
use swarmkit_store::{Applied, ApplyError, Store, StoreError, Transaction};
use swarmkit_testing::env;

use crate::support::{Held, Sample, local, write};

/// Commits on a leader, and gives what the log holds.
fn logged(held: &Held, store: &Store, edit: impl FnOnce(&mut Transaction) -> Result<Arc<Node>, StoreError>) -> Bytes {
    use futures_util::FutureExt as _;
    store.submit(edit).now_or_never().expect("there is a place").unwrap().1.now_or_never();
    let proposal = held.take();
    held.apply(&proposal.payload);
    proposal.payload
}

#[test]
fn replicas_have_the_same_digest_at_every_version_however_they_came_to_it() {
    let (held, leader) = Held::store();
    let follower = Store::local(env());
    for number in 0..50 {
        let id = format!("n{}", number % 7);
        let payload = logged(&held, &leader, |tx| match tx.get::<Node>(&id.as_str().into()) {
            None => tx.create(Node::sample(&id, &id)),
            Some(_) if number % 5 == 0 => tx.delete(&id.as_str().into()),
            Some(_) => tx.edit(&id.as_str().into(), |node: &mut Node| node.vxlan_udp_port += 1),
        });
        assert!(matches!(follower.applier().apply(&payload), Ok(Applied::Committed(_))));
        assert_eq!(follower.view().digest(), leader.view().digest());
    }
    let late = Store::local(env());
    let mut restore = late.applier().restore();
    restore.chunk(&leader.applier().snapshot().to_bytes()).unwrap();
    late.applier().install(restore).unwrap();
    assert_eq!(late.view().digest(), leader.view().digest());
    assert_eq!((leader.divergence(), follower.divergence(), late.divergence()), (None, None, None));
}

#[test]
fn what_was_added_and_taken_away_again_leaves_the_digest_as_it_was() {
    let store = local();
    let before = store.view().digest();
    write(&store, |tx| tx.create(Node::sample("n", "n"))).unwrap();
    let between = store.view().digest();
    write(&store, |tx| tx.delete::<Node>(&"n".into())).unwrap();
    assert_ne!(before, between);
    assert_eq!(before, store.view().digest());
    let taken_back = write(&store, |tx| {
        let part = tx.attempt(|tx| {
            tx.create(Node::sample("n", "n"))?;
            Err::<(), _>(StoreError::NotFound)
        });
        assert_eq!((part, tx.digest()), (Err(StoreError::NotFound), before));
        Ok(())
    });
    assert_eq!(taken_back, Ok(()));
}

#[test]
fn digests_of_past_versions_are_remembered_as_long_as_their_changes() {
    let store = local();
    let mut digests = Vec::new();
    for number in 0..20 {
        let id = format!("n{number}");
        write(&store, |tx| tx.create(Node::sample(&id, &id))).unwrap();
        digests.push((store.version(), store.view().digest()));
    }
    for (version, digest) in digests {
        assert_eq!(store.digest_at(version), Some(digest));
    }
    assert_eq!(store.digest_at(store.version().next()), None);
    assert_eq!(store.digest_at(Version(0)), None);
}

#[test]
fn a_replica_that_differs_notices_with_the_next_change_set_and_is_well_again_after_a_snapshot() {
    let (held, leader) = Held::store();
    let follower = Store::local(env());
    let mut told = follower.watch_divergence();
    let payload = logged(&held, &leader, |tx| tx.create(Node::sample("n1", "host-a")));
    let mut damaged = payload.to_vec();
    let at = damaged.windows(6).position(|part| part == b"host-a").expect("the name is in the change set");
    damaged[at + 5] = b'b';
    follower.applier().apply(&damaged).unwrap();
    assert_eq!(follower.divergence(), None, "nobody has said yet what it should have been");

    let version = leader.version();
    let digests = (leader.view().digest(), follower.view().digest());
    let payload = logged(&held, &leader, |tx| tx.create(Node::sample("n2", "n2")));
    follower.applier().apply(&payload).unwrap();
    let found = follower.divergence().expect("the difference is noticed");
    assert_eq!((found.version, (found.proposer, found.own)), (version, digests));
    assert_eq!(leader.divergence(), None);
    assert!(told.has_changed().unwrap() && *told.borrow_and_update() == Some(found));
    follower.applier().apply(&logged(&held, &leader, |tx| tx.create(Node::sample("n3", "n3")))).unwrap();
    assert!(!told.has_changed().unwrap(), "the first one is told once");
    assert_eq!(follower.divergence(), Some(found));

    let mut restore = follower.applier().restore();
    restore.chunk(&leader.applier().snapshot().to_bytes()).unwrap();
    follower.applier().install(restore).unwrap();
    assert_eq!((follower.divergence(), follower.view().digest()), (None, leader.view().digest()));
    assert!(told.has_changed().unwrap() && told.borrow_and_update().is_none());
}

#[test]
fn a_snapshot_in_which_a_byte_has_changed_is_refused() {
    let store = local();
    write(&store, |tx| tx.create(Node::sample("n1", "host-a"))).unwrap();
    let mut bytes = store.applier().snapshot().to_bytes().to_vec();
    let at = bytes.windows(6).position(|part| part == b"host-a").expect("the name is in the snapshot");
    bytes[at + 5] = b'b';
    let other = Store::local(env());
    let mut restore = other.applier().restore();
    restore.chunk(&bytes).unwrap();
    assert!(matches!(other.applier().install(restore), Err(ApplyError::Damaged)));
    assert_eq!(other.view().count::<Node>(), 0);
}

#[test]
fn the_encoding_of_objects_is_the_one_that_digests_are_compared_by() {
    let objects = wire::StoreSnapshot {
        nodes: vec![Node::sample("node", "host").to_wire()],
        networks: vec![Network::sample("network", "net").to_wire()],
        clusters: vec![Cluster::sample("cluster", "default").to_wire()],
        secrets: vec![Secret::sample("secret", "key").to_wire()],
        configs: vec![Config::sample("config", "text").to_wire()],
        extensions: vec![Extension::sample("extension", "gear").to_wire()],
        resources: vec![Resource::sample("resource", "wheel").to_wire()],
        volumes: vec![Volume::sample("volume", "disk").to_wire()],
        services: vec![Service::sample("service", "web").to_wire()],
        tasks: vec![full_task().to_wire()],
    };
    // Written by another version: it has the version, and says nothing of how it is encoded.
    let mut bytes = Vec::new();
    prost::encoding::uint64::encode(1000, &7, &mut bytes);
    bytes.extend(objects.encode_to_vec());
    let store = Store::local(env());
    let mut restore = store.applier().restore();
    restore.chunk(&bytes).unwrap();
    store.applier().install(restore).unwrap();
    // If this fails, members of the old and of the new version would call each other wrong: raise `ENCODING` in
    // `digest.rs`, and write the new digest here.
    assert_eq!(store.view().digest().to_string(), "9630c447537d09a0");
}

/// A task in which every part is set.
fn full_task() -> Task {
    let mut task = Task::sample("task", "own");
    task.meta = Meta::default();
    task.spec = Arc::new(wire::TaskSpec { force_update: 3, ..Default::default() });
    task.spec_version = Some(Version(7));
    task.service_id = Some("service".into());
    task.slot = 5;
    task.node_id = Some("node".into());
    task.service_annotations = Arc::new(swarmkit_testing::named("web"));
    task.status.state = TaskState::Running;
    task.status.message = "started".into();
    task.status.err = "none".into();
    task.status.container = Some(wire::ContainerStatus { pid: 12, ..Default::default() });
    task.status.port_status = Some(wire::PortStatus::default());
    task.status.applied_by = Some("node".into());
    task.desired_state = TaskState::Shutdown;
    task.networks = vec![wire::NetworkAttachment { addresses: vec!["10.0.0.2/24".into()], ..Default::default() }];
    task.endpoint = Some(Arc::new(Endpoint::default()));
    task.log_driver = Some(wire::Driver { name: "none".into(), ..Default::default() });
    task.assigned_generic_resources = vec![wire::GenericResource::default()];
    task.job_iteration = Some(Version(2));
    task.volumes = vec![wire::VolumeAttachment { id: "volume".into(), ..Default::default() }];
    task
}
