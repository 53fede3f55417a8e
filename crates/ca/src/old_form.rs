//! Private keys in the forms that programs read which do not know PKCS#8: SEC1 for elliptic curves, PKCS#1 for RSA.

use pkcs8::{
    ObjectIdentifier, PrivateKeyInfo,
    der::{
        self, Decode as _, Encode as _, Reader as _, SliceReader, TagNumber,
        asn1::{BitStringRef, ContextSpecific, OctetStringRef},
    },
};
use zeroize::Zeroizing;

use crate::{
    der::{BIT_STRING, OCTET_STRING, SEQUENCE, explicit, tagged},
    error::Error,
    key::{KeyPair, PKCS1, SEC1},
};

/// The curve, and the public half, in what SEC1 says of a key.
const CURVE: u8 = explicit(0);
const PUBLIC: u8 = explicit(1);
/// Version 1, with its tag and length.
const VERSION_1: [u8; 3] = [0x02, 0x01, 0x01];

const ELLIPTIC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");

/// The tag and the contents of the PEM block.
pub(crate) fn encode(key: &KeyPair) -> Result<(&'static str, Zeroizing<Vec<u8>>), Error> {
    let info = PrivateKeyInfo::from_der(key.pkcs8()).map_err(|_| Error::MalformedKey)?;
    if info.algorithm.oid != ELLIPTIC {
        return Ok((PKCS1, Zeroizing::new(info.private_key.to_vec())));
    }
    let curve = info.algorithm.parameters_oid().map_err(|_| Error::MalformedKey)?;
    Ok((SEC1, with_curve(info.private_key, curve).map_err(|_| Error::MalformedKey)?))
}

/// PKCS#8 names the curve outside of the key, and the key alone has to name it itself.
fn with_curve(key: &[u8], curve: ObjectIdentifier) -> der::Result<Zeroizing<Vec<u8>>> {
    let mut reader = SliceReader::new(key)?;
    let (secret, public) = reader.sequence(|fields| {
        u8::decode(fields)?;
        let secret = OctetStringRef::decode(fields)?;
        ContextSpecific::<ObjectIdentifier>::decode_explicit(fields, TagNumber::N0)?;
        let public = ContextSpecific::<BitStringRef<'_>>::decode_explicit(fields, TagNumber::N1)?;
        Ok((secret.as_bytes(), public.map(|public| public.value.raw_bytes())))
    })?;
    let secret = tagged(OCTET_STRING, &[secret]);
    let curve = tagged(CURVE, &[&curve.to_der()?]);
    let public = public.map(|bits| tagged(PUBLIC, &[&tagged(BIT_STRING, &[&[0], bits])])).unwrap_or_default();
    Ok(tagged(SEQUENCE, &[&VERSION_1, &secret, &curve, &public]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        key::{KeySource as _, SystemKeys},
        testing::fixture,
    };

    fn text(key: &KeyPair) -> String {
        let (tag, contents) = encode(key).unwrap();
        crate::pem_text::encode(tag, &contents)
    }

    #[test]
    fn keys_of_other_programs_come_out_as_they_went_in() {
        for fixture in [
            fixture!("p256-sec1.key"),
            fixture!("p384-sec1.key"),
            fixture!("p521-sec1.key"),
            fixture!("rsa2048-pkcs1.key"),
        ] {
            let block = pem::parse(fixture).unwrap();
            let expected = crate::pem_text::encode(block.tag(), block.contents());
            assert_eq!(text(&KeyPair::from_pem(fixture).unwrap()), expected);
        }
        let rsa = KeyPair::from_pem(fixture!("rsa2048-pkcs8.key")).unwrap();
        assert!(text(&rsa).starts_with("-----BEGIN RSA PRIVATE KEY-----"));
    }

    #[test]
    fn a_key_of_ours_names_its_curve_and_is_the_same_key() {
        let key = SystemKeys.generate().unwrap();
        let text = text(&key);
        assert!(text.starts_with("-----BEGIN EC PRIVATE KEY-----"));
        // What `openssl ec -text` calls prime256v1.
        let curve = [0xa0, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
        let block = pem::parse(&text).unwrap();
        assert!(block.contents().windows(curve.len()).any(|window| window == curve));
        assert_eq!(KeyPair::from_pem(&text).unwrap().public_key(), key.public_key());
    }
}
