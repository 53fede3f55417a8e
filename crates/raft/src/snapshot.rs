//! Snapshots on the disk: one file each, in sealed and checksummed pieces.
//!
//! ```text
//! magic | salt | header piece | data piece ... | end piece
//! piece: length u32 | crc u32 | sealed body
//! ```
//!
//! The header says what the snapshot stands for, the end how much data there is and its checksum; a file without an
//! end was never finished. Every piece is sealed for its number in this very file, so pieces cannot be exchanged.

use std::{
    io::ErrorKind,
    sync::{Arc, Weak},
};

use bytes::{BufMut as _, Bytes, BytesMut};
use parking_lot::Mutex;
use prost::Message as _;
use swarmkit_api::wire::swarmkit::raft::v1 as wire;
use swarmkit_runtime::Env;

use crate::{
    codec::{meta_from_wire, meta_to_wire},
    disk::{Disk, DiskFile},
    log::LogError,
    seal::{LogKey, Sealer},
    types::{SnapshotMeta, term_of},
};

const MAGIC: &[u8; 8] = b"SKSNAP1\n";
const SALT_BYTES: usize = 16;
const PIECE_HEADER_BYTES: usize = 8;
const SEAL_BYTES: usize = 40;
/// Size and checksum of the data.
const END_BYTES: usize = 12;
/// The number that the end piece is sealed for.
const END: u64 = u64::MAX;
/// No piece is longer: a chunk of the store, and one object of the largest size that a proposal allows.
const MAX_PIECE_BYTES: usize = 64 << 20;

const SUFFIX: &str = ".snap";
/// Files that are not finished end with this. They are removed at start.
const UNFINISHED: &str = ".tmp";

/// The folder as a place for snapshots. Clones share it.
#[derive(Clone)]
pub(crate) struct Shelf {
    disk: Arc<dyn Disk>,
    sealer: Sealer,
    env: Env,
    newest: Arc<Mutex<Option<SnapshotFile>>>,
    unfinished: Arc<Mutex<Vec<Unfinished>>>,
}

/// A file that does not count yet, and whether anybody still works on it.
type Unfinished = (String, Weak<()>);

/// A finished snapshot. Clones share the file.
#[derive(Clone)]
pub(crate) struct SnapshotFile {
    /// Held while the file is of use to somebody.
    _used: Arc<()>,
    pub(crate) meta: SnapshotMeta,
    /// How much data it has, in bytes.
    pub(crate) size: u64,
    /// CRC-32 of the data.
    pub(crate) checksum: u32,
    disk: Arc<dyn Disk>,
    name: String,
    file: Arc<dyn DiskFile>,
    salt: [u8; SALT_BYTES],
    data_at: u64,
    sealer: Sealer,
}

/// Writes a snapshot.
pub(crate) struct SnapshotWriter {
    used: Arc<()>,
    meta: SnapshotMeta,
    disk: Arc<dyn Disk>,
    name: String,
    file: Arc<dyn DiskFile>,
    salt: [u8; SALT_BYTES],
    sealer: Sealer,
    data_at: u64,
    number: u64,
    size: u64,
    checksum: crc32fast::Hasher,
}

/// Reads the data of a snapshot.
pub(crate) struct SnapshotReader {
    of: SnapshotFile,
    at: u64,
    number: u64,
    size: u64,
    checksum: crc32fast::Hasher,
}

impl Shelf {
    /// Finds the newest snapshot, and removes what is older or was never finished.
    pub(crate) async fn open(disk: Arc<dyn Disk>, key: &LogKey, env: Env) -> Result<Self, LogError> {
        let shelf = Self {
            disk,
            sealer: Sealer::new(key, env.clone()),
            env,
            newest: Arc::default(),
            unfinished: Arc::default(),
        };
        let names = shelf.names(|_| true).await?;
        if let Some(name) = names.iter().filter(|name| name.ends_with(SUFFIX)).max() {
            let found = shelf.load(name.clone()).await?;
            *shelf.newest.lock() = Some(found);
            shelf.remove_before(name).await?;
        }
        for name in names.iter().filter(|name| name.ends_with(UNFINISHED)) {
            shelf.disk.remove(name).await.map_err(LogError::io("remove", name))?;
        }
        Ok(shelf)
    }

    /// The newest snapshot.
    pub(crate) fn newest(&self) -> Option<SnapshotFile> {
        self.newest.lock().clone()
    }

    /// Begins a snapshot. It counts only after [`Shelf::adopt`].
    pub(crate) async fn begin(&self, meta: SnapshotMeta) -> Result<SnapshotWriter, LogError> {
        self.sweep().await?;
        let name = format!("{}{UNFINISHED}", self.env.new_id());
        let used = Arc::new(());
        self.unfinished.lock().push((name.clone(), Arc::downgrade(&used)));
        let file: Arc<dyn DiskFile> = self.disk.create(&name).await.map_err(LogError::io("create", &name))?.into();
        let mut salt = [0; SALT_BYTES];
        self.env.fill_random(&mut salt);
        let mut head = BytesMut::from(&MAGIC[..]);
        head.put_slice(&salt);
        put_piece(&mut head, &self.sealer, &place(&salt, 0), &meta_to_wire(&meta).encode_to_vec());
        let data_at = head.len() as u64;
        file.append(head.freeze()).await.map_err(LogError::io("write", &name))?;
        let (disk, sealer, checksum) = (self.disk.clone(), self.sealer.clone(), crc32fast::Hasher::new());
        Ok(SnapshotWriter { used, meta, disk, name, file, salt, sealer, data_at, number: 1, size: 0, checksum })
    }

    /// Keeps a finished snapshot, durably, and removes all older ones. Does nothing for one that is kept already, and
    /// copies one of another folder.
    pub(crate) async fn adopt(&self, mut snapshot: SnapshotFile) -> Result<SnapshotFile, LogError> {
        if !Arc::ptr_eq(&snapshot.disk, &self.disk) {
            snapshot = self.copy(&snapshot).await?;
        }
        let name = final_name(&snapshot.meta);
        if snapshot.name == name {
            return Ok(snapshot);
        }
        self.disk.rename(&snapshot.name, &name).await.map_err(LogError::io("rename", &snapshot.name))?;
        self.disk.sync_names().await.map_err(LogError::io("sync the folder for", &name))?;
        self.unfinished.lock().retain(|(other, _)| *other != snapshot.name);
        snapshot.name.clone_from(&name);
        {
            let mut newest = self.newest.lock();
            if newest.as_ref().is_none_or(|newest| newest.name <= name) {
                *newest = Some(snapshot.clone());
            }
        }
        self.remove_before(&name).await?;
        Ok(snapshot)
    }

    /// Removes what was begun and then given up: a snapshot that did not arrive whole, or that was not wanted.
    async fn sweep(&self) -> Result<(), LogError> {
        let (live, given_up): (Vec<_>, Vec<_>) =
            std::mem::take(&mut *self.unfinished.lock()).into_iter().partition(|(_, used)| used.strong_count() > 0);
        self.unfinished.lock().extend(live);
        for (name, _) in given_up {
            match self.disk.remove(&name).await {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(LogError::io("remove", &name)(error)),
                _ => {}
            }
        }
        Ok(())
    }

    async fn copy(&self, snapshot: &SnapshotFile) -> Result<SnapshotFile, LogError> {
        let mut writer = self.begin(snapshot.meta.clone()).await?;
        let mut reader = snapshot.reader();
        while let Some(piece) = reader.next().await? {
            writer.write(&piece).await?;
        }
        writer.finish().await
    }

    async fn remove_before(&self, kept: &str) -> Result<(), LogError> {
        for name in self.names(|name| name.ends_with(SUFFIX) && name < kept).await? {
            self.disk.remove(&name).await.map_err(LogError::io("remove", &name))?;
        }
        Ok(())
    }

    async fn names(&self, wanted: impl Fn(&str) -> bool + Send) -> Result<Vec<String>, LogError> {
        let mut names = self.disk.list().await.map_err(LogError::io("list", "the folder"))?;
        names.retain(|name| wanted(name));
        Ok(names)
    }

    async fn load(&self, name: String) -> Result<SnapshotFile, LogError> {
        let file: Arc<dyn DiskFile> = self.disk.open(&name).await.map_err(LogError::io("open", &name))?.into();
        let len = file.size().await.map_err(LogError::io("read", &name))?;
        let end_at = len.saturating_sub((PIECE_HEADER_BYTES + SEAL_BYTES + END_BYTES) as u64);
        if end_at < (MAGIC.len() + SALT_BYTES) as u64 {
            return Err(LogError::damaged(&name, len, "the snapshot is cut off"));
        }
        let head = file.read_at(0, MAGIC.len() + SALT_BYTES).await.map_err(LogError::io("read", &name))?;
        if head[..MAGIC.len()] != MAGIC[..] {
            return Err(LogError::damaged(&name, 0, "this is no snapshot"));
        }
        let mut salt = [0; SALT_BYTES];
        salt.copy_from_slice(&head[MAGIC.len()..]);
        let meta_at = head.len() as u64;
        let (meta, data_at) = read_piece(&*file, &name, &self.sealer, meta_at, &place(&salt, 0)).await?;
        let meta = wire::SnapshotMeta::decode(meta).ok().and_then(|meta| meta_from_wire(meta).ok());
        let meta = meta.ok_or_else(|| LogError::damaged(&name, meta_at, "the header is malformed"))?;
        let (end, _) = read_piece(&*file, &name, &self.sealer, end_at, &place(&salt, END)).await?;
        let end: [u8; END_BYTES] =
            end[..].try_into().map_err(|_| LogError::damaged(&name, end_at, "the end is malformed"))?;
        let [size @ .., c0, c1, c2, c3] = end;
        let (size, checksum) = (u64::from_le_bytes(size), u32::from_le_bytes([c0, c1, c2, c3]));
        let (disk, sealer) = (self.disk.clone(), self.sealer.clone());
        Ok(SnapshotFile { _used: Arc::default(), meta, size, checksum, disk, name, file, salt, data_at, sealer })
    }
}

impl SnapshotWriter {
    pub(crate) async fn write(&mut self, data: &[u8]) -> Result<(), LogError> {
        let mut piece = BytesMut::new();
        put_piece(&mut piece, &self.sealer, &place(&self.salt, self.number), data);
        self.number += 1;
        self.size += data.len() as u64;
        self.checksum.update(data);
        self.file.append(piece.freeze()).await.map_err(LogError::io("write", &self.name))
    }

    /// Ends the file; its content is durable when this returns.
    pub(crate) async fn finish(self) -> Result<SnapshotFile, LogError> {
        let checksum = self.checksum.finalize();
        let mut end = BytesMut::with_capacity(END_BYTES);
        end.put_u64_le(self.size);
        end.put_u32_le(checksum);
        let mut piece = BytesMut::new();
        put_piece(&mut piece, &self.sealer, &place(&self.salt, END), &end);
        self.file.append_and_sync(piece.freeze()).await.map_err(LogError::io("write", &self.name))?;
        Ok(SnapshotFile {
            _used: self.used,
            meta: self.meta,
            size: self.size,
            checksum,
            disk: self.disk,
            name: self.name,
            file: self.file,
            salt: self.salt,
            data_at: self.data_at,
            sealer: self.sealer,
        })
    }
}

impl SnapshotFile {
    /// Reads the data from the beginning.
    pub(crate) fn reader(&self) -> SnapshotReader {
        let at = self.data_at;
        SnapshotReader { of: self.clone(), at, number: 1, size: 0, checksum: crc32fast::Hasher::new() }
    }
}

impl std::fmt::Debug for SnapshotFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SnapshotFile").field("name", &self.name).field("size", &self.size).finish_non_exhaustive()
    }
}

impl SnapshotReader {
    /// The next piece of data; nothing at the end, where size and checksum were found to be right.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, LogError> {
        let of = &self.of;
        if self.size >= of.size {
            if self.size != of.size || self.checksum.clone().finalize() != of.checksum {
                return Err(LogError::damaged(&of.name, self.at, "the data is not what was written"));
            }
            return Ok(None);
        }
        let (data, end) = read_piece(&*of.file, &of.name, &of.sealer, self.at, &place(&of.salt, self.number)).await?;
        self.at = end;
        self.number += 1;
        self.size += data.len() as u64;
        self.checksum.update(&data);
        Ok(Some(data))
    }
}

/// A name that sorts like the snapshots do.
fn final_name(meta: &SnapshotMeta) -> String {
    let (term, index) = meta.last_log_id.as_ref().map_or((0, 0), |id| (term_of(id), id.index));
    format!("{index:016x}-{term:016x}{SUFFIX}")
}

/// What the piece of a number is sealed for.
fn place(salt: &[u8; SALT_BYTES], number: u64) -> [u8; SALT_BYTES + 8] {
    let mut place = [0; SALT_BYTES + 8];
    place[..SALT_BYTES].copy_from_slice(salt);
    place[SALT_BYTES..].copy_from_slice(&number.to_le_bytes());
    place
}

fn put_piece(out: &mut BytesMut, sealer: &Sealer, place: &[u8], data: &[u8]) {
    let sealed = sealer.seal(place, data);
    out.put_u32_le(u32::try_from(sealed.len()).expect("invariant: a piece is far shorter than 4 GB"));
    out.put_u32_le(crc32fast::hash(&sealed));
    out.put_slice(&sealed);
}

/// Reads the piece at `at`, and tells where it ends.
async fn read_piece(
    file: &dyn DiskFile,
    name: &str,
    sealer: &Sealer,
    at: u64,
    place: &[u8],
) -> Result<(Bytes, u64), LogError> {
    let header = file.read_at(at, PIECE_HEADER_BYTES).await.map_err(LogError::io("read", name))?;
    let number_at = |from: usize| u32::from_le_bytes(header[from..from + 4].try_into().expect("invariant: four bytes"));
    let (len, crc) = (number_at(0) as usize, number_at(4));
    if len > MAX_PIECE_BYTES {
        return Err(LogError::damaged(name, at, "a piece is too long"));
    }
    let sealed = file.read_at(at + PIECE_HEADER_BYTES as u64, len).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::UnexpectedEof => LogError::damaged(name, at, "a piece is cut off"),
        _ => LogError::io("read", name)(error),
    })?;
    if crc32fast::hash(&sealed) != crc {
        return Err(LogError::damaged(name, at, "a checksum does not match"));
    }
    let data = sealer.open(place, &sealed).map_err(|_| LogError::WrongKey { file: name.to_owned() })?;
    Ok((data.into(), at + (PIECE_HEADER_BYTES + len) as u64))
}
