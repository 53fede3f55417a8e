//! The disk of a real member, looked at whole, damaged everywhere, cut off, and with the wrong key.

use swarmkit_api::{Node, NodeId};
use swarmkit_runtime::Crew;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{Begin, MemoryDisk, NoMessenger, Raft, RaftConfig, RaftOptions};

const KEY: [u8; 32] = [7; 32];

/// What a member leaves behind that has written `nodes` nodes, with a snapshot every ten and tiny segments.
async fn member(nodes: u64, options: RaftOptions) -> (MemoryDisk, View) {
    let (disk, env, stop) = (MemoryDisk::new(), Env::real(), CancellationToken::new());
    let proposer = RaftProposer::new();
    let store = Store::new(env.clone(), proposer.clone());
    let config = RaftConfig {
        disk: Arc::new(disk.clone()),
        keys: LogKey::new(KEY).into(),
        env,
        options,
        node_id: NodeId::from("n1"),
        addr: "127.0.0.1:2377".to_owned(),
        messenger: Arc::new(NoMessenger),
        begin: Begin::Bootstrap,
    };
    let (raft, parts) = Raft::start(config, &proposer, &stop).await.unwrap();
    let mut crew = Crew::under(&stop);
    crew.spawn("raft", |_| parts.run());
    raft.leadership().lead().await.unwrap();
    for number in 0..nodes {
        let node = Node::new(NodeId::from(format!("node-{number:04}")));
        store.update(|tx| tx.create(node.clone())).await.unwrap();
    }
    let view = store.view();
    stop.cancel();
    crew.finish().await.unwrap();
    (disk, view)
}

fn small() -> RaftOptions {
    RaftOptions { snapshot_interval: 10, kept_entries: 2, segment_bytes: 1500, ..RaftOptions::default() }
}

fn inspector(disk: &MemoryDisk, keys: &[[u8; 32]]) -> Inspector {
    Inspector::new(Arc::new(disk.clone()), keys.iter().map(|key| LogKey::new(*key)).collect(), Env::real())
}

async fn walk(inspector: &Inspector) -> Vec<Inspected> {
    let mut all = Vec::new();
    inspector.log(|inspected| all.push(inspected)).await.unwrap();
    all
}

async fn damage(inspector: &Inspector) -> Vec<Finding> {
    let log = walk(inspector).await.into_iter().filter_map(|inspected| match inspected {
        Inspected::Damage(finding) => Some(finding),
        Inspected::Record(_) | Inspected::Tail(_) => None,
    });
    let snapshots = inspector.snapshots().await.unwrap().into_iter().filter_map(|report| report.damage);
    log.chain(snapshots).collect()
}

async fn segments(disk: &MemoryDisk) -> Vec<String> {
    let names = disk.list().await.unwrap();
    names.into_iter().filter(|name| segment_number(name).is_some()).collect()
}

#[tokio::test]
async fn the_state_is_rebuilt_from_snapshot_and_log_as_the_member_had_it() {
    let (disk, view) = member(25, small()).await;
    let inspector = inspector(&disk, &[KEY]);
    let before: Vec<_> = disk.list().await.unwrap();

    let replayed = inspector.replay(true).await.unwrap();
    assert_eq!(replayed.view.version(), view.version());
    assert!(replayed.view.all::<Node>().eq(view.all::<Node>()));
    let snapshot = replayed.snapshot.unwrap();
    assert!(snapshot.index >= 10 && snapshot.index < replayed.applied, "{snapshot:?}");
    assert_eq!(replayed.members.len(), 1);
    assert_eq!((replayed.members[0].node_id.as_str(), replayed.members[0].voter), ("n1", true));
    assert!(replayed.committed <= replayed.applied);

    let snapshot_only = inspector.replay(false).await.unwrap();
    assert!(snapshot_only.view.count::<Node>() < 25);
    assert_eq!(snapshot_only.applied, snapshot.index);
    assert_eq!(disk.list().await.unwrap(), before, "nothing was written or removed");
}

#[tokio::test]
async fn every_record_is_shown_in_order_with_its_place() {
    let (disk, _) = member(5, RaftOptions::default()).await;
    let mut indexes = Vec::new();
    let mut end = 0;
    for inspected in walk(&inspector(&disk, &[KEY])).await {
        let Inspected::Record(record) = inspected else { panic!("{inspected:?}") };
        assert_eq!(record.offset, end, "records lie next to each other");
        end = record.offset + record.bytes;
        indexes.extend(record.content.entry().map(|(_, index)| index));
    }
    assert_eq!(end, disk.content(&segments(&disk).await[0]).unwrap().len() as u64);
    assert_eq!(indexes, (0..indexes.len() as u64).collect::<Vec<_>>());
    assert!(indexes.len() >= 7, "the membership, the beginning of the term and five writes");
}

#[tokio::test]
async fn a_flipped_bit_anywhere_is_found_with_its_file_and_offset() {
    let (disk, _) = member(25, small()).await;
    assert_eq!(damage(&inspector(&disk, &[KEY])).await, [], "a whole disk");
    let names: Vec<_> = disk.list().await.unwrap();
    let newest = segments(&disk).await.pop().unwrap();
    for name in names {
        let content = disk.content(&name).unwrap();
        for at in (0..content.len()).step_by(13) {
            let mut flipped = content.clone();
            flipped[at] ^= 0x10;
            let damaged = disk.duplicate();
            damaged.overwrite(&name, flipped);
            let inspector = inspector(&damaged, &[KEY]);
            let found = damage(&inspector).await;
            let torn = walk(&inspector).await.iter().any(|inspected| matches!(inspected, Inspected::Tail(_)));
            // In the batch that was written last nobody can tell damage from a write that was cut off.
            assert!(!found.is_empty() || (torn && name == newest), "byte {at} of {name}");
            for finding in found.iter().filter(|finding| finding.file == name && finding.bytes > 0) {
                let end = finding.offset + finding.bytes;
                assert!(finding.offset <= at as u64 && (at as u64) < end, "byte {at} of {name}: {finding:?}");
            }
        }
    }
}

#[tokio::test]
async fn reading_goes_on_after_damage() {
    let (disk, _) = member(8, RaftOptions::default()).await;
    let name = segments(&disk).await.remove(0);
    let records = walk(&inspector(&disk, &[KEY])).await.len();
    let mut content = disk.content(&name).unwrap();
    let middle = content.len() / 2;
    content[middle] ^= 1;
    disk.overwrite(&name, content);
    let inspector = inspector(&disk, &[KEY]);
    assert_eq!(damage(&inspector).await.len(), 1);
    assert_eq!(walk(&inspector).await.len(), records, "one record became a finding");
    let error = inspector.replay(true).await.unwrap_err();
    assert!(error.to_string().starts_with(&format!("{name} is damaged at byte ")), "{error}");
}

#[tokio::test]
async fn a_torn_tail_is_no_damage() {
    let (disk, view) = member(5, RaftOptions::default()).await;
    let name = segments(&disk).await.remove(0);
    let mut content = disk.content(&name).unwrap();
    content.truncate(content.len() - 3);
    disk.overwrite(&name, content);
    let inspector = inspector(&disk, &[KEY]);
    assert_eq!(damage(&inspector).await, []);
    assert!(matches!(walk(&inspector).await.last(), Some(Inspected::Tail(tail)) if tail.file == name));
    assert!(inspector.replay(true).await.unwrap().view.count::<Node>() <= view.count::<Node>());
}

#[tokio::test]
async fn a_missing_segment_is_named() {
    let (disk, _) = member(40, RaftOptions { segment_bytes: 800, ..RaftOptions::default() }).await;
    let names = segments(&disk).await;
    assert!(names.len() >= 4, "{names:?}");
    for name in &names[..names.len() - 1] {
        let less = disk.duplicate();
        less.remove(name).await.unwrap();
        let found = damage(&inspector(&less, &[KEY])).await;
        assert!(found.iter().any(|finding| finding.file == *name), "{name}: {found:?}");
    }
}

#[tokio::test]
async fn a_wrong_key_is_told_from_damage_and_the_right_one_of_two_is_found() {
    let (disk, view) = member(25, small()).await;
    let wrong = inspector(&disk, &[[8; 32]]);
    let found = damage(&wrong).await;
    let whats: std::collections::BTreeSet<_> = found.iter().map(|finding| finding.what.as_str()).collect();
    assert_eq!(Vec::from_iter(whats), ["none of the keys opens an entry", "none of the keys opens it"]);
    wrong.replay(true).await.unwrap_err();

    let both = inspector(&disk, &[[8; 32], KEY]);
    assert_eq!(damage(&both).await, []);
    assert_eq!(both.replay(true).await.unwrap().view.version(), view.version());
}

#[tokio::test]
async fn an_empty_disk_is_an_empty_store() {
    let inspector = inspector(&MemoryDisk::new(), &[KEY]);
    assert_eq!(walk(&inspector).await, []);
    assert_eq!(inspector.snapshots().await.unwrap(), []);
    let replayed = inspector.replay(true).await.unwrap();
    assert_eq!((replayed.applied, replayed.view.count::<Node>()), (0, 0));
}
