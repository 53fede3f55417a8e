//! The little of DER that is written and taken apart here: what comes from elsewhere is copied byte for byte.

use pkcs8::der::{self, Decode as _, ErrorKind, Reader as _, SliceReader, Tag, asn1::BitStringRef};
use zeroize::Zeroizing;

use crate::{error::Error, key::KeyPair};

pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const SEQUENCE: u8 = 0x30;

/// The tag of a field that is numbered and holds a whole element.
pub(crate) const fn explicit(number: u8) -> u8 {
    0xa0 | number
}

/// One DER element: tag, length, contents. Wiped when dropped, since it may hold a key.
pub(crate) fn tagged(tag: u8, parts: &[&[u8]]) -> Zeroizing<Vec<u8>> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    // Sized up front: growing would leave copies of the key behind.
    let mut out = Zeroizing::new(Vec::with_capacity(length + 1 + 1 + size_of::<usize>()));
    out.push(tag);
    let bytes = length.to_be_bytes();
    let significant = &bytes[bytes.iter().position(|&byte| byte != 0).unwrap_or(bytes.len() - 1)..];
    if length >= 0x80 {
        out.push(0x80 | significant.len() as u8);
    }
    out.extend_from_slice(significant);
    parts.iter().for_each(|part| out.extend_from_slice(part));
    out
}

/// What is in the one element that these bytes are, without its tag and its length.
pub(crate) fn contents(element: &[u8]) -> der::Result<&[u8]> {
    let mut outer = SliceReader::new(element)?;
    let header = outer.peek_header()?;
    let whole = outer.tlv_bytes()?;
    outer.finish(())?;
    Ok(&whole[whole.len() - usize::try_from(header.length)?..])
}

/// The elements that a constructed element (a sequence, a set, a numbered field) is made of, each with its tag.
pub(crate) fn elements(constructed: &[u8]) -> der::Result<Vec<&[u8]>> {
    let mut inner = SliceReader::new(contents(constructed)?)?;
    let mut found = Vec::new();
    while !inner.is_finished() {
        found.push(inner.tlv_bytes()?);
    }
    Ok(found)
}

/// The elements of a sequence, and of nothing else.
pub(crate) fn sequence(element: &[u8]) -> der::Result<Vec<&[u8]>> {
    Tag::Sequence.assert_eq(Tag::try_from(*element.first().ok_or(ErrorKind::Failed)?)?)?;
    elements(element)
}

/// A sequence whose elements are others at some places, counted from zero, and the same, byte for byte, at the rest.
pub(crate) fn replaced(constructed: &[u8], others: &[(usize, &[u8])]) -> der::Result<Vec<u8>> {
    let mut parts = sequence(constructed)?;
    for &(place, other) in others {
        *parts.get_mut(place).ok_or(ErrorKind::Failed)? = other;
    }
    Ok(tagged(SEQUENCE, &parts).to_vec())
}

/// The bytes of a bit string of whole bytes.
pub(crate) fn bits(element: &[u8]) -> der::Result<&[u8]> {
    BitStringRef::from_der(element)?.as_bytes().ok_or_else(|| ErrorKind::Failed.into())
}

/// A statement, the way it is signed, and the signature: the shape of certificates and of requests for them.
pub(crate) struct Signed<'a> {
    pub(crate) statement: &'a [u8],
    pub(crate) way: &'a [u8],
    pub(crate) signature: &'a [u8],
}

impl<'a> Signed<'a> {
    /// Takes such a shape apart.
    pub(crate) fn from_der(element: &'a [u8]) -> der::Result<Self> {
        let [statement, way, signature] = sequence(element)?[..] else { return Err(ErrorKind::Failed.into()) };
        sequence(statement)?;
        sequence(way)?;
        Ok(Self { statement, way, signature: bits(signature)? })
    }
}

/// Signs a statement, and puts the three parts together.
pub(crate) fn signed(statement: &[u8], key: &KeyPair) -> Result<Vec<u8>, Error> {
    let signature = tagged(BIT_STRING, &[&[0], &key.sign(statement)?]);
    Ok(tagged(SEQUENCE, &[statement, &key.algorithm().of_signature(), &signature]).to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SET: u8 = 0x31;

    #[test]
    fn elements_are_found_whatever_the_form_of_their_length() {
        let (short, long) = (tagged(OCTET_STRING, &[b"short"]), tagged(OCTET_STRING, &[&[7; 300]]));
        let sequence = tagged(SEQUENCE, &[&short, &long]);
        assert_eq!(sequence[..4], [SEQUENCE, 0x82, 0x01, 0x37]);
        assert_eq!(elements(&sequence).unwrap(), [&short[..], &long[..]]);
        assert!(elements(&tagged(SEQUENCE, &[])).unwrap().is_empty());
    }

    #[test]
    fn parts_of_a_sequence_are_replaced_where_there_are_such() {
        let [one, two, three] = [1, 2, 3].map(|number| tagged(INTEGER, &[&[number]]));
        let sequence = tagged(SEQUENCE, &[&one, &two, &two]);
        assert_eq!(replaced(&sequence, &[(2, &three)]).unwrap(), *tagged(SEQUENCE, &[&one, &two, &three]));
        assert_eq!(replaced(&sequence, &[]).unwrap(), *sequence);
        assert!(replaced(&sequence, &[(3, &three)]).is_err());
        assert!(replaced(&tagged(SET, &[&one]), &[]).is_err());
    }

    #[test]
    fn what_is_signed_has_three_parts_of_the_right_kind() {
        let (part, bits) = (tagged(SEQUENCE, &[]), tagged(BIT_STRING, &[&[0, 1, 2]]));
        let whole = tagged(SEQUENCE, &[&part, &part, &bits]);
        let signed = Signed::from_der(&whole).unwrap();
        assert_eq!((signed.statement, signed.way, signed.signature), (&part[..], &part[..], &[1, 2][..]));
        let octets = tagged(OCTET_STRING, &[&[0, 1, 2]]);
        let unused = tagged(BIT_STRING, &[&[1, 1, 2]]);
        for wrong in [
            tagged(SET, &[&part, &part, &bits]),
            tagged(explicit(0), &[&part, &part, &bits]),
            tagged(SEQUENCE, &[&octets, &part, &bits]),
            tagged(SEQUENCE, &[&part, &octets, &bits]),
            tagged(SEQUENCE, &[&part, &part, &octets]),
            tagged(SEQUENCE, &[&part, &part, &unused]),
            tagged(SEQUENCE, &[&part, &part]),
            tagged(SEQUENCE, &[&part, &part, &bits, &part]),
            tagged(SEQUENCE, &[]),
        ] {
            assert!(Signed::from_der(&wrong).is_err(), "{wrong:x?}");
        }
        assert!(Signed::from_der(&[]).is_err());
    }

    #[test]
    fn what_is_cut_off_or_goes_on_is_refused() {
        let sequence = tagged(SEQUENCE, &[&tagged(OCTET_STRING, &[b"content"])]);
        assert!(elements(&sequence[..sequence.len() - 1]).is_err());
        assert!(elements(&[&sequence[..], &[0]].concat()).is_err());
        assert!(elements(&[SEQUENCE, 3, OCTET_STRING, 5, 1]).is_err());
        assert!(elements(&[]).is_err());
    }
}
