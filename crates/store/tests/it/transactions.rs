//! Atomicity, isolation, stamps and batches.

use std::{cell::Cell, sync::Arc, time::Duration};

use swarmkit_api::{Config, ConfigId, Kind, Node, NodeId, Version};
use swarmkit_store::{NodeBy, ProposeError, StoreError, Transaction, Update};
use swarmkit_testing::{EPOCH_SECONDS, config};

use crate::support::{Held, Sample, ids, local, waiting, write};

fn edit(port: u32) -> impl FnOnce(&mut Node) {
    move |node| node.vxlan_udp_port = port
}

#[test]
fn a_failing_closure_leaves_nothing_behind() {
    let store = local();
    let mut watch = store.watch(Kind::Node);
    waiting(&mut watch);
    let version = store.version();
    let refused = write(&store, |tx| {
        tx.create(Node::sample("1", "a"))?;
        assert_eq!(ids(tx.find(NodeBy::Name("a"))), ["1"], "a transaction sees its own writes");
        assert_eq!(store.view().count::<Node>(), 0, "nobody else does");
        tx.create(Node::sample("1", "b"))
    });
    assert_eq!(refused, Err(StoreError::Exists));
    let view = store.view();
    assert_eq!((view.count::<Node>(), view.find(NodeBy::Name("a")).count(), view.version()), (0, 0, version));
    assert!(waiting(&mut watch).is_empty());
}

#[test]
fn a_view_keeps_showing_what_it_showed() {
    let store = local();
    write(&store, |tx| tx.create(Node::sample("1", "a"))).unwrap();
    let before = store.view();
    write(&store, |tx| {
        tx.edit(&NodeId::from("1"), edit(7))?;
        tx.create(Node::sample("2", "b"))
    })
    .unwrap();
    assert_eq!(ids(before.all::<Node>()), ["1"]);
    assert_eq!(before.get::<Node>(&NodeId::from("1")).unwrap().vxlan_udp_port, 0);
    assert_eq!(store.view().get::<Node>(&NodeId::from("1")).unwrap().vxlan_udp_port, 7);
}

#[test]
fn what_was_read_can_be_changed_without_changing_the_store() {
    let store = local();
    write(&store, |tx| tx.create(config("1", "data"))).unwrap();
    let view = store.view();
    let stored = view.get::<Config>(&ConfigId::from("1")).unwrap();
    let mut copy = Config::clone(stored);
    assert_eq!(copy, **stored);
    Arc::make_mut(&mut copy.spec).data = "other".into();
    assert_eq!(copy.spec.data.as_ref(), b"other");
    assert_eq!(store.view().get::<Config>(&ConfigId::from("1")).unwrap().spec.data.as_ref(), b"data");
    assert_eq!(stored.spec.data.as_ref(), b"data");
}

#[test]
fn without_writes_nothing_is_proposed_and_nobody_is_told() {
    let (held, store) = Held::store();
    let mut watch = store.watch(Kind::Node);
    waiting(&mut watch);
    let read = write(&store, |tx| Ok(tx.count::<Node>()));
    assert_eq!((read, held.queued(), store.version()), (Ok(0), 0, Version::EMPTY));
    assert!(waiting(&mut watch).is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_object_is_stamped_with_what_it_was_built_on_and_when() {
    let store = local();
    let base = store.version();
    let created = write(&store, |tx| tx.create(Node::sample("1", "a"))).unwrap();
    assert_eq!(created.meta.version, base);
    assert_eq!(created.meta.created_at, created.meta.updated_at);
    assert_eq!(created.meta.created_at.unwrap().seconds, EPOCH_SECONDS as i64);

    tokio::time::advance(Duration::from_secs(5)).await;
    let mut careless = Node::clone(&created);
    careless.meta.created_at = None;
    let updated = write(&store, |tx| tx.update(careless)).unwrap();
    assert_eq!(updated.meta.version, base.next());
    assert_eq!(
        updated.meta.created_at, created.meta.created_at,
        "whoever drops the time of creation does not reset it"
    );
    assert_eq!(updated.meta.updated_at.unwrap().seconds, EPOCH_SECONDS as i64 + 5);
    assert_eq!(store.view().get::<Node>(&created.id), Some(&updated));
}

#[test]
fn within_a_transaction_what_was_written_can_be_written_again() {
    let store = local();
    let old = write(&store, |tx| tx.create(Node::sample("1", "a"))).unwrap();
    write(&store, |tx| tx.edit(&old.id, edit(1))).unwrap();
    write(&store, |tx| {
        let created = tx.create(Node::sample("2", "b"))?;
        let updated = tx.update(Node::clone(&created))?;
        tx.update(Node::clone(&updated))?;
        assert_eq!(tx.update(Node::clone(&old)), Err(StoreError::OutOfSequence), "a stale copy is still refused");
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_part_that_fails_is_taken_back_alone() {
    let store = local();
    write(&store, |tx| {
        tx.create(Node::sample("1", "a"))?;
        let failed = tx.attempt(|tx| {
            tx.edit(&NodeId::from("1"), edit(9))?;
            tx.create(Node::sample("2", "b"))?;
            tx.delete::<Node>(&NodeId::from("1"))?;
            tx.delete::<Node>(&NodeId::from("nobody"))
        });
        assert_eq!(failed, Err(StoreError::NotFound));
        assert_eq!(tx.changes(), 1);
        tx.create(Node::sample("3", "c"))
    })
    .unwrap();
    assert_eq!(ids(store.view().all::<Node>()), ["1", "3"]);
    assert_eq!(store.view().get::<Node>(&NodeId::from("1")).unwrap().vxlan_udp_port, 0);
    assert_eq!(store.view().find(NodeBy::Name("b")).count(), 0);
}

type Edit = Box<dyn FnOnce(&mut Transaction) -> Result<(), StoreError> + Send>;

fn creates(count: usize, size: usize) -> Vec<Edit> {
    let data = "x".repeat(size);
    (0..count)
        .map(|number| -> Edit {
            let config = config(&format!("{number:04}"), &data);
            Box::new(move |tx| tx.create(config).map(drop))
        })
        .collect()
}

fn group_sizes(updates: Vec<Update>) -> Vec<usize> {
    let sizes = updates.iter().filter_map(|update| match update {
        Update::Delta(delta) => Some(delta.changes.len()),
        Update::Snapshot(_) => None,
    });
    sizes.collect()
}

#[tokio::test]
async fn a_batch_is_split_after_200_changes() {
    let store = local();
    let mut watch = store.watch(Kind::Config);
    waiting(&mut watch);
    let version = store.batch(creates(405, 1)).await.unwrap();
    assert_eq!(group_sizes(waiting(&mut watch)), [200, 200, 5]);
    assert_eq!((version, store.view().count::<Config>()), (store.version(), 405));
}

#[tokio::test]
async fn a_batch_of_large_objects_is_split_by_size() {
    let store = local();
    let mut watch = store.watch(Kind::Config);
    waiting(&mut watch);
    store.batch(creates(10, 400_000)).await.unwrap();
    assert_eq!(group_sizes(waiting(&mut watch)), [3, 3, 3, 1]);
}

#[tokio::test]
async fn an_edit_of_a_batch_that_fails_is_taken_back_and_ends_it() {
    let store = local();
    let mut edits = creates(3, 1);
    edits.insert(
        2,
        Box::new(|tx| {
            tx.create(config("half", ""))?;
            tx.delete::<Config>(&ConfigId::from("nobody")).map(drop)
        }),
    );
    assert_eq!(store.batch(edits).await, Err(StoreError::NotFound));
    assert_eq!(ids(store.view().all::<Config>()), ["0000", "0001"]);
}

#[tokio::test]
async fn an_empty_batch_does_nothing() {
    let store = local();
    assert_eq!(store.batch(creates(0, 0)).await, Ok(store.version()));
}

#[tokio::test]
async fn other_writers_get_their_turn_between_the_groups_of_a_batch() {
    let (held, store) = Held::store();
    let reached = Cell::new(0);
    let edits = (0..400).map(|number: usize| {
        let reached = &reached;
        move |tx: &mut Transaction| {
            reached.set(number);
            tx.create(config(&format!("{number:04}"), "")).map(drop)
        }
    });
    let other = async {
        let (_, pending) = store.submit(|tx| tx.create(Node::sample("1", "a"))).await?;
        while held.queued() > 0 {
            held.commit();
            tokio::task::yield_now().await;
        }
        pending.await
    };
    let (batch, other) = tokio::join!(biased; store.batch(edits), other);
    batch.unwrap();
    other.unwrap();
    assert_eq!(reached.get(), 399);
    assert_eq!((store.view().count::<Config>(), store.view().count::<Node>()), (400, 1));
}

#[tokio::test]
async fn a_batch_that_cannot_be_handed_out_says_why() {
    let (held, store) = Held::store();
    held.refuse(Some(ProposeError::NotLeader { leader: Some("10.0.0.1:2377".into()) }));
    let error = store.batch(creates(1, 1)).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "raft: failed to process the request: node lost leader status; the leader is at 10.0.0.1:2377"
    );
}

#[test]
fn a_transaction_over_the_limit_is_refused_and_leaves_no_trace() {
    let (held, store) = Held::store();
    let refused = write(&store, |tx| tx.create(config("large", &"x".repeat(2 << 20)))).unwrap_err();
    let StoreError::Propose(ProposeError::TooLarge { size, limit }) = refused else { panic!("{refused}") };
    assert!(size > 2 << 20 && limit == 1_572_864);
    assert_eq!((held.queued(), store.version()), (0, Version::EMPTY));
}
