//! What is particular to keys on elliptic curves: their curve is said in one of two places, and the public half may be
//! missing.

use p521::elliptic_curve::sec1::ToEncodedPoint as _;
use pkcs8::{ObjectIdentifier, PrivateKeyInfo};
use ring::{
    rand::SystemRandom,
    signature::{self, EcdsaKeyPair, EcdsaSigningAlgorithm},
};
use zeroize::Zeroizing;

use super::{Signer, wrap};
use crate::{
    algorithm::{self, Algorithm},
    der::{self, BIT_STRING, SEQUENCE, explicit, tagged},
    error::Error,
    p521_key::P521Key,
};

const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const P521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");

/// Where SEC1 says the curve and the public half of a key, after its version and its secret.
const CURVE: u8 = explicit(0);
const PUBLIC: u8 = explicit(1);

/// How a key on a curve signs.
pub(super) fn algorithm(curve: ObjectIdentifier) -> Result<Algorithm, Error> {
    match curve {
        P256 => Ok(Algorithm::EcdsaP256Sha256),
        P384 => Ok(Algorithm::EcdsaP384Sha384),
        P521 => Ok(Algorithm::EcdsaP521Sha512),
        _ => Err(Error::UnsupportedKey { reason: algorithm::CURVE }),
    }
}

/// The curve that a key in SEC1 form names.
pub(super) fn curve_of_sec1(sec1: &[u8]) -> Option<ObjectIdentifier> {
    let fields = der::sequence(sec1).ok()?;
    let curve = fields.iter().find(|field| field[0] == CURVE)?;
    ObjectIdentifier::from_bytes(der::contents(der::contents(curve).ok()?).ok()?).ok()
}

/// The key with its public half, which is calculated where it is missing: what signs here wants to compare the two.
pub(super) fn complete(pkcs8: Zeroizing<Vec<u8>>, algorithm: Algorithm) -> Result<Zeroizing<Vec<u8>>, Error> {
    let sec1 = PrivateKeyInfo::try_from(&pkcs8[..]).map_err(|_| Error::MalformedKey)?.private_key;
    let fields = der::sequence(sec1).map_err(|_| Error::MalformedKey)?;
    if fields.iter().any(|field| field[0] == PUBLIC) {
        return Ok(pkcs8);
    }
    let &[version, secret, ..] = &fields[..] else { return Err(Error::MalformedKey) };
    let point = public_half(algorithm, der::contents(secret).map_err(|_| Error::MalformedKey)?)?;
    let public = tagged(PUBLIC, &[&tagged(BIT_STRING, &[&[0], &point])]);
    Ok(wrap(&algorithm.of_key(), &tagged(SEQUENCE, &[version, secret, &public])))
}

/// The point that belongs to a secret number, with both its coordinates.
fn public_half(algorithm: Algorithm, secret: &[u8]) -> Result<Vec<u8>, Error> {
    let malformed = |_| Error::MalformedKey;
    let point = match algorithm {
        Algorithm::EcdsaP256Sha256 => {
            p256::SecretKey::from_slice(secret).map_err(malformed)?.public_key().to_encoded_point(false).to_bytes()
        }
        Algorithm::EcdsaP384Sha384 => {
            p384::SecretKey::from_slice(secret).map_err(malformed)?.public_key().to_encoded_point(false).to_bytes()
        }
        Algorithm::EcdsaP521Sha512 => {
            p521::SecretKey::from_slice(secret).map_err(malformed)?.public_key().to_encoded_point(false).to_bytes()
        }
        Algorithm::RsaSha256 | Algorithm::RsaSha384 | Algorithm::RsaSha512 => return Err(Error::MalformedKey),
    };
    Ok(point.into_vec())
}

/// What signs with a key that is complete.
pub(super) fn signer(pkcs8: &[u8], algorithm: Algorithm) -> Result<Signer, Error> {
    let ring = |curve: &'static EcdsaSigningAlgorithm| {
        let key = EcdsaKeyPair::from_pkcs8(curve, pkcs8, &SystemRandom::new()).map_err(|_| Error::MalformedKey)?;
        Ok(Signer::Ecdsa(key))
    };
    match algorithm {
        Algorithm::EcdsaP256Sha256 => ring(&signature::ECDSA_P256_SHA256_ASN1_SIGNING),
        Algorithm::EcdsaP384Sha384 => ring(&signature::ECDSA_P384_SHA384_ASN1_SIGNING),
        Algorithm::EcdsaP521Sha512 => Ok(Signer::P521(P521Key::from_pkcs8(pkcs8)?)),
        Algorithm::RsaSha256 | Algorithm::RsaSha384 | Algorithm::RsaSha512 => Err(Error::MalformedKey),
    }
}
