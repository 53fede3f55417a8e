//! How a change set is written in the log: the wire's `InternalRaftRequest`, with two fields of our own.
//!
//! Objects are encoded from where they lie, so no specification is copied on the way. The additional fields have
//! numbers that the wire does not use, so whoever reads the log with the public message skips them.

use bytes::Buf;
use prost::encoding::{WireType, decode_key, decode_varint, encode_key, encode_varint, encoded_len_varint};
use swarmkit_api::{AnyObject, Kind, Object, Sharing, Version};

use crate::{Action, ApplyError, Digest, ProposalId, digest::ENCODING};

/// `InternalRaftRequest.id`: the version that the change set makes.
const VERSION: u32 = 1;
/// `InternalRaftRequest.action`.
const ACTION: u32 = 2;
/// `StoreAction.action`.
const ACTION_KIND: u32 = 1;
/// The id of every kind of object.
const OBJECT_ID: u32 = 1;
/// Ours: what tells this change set from any other of the same version.
const NONCE: u32 = 1001;
/// Ours: the nonce of the change set that this one was built on.
pub(crate) const LINEAGE: u32 = 1002;
/// Ours: the digest of the state that this change set was built on, and in a snapshot that of the state itself.
pub(crate) const DIGEST: u32 = 1003;
/// Ours: how the objects are encoded, and so what the digest was made from.
pub(crate) const ENCODED: u32 = 1004;

/// The field of `StoreAction` that holds an object of a kind. The kinds are in the order of those fields.
fn target_field(kind: Kind) -> u32 {
    kind as u32 + 2
}

/// What a change set says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) id: ProposalId,
    /// What it was built on.
    pub(crate) base: Base,
}

/// What a change set says of the state that it was built on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Base {
    /// The nonce of the change set that led to it.
    pub(crate) lineage: u64,
    /// What it comes to. `None` when it was written by a version that encodes objects differently.
    pub(crate) digest: Option<Digest>,
}

/// One write, as the log tells it.
#[derive(Debug)]
pub(crate) enum Written {
    Put(AnyObject, Digest),
    Removed(Kind, String),
}

/// Begins a change set.
pub(crate) fn encode_header(header: &Header, out: &mut Vec<u8>) {
    prost::encoding::uint64::encode(VERSION, &header.id.version.0, out);
    prost::encoding::fixed64::encode(NONCE, &header.id.nonce, out);
    prost::encoding::fixed64::encode(LINEAGE, &header.base.lineage, out);
    if let Some(digest) = header.base.digest {
        prost::encoding::fixed64::encode(DIGEST, &digest.0, out);
        prost::encoding::uint64::encode(ENCODED, &ENCODING, out);
    }
}

/// Adds a write of an object. Of a removed one only the id is written, since only that is read. `scratch` is overwritten.
pub(crate) fn encode_action<O: Object>(action: Action, object: &O, scratch: &mut Vec<u8>, out: &mut Vec<u8>) {
    scratch.clear();
    let number = match action {
        Action::Create => 1,
        Action::Update => 2,
        Action::Remove => 3,
    };
    match action {
        Action::Create | Action::Update => object.encode(scratch),
        Action::Remove => prost::encoding::string::encode(OBJECT_ID, &object.id().to_string(), scratch),
    }
    let inner = 2 + 1 + encoded_len_varint(scratch.len() as u64) + scratch.len();
    encode_key(ACTION, WireType::LengthDelimited, out);
    encode_varint(inner as u64, out);
    prost::encoding::int32::encode(ACTION_KIND, &number, out);
    encode_field(target_field(O::KIND), scratch, out);
}

/// Adds a field that holds an encoded object. To encode and copy is cheaper than to ask for the length before.
pub(crate) fn encode_field(field: u32, object: &[u8], out: &mut Vec<u8>) {
    encode_key(field, WireType::LengthDelimited, out);
    encode_varint(object.len() as u64, out);
    out.extend_from_slice(object);
}

/// Reads the beginning of a change set, and leaves its writes in place.
pub(crate) fn decode_header(payload: &[u8]) -> Result<Header, ApplyError> {
    let mut fields = Fields(payload);
    let mut take = |wanted| match fields.next() {
        Some(Ok((field, Value::Number(number)))) if field == wanted => Ok(number),
        _ => Err(ApplyError::Malformed),
    };
    let version = Version(take(VERSION)?);
    let nonce = take(NONCE)?;
    let lineage = take(LINEAGE)?;
    let digest = match (take(DIGEST), take(ENCODED)) {
        (Ok(digest), Ok(ENCODING)) => Some(Digest(digest)),
        _ => None,
    };
    Ok(Header { id: ProposalId { version, nonce }, base: Base { lineage, digest } })
}

/// Reads the writes of a change set, in order. `canonical` says that they are encoded as this version does.
pub(crate) fn decode_actions(payload: &[u8], canonical: bool) -> impl Iterator<Item = Result<Written, ApplyError>> {
    let mut sharing = Sharing::default();
    Fields(payload).filter_map(move |field| match field {
        Ok((ACTION, Value::Bytes(action))) => Some(decode_action(action, canonical, &mut sharing)),
        Ok(_) => None,
        Err(error) => Some(Err(error)),
    })
}

fn decode_action(action: &[u8], canonical: bool, sharing: &mut Sharing) -> Result<Written, ApplyError> {
    let (mut number, mut target) = (0, None);
    for field in Fields(action) {
        match field? {
            (ACTION_KIND, Value::Number(value)) => number = value,
            (field, Value::Bytes(object)) => {
                let kind = Kind::ALL.into_iter().find(|&kind| target_field(kind) == field);
                target = Some((kind.ok_or(ApplyError::UnknownAction)?, object));
            }
            (_, Value::Number(_)) => {}
        }
    }
    let (kind, object) = target.ok_or(ApplyError::UnknownAction)?;
    match number {
        1 | 2 => {
            let (object, digest) = decode_object(kind, object, canonical, sharing)?;
            Ok(Written::Put(object, digest))
        }
        3 => Ok(Written::Removed(kind, decode_id(object)?)),
        _ => Err(ApplyError::UnknownAction),
    }
}

/// Reads an object, and what it comes to: from the bytes themselves, if encoding it would give the same.
pub(crate) fn decode_object(
    kind: Kind,
    bytes: &[u8],
    canonical: bool,
    sharing: &mut Sharing,
) -> Result<(AnyObject, Digest), ApplyError> {
    let object = AnyObject::decode_sharing(kind, bytes, sharing)?;
    let digest = if canonical { Digest::of_bytes(kind, bytes) } else { Digest::of(&object) };
    Ok((object, digest))
}

fn decode_id(object: &[u8]) -> Result<String, ApplyError> {
    for field in Fields(object) {
        if let (OBJECT_ID, Value::Bytes(id)) = field? {
            return String::from_utf8(id.to_vec()).map_err(|_| ApplyError::Malformed);
        }
    }
    Err(ApplyError::Malformed)
}

/// The fields of an encoded message, one after the other, without knowing the message.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

/// What a field holds.
pub(crate) enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Value<'a>), ApplyError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

impl<'a> Fields<'a> {
    /// How long the first field is, or `None` if its end is missing.
    pub(crate) fn complete(bytes: &[u8]) -> Result<Option<usize>, ApplyError> {
        let mut rest = bytes;
        let Some(key) = whole_varint(&mut rest)? else { return Ok(None) };
        let body = match key & 7 {
            0 => return Ok(whole_varint(&mut rest)?.map(|_| bytes.len() - rest.len())),
            1 => 8,
            2 => match whole_varint(&mut rest)? {
                Some(length) => usize::try_from(length).map_err(|_| ApplyError::Malformed)?,
                None => return Ok(None),
            },
            5 => 4,
            _ => return Err(ApplyError::Malformed),
        };
        Ok((rest.len() >= body).then(|| bytes.len() - rest.len() + body))
    }

    fn field(&mut self) -> Result<(u32, Value<'a>), ApplyError> {
        let (field, wire_type) = decode_key(&mut self.0).map_err(|_| ApplyError::Malformed)?;
        let value = match wire_type {
            WireType::Varint => Value::Number(decode_varint(&mut self.0).map_err(|_| ApplyError::Malformed)?),
            WireType::SixtyFourBit => Value::Number(self.0.try_get_u64_le().map_err(|_| ApplyError::Malformed)?),
            WireType::ThirtyTwoBit => Value::Number(self.0.try_get_u32_le().map_err(|_| ApplyError::Malformed)?.into()),
            WireType::LengthDelimited => {
                let length = decode_varint(&mut self.0).map_err(|_| ApplyError::Malformed)?;
                let length = usize::try_from(length).map_err(|_| ApplyError::Malformed)?;
                let (bytes, rest) = self.0.split_at_checked(length).ok_or(ApplyError::Malformed)?;
                self.0 = rest;
                Value::Bytes(bytes)
            }
            WireType::StartGroup | WireType::EndGroup => return Err(ApplyError::Malformed),
        };
        Ok((field, value))
    }
}

/// The longest form of a variable-length number, in bytes.
const MAX_VARINT: usize = 10;

/// Reads a variable-length number, or `None` if its end is missing.
fn whole_varint(bytes: &mut &[u8]) -> Result<Option<u64>, ApplyError> {
    let whole = bytes.iter().take(MAX_VARINT).any(|byte| byte & 0x80 == 0);
    if !whole && bytes.len() < MAX_VARINT {
        return Ok(None);
    }
    decode_varint(bytes).map(Some).map_err(|_| ApplyError::Malformed)
}
