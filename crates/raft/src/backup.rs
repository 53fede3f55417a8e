//! Backups: a cluster's state in one sealed file, and a group that begins with one.
//!
//! The file is laid out like a snapshot, under a key of its own: it belongs to no member.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use openraft::storage::RaftLogStorage as _;
use swarmkit_api::NodeId;
use swarmkit_runtime::Env;

use crate::{
    disk::{Disk, RealDisk},
    error::RaftError,
    log::{Log, LogError, LogOptions, Owner},
    options::RaftOptions,
    raft::new_raft_id,
    seal::{LogKey, LogKeys, Sealer},
    snapshot::{Shelf, SnapshotFile, SnapshotReader, SnapshotWriter},
    types::{Membership, Peer, SnapshotMeta, StoredMembership, Vote, log_id},
};

/// What the name of a file ends with until it is whole.
const UNFINISHED: &str = ".part";
/// The first term and index, which the entry that the backup stands for has in the new group.
const FIRST: u64 = 1;

/// Writes a backup. What is dropped before it is finished leaves a file whose name ends with `.part`.
pub struct BackupWriter {
    disk: RealDisk,
    name: String,
    writer: SnapshotWriter,
}

/// A backup that is whole, as far as its beginning and its end tell. Clones share the file.
#[derive(Clone, Debug)]
pub struct Backup(SnapshotFile);

/// Reads the state of a backup, from its beginning.
pub struct BackupReader(SnapshotReader);

impl BackupWriter {
    /// Begins a backup at `path`, sealed with `key`.
    ///
    /// # Errors
    ///
    /// There is a file of that name, or the folder cannot be written.
    pub async fn create(path: &Path, key: &LogKey, env: &Env) -> Result<Self, LogError> {
        let (disk, name) = place(path)?;
        if path.exists() {
            return Err(LogError::io("create", &name)(io::ErrorKind::AlreadyExists.into()));
        }
        let (unfinished, sealer) = (format!("{name}{UNFINISHED}"), Sealer::new(key, env.clone()));
        match disk.remove(&unfinished).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(LogError::io("remove", &unfinished)(error));
            }
            _ => {}
        }
        let (shared, meta) = (Arc::new(disk.clone()), SnapshotMeta::default());
        let writer = SnapshotWriter::create(shared, unfinished, sealer, env, meta, Arc::default()).await?;
        Ok(Self { disk, name, writer })
    }

    /// Adds the next bytes of a [`swarmkit_store::Snapshot`].
    ///
    /// # Errors
    ///
    /// They cannot be written.
    pub async fn write(&mut self, piece: &[u8]) -> Result<(), LogError> {
        self.writer.write(piece).await
    }

    /// Ends the file, which is durable under its name when this returns.
    ///
    /// # Errors
    ///
    /// The rest cannot be written.
    pub async fn finish(self) -> Result<(), LogError> {
        self.writer.finish().await?;
        let unfinished = format!("{}{UNFINISHED}", self.name);
        self.disk.rename(&unfinished, &self.name).await.map_err(LogError::io("rename", &unfinished))?;
        self.disk.sync_names().await.map_err(LogError::io("sync the folder for", &self.name))
    }
}

impl Backup {
    /// Opens a backup.
    ///
    /// # Errors
    ///
    /// It cannot be read, is none, is cut off, or was sealed with another key.
    pub async fn open(path: &Path, key: &LogKey, env: &Env) -> Result<Self, LogError> {
        let (disk, name) = place(path)?;
        let disk: Arc<dyn Disk> = Arc::new(disk);
        Ok(Self(SnapshotFile::open(disk, name, &[Sealer::new(key, env.clone())]).await?))
    }

    /// How much state it holds, in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.0.size
    }

    /// Reads it from the beginning.
    #[must_use]
    pub fn reader(&self) -> BackupReader {
        BackupReader(self.0.reader())
    }

    /// Founds a group of one that begins with this state, on a disk that holds nothing. [`crate::Raft::start`] goes on
    /// from there: `node_id` leads the group, reached at `addr`.
    ///
    /// After a crash on the way it can be called again, and has to be: no member starts on what is there then.
    ///
    /// # Errors
    ///
    /// The disk holds a member's state, or cannot be written, or the backup is damaged.
    pub async fn found(
        &self,
        disk: Arc<dyn Disk>,
        key: &LogKey,
        env: &Env,
        node_id: &NodeId,
        addr: &str,
    ) -> Result<(), RaftError> {
        let options = LogOptions { segment_bytes: RaftOptions::default().segment_bytes };
        let keys = LogKeys::from(key.clone());
        let mut owner = Owner { raft_id: new_raft_id(env), node_id: node_id.clone() };
        if Log::exists(&*disk).await? {
            let (log, _) = Log::open(disk.clone(), &keys, env, &owner, options.clone()).await?;
            if !log.is_pristine() || log.owner().node_id != *node_id {
                return Err(RaftError::Taken);
            }
            owner = log.owner().clone();
        }
        // The log comes last: a snapshot alone is no member's state.
        self.copy(&Shelf::open(disk.clone(), &keys, env.clone()).await?, &owner, addr).await?;
        let (mut log, writer) = Log::open(disk, &keys, env, &owner, options).await?;
        // The writer ends when the log is closed, or is given up with this.
        let begin = async move {
            log.save_vote(&Vote::new(FIRST, owner.raft_id)).await?;
            Ok::<(), std::io::Error>(log.close().await?)
        };
        let (written, begun) = futures_util::join!(writer.run(), begin);
        written?;
        begun.map_err(|error| RaftError::Fatal(error.to_string()))
    }

    /// Makes it the first snapshot of a group of one.
    async fn copy(&self, shelf: &Shelf, founder: &Owner, addr: &str) -> Result<(), RaftError> {
        let peer = Peer { node_id: founder.node_id.to_string(), addr: addr.to_owned() };
        let nodes = BTreeMap::from([(founder.raft_id, peer)]);
        let members = Membership::new(vec![[founder.raft_id].into()], nodes)
            .map_err(|error| RaftError::Fatal(error.to_string()))?;
        let first = log_id(FIRST, FIRST);
        let last_membership = StoredMembership::new(Some(first), members);
        let meta = SnapshotMeta { last_log_id: Some(first), last_membership };
        let (mut writer, mut reader) = (shelf.begin(meta).await?, self.reader());
        while let Some(piece) = reader.next().await? {
            writer.write(&piece).await?;
        }
        shelf.adopt(writer.finish().await?).await?;
        Ok(())
    }
}

impl BackupReader {
    /// The next bytes; nothing at the end, where size and checksum were found to be right.
    ///
    /// # Errors
    ///
    /// They are damaged, or cannot be read.
    pub async fn next(&mut self) -> Result<Option<Bytes>, LogError> {
        self.0.next().await
    }
}

/// The folder and the name of a file.
fn place(path: &Path) -> Result<(RealDisk, String), LogError> {
    let shown = path.display().to_string();
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| LogError::io("use", &shown)(io::ErrorKind::InvalidFilename.into()))?;
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    };
    Ok((RealDisk::shared(&folder).map_err(LogError::io("open", &folder.display().to_string()))?, name.to_owned()))
}

#[cfg(test)]
mod tests;
