//! A store with a journal: what it acknowledged is there after a crash at any moment.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::Arc,
};

use parking_lot::Mutex;
use rand::{Rng as _, RngExt as _, SeedableRng as _, rngs::SmallRng};
use swarmkit_api::{Node, NodeId};
use swarmkit_runtime::{Crew, Env};
use swarmkit_store::{Journal, JournalError, JournalFolder, ProposeError, RealFolder, Store, StoreError, conformance};
use swarmkit_testing::env;
use tokio_util::sync::CancellationToken;

use crate::support::Sample;

// === A folder that loses what was not synced ===

#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Files>>);

#[derive(Default)]
struct Files {
    names: BTreeMap<String, usize>,
    durable: BTreeMap<String, usize>,
    contents: Vec<Content>,
    /// How many operations go well before the power is cut.
    left: Option<usize>,
    sync_fails: bool,
}

#[derive(Default)]
struct Content {
    bytes: Vec<u8>,
    /// What is left after a crash at least.
    synced: Vec<u8>,
}

impl Memory {
    /// Cuts the power after so many operations; the one after that may be done in part.
    fn cut_after(&self, operations: usize) {
        self.0.lock().left = Some(operations);
    }

    /// What is there after the crash: everything that was synced, and of the rest any part.
    fn restart(&self, rng: &mut SmallRng) {
        let mut files = self.0.lock();
        files.left = None;
        // Each change of a name may have become durable without the others.
        let changed: BTreeSet<String> = files.names.keys().chain(files.durable.keys()).cloned().collect();
        for name in changed {
            if rng.random_bool(0.5) {
                match files.names.get(&name).copied() {
                    Some(at) => drop(files.durable.insert(name, at)),
                    None => drop(files.durable.remove(&name)),
                }
            }
        }
        files.names = files.durable.clone();
        for content in &mut files.contents {
            let common = content.bytes.iter().zip(&content.synced).take_while(|(a, b)| a == b).count();
            if common == content.synced.len() {
                let keep = rng.random_range(common..=content.bytes.len());
                content.bytes.truncate(keep);
                if rng.random_bool(0.3) {
                    let from = rng.random_range(common..=keep);
                    content.bytes[from..].fill(0);
                }
            } else {
                // It was cut, and the cut was not synced.
                content.bytes.clone_from(&content.synced);
            }
            content.synced.clone_from(&content.bytes);
        }
    }

    fn names(&self) -> Vec<String> {
        self.0.lock().names.keys().cloned().collect()
    }

    fn edit(&self, name: &str, edit: impl FnOnce(&mut Vec<u8>)) {
        let mut files = self.0.lock();
        let at = files.names[name];
        edit(&mut files.contents[at].bytes);
        files.contents[at].synced = files.contents[at].bytes.clone();
    }

    fn on<T>(&self, act: impl FnOnce(&mut Files, bool) -> io::Result<T>) -> io::Result<T> {
        let mut files = self.0.lock();
        let powered = match &mut files.left {
            None => true,
            Some(0) => return Err(io::Error::other("the power is off")),
            Some(left) => {
                *left -= 1;
                *left > 0
            }
        };
        let result = act(&mut files, powered);
        if powered { result } else { Err(io::Error::other("the power is off")) }
    }
}

impl Files {
    fn at(&mut self, name: &str) -> io::Result<&mut Content> {
        let at = *self.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(&mut self.contents[at])
    }
}

impl JournalFolder for Memory {
    fn list(&self) -> io::Result<Vec<String>> {
        self.on(|files, _| Ok(files.names.keys().cloned().collect()))
    }

    fn read(&self, name: &str, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        self.on(|files, _| {
            Ok(files.at(name)?.bytes.iter().skip(usize::try_from(offset).unwrap()).take(len).copied().collect())
        })
    }

    fn create(&self, name: &str) -> io::Result<()> {
        self.on(|files, _| {
            if files.names.contains_key(name) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            files.names.insert(name.to_owned(), files.contents.len());
            files.contents.push(Content::default());
            Ok(())
        })
    }

    fn append(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.on(|files, powered| {
            let part = if powered { bytes.len() } else { bytes.len() / 2 };
            files.at(name)?.bytes.extend_from_slice(&bytes[..part]);
            Ok(())
        })
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        self.on(|files, powered| {
            if files.sync_fails {
                return Err(io::Error::other("the disk does not answer"));
            }
            let content = files.at(name)?;
            if powered {
                content.synced.clone_from(&content.bytes);
            }
            Ok(())
        })
    }

    fn truncate(&self, name: &str, len: u64) -> io::Result<()> {
        self.on(|files, _| {
            files.at(name)?.bytes.truncate(usize::try_from(len).unwrap());
            Ok(())
        })
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.on(|files, _| {
            let at = files.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
            files.names.insert(to.to_owned(), at);
            Ok(())
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.on(|files, _| files.names.remove(name).map(drop).ok_or(io::ErrorKind::NotFound.into()))
    }

    fn sync_names(&self) -> io::Result<()> {
        self.on(|files, powered| {
            if powered {
                files.durable = files.names.clone();
            }
            Ok(())
        })
    }
}

// === A store on it ===

/// Small, so that the tests see many snapshots.
const COMPACT_AFTER: u64 = 2000;

struct Running {
    folder: Memory,
    store: Store,
    crew: Crew,
}

fn start(folder: &Memory) -> Result<Running, JournalError> {
    let journal = Journal::new(folder.clone()).compact_after(COMPACT_AFTER);
    let (store, writer) = Store::journaled(env(), journal)?;
    let mut crew = Crew::under(&CancellationToken::new());
    crew.spawn("journal", |stop| writer.run(stop));
    Ok(Running { folder: folder.clone(), store, crew })
}

impl Running {
    async fn stop(self) {
        self.crew.stop().cancel();
        self.crew.join().await;
    }
}

async fn create(store: &Store, number: usize) -> Result<(), StoreError> {
    let id = format!("n{number:04}");
    store.update(|tx| tx.create(Node::sample(&id, &id))).await.map(drop)
}

fn count(store: &Store) -> usize {
    let view = store.view();
    let whole = (0..view.count::<Node>())
        .all(|number| view.get(&NodeId::from(format!("n{number:04}"))).is_some_and(|_: &Arc<Node>| true));
    assert!(whole, "a write is there, and one before it is not");
    view.count::<Node>()
}

impl conformance::Subject for Running {
    fn store(&self) -> &Store {
        &self.store
    }

    async fn restart(self) -> Option<Self> {
        let folder = self.folder.clone();
        // The writer is told to stop with nothing waiting; the crash is that only what was synced is left.
        self.stop().await;
        let mut rng = SmallRng::seed_from_u64(7);
        folder.restart(&mut rng);
        Some(start(&folder).unwrap())
    }
}

#[tokio::test]
async fn a_store_with_a_journal_conforms() {
    conformance::all(async || start(&Memory::default()).unwrap()).await;
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_power_cut_at_any_moment_and_nothing_is_there_in_part() {
    let mut rng = SmallRng::seed_from_u64(11);
    let mut snapshots = 0;
    for cut in 1..160 {
        let folder = Memory::default();
        let (mut acknowledged, mut submitted) = (0, 0);
        for life in 0..3 {
            folder.cut_after(if life == 1 { 1 + cut / 3 } else { cut });
            let running = match start(&folder) {
                Ok(running) => running,
                Err(JournalError::Io { .. }) => {
                    // The power was cut while the journal was read.
                    folder.restart(&mut rng);
                    continue;
                }
                Err(error) => panic!("life {life}, cut {cut}: {error}"),
            };
            let there = count(&running.store);
            assert!(
                (acknowledged..=submitted).contains(&there),
                "life {life}, cut {cut}: {there} of {acknowledged} acknowledged and {submitted} submitted"
            );
            (acknowledged, submitted) = (there, there);
            loop {
                // Some alone, some together.
                let together = 1 + rng.next_u32() as usize % 4;
                let writes = (submitted..submitted + together).map(|number| create(&running.store, number));
                submitted += together;
                let outcomes = futures_util::future::join_all(writes).await;
                acknowledged += outcomes.iter().take_while(|outcome| outcome.is_ok()).count();
                assert!(outcomes.is_sorted_by_key(|outcome| outcome.is_err()), "one was acknowledged after a lost one");
                if outcomes.iter().any(Result::is_err) {
                    break;
                }
            }
            running.stop().await;
            snapshots += folder.names().iter().filter(|name| name.starts_with("snapshot")).count();
            folder.restart(&mut rng);
        }
        let running = start(&folder).unwrap_or_else(|error| panic!("cut {cut}: {error}"));
        let there = count(&running.store);
        assert!((acknowledged..=submitted).contains(&there), "cut {cut}: {there} of {acknowledged} to {submitted}");
        create(&running.store, there).await.expect("it goes on after all crashes");
        running.stop().await;
    }
    assert!(snapshots > 50, "the cuts should fall before, in and after snapshots; there were {snapshots}");
}

/// A folder with a snapshot, a full segment and one that was begun after it, and how many nodes are in it.
async fn used() -> (Memory, usize) {
    let folder = Memory::default();
    let mut number = 0;
    for _ in 0..2 {
        let running = start(&folder).unwrap();
        for _ in 0..12 {
            create(&running.store, number).await.unwrap();
            number += 1;
        }
        running.stop().await;
    }
    (folder, number)
}

#[tokio::test]
async fn a_snapshot_replaces_what_it_contains_and_versions_and_digests_go_on() {
    let (folder, number) = used().await;
    let names = folder.names();
    assert_eq!(names.iter().filter(|name| name.starts_with("snapshot")).count(), 1, "{names:?}");
    assert!(names.len() <= 4, "old files are left: {names:?}");
    let running = start(&folder).unwrap();
    let before = running.store.view();
    assert_eq!((count(&running.store), before.version().0), (number, number as u64 + 1));
    running.stop().await;
    let running = start(&folder).unwrap();
    assert_eq!((running.store.version(), running.store.view().digest()), (before.version(), before.digest()));
    assert_eq!(running.store.divergence(), None);
    running.stop().await;
}

#[tokio::test]
async fn damage_is_told_with_file_and_offset_and_nothing_is_cut_off() {
    let (folder, _) = used().await;
    for name in folder.names() {
        let mut before = Vec::new();
        folder.edit(&name, |bytes| before.clone_from(bytes));
        if before.len() < 40 {
            continue;
        }
        folder.edit(&name, |bytes| bytes[30] ^= 1);
        match start(&folder) {
            Err(JournalError::Damaged { name: said, offset: 0 }) => assert_eq!(said, name),
            other => panic!("{name}: {:?}", other.map(drop)),
        }
        folder.edit(&name, |bytes| {
            assert_eq!(bytes.len(), before.len());
            bytes.clone_from(&before);
        });
    }
    start(&folder).unwrap().stop().await;
}

#[tokio::test]
async fn a_file_that_is_gone_is_named() {
    let (folder, _) = used().await;
    let newest_snapshot = folder.names().into_iter().rfind(|name| name.starts_with("snapshot")).unwrap();
    let segment = newest_snapshot.replace("snapshot", "journal");
    folder.remove(&segment).unwrap();
    match start(&folder) {
        Err(JournalError::Missing(name)) => assert_eq!(name, segment),
        other => panic!("{:?}", other.map(drop)),
    }
}

#[tokio::test]
async fn a_sync_that_fails_ends_the_writer_and_what_was_under_way_is_not_known() {
    let folder = Memory::default();
    let running = start(&folder).unwrap();
    create(&running.store, 0).await.unwrap();
    folder.0.lock().sync_fails = true;
    assert_eq!(create(&running.store, 1).await, Err(ProposeError::Unknown.into()));
    folder.0.lock().sync_fails = false;
    // It is not tried again: nobody knows what the disk has.
    assert_eq!(create(&running.store, 1).await, Err(ProposeError::Stopped.into()));
    assert_eq!(count(&running.store), 1);
    assert!(running.crew.join().await.into_iter().any(|end| end.result.is_err()));
}

#[tokio::test]
async fn a_writer_that_is_dropped_leaves_nobody_waiting() {
    let (store, writer) = Store::journaled(env(), Journal::new(Memory::default())).unwrap();
    let (_, pending) = store.submit(|tx| tx.create(Node::sample("n", "n"))).await.unwrap();
    drop(writer);
    assert_eq!(pending.await, Err(ProposeError::Unknown.into()));
    assert_eq!(create(&store, 0).await, Err(ProposeError::Stopped.into()));
}

#[tokio::test]
async fn a_real_folder_keeps_the_state_and_belongs_to_one_store_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    for round in 0..3 {
        let journal = Journal::new(RealFolder::open(&path).unwrap()).compact_after(COMPACT_AFTER);
        assert_eq!(RealFolder::open(&path).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        let (store, writer) = Store::journaled(Env::real(), journal).unwrap();
        assert_eq!(count(&store), round * 30);
        let mut crew: Crew = Crew::under(&CancellationToken::new());
        crew.spawn("journal", |stop| writer.run(stop));
        let writes = (round * 30..round * 30 + 30).map(|number| create(&store, number));
        futures_util::future::join_all(writes).await.into_iter().for_each(|outcome| outcome.unwrap());
        crew.stop().cancel();
        assert!(crew.join().await.into_iter().all(|end| end.result.is_ok()));
    }
}
