//! Certificates and requests: `rcgen` composes what they say, and a key of ours signs it.
//!
//! With ring behind it that library knows no P-521, and it writes an operator's name anew instead of repeating its bytes.
//! So it composes for a stand-in of a key. What it cannot know is put in place byte for byte before the signature is made:
//! the way of signing, the issuer's name, and the key that the certificate or the request is for.

use std::time::SystemTime;

use rcgen::{
    CertificateParams, DistinguishedName, DnType, DnValue, Issuer, KeyIdMethod, PKCS_ED25519, PublicKeyData,
    SignatureAlgorithm, SigningKey, string::PrintableString,
};
use sha2::{Digest as _, Sha256};
use x509_parser::{certificate::X509Certificate, extensions::ParsedExtension, time::ASN1Time};

use crate::{
    certificate::Validity,
    der::{self, Signed},
    error::Error,
    key::KeyPair,
};

/// What every certificate made here says: a serial number (positive, most significant byte first), a span of time, and
/// whom it is for.
///
/// # Errors
///
/// [`Error::Crypto`] for a span that goes beyond the year 9999, which no certificate can say.
pub(crate) fn about(serial: &[u8], validity: Validity, subject: &[(DnType, &str)]) -> Result<CertificateParams, Error> {
    let mut params = blank();
    params.distinguished_name = name(subject);
    params.serial_number = Some(serial.to_vec().into());
    params.not_before = time(validity.not_before)?.to_datetime();
    params.not_after = time(validity.not_after)?.to_datetime();
    Ok(params)
}

/// A certificate (DER) that a key signs for itself.
pub(crate) fn self_signed(mut params: CertificateParams, key: &KeyPair) -> Result<Vec<u8>, Error> {
    params.key_identifier_method = key_id(key.spki());
    let composed = params.self_signed(&StandIn).map_err(Error::crypto)?;
    signed(composed.der(), &[(place::WAY, &key.algorithm().of_signature()), (place::KEY, key.spki())], key)
}

/// A certificate (DER) for a key (SubjectPublicKeyInfo), signed by an authority with its certificate and its key.
pub(crate) fn signed_by(
    mut params: CertificateParams,
    key: &[u8],
    issuer: &X509Certificate<'_>,
    signer: &KeyPair,
) -> Result<Vec<u8>, Error> {
    params.key_identifier_method = key_id(key);
    let issuer_key = issuer.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
        _ => None,
    });
    // An authority whose certificate gives its key no identifier is found by name.
    params.use_authority_key_identifier_extension = issuer_key.is_some();
    let mut authority = blank();
    authority.key_identifier_method = KeyIdMethod::PreSpecified(issuer_key.unwrap_or_default());
    let composed = params.signed_by(&StandIn, &Issuer::new(authority, StandIn)).map_err(Error::crypto)?;
    let way = signer.algorithm().of_signature();
    let known = [(place::WAY, &way[..]), (place::ISSUER, issuer.subject().as_raw()), (place::KEY, key)];
    signed(composed.der(), &known, signer)
}

/// A request (PKCS#10, DER) that a key signs for a name (DER) and itself.
pub(crate) fn request(params: &CertificateParams, name: &[u8], key: &KeyPair) -> Result<Vec<u8>, Error> {
    let composed = params.serialize_request(&StandIn).map_err(Error::crypto)?;
    signed(composed.der(), &[(place::REQUESTED_NAME, name), (place::REQUESTED_KEY, key.spki())], key)
}

/// Nothing yet: for nobody, and without extensions.
pub(crate) fn blank() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params
}

/// Where the fields are that are put in place, in a certificate of the third version and in a request.
mod place {
    pub(super) const WAY: usize = 2;
    pub(super) const ISSUER: usize = 3;
    pub(super) const KEY: usize = 6;
    pub(super) const REQUESTED_NAME: usize = 1;
    pub(super) const REQUESTED_KEY: usize = 2;
}

fn signed(composed: &[u8], known: &[(usize, &[u8])], key: &KeyPair) -> Result<Vec<u8>, Error> {
    let statement = Signed::from_der(composed).and_then(|composed| der::replaced(composed.statement, known));
    der::signed(&statement.map_err(Error::crypto)?, key)
}

fn name(parts: &[(DnType, &str)]) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    for (part, text) in parts {
        // As upstream: the narrower kind of text where it will do. The library takes a question mark for printable, which
        // it is, and what writes it then panics.
        let printable = PrintableString::try_from(*text).ok().filter(|text| !text.as_str().contains('?'));
        name.push(part.clone(), printable.map_or_else(|| DnValue::from(*text), DnValue::PrintableString));
    }
    name
}

/// The identifier that a certificate gives to the key (SubjectPublicKeyInfo) that it is for.
fn key_id(key: &[u8]) -> KeyIdMethod {
    /// As long as the SHA-1 digests that they used to be (RFC 7093, method 1).
    const KEY_ID_BYTES: usize = 20;
    KeyIdMethod::PreSpecified(Sha256::digest(key)[..KEY_ID_BYTES].to_vec())
}

fn time(moment: SystemTime) -> Result<ASN1Time, Error> {
    let seconds = moment.duration_since(SystemTime::UNIX_EPOCH).map_err(Error::crypto)?.as_secs();
    i64::try_from(seconds).map_err(Error::crypto).and_then(|it| ASN1Time::from_timestamp(it).map_err(Error::crypto))
}

/// Is there where the library wants a key: it composes, and ours sign. Nothing of it is in what leaves this module.
struct StandIn;

impl PublicKeyData for StandIn {
    fn der_bytes(&self) -> &[u8] {
        &[0]
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ED25519
    }
}

impl SigningKey for StandIn {
    fn sign(&self, _: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(vec![0])
    }
}

#[cfg(test)]
mod tests;
