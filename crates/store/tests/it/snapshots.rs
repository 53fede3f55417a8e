//! A state written out and read again is the same, and watchers are told the difference.

use std::sync::Arc;

use prost::Message as _;
use swarmkit_api::{
    Cluster, Config, Kind, Network, Node, NodeId, Resource, Secret, Service, Task, TaskId, Volume, wire,
};
use swarmkit_store::{ApplyError, Interest, SNAPSHOT_CHUNK_BYTES, Store, StoreError, Update};
use swarmkit_testing::{amend, config, describe, env, store};

use crate::support::{Held, Sample, local, waiting, write};

/// Something of every kind.
fn full() -> Store {
    let store = local();
    amend(&store, "node a; node b drain; service web replicas=2; task web.1 on a; task web.2");
    write(&store, |tx| {
        tx.create(Network::sample("n", "net"))?;
        tx.create(Cluster::sample("c", "default"))?;
        tx.create(Secret::sample("s", "secret"))?;
        tx.create(Config::sample("f", "config"))?;
        tx.create(Resource::sample("r", "res"))?;
        tx.create(Volume::sample("v", "vol"))
    })
    .unwrap();
    store
}

fn copy(from: &Store, to: &Store) {
    let mut restore = to.applier().restore();
    restore.chunk(&from.applier().snapshot().to_bytes()).unwrap();
    assert_eq!(to.applier().install(restore).unwrap(), from.version());
}

#[test]
fn restoring_makes_a_partly_different_store_equal() {
    let saved = full();
    let restored = store("node b; node z; service other; task other.1 on z");
    write(&restored, |tx| tx.create(Secret::sample("x", "secret"))).unwrap();
    copy(&saved, &restored);
    assert_eq!(restored.applier().snapshot().to_bytes(), saved.applier().snapshot().to_bytes());
    assert_eq!(
        (restored.version(), describe::<Task>(&restored.view())),
        (saved.version(), describe::<Task>(&saved.view()))
    );
    // A name that moved to another object is found there.
    let view = restored.view();
    assert_eq!(view.find(swarmkit_store::SecretBy::Name("secret")).next().unwrap().id.as_str(), "s");
}

#[test]
fn a_restored_store_goes_on_where_the_saved_one_was() {
    let (saved, restored) = (full(), Store::local(env()));
    copy(&saved, &restored);
    let stored = restored.view().get::<Node>(&NodeId::from("a")).unwrap().clone();
    write(&restored, |tx| tx.update(Node::clone(&stored))).unwrap();
    assert_eq!(restored.version(), saved.version().next());
}

#[test]
fn a_follower_goes_on_with_the_log_after_a_snapshot() {
    let (held, leader) = Held::store();
    let submit = |id| {
        futures_util::FutureExt::now_or_never(leader.submit(|tx| tx.create(Node::sample(id, id)))).unwrap().unwrap()
    };
    let _ = submit("1");
    held.commit();
    let follower = Store::local(env());
    copy(&leader, &follower);
    let _ = submit("2");
    let entry = held.take().payload;
    held.apply(&entry);
    follower.applier().apply(&entry).unwrap();
    assert_eq!(follower.applier().snapshot().to_bytes(), leader.applier().snapshot().to_bytes());
}

#[test]
fn watchers_stay_and_are_told_the_difference_only() {
    let (saved, restored) = (full(), Store::local(env()));
    copy(&saved, &restored);
    let mut watch = restored.watch(Interest::all());
    waiting(&mut watch);
    write(&saved, |tx| {
        tx.edit(&NodeId::from("a"), |node: &mut Node| node.vxlan_udp_port = 1)?;
        tx.delete::<Task>(&TaskId::from("web.2"))?;
        tx.create(Node::sample("c", "c"))
    })
    .unwrap();
    copy(&saved, &restored);
    let updates = waiting(&mut watch);
    let [Update::Delta(delta)] = updates.as_slice() else { panic!("one delta: {updates:?}") };
    let told: Vec<_> = delta.changes.iter().map(|change| (change.action(), change.kind(), change.id())).collect();
    use swarmkit_store::Action::{Create, Remove, Update as Changed};
    assert_eq!(told, [(Changed, Kind::Node, "a"), (Create, Kind::Node, "c"), (Remove, Kind::Task, "web.2")]);
    assert_eq!(delta.version, saved.version());
}

#[test]
fn restoring_into_an_empty_store_only_creates() {
    let (saved, restored) = (full(), Store::local(env()));
    let mut watch = restored.watch(Interest::all());
    waiting(&mut watch);
    copy(&saved, &restored);
    let updates = waiting(&mut watch);
    let [Update::Delta(delta)] = updates.as_slice() else { panic!("one delta: {updates:?}") };
    assert!(delta.changes.iter().all(|change| change.action() == swarmkit_store::Action::Create));
    assert_eq!(delta.changes.len(), 12);
}

#[test]
fn going_back_in_time_makes_watchers_start_over() {
    let old = full();
    let restored = Store::local(env());
    copy(&old, &restored);
    for _ in 0..3 {
        write(&restored, |tx| tx.edit(&NodeId::from("a"), |node: &mut Node| node.vxlan_udp_port += 1)).unwrap();
    }
    let mut watch = restored.watch(Kind::Node);
    waiting(&mut watch);
    copy(&old, &restored);
    let updates = waiting(&mut watch);
    assert!(matches!(updates.as_slice(), [Update::Snapshot(view)] if view.version() == old.version()), "{updates:?}");
    amend(&restored, "node new");
    assert_eq!(waiting(&mut watch).len(), 1, "and what comes then is told, though its version was told before");
}

#[test]
fn what_is_under_way_when_a_snapshot_arrives_is_not_known() {
    let (_held, store) = Held::store();
    let submitted = futures_util::FutureExt::now_or_never(store.submit(|tx| tx.create(Node::sample("1", "a"))));
    let (_, pending) = submitted.unwrap().unwrap();
    copy(&full(), &store);
    let outcome = futures_util::FutureExt::now_or_never(pending).unwrap();
    assert_eq!(outcome, Err(StoreError::Propose(swarmkit_store::ProposeError::Unknown)));
}

#[test]
fn a_snapshot_is_the_wires_own_message() {
    let saved = full();
    let snapshot = wire::StoreSnapshot::decode(saved.applier().snapshot().to_bytes()).unwrap();
    let view = saved.view();
    assert_eq!(snapshot.nodes.len(), 2);
    assert_eq!((snapshot.tasks.len(), snapshot.volumes.len(), snapshot.extensions.len()), (2, 1, 1));
    let services: Vec<_> =
        view.all::<Service>().map(|service| swarmkit_api::Object::to_wire(service.as_ref())).collect();
    assert_eq!(snapshot.services, services);
}

#[test]
fn pieces_join_to_the_whole_however_they_are_cut() {
    let saved = full();
    for number in 0..5 {
        write(&saved, |tx| tx.create(config(&format!("large-{number}"), &"x".repeat(100_000)))).unwrap();
    }
    let snapshot = saved.applier().snapshot();
    let whole = snapshot.to_bytes();
    let pieces: Vec<_> = snapshot.chunks().collect();
    assert!(pieces.len() > 1 && pieces[0].len() >= SNAPSHOT_CHUNK_BYTES);
    assert_eq!(pieces.concat(), whole);
    for size in [1, 7, 1000, whole.len()] {
        let restored = Store::local(env());
        let mut restore = restored.applier().restore();
        whole.chunks(size).for_each(|piece| restore.chunk(piece).unwrap());
        restored.applier().install(restore).unwrap();
        assert_eq!(restored.applier().snapshot().to_bytes(), whole);
    }
}

#[test]
fn an_incomplete_snapshot_is_refused() {
    let (saved, restored) = (full(), store("node z"));
    let whole = saved.applier().snapshot().to_bytes();
    for cut in [0, 1, whole.len() / 2, whole.len() - 1] {
        let mut restore = restored.applier().restore();
        restore.chunk(&whole[..cut]).unwrap();
        assert!(matches!(restored.applier().install(restore), Err(ApplyError::Truncated)), "{cut}");
    }
    assert!(restored.applier().restore().chunk(&[0xff; 32]).is_err());
    assert_eq!(describe::<Node>(&restored.view()), "node z\n");
}

#[test]
fn tasks_of_one_specification_share_it_on_every_replica_and_after_a_restore() {
    let shared = |store: &Store| {
        let view = store.view();
        let [one, two] = ["web.1", "web.2"].map(|id| view.get::<Task>(&TaskId::from(id)).unwrap().spec.clone());
        Arc::ptr_eq(&one, &two)
    };
    let (held, leader) = Held::store();
    let written = leader.submit(|tx| {
        tx.create(swarmkit_testing::task("web.1").build())?;
        tx.create(swarmkit_testing::task("web.2").build())
    });
    let _ = futures_util::FutureExt::now_or_never(written).unwrap().unwrap();
    let entry = held.take().payload;
    held.apply(&entry);
    let (follower, restored) = (Store::local(env()), Store::local(env()));
    follower.applier().apply(&entry).unwrap();
    copy(&leader, &restored);
    assert!(shared(&leader) && shared(&follower) && shared(&restored));
}

#[test]
fn a_change_set_in_the_log_is_the_wires_own_message() {
    use wire::store_action::Target;
    let (held, leader) = Held::store();
    let written = leader.submit(|tx| {
        tx.create(swarmkit_api::Extension::sample("gadget", "gadget"))?;
        tx.create(Node::sample("1", "one"))?;
        tx.create(Service::sample("1", "one"))?;
        tx.create(Task::sample("1", "one"))?;
        tx.create(Network::sample("1", "one"))?;
        tx.create(Cluster::sample("1", "one"))?;
        tx.create(Secret::sample("1", "one"))?;
        tx.create(Resource::sample("1", "one"))?;
        tx.create(Config::sample("1", "one"))?;
        tx.create(Volume::sample("1", "one"))?;
        tx.edit(&NodeId::from("1"), |node: &mut Node| node.vxlan_udp_port = 4789)?;
        tx.delete::<Node>(&NodeId::from("1"))
    });
    let _ = futures_util::FutureExt::now_or_never(written).unwrap().unwrap();
    let request = wire::InternalRaftRequest::decode(held.take().payload).unwrap();
    assert_eq!(request.id, 2);
    let actions: Vec<_> = request.action.iter().map(|action| action.action).collect();
    assert_eq!(actions, [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 3]);
    let targets: Vec<_> = request.action.into_iter().map(|action| action.target.unwrap()).collect();
    assert!(matches!(&targets[0], Target::Extension(extension) if extension.id == "gadget"));
    assert!(matches!(&targets[1], Target::Node(node) if node.meta.as_ref().unwrap().version.unwrap().index == 1));
    assert!(matches!(&targets[2], Target::Service(_)) && matches!(&targets[3], Target::Task(_)));
    assert!(matches!(&targets[4], Target::Network(_)) && matches!(&targets[5], Target::Cluster(_)));
    assert!(matches!(&targets[6], Target::Secret(_)) && matches!(&targets[7], Target::Resource(_)));
    assert!(matches!(&targets[8], Target::Config(_)) && matches!(&targets[9], Target::Volume(_)));
    assert!(matches!(&targets[10], Target::Node(node) if node.vxlanudp_port == 4789));
    assert_eq!(targets[11], Target::Node(wire::Node { id: "1".into(), ..Default::default() }));
}
