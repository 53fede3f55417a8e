//! Backups: everything at one moment, told apart from a part of it.

use futures_util::{StreamExt as _, TryStreamExt as _};
use swarmkit_api::{Node, NodeId, Secret, wire::swarmkit::backup::v1 as wire};
use swarmkit_store::{SNAPSHOT_CHUNK_BYTES, Store};

use crate::world::World;

/// Enough secrets, of the size of a piece, that their snapshot needs several.
const LARGE: usize = 8;

async fn with_secrets() -> World {
    let world = World::with_cluster().await;
    let data = "x".repeat(SNAPSHOT_CHUNK_BYTES);
    for number in 0..LARGE {
        let secret = swarmkit_testing::secret(&format!("s{number}"), &data);
        world.put(|tx| tx.create(secret).map(drop)).await;
    }
    world
}

#[tokio::test]
async fn a_backup_is_the_state_of_one_moment_while_writes_go_on() {
    let world = with_secrets().await;
    let mut pieces = world.backup().save(wire::SaveRequest {}).await.unwrap().into_inner();
    let first = pieces.next().await.unwrap().unwrap();
    let before = world.view();
    world.put(|tx| tx.create(Node::new(NodeId::from("late"))).map(drop)).await;
    let mut all: Vec<_> = pieces.try_collect().await.unwrap();
    all.insert(0, first);

    assert!(all.len() >= LARGE, "{} pieces", all.len());
    assert!(all.iter().all(|piece| piece.version == before.version().0));
    let (last, others) = all.split_last().unwrap();
    assert!(last.last && others.iter().all(|piece| !piece.last));

    let restored = Store::local(swarmkit_testing::env());
    let mut restore = restored.applier().restore();
    all.iter().for_each(|piece| restore.chunk(&piece.data).unwrap());
    restored.applier().install(restore).unwrap();
    assert_eq!(restored.view().version(), before.version());
    assert_eq!(restored.view().count::<Secret>(), LARGE);
    assert_eq!(restored.view().count::<Node>(), 0);
    assert_eq!(restored.view().cluster(), before.cluster());
}

#[tokio::test]
async fn a_backup_that_a_stopping_manager_breaks_off_has_no_last_piece() {
    let world = with_secrets().await;
    world.stop.cancel();
    let pieces = world.backup().save(wire::SaveRequest {}).await.unwrap().into_inner();
    let pieces: Vec<_> = pieces.collect().await;
    assert!(pieces.iter().all(|piece| piece.as_ref().is_ok_and(|piece| !piece.last)), "{} pieces", pieces.len());
}

#[tokio::test]
async fn a_debug_line_shows_nothing_of_what_is_in_a_piece() {
    let piece = wire::SaveResponse { data: "the key of the root".into(), ..Default::default() };
    assert!(!format!("{piece:?}").contains("key of"), "{piece:?}");
}
