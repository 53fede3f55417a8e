//! Writers and readers on several threads.

use swarmkit_api::{Kind, Node, NodeId};
use swarmkit_runtime::{Crew, Env};
use swarmkit_store::{Store, StoreError, Update};
use tokio_util::sync::CancellationToken;

use crate::support::Sample;

const WRITERS: u32 = 5;
const READERS: u32 = 5;
const EACH: u32 = 200;

fn counter() -> NodeId {
    NodeId::from("counter")
}

fn count(store: &Store) -> u32 {
    store.view().get::<Node>(&counter()).unwrap().vxlan_udp_port
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn five_writers_and_five_readers_see_one_history() {
    let store = Store::local(Env::real());
    store.update(|tx| tx.create(Node::sample("counter", "a"))).await.unwrap();
    let crew = Crew::under(&CancellationToken::new());
    let spawner = crew.spawner();
    let writers = (0..WRITERS).map(|_| {
        let store = store.clone();
        spawner.spawn("writer", async move {
            for _ in 0..EACH {
                let written = store.update(|tx| tx.edit(&counter(), |node: &mut Node| node.vxlan_udp_port += 1)).await;
                let own = written.unwrap().value.vxlan_udp_port;
                assert!(count(&store) >= own, "a writer does not see its own write");
            }
        })
    });
    let readers = (0..READERS).map(|_| {
        let store = store.clone();
        spawner.spawn("reader", async move {
            let (mut last, mut version) = (0, store.version());
            while last < WRITERS * EACH {
                let view = store.view();
                let now = view.get::<Node>(&counter()).unwrap().vxlan_udp_port;
                assert!(now >= last && view.version() >= version, "history went backward");
                (last, version) = (now, view.version());
                tokio::task::yield_now().await;
            }
        })
    });
    let watcher = {
        let mut watch = store.watch(Kind::Node);
        spawner.spawn("watcher", async move {
            let mut last = None;
            while last != Some(WRITERS * EACH) {
                let update = watch.next().await.unwrap();
                let now = update.view().get::<Node>(&counter()).unwrap().vxlan_udp_port;
                match update {
                    Update::Snapshot(_) => assert!(last <= Some(now), "a snapshot went backward"),
                    Update::Delta(delta) => {
                        let edit = delta.changes[0].as_::<Node>().unwrap();
                        assert_eq!(edit.before.as_ref().map(|node| node.vxlan_udp_port), last, "a gap, or a repeat");
                    }
                }
                last = Some(now);
            }
        })
    };
    let parts: Vec<_> = writers.chain(readers).chain([watcher]).collect();
    for part in parts {
        part.await.unwrap().unwrap();
    }
    assert_eq!(count(&store), WRITERS * EACH);
    drop(crew);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_store_can_be_closed_while_everybody_is_busy() {
    let store = Store::local(Env::real());
    let crew = Crew::under(&CancellationToken::new());
    let busy: Vec<_> = (0..4)
        .map(|writer| {
            let store = store.clone();
            crew.spawner().spawn("writer", async move {
                for number in 0.. {
                    let id = format!("{writer}-{number}");
                    if let Err(error) = store.update(|tx| tx.create(Node::sample(&id, "a"))).await {
                        return error;
                    }
                    tokio::task::yield_now().await;
                }
                unreachable!("the store is closed sooner or later")
            })
        })
        .collect();
    let mut watch = store.watch(Kind::Node);
    while watch.next().await.unwrap().view().count::<Node>() < 20 {}
    store.close();
    for writer in busy {
        assert!(matches!(writer.await.unwrap().unwrap(), StoreError::Propose(_)));
    }
    drop(crew);
}
