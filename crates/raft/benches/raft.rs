//! What a commit costs with a real log on a real disk: `cargo bench -p swarmkit-raft`.
//!
//! A group of one, so the disk is all there is to wait for. The folder is a temporary one; point `TMPDIR` at the disk
//! that is to be measured.

#![allow(clippy::unwrap_used, reason = "a benchmark that fails has nothing to report")]

use std::sync::Arc;

use divan::{Bencher, counter::ItemsCount};
use futures_util::future::join_all;
use swarmkit_api::{Config, ConfigId, wire};
use swarmkit_raft::{
    Begin, Disk, LogKey, MemoryDisk, NoMessenger, Raft, RaftConfig, RaftOptions, RaftParts, RaftProposer, RealDisk,
};
use swarmkit_runtime::{Crew, Env};
use swarmkit_store::Store;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

/// What one write carries, in bytes.
const DATA: usize = 256;

/// How many writes a member has behind it that is started again.
const HISTORY: usize = 5_000;

fn main() {
    divan::main();
}

/// A member on a folder.
struct Member {
    store: Store,
    stop: CancellationToken,
    crew: Crew,
    written: usize,
}

impl Member {
    async fn start(disk: impl Disk) -> Self {
        let (env, proposer, stop) = (Env::real(), RaftProposer::new(), CancellationToken::new());
        let store = Store::new(env.clone(), proposer.clone());
        let config = RaftConfig {
            disk: Arc::new(disk),
            keys: LogKey::new([7; 32]).into(),
            env,
            options: RaftOptions::default(),
            node_id: "n1".into(),
            addr: "127.0.0.1:2377".to_owned(),
            messenger: Arc::new(NoMessenger),
            begin: Begin::Bootstrap,
        };
        let (raft, parts): (Raft, RaftParts) = Raft::start(config, &proposer, &stop).await.unwrap();
        let mut crew = Crew::under(&stop);
        crew.spawn("raft", |_| parts.run());
        raft.leadership().lead().await.unwrap();
        Self { store, stop, crew, written: 0 }
    }

    /// Writes so many objects, each by itself, all at once.
    async fn write(&mut self, count: usize) {
        let from = self.written;
        self.written += count;
        let writes = (from..from + count).map(|number| {
            let name = format!("c{number}");
            let mut config = Config::new(ConfigId::from(name.as_str()));
            let annotations = Some(wire::Annotations { name, ..Default::default() });
            let data = vec![1; DATA].into();
            config.spec = Arc::new(wire::ConfigSpec { annotations, data, ..Default::default() });
            self.store.update(move |tx| tx.create(config))
        });
        for written in join_all(writes).await {
            written.unwrap();
        }
    }

    async fn stop(self) {
        self.stop.cancel();
        self.crew.finish().await.unwrap();
    }
}

/// So many writers that each wait for their own commit.
#[divan::bench(args = [1, 16, 64, 256, 1024])]
fn commits(bencher: Bencher, writers: usize) {
    let runtime = Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut member = runtime.block_on(Member::start(RealDisk::open(folder.path()).unwrap()));
    bencher.counter(ItemsCount::new(writers)).bench_local(|| runtime.block_on(member.write(writers)));
    runtime.block_on(member.stop());
}

/// The same without a disk: what is left is what the way through raft costs by itself.
#[divan::bench(args = [1, 64, 1024])]
fn commits_in_memory(bencher: Bencher, writers: usize) {
    let runtime = Runtime::new().unwrap();
    let mut member = runtime.block_on(Member::start(MemoryDisk::new()));
    bencher.counter(ItemsCount::new(writers)).bench_local(|| runtime.block_on(member.write(writers)));
    runtime.block_on(member.stop());
}

/// From a folder with some history to leadership.
#[divan::bench(sample_count = 10)]
fn restart(bencher: Bencher) {
    let runtime = Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    runtime.block_on(async {
        let mut member = Member::start(RealDisk::open(folder.path()).unwrap()).await;
        for _ in 0..HISTORY / 500 {
            member.write(500).await;
        }
        member.stop().await;
    });
    bencher.bench_local(|| {
        runtime.block_on(async {
            let member = Member::start(RealDisk::open(folder.path()).unwrap()).await;
            member.stop().await;
        });
    });
}
