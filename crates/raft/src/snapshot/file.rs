//! One snapshot on the disk, in sealed and checksummed pieces.
//!
//! ```text
//! magic | salt | header piece | data piece ... | end piece
//! piece: length u32 | crc u32 | sealed body
//! ```
//!
//! The header says what the snapshot stands for, the end how much data there is and its checksum; a file without an
//! end was never finished. Every piece is sealed for its number in this very file, so pieces cannot be exchanged.

use std::sync::Arc;

use bytes::{BufMut as _, Bytes, BytesMut};
use prost::Message as _;
use swarmkit_api::wire::swarmkit::raft::v1 as wire;
use swarmkit_runtime::Env;

use crate::{
    codec::{meta_from_wire, meta_to_wire},
    disk::{Disk, DiskFile},
    log::LogError,
    seal::Sealer,
    types::SnapshotMeta,
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
/// How much of a file that is being written may wait for the disk, in bytes. If all of it did until the end, its sync would
/// hold up those of the log.
const UNSYNCED_BYTES: u64 = 8 << 20;

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
    pub(super) disk: Arc<dyn Disk>,
    pub(super) name: String,
    file: Arc<dyn DiskFile>,
    salt: [u8; SALT_BYTES],
    data_at: u64,
    pub(super) sealer: Sealer,
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
    unsynced: u64,
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

impl SnapshotWriter {
    /// Begins a file.
    pub(crate) async fn create(
        disk: Arc<dyn Disk>,
        name: String,
        sealer: Sealer,
        env: &Env,
        meta: SnapshotMeta,
        used: Arc<()>,
    ) -> Result<Self, LogError> {
        let file: Arc<dyn DiskFile> = disk.create(&name).await.map_err(LogError::io("create", &name))?.into();
        let mut salt = [0; SALT_BYTES];
        env.fill_random(&mut salt);
        let mut head = BytesMut::from(&MAGIC[..]);
        head.put_slice(&salt);
        put_piece(&mut head, &sealer, &place(&salt, 0), &meta_to_wire(&meta).encode_to_vec());
        let data_at = head.len() as u64;
        file.append(head.freeze()).await.map_err(LogError::io("write", &name))?;
        let checksum = crc32fast::Hasher::new();
        Ok(Self { used, meta, disk, name, file, salt, sealer, data_at, number: 1, size: 0, unsynced: 0, checksum })
    }

    pub(crate) async fn write(&mut self, data: &[u8]) -> Result<(), LogError> {
        let mut piece = BytesMut::new();
        put_piece(&mut piece, &self.sealer, &place(&self.salt, self.number), data);
        self.number += 1;
        self.size += data.len() as u64;
        self.checksum.update(data);
        self.unsynced += piece.len() as u64;
        let written = if self.unsynced < UNSYNCED_BYTES {
            self.file.append(piece.freeze()).await
        } else {
            self.unsynced = 0;
            self.file.append_and_sync(piece.freeze()).await
        };
        written.map_err(LogError::io("write", &self.name))
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
    /// Opens a finished file, and checks its beginning and its end.
    pub(crate) async fn open(disk: Arc<dyn Disk>, name: String, keys: &[Sealer]) -> Result<Self, LogError> {
        let file: Arc<dyn DiskFile> = disk.open(&name).await.map_err(LogError::io("open", &name))?.into();
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
        let (sealer, meta, data_at) = read_header(&*file, &name, keys, meta_at, &salt).await?;
        let meta = wire::SnapshotMeta::decode(meta).ok().and_then(|meta| meta_from_wire(meta).ok());
        let meta = meta.ok_or_else(|| LogError::damaged(&name, meta_at, "the header is malformed"))?;
        let (end, _) = read_piece(&*file, &name, &sealer, end_at, &place(&salt, END)).await?;
        let end: [u8; END_BYTES] =
            end[..].try_into().map_err(|_| LogError::damaged(&name, end_at, "the end is malformed"))?;
        let [size @ .., c0, c1, c2, c3] = end;
        let (size, checksum) = (u64::from_le_bytes(size), u32::from_le_bytes([c0, c1, c2, c3]));
        Ok(Self { _used: Arc::default(), meta, size, checksum, disk, name, file, salt, data_at, sealer })
    }

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

/// Reads the first piece with whichever key opens it.
async fn read_header(
    file: &dyn DiskFile,
    name: &str,
    keys: &[Sealer],
    at: u64,
    salt: &[u8; SALT_BYTES],
) -> Result<(Sealer, Bytes, u64), LogError> {
    for sealer in keys {
        match read_piece(file, name, sealer, at, &place(salt, 0)).await {
            Ok((meta, end)) => return Ok((sealer.clone(), meta, end)),
            Err(LogError::WrongKey { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Err(LogError::WrongKey { file: name.to_owned() })
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
