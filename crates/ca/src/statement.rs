//! What certificates and requests say, before it is signed (RFC 5280, RFC 2986).
//!
//! Names and keys are handed in and put down as they are encoded already, so that a name which comes from an operator's
//! certificate is the same, byte for byte, wherever it is repeated.

use std::time::SystemTime;

use pkcs8::{
    ObjectIdentifier,
    der::{
        self, Encode as _,
        asn1::{GeneralizedTime, PrintableStringRef, UtcTime, Utf8StringRef},
    },
};
use sha2::{Digest as _, Sha256};

use crate::{
    certificate::Validity,
    der::{BIT_STRING, INTEGER, OBJECT_IDENTIFIER, OCTET_STRING, SEQUENCE, SET, explicit, tagged},
    error::Error,
};

/// A certificate of the third version.
pub(crate) struct Statement<'a> {
    /// A positive number, most significant byte first.
    pub(crate) serial: &'a [u8],
    /// Who signs (Name).
    pub(crate) issuer: &'a [u8],
    pub(crate) validity: Validity,
    /// Whom it is for (Name).
    pub(crate) subject: &'a [u8],
    /// The key that it is for (SubjectPublicKeyInfo).
    pub(crate) key: &'a [u8],
    pub(crate) extensions: Vec<Extension>,
}

/// One extension, encoded.
pub(crate) struct Extension(Vec<u8>);

/// A part of a name.
#[derive(Clone, Copy)]
pub(crate) enum Part {
    CommonName,
    Organization,
    OrganizationalUnit,
}

/// What a key may be used for, as the bits of its extension are numbered.
#[derive(Clone, Copy)]
pub(crate) enum Usage {
    DigitalSignature = 0,
    KeyEncipherment = 2,
    CertificateSigning = 5,
    RevocationSigning = 6,
}

/// How long an identifier of a key is: as long as the SHA-1 digests that it used to be (RFC 7093, method 1).
const KEY_ID_BYTES: usize = 20;
/// The first year that UTCTime cannot say.
const GENERALIZED_FROM: u16 = 2050;
/// TRUE, where the default is FALSE.
const TRUE: [u8; 3] = [0x01, 0x01, 0xff];
/// The tag of a DNS name among alternative names, and of a key's identifier among what is known of an authority's key.
const DNS_NAME: u8 = 0x82;
const KEY_ID: u8 = 0x80;

impl Statement<'_> {
    /// The statement (TBSCertificate), for a signature of such a kind (AlgorithmIdentifier).
    pub(crate) fn encode(&self, algorithm: &[u8]) -> Result<Vec<u8>, Error> {
        let version = tagged(explicit(0), &[&tagged(INTEGER, &[&[2]])]);
        let serial = positive(self.serial);
        let span = tagged(SEQUENCE, &[&time(self.validity.not_before)?, &time(self.validity.not_after)?]);
        let extensions: Vec<&[u8]> = self.extensions.iter().map(|extension| extension.0.as_slice()).collect();
        let extensions = tagged(explicit(3), &[&tagged(SEQUENCE, &extensions)]);
        let fields: [&[u8]; 8] =
            [&version, &serial, algorithm, self.issuer, &span, self.subject, self.key, &extensions];
        Ok(tagged(SEQUENCE, &fields).to_vec())
    }
}

/// The statement of a request (CertificationRequestInfo) for a name and a key, that asks for extensions.
pub(crate) fn request(subject: &[u8], key: &[u8], extensions: &[&[u8]]) -> Vec<u8> {
    const EXTENSION_REQUEST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.14");
    let wanted = tagged(SET, &[&tagged(SEQUENCE, extensions)]);
    let attribute = tagged(SEQUENCE, &[&oid(EXTENSION_REQUEST), &wanted]);
    let attributes: &[&[u8]] = if extensions.is_empty() { &[] } else { &[&attribute] };
    tagged(SEQUENCE, &[&tagged(INTEGER, &[&[0]]), subject, key, &tagged(explicit(0), attributes)]).to_vec()
}

/// A name of these parts, in this order.
pub(crate) fn name(parts: &[(Part, &str)]) -> Result<Vec<u8>, Error> {
    let parts: Vec<_> = parts
        .iter()
        .map(|(part, text)| {
            // As upstream: the narrower kind of text where it will do.
            let text = PrintableStringRef::new(text)
                .and_then(|text| text.to_der())
                .or_else(|_| Utf8StringRef::new(text).and_then(|text| text.to_der()))
                .map_err(Error::crypto)?;
            Ok(tagged(SET, &[&tagged(SEQUENCE, &[&oid(part.oid()), &text])]))
        })
        .collect::<Result<_, Error>>()?;
    Ok(tagged(SEQUENCE, &parts.iter().map(|part| part.as_slice()).collect::<Vec<_>>()).to_vec())
}

/// The identifier that a certificate gives to the key (SubjectPublicKeyInfo) that it is for.
pub(crate) fn key_id(key: &[u8]) -> Vec<u8> {
    Sha256::digest(key)[..KEY_ID_BYTES].to_vec()
}

impl Part {
    fn oid(self) -> ObjectIdentifier {
        ObjectIdentifier::new_unwrap(match self {
            Self::CommonName => "2.5.4.3",
            Self::Organization => "2.5.4.10",
            Self::OrganizationalUnit => "2.5.4.11",
        })
    }
}

impl Extension {
    pub(crate) fn authority(is_one: bool) -> Self {
        Self::new("2.5.29.19", true, &tagged(SEQUENCE, if is_one { &[&TRUE] } else { &[] }))
    }

    pub(crate) fn key_usage(usages: &[Usage]) -> Self {
        let bits = usages.iter().fold(0_u8, |bits, &usage| bits | 0x80 >> usage as u8);
        let unused = bits.trailing_zeros() as u8;
        Self::new("2.5.29.15", true, &tagged(BIT_STRING, &[&[unused, bits]]))
    }

    /// For both ends of a connection.
    pub(crate) fn server_and_client() -> Self {
        let (server, client) = (oid_text("1.3.6.1.5.5.7.3.1"), oid_text("1.3.6.1.5.5.7.3.2"));
        Self::new("2.5.29.37", false, &tagged(SEQUENCE, &[&server, &client]))
    }

    pub(crate) fn dns_names(names: &[&str]) -> Result<Self, Error> {
        if let Some(other) = names.iter().find(|name| !name.is_ascii()) {
            return Err(Error::crypto(format!("{other:?} cannot be a DNS name")));
        }
        let names: Vec<_> = names.iter().map(|name| tagged(DNS_NAME, &[name.as_bytes()])).collect();
        let names: Vec<&[u8]> = names.iter().map(|name| name.as_slice()).collect();
        Ok(Self::new("2.5.29.17", false, &tagged(SEQUENCE, &names)))
    }

    pub(crate) fn subject_key(id: &[u8]) -> Self {
        Self::new("2.5.29.14", false, &tagged(OCTET_STRING, &[id]))
    }

    pub(crate) fn authority_key(id: &[u8]) -> Self {
        Self::new("2.5.29.35", false, &tagged(SEQUENCE, &[&tagged(KEY_ID, &[id])]))
    }

    fn new(id: &str, critical: bool, value: &[u8]) -> Self {
        let critical: &[u8] = if critical { &TRUE } else { &[] };
        Self(tagged(SEQUENCE, &[&oid_text(id), critical, &tagged(OCTET_STRING, &[value])]).to_vec())
    }
}

fn oid(id: ObjectIdentifier) -> Vec<u8> {
    tagged(OBJECT_IDENTIFIER, &[id.as_bytes()]).to_vec()
}

fn oid_text(id: &str) -> Vec<u8> {
    oid(ObjectIdentifier::new_unwrap(id))
}

/// A number without the zero bytes in front, but for one where it would count as negative otherwise.
fn positive(number: &[u8]) -> Vec<u8> {
    let leading = number.iter().take_while(|&&byte| byte == 0).count().min(number.len().saturating_sub(1));
    let number = &number[leading..];
    let sign: &[u8] = if number.first().is_none_or(|&byte| byte >= 0x80) { &[0] } else { &[] };
    tagged(INTEGER, &[sign, number]).to_vec()
}

/// UTCTime as long as it can say the year, as X.509 demands.
fn time(moment: SystemTime) -> Result<Vec<u8>, Error> {
    let encode = || -> der::Result<Vec<u8>> {
        let moment = GeneralizedTime::from_system_time(moment)?;
        if moment.to_date_time().year() < GENERALIZED_FROM {
            UtcTime::from_date_time(moment.to_date_time())?.to_der()
        } else {
            moment.to_der()
        }
    };
    encode().map_err(Error::crypto)
}

#[cfg(test)]
mod tests;
