//! Backups that are read back, refused, and begun with.

use swarmkit_api::{Node, Version};
use swarmkit_runtime::Crew;
use swarmkit_store::Store;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{Begin, Crash, MemoryDisk, NoMessenger, Raft, RaftConfig, RaftProposer};

/// A state of three nodes, and the folder in which its backup lies.
async fn saved(key: &LogKey, env: &Env) -> (tempfile::TempDir, PathBuf, Version) {
    let store = Store::local(env.clone());
    for id in ["a", "b", "c"] {
        store.update(|tx| tx.create(Node::new(NodeId::from(id)))).await.unwrap();
    }
    let (folder, snapshot) = (tempfile::tempdir().unwrap(), store.applier().snapshot());
    let path = folder.path().join("cluster.backup");
    let mut writer = BackupWriter::create(&path, key, env).await.unwrap();
    for piece in snapshot.chunks() {
        writer.write(&piece).await.unwrap();
    }
    writer.finish().await.unwrap();
    (folder, path, snapshot.version())
}

/// Starts a member, writes one node more, and gives the version and the nodes.
async fn grown(disk: &MemoryDisk, key: &LogKey, env: &Env, begin: Begin, more: &str) -> (Version, usize) {
    let (stop, proposer) = (CancellationToken::new(), RaftProposer::new());
    let store = Store::new(env.clone(), proposer.clone());
    let config = RaftConfig {
        disk: Arc::new(disk.clone()),
        keys: key.clone().into(),
        env: env.clone(),
        options: RaftOptions::default(),
        node_id: "new".into(),
        addr: "new:1".into(),
        messenger: Arc::new(NoMessenger),
        begin,
    };
    let (raft, parts) = Raft::start(config, &proposer, &stop).await.unwrap();
    let mut crew = Crew::under(&stop);
    crew.spawn("raft", |_| parts.run());
    raft.leadership().lead().await.unwrap();
    let written = store.update(|tx| tx.create(Node::new(NodeId::from(more)))).await.unwrap();
    let members = raft.members();
    assert_eq!(members.len(), 1);
    assert_eq!((members[0].member.node_id.as_str(), members[0].member.addr.as_str()), ("new", "new:1"));
    let nodes = store.view().count::<Node>();
    stop.cancel();
    crew.finish().await.unwrap();
    (written.version, nodes)
}

#[tokio::test]
async fn a_group_that_begins_with_a_backup_has_its_state_and_goes_on_from_its_version() {
    let env = Env::real();
    let (backup_key, key) = (LogKey::generate(&env), LogKey::generate(&env));
    let (_folder, path, version) = saved(&backup_key, &env).await;
    let backup = Backup::open(&path, &backup_key, &env).await.unwrap();
    let disk = MemoryDisk::new();
    backup.found(Arc::new(disk.clone()), &key, &env, &"new".into(), "new:1").await.unwrap();

    assert_eq!(grown(&disk, &key, &env, Begin::Bootstrap, "d").await, (version.next(), 4));
    assert_eq!(grown(&disk, &key, &env, Begin::Bootstrap, "e").await, (version.next().next(), 5));
    let again = backup.found(Arc::new(disk), &key, &env, &"new".into(), "new:1").await.unwrap_err();
    assert!(matches!(again, RaftError::Taken), "{again}");
}

#[tokio::test]
async fn a_group_that_was_interrupted_while_it_began_with_a_backup_begins_again() {
    let env = Env::real();
    let (backup_key, key) = (LogKey::generate(&env), LogKey::generate(&env));
    let (_folder, path, version) = saved(&backup_key, &env).await;
    let backup = Backup::open(&path, &backup_key, &env).await.unwrap();
    let (mut whole, mut room, mut begun) = (false, 0, 0);
    while !whole {
        let disk = MemoryDisk::new();
        disk.fill_up_after(room);
        let founded = backup.found(Arc::new(disk.clone()), &key, &env, &"new".into(), "new:1").await;
        whole = founded.is_ok();
        disk.crash(Crash::LoseAll);
        disk.fill_up_after(usize::MAX);
        if !whole {
            begun += usize::from(!disk.list().await.unwrap().is_empty());
            backup.found(Arc::new(disk.clone()), &key, &env, &"new".into(), "new:1").await.unwrap();
        }
        assert_eq!(grown(&disk, &key, &env, Begin::Bootstrap, "d").await, (version.next(), 4), "after {room} bytes");
        room += 7;
    }
    assert!(begun > 0, "some crashes come after the first file");
}

#[tokio::test]
async fn what_is_no_whole_backup_of_that_key_is_refused() {
    let env = Env::real();
    let key = LogKey::generate(&env);
    let (folder, path, _) = saved(&key, &env).await;
    let other = Backup::open(&path, &LogKey::generate(&env), &env).await.unwrap_err();
    assert!(matches!(other, LogError::WrongKey { .. }), "{other}");
    let taken = BackupWriter::create(&path, &key, &env).await.err().unwrap();
    assert!(taken.to_string().contains("cluster.backup"), "{taken}");

    let bytes = std::fs::read(&path).unwrap();
    assert!(!bytes.windows(4).any(|part| part == b"new:"));
    let cut = folder.path().join("cut");
    std::fs::write(&cut, &bytes[..bytes.len() - 3]).unwrap();
    Backup::open(&cut, &key, &env).await.unwrap_err();

    let mut writer = BackupWriter::create(&folder.path().join("never"), &key, &env).await.unwrap();
    writer.write(b"some").await.unwrap();
    drop(writer);
    assert!(!folder.path().join("never").exists());
    BackupWriter::create(&folder.path().join("never"), &key, &env).await.unwrap().finish().await.unwrap();
    assert!(folder.path().join("never").exists() && !folder.path().join("never.part").exists());
}
