//! One record of a segment: a header that can be told from noise, and a body under a checksum.
//!
//! ```text
//! magic u8 | kind u8 | check u16 | batch u32 | length u32 | crc u32 | body
//! ```
//!
//! Numbers are little-endian. `check` covers the header, `crc` the header and the body, and both the place (segment and
//! offset), so a record that was copied elsewhere is not taken for one. The top bit of `kind` marks the last record of
//! a batch, which is what one write carried: a batch begins only after the one before it was synced, and that tells a
//! torn tail from damage.

use bytes::{BufMut as _, Bytes, BytesMut};
use prost::Message;
use swarmkit_api::{NodeId, wire::swarmkit::raft::v1 as wire};

use super::Owner;
use crate::{
    codec::{Malformed, id_from_wire, id_to_wire, vote_from_wire, vote_to_wire},
    types::{LogId, Vote, log_id, term_of},
};

pub(super) const HEADER_BYTES: usize = 16;
const MAGIC: u8 = 0xA7;
const LAST_OF_BATCH: u8 = 0x80;
/// No body is longer: the largest proposal and its seal fit many times over.
const MAX_BODY_BYTES: u32 = 256 << 20;
/// Term and index, in clear before the sealed payload.
const ENTRY_HEADER_BYTES: usize = 16;

/// Where a record lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Number of the segment.
    pub(super) segment: u64,
    /// Of the header, from the beginning of the file.
    pub(super) offset: u64,
}

/// What a record says.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Record {
    /// Opens a segment.
    Start(Start),
    /// An entry, its payload sealed.
    Entry {
        id: LogId,
        sealed: Bytes,
    },
    Vote(Vote),
    Committed(LogId),
    /// Every entry after this one is gone; all of them without one.
    Truncate(Option<LogId>),
    /// Every entry up to this one is gone.
    Purge(LogId),
    /// From here on the log belongs to this member.
    Owner(Owner),
    /// Of the entries up to this one, those of its term that are not committed were given up by the leader of that term,
    /// who owned this log: whoever proposed them was told that their fate is unknown.
    GivenUp(LogId),
}

/// First record of a segment. It repeats what older segments say, so that these can be removed.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Start {
    /// Version of this format.
    #[prost(uint32, tag = "1")]
    pub(super) format: u32,
    /// Which log the segment belongs to: 16 random bytes.
    #[prost(bytes = "vec", tag = "2")]
    pub(super) log: Vec<u8>,
    /// The log's identity, sealed: tells a wrong key from damage.
    #[prost(bytes = "vec", tag = "3")]
    pub(super) key_check: Vec<u8>,
    #[prost(message, optional, tag = "4")]
    pub(super) vote: Option<wire::Vote>,
    #[prost(message, optional, tag = "5")]
    pub(super) committed: Option<wire::LogId>,
    #[prost(message, optional, tag = "6")]
    pub(super) purged: Option<wire::LogId>,
    /// The newest entry before this segment.
    #[prost(message, optional, tag = "7")]
    pub(super) last: Option<wire::LogId>,
    /// Whose log it is: the raft id of the member, and the node that runs it.
    #[prost(uint64, tag = "8")]
    pub(super) raft_id: u64,
    #[prost(string, tag = "9")]
    pub(super) node_id: String,
}

#[derive(Clone, PartialEq, Message)]
struct OwnerBody {
    #[prost(uint64, tag = "1")]
    raft_id: u64,
    #[prost(string, tag = "2")]
    node_id: String,
}

#[derive(Clone, PartialEq, Message)]
struct MaybeId {
    #[prost(message, optional, tag = "1")]
    id: Option<wire::LogId>,
}

/// What stands where a record was looked for.
#[derive(Debug, PartialEq)]
pub(super) enum Found {
    /// A whole record, and the offset after it.
    Record { record: Record, batch: u32, last_of_batch: bool, end: usize },
    /// The end of the file.
    End,
    /// Something else.
    Damage(&'static str),
}

impl Record {
    fn kind(&self) -> u8 {
        match self {
            Self::Start(_) => 1,
            Self::Entry { .. } => 2,
            Self::Vote(_) => 3,
            Self::Committed(_) => 4,
            Self::Truncate(_) => 5,
            Self::Purge(_) => 6,
            Self::Owner(_) => 7,
            Self::GivenUp(_) => 8,
        }
    }

    fn put_body(&self, out: &mut BytesMut) {
        let encoded = match self {
            Self::Entry { id, sealed } => {
                out.put_u64_le(term_of(id));
                out.put_u64_le(id.index);
                out.put_slice(sealed);
                return;
            }
            Self::Start(start) => start.encode_to_vec(),
            Self::Vote(vote) => vote_to_wire(vote).encode_to_vec(),
            Self::Committed(id) | Self::Purge(id) | Self::GivenUp(id) => id_to_wire(id).encode_to_vec(),
            Self::Owner(owner) => {
                OwnerBody { raft_id: owner.raft_id, node_id: owner.node_id.to_string() }.encode_to_vec()
            }
            Self::Truncate(id) => MaybeId { id: id.as_ref().map(id_to_wire) }.encode_to_vec(),
        };
        out.put_slice(&encoded);
    }

    fn from_body(kind: u8, mut body: Bytes) -> Result<Self, Malformed> {
        let malformed = |_| Malformed("record");
        Ok(match kind {
            1 => Self::Start(Start::decode(body).map_err(malformed)?),
            2 if body.len() >= ENTRY_HEADER_BYTES => {
                let sealed = body.split_off(ENTRY_HEADER_BYTES);
                Self::Entry { id: log_id(u64_at(&body, 0), u64_at(&body, 8)), sealed }
            }
            3 => Self::Vote(vote_from_wire(&wire::Vote::decode(body).map_err(malformed)?)),
            4 => Self::Committed(id_from_wire(&wire::LogId::decode(body).map_err(malformed)?)),
            5 => Self::Truncate(MaybeId::decode(body).map_err(malformed)?.id.as_ref().map(id_from_wire)),
            6 => Self::Purge(id_from_wire(&wire::LogId::decode(body).map_err(malformed)?)),
            7 => {
                let OwnerBody { raft_id, node_id } = OwnerBody::decode(body).map_err(malformed)?;
                Self::Owner(Owner { raft_id, node_id: NodeId::from(node_id) })
            }
            8 => Self::GivenUp(id_from_wire(&wire::LogId::decode(body).map_err(malformed)?)),
            _ => return Err(Malformed("record")),
        })
    }
}

/// Adds a record that will lie at `place`.
pub(super) fn put(out: &mut BytesMut, place: Place, batch: u32, record: &Record, last_of_batch: bool) {
    let start = out.len();
    out.put_u8(MAGIC);
    out.put_u8(record.kind() | if last_of_batch { LAST_OF_BATCH } else { 0 });
    out.put_u16_le(0);
    out.put_u32_le(batch);
    out.put_bytes(0, 8);
    record.put_body(out);
    let len = u32::try_from(out.len() - start - HEADER_BYTES).expect("invariant: a body is far shorter than 4 GB");
    out[start + 8..start + 12].copy_from_slice(&len.to_le_bytes());
    let (header, body) = out[start..].split_at(HEADER_BYTES);
    let (check, crc) = sums(header, body, place);
    out[start + 2..start + 4].copy_from_slice(&check.to_le_bytes());
    out[start + 12..start + 16].copy_from_slice(&crc.to_le_bytes());
}

/// Reads the record at `offset` of a segment whose whole content is `file`.
pub(super) fn read(file: &Bytes, segment: u64, offset: usize) -> Found {
    let place = Place { segment, offset: offset as u64 };
    match read_at(&file.slice(offset..), place) {
        Found::Record { record, batch, last_of_batch, end } => {
            Found::Record { record, batch, last_of_batch, end: offset + end }
        }
        other => other,
    }
}

/// Reads the record with which `bytes` begins, and which lies at `place`.
pub(super) fn read_at(bytes: &Bytes, place: Place) -> Found {
    if bytes.is_empty() {
        return Found::End;
    }
    let Some((header, rest)) = bytes.split_at_checked(HEADER_BYTES) else {
        return Found::Damage("a header is cut off");
    };
    if header[0] != MAGIC || sums(header, &[], place).0 != u16::from_le_bytes([header[2], header[3]]) {
        return Found::Damage("there is no header");
    }
    let len = u32_at(header, 8);
    let Some(body) = usize::try_from(len).ok().filter(|_| len <= MAX_BODY_BYTES).and_then(|len| rest.get(..len)) else {
        return Found::Damage("a record is cut off");
    };
    if sums(header, body, place).1 != u32_at(header, 12) {
        return Found::Damage("a checksum does not match");
    }
    let end = HEADER_BYTES + body.len();
    match Record::from_body(header[1] & !LAST_OF_BATCH, bytes.slice(HEADER_BYTES..end)) {
        Ok(record) => {
            Found::Record { record, batch: u32_at(header, 4), last_of_batch: header[1] & LAST_OF_BATCH != 0, end }
        }
        Err(_) => Found::Damage("a record is malformed"),
    }
}

/// The checksum of the header, and of header and body.
fn sums(header: &[u8], body: &[u8], place: Place) -> (u16, u32) {
    let mut crc = crc32fast::Hasher::new_with_initial(place_salt(place));
    crc.update(&header[..2]);
    crc.update(&header[4..12]);
    let check = fold(crc.clone().finalize());
    crc.update(body);
    (check, crc.finalize())
}

fn place_salt(place: Place) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&place.segment.to_le_bytes());
    crc.update(&place.offset.to_le_bytes());
    crc.finalize()
}

fn fold(sum: u32) -> u16 {
    (sum >> 16) as u16 ^ sum as u16
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("invariant: four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("invariant: eight bytes"))
}
