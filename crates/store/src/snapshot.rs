//! The whole state as bytes: written in pieces while the store goes on, read in pieces beside it.
//!
//! The pieces, joined, are the wire's `StoreSnapshot`, with two fields of our own that others skip: the version, and the
//! nonce of the last change set.

use std::sync::Arc;

use bytes::Bytes;
use swarmkit_api::{AnyObject, Kind, Sharing, Version};

use crate::{
    ApplyError, Digest, State, View,
    codec::{DIGEST, ENCODED, Fields, LINEAGE, Value, decode_object, encode_field},
    digest::ENCODING,
    intern::Specs,
    state::Tables,
};

/// The size that a piece of a snapshot has at least, but for the last: small enough to send over a busy connection, large
/// enough to be worth a system call. A piece exceeds it by less than one object.
pub const SNAPSHOT_CHUNK_BYTES: usize = 256 * 1024;

/// Ours: the version of the state. Comes first.
const VERSION: u32 = 1000;

/// The field of `StoreSnapshot` that lists the objects of a kind.
fn field_of(kind: Kind) -> u32 {
    match kind {
        Kind::Node => 1,
        Kind::Service => 2,
        Kind::Network => 3,
        Kind::Task => 4,
        Kind::Cluster => 5,
        Kind::Secret => 6,
        Kind::Resource => 7,
        Kind::Extension => 8,
        Kind::Config => 9,
        Kind::Volume => 10,
    }
}

/// A state that is to be written out. It costs nothing until it is.
#[derive(Clone, Debug)]
pub struct Snapshot(View);

impl Snapshot {
    pub(crate) fn of(view: View) -> Self {
        Self(view)
    }

    /// The version that is written out.
    #[must_use]
    pub fn version(&self) -> Version {
        self.0.version()
    }

    /// The state that is written out.
    #[must_use]
    pub fn view(&self) -> &View {
        &self.0
    }

    /// The pieces, one after the other, each made when it is asked for. The first one alone tells the version.
    pub fn chunks(&self) -> impl Iterator<Item = Bytes> + Send + '_ {
        let mut objects = self.0.tables.every();
        let (mut head, mut scratch) = (Some(self.header()), Vec::new());
        std::iter::from_fn(move || {
            let mut out = head.take().unwrap_or_else(|| Vec::with_capacity(SNAPSHOT_CHUNK_BYTES));
            while out.len() < SNAPSHOT_CHUNK_BYTES
                && let Some(object) = objects.next()
            {
                encode_object(&object, &mut scratch, &mut out);
            }
            (!out.is_empty()).then(|| out.into())
        })
    }

    /// All pieces in one.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let (mut out, mut scratch) = (self.header(), Vec::new());
        self.0.tables.every().for_each(|object| encode_object(&object, &mut scratch, &mut out));
        out.into()
    }

    fn header(&self) -> Vec<u8> {
        let mut out = Vec::new();
        prost::encoding::uint64::encode(VERSION, &self.0.version.0, &mut out);
        prost::encoding::fixed64::encode(LINEAGE, &self.0.lineage, &mut out);
        prost::encoding::fixed64::encode(DIGEST, &self.0.digest().0, &mut out);
        prost::encoding::uint64::encode(ENCODED, &ENCODING, &mut out);
        out
    }
}

fn encode_object(object: &AnyObject, scratch: &mut Vec<u8>, out: &mut Vec<u8>) {
    scratch.clear();
    object.encode(scratch);
    encode_field(field_of(object.kind()), scratch, out);
}

/// A state in the making, read from the pieces of a snapshot.
pub struct Restore {
    version: Option<Version>,
    lineage: u64,
    /// What the snapshot says that the state comes to.
    digest: Option<Digest>,
    /// Its objects are encoded as this version does.
    canonical: bool,
    tables: Tables,
    specs: Arc<Specs>,
    sharing: Sharing,
    /// The beginning of an object whose end was not read yet.
    rest: Vec<u8>,
}

impl Restore {
    pub(crate) fn new(specs: Arc<Specs>) -> Self {
        Self {
            version: None,
            lineage: 0,
            digest: None,
            canonical: false,
            tables: Tables::default(),
            specs,
            sharing: Sharing::default(),
            rest: Vec::new(),
        }
    }

    /// Reads on. Pieces may be cut anywhere.
    ///
    /// # Errors
    ///
    /// The bytes are no snapshot, or an object in them cannot be read.
    pub fn chunk(&mut self, piece: &[u8]) -> Result<(), ApplyError> {
        if self.rest.is_empty() {
            let read = self.read(piece)?;
            self.rest.extend_from_slice(&piece[read..]);
            return Ok(());
        }
        let mut joined = std::mem::take(&mut self.rest);
        joined.extend_from_slice(piece);
        let read = self.read(&joined)?;
        joined.drain(..read);
        self.rest = joined;
        Ok(())
    }

    /// Reads all complete fields, and tells how many bytes those are.
    fn read(&mut self, bytes: &[u8]) -> Result<usize, ApplyError> {
        let mut read = 0;
        while let Some(length) = Fields::complete(&bytes[read..])? {
            let field = Fields(&bytes[read..read + length]).next().ok_or(ApplyError::Malformed)??;
            self.field(field)?;
            read += length;
        }
        Ok(read)
    }

    fn field(&mut self, (field, value): (u32, Value<'_>)) -> Result<(), ApplyError> {
        match (field, value) {
            (VERSION, Value::Number(version)) => self.version = Some(Version(version)),
            (LINEAGE, Value::Number(lineage)) => self.lineage = lineage,
            (DIGEST, Value::Number(digest)) => self.digest = Some(Digest(digest)),
            (ENCODED, Value::Number(encoding)) => self.canonical = encoding == ENCODING,
            (field, Value::Bytes(object)) => {
                if let Some(kind) = Kind::ALL.into_iter().find(|&kind| field_of(kind) == field) {
                    let (object, digest) = decode_object(kind, object, self.canonical, &mut self.sharing)?;
                    self.tables.put_any(self.specs.intern_any(object), digest);
                }
            }
            (_, Value::Number(_)) => {}
        }
        Ok(())
    }

    pub(crate) fn finish(self) -> Result<State, ApplyError> {
        if self.canonical && self.rest.is_empty() && self.digest.is_some_and(|said| said != self.tables.digest()) {
            return Err(ApplyError::Damaged);
        }
        match self.version {
            Some(version) if self.rest.is_empty() => Ok(State { version, lineage: self.lineage, tables: self.tables }),
            _ => Err(ApplyError::Truncated),
        }
    }
}
