//! Order of submission, of commit, of versions and of updates is one order.

use swarmkit_api::{Kind, Node, NodeId};
use swarmkit_runtime::Crew;
use tokio_util::sync::CancellationToken;

use super::{Subject, create, created, has, numbered, submit, within};
use crate::{StoreError, Update};

pub(super) async fn an_update_is_visible_to_whoever_was_told(subject: &impl Subject) {
    let store = subject.store();
    for number in 0..20 {
        let before = store.version();
        let built_on = create(store, number).await.expect("an update of a working store is committed");
        assert!(
            built_on >= before,
            "the version {built_on} of a new object is older than {before}, which was read before"
        );
        assert!(has(store, number), "an update returned before it was visible");
        assert!(store.version() > built_on, "the version did not grow with a commit");
    }
}

pub(super) async fn order_of_submission_is_order_of_commit(subject: &impl Subject) {
    const MANY: usize = 300;
    let store = subject.store();
    let mut watch = store.watch(Kind::Node);
    assert!(matches!(within("a watch", watch.next()).await, Ok(Update::Snapshot(_))), "a watch begins with a snapshot");
    let mut pending = Vec::new();
    for number in 0..MANY {
        pending.push(submit(store, number).await.expect("a working store takes a transaction"));
    }
    let mut versions = Vec::new();
    for pending in pending {
        let promised = pending.version();
        let version = within("a commit", pending).await.expect("a transaction of a working store is committed");
        assert_eq!(version, promised, "a transaction made another version than it was promised");
        versions.push(version);
    }
    assert!(versions.is_sorted_by(|a, b| a.next() == *b), "versions are not consecutive: {versions:?}");
    for (number, (version, node)) in created(&mut watch, MANY).await.into_iter().enumerate() {
        assert_eq!(node.id, numbered(number).id, "watchers saw the commits in another order");
        assert_eq!(version, versions[number], "watchers were told another version than the writer");
    }
}

pub(super) async fn a_transaction_builds_on_those_under_way(subject: &impl Subject) {
    let store = subject.store();
    let first = submit(store, 0).await.expect("a working store takes a transaction");
    let edit = store.submit(|tx| tx.edit::<Node>(&numbered(0).id, |node| node.vxlan_udp_port = 1));
    let (_, second) = within("handing out", edit).await.expect("a transaction sees what was handed out before it");
    let read = store.update(|tx| Ok::<_, StoreError>(tx.get::<Node>(&numbered(0).id).map(|node| node.vxlan_udp_port)));
    let read = within("a reading transaction", read).await.expect("reading fails only with what was read");
    assert_eq!(read.value, Some(1), "a transaction did not see what was handed out before it");
    let view = store.view();
    let port = view.get::<Node>(&numbered(0).id).map(|node| node.vxlan_udp_port);
    assert_eq!(port, Some(1), "a transaction returned before what it had read was committed");
    within("a commit", first).await.expect("the first is committed");
    within("a commit", second).await.expect("the second is committed");
}

pub(super) async fn concurrent_writers_lose_nothing(subject: &impl Subject) {
    const WRITERS: u32 = 8;
    const EACH: u32 = 25;
    let store = subject.store();
    let built_on = create(store, 0).await.expect("an update of a working store is committed");
    let mut crew = Crew::under(&CancellationToken::new());
    let spawner = crew.spawner();
    crew.spawn("writers", async move |stop: CancellationToken| {
        stop.cancelled().await;
        Ok::<(), StoreError>(())
    });
    let writers: Vec<_> = (0..WRITERS)
        .map(|_| {
            let store = store.clone();
            spawner.spawn("writer", async move {
                for _ in 0..EACH {
                    let edit = store.update(|tx| tx.edit(&numbered(0).id, |node: &mut Node| node.vxlan_udp_port += 1));
                    within("an update", edit).await.expect("an update of a working store is committed");
                }
            })
        })
        .collect();
    for writer in writers {
        within("a writer", writer).await.expect("a writer ends well");
    }
    crew.stop().cancel();
    crew.join().await;
    let counted = store.view().get::<Node>(&numbered(0).id).map(|node| node.vxlan_udp_port);
    assert_eq!(counted, Some(WRITERS * EACH), "increments were lost or applied twice");
    let versions = store.version().0 - built_on.next().0;
    assert_eq!(versions, u64::from(WRITERS * EACH), "there are more or fewer commits than transactions");
}

pub(super) async fn a_writer_that_gives_up_holds_up_nobody(subject: &impl Subject) {
    let store = subject.store();
    for number in 0..10 {
        drop(submit(store, number).await.expect("a working store takes a transaction"));
    }
    create(store, 10).await.expect("an update of a working store is committed");
    assert!((0..10).all(|number| has(store, number)), "a transaction was taken back since nobody waited for it");
}

pub(super) async fn a_transaction_without_writes_is_not_proposed(subject: &impl Subject) {
    let store = subject.store();
    create(store, 0).await.expect("an update of a working store is committed");
    let version = store.version();
    let read = store.update(|tx| Ok::<_, StoreError>(tx.count::<Node>()));
    let read = within("a reading transaction", read).await.expect("reading a committed state cannot fail");
    assert_eq!((read.value, read.version), (1, version), "a transaction without writes has the version that it read");
    assert_eq!(store.version(), version, "a transaction without writes made a version");
}

pub(super) async fn an_error_of_the_writer_leaves_no_trace(subject: &impl Subject) {
    let store = subject.store();
    let version = store.version();
    let refused = store.update(|tx| {
        tx.create(numbered(0))?;
        tx.delete::<Node>(&NodeId::from("nobody"))
    });
    assert_eq!(within("a refused update", refused).await.err(), Some(StoreError::NotFound));
    assert_eq!(store.version(), version, "a refused transaction made a version");
    create(store, 0).await.expect("the id is free, since the refused transaction left no trace");
}
