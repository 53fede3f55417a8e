//! openraft's suite, on a real disk.

use std::{io, sync::Arc};

use openraft::{
    StorageError,
    testing::log::{StoreBuilder, Suite},
};
use swarmkit_runtime::{Crew, Env};
use swarmkit_store::Store;
use tokio_util::sync::CancellationToken;

use super::{Opened, open_with};
use crate::{
    compaction::Ledger,
    disk::RealDisk,
    log::{Log, LogOptions},
    machine::Machine,
    options::RaftOptions,
    seal::LogKey,
    snapshot::Shelf,
    types::Types,
};

struct Builder;

impl StoreBuilder<Types, Log, Machine, (tempfile::TempDir, Crew)> for Builder {
    async fn build(&self) -> Result<((tempfile::TempDir, Crew), Log, Machine), StorageError<Types>> {
        let folder = tempfile::tempdir().unwrap();
        let disk = RealDisk::open(folder.path()).unwrap();
        // Segments so small that the suite crosses their borders.
        let Opened { log, crew } = open_with(&disk, LogOptions { segment_bytes: 500 }).await.unwrap();
        let shelf = Shelf::open(Arc::new(disk), &LogKey::new([7; 32]).into(), Env::real()).await.unwrap();
        let (machine, _) =
            Machine::new(Store::local(Env::real()).applier(), shelf, Ledger::new(&RaftOptions::default()));
        Ok(((folder, crew), log, machine))
    }
}

#[tokio::test]
async fn openrafts_own_suite_passes() {
    let mut crew = Crew::under(&CancellationToken::new());
    crew.spawn("suite", async |_| Suite::test_all(Builder).await.map_err(io::Error::other));
    crew.finish().await.unwrap();
}
