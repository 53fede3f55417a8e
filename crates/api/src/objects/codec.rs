//! Between the objects and the wire's messages.

use bytes::{Buf, BufMut};

use crate::wire;

/// Why a message is no object.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes are no message of the kind.
    #[error("malformed message")]
    Malformed(#[from] prost::DecodeError),
    /// The bytes end in the middle of a field.
    #[error("the message is cut off")]
    Cut,
    /// An id is no text.
    #[error("an id is not valid UTF-8")]
    NotText,
    /// An enum holds a number that this version does not know: it was written by a newer one, or is damaged.
    #[error("{field} holds the unknown value {value}")]
    UnknownEnum {
        /// Which field.
        field: &'static str,
        /// What it holds.
        value: i32,
    },
    /// An object without an id cannot be kept.
    #[error("a {0} without an id")]
    MissingId(super::Kind),
}

/// An object that has a wire form.
pub(super) trait ToWire {
    type Wire: prost::Message;

    fn to_wire(&self) -> Self::Wire;

    /// See [`super::Object::encoded_len`]. Kinds with shared parts override both.
    fn encoded_len(&self) -> usize {
        prost::Message::encoded_len(&self.to_wire())
    }

    fn encode(&self, buffer: &mut impl BufMut) {
        prost::Message::encode_raw(&self.to_wire(), buffer);
    }
}

/// An object that can be read from its wire form.
pub(super) trait FromWire: Sized {
    type Wire;

    fn from_wire(wire: Self::Wire) -> Result<Self, DecodeError>;
}

/// Decoding by name, since the trait of the same method is also implemented for boxes.
pub(super) trait DecodeFrom: prost::Message + Default {
    fn decode_from(buffer: impl Buf) -> Result<Self, DecodeError> {
        Ok(<Self as prost::Message>::decode(buffer)?)
    }
}

impl<M: prost::Message + Default> DecodeFrom for M {}

/// The annotations of a specification, or empty ones.
pub(super) fn annotations(annotations: &Option<wire::Annotations>) -> &wire::Annotations {
    static EMPTY: wire::Annotations =
        wire::Annotations { name: String::new(), labels: std::collections::BTreeMap::new(), indices: Vec::new() };
    annotations.as_ref().unwrap_or(&EMPTY)
}

/// A required id.
pub(super) fn id<I: From<String>>(kind: super::Kind, id: String) -> Result<I, DecodeError> {
    if id.is_empty() { Err(DecodeError::MissingId(kind)) } else { Ok(I::from(id)) }
}

/// A real enum from the number on the wire.
pub(super) fn enumeration<E: TryFrom<i32>>(field: &'static str, value: i32) -> Result<E, DecodeError> {
    E::try_from(value).map_err(|_| DecodeError::UnknownEnum { field, value })
}
