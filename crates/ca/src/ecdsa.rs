//! ECDSA where ring has none: on P-521, and with SHA-512 on the smaller curves.

use std::fmt;

use p521::ecdsa::signature::hazmat::PrehashVerifier;
use rustls_pki_types::{AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm, alg_id};
use sha2::{Digest as _, Sha256, Sha384, Sha512};

/// Takes a point, a digest and a signature.
type Verify = fn(&[u8], &[u8], &[u8]) -> Result<(), InvalidSignature>;

/// One way to sign with ECDSA.
struct Ecdsa {
    key: AlgorithmIdentifier,
    signature: AlgorithmIdentifier,
    digest: fn(&[u8]) -> Vec<u8>,
    verify: Verify,
}

pub(crate) static P256_SHA512: &dyn SignatureVerificationAlgorithm =
    &Ecdsa { key: alg_id::ECDSA_P256, signature: alg_id::ECDSA_SHA512, digest: sha512, verify: p256 };
pub(crate) static P384_SHA512: &dyn SignatureVerificationAlgorithm =
    &Ecdsa { key: alg_id::ECDSA_P384, signature: alg_id::ECDSA_SHA512, digest: sha512, verify: p384 };
pub(crate) static P521_SHA256: &dyn SignatureVerificationAlgorithm =
    &Ecdsa { key: alg_id::ECDSA_P521, signature: alg_id::ECDSA_SHA256, digest: sha256, verify: p521 };
pub(crate) static P521_SHA384: &dyn SignatureVerificationAlgorithm =
    &Ecdsa { key: alg_id::ECDSA_P521, signature: alg_id::ECDSA_SHA384, digest: sha384, verify: p521 };
pub(crate) static P521_SHA512: &dyn SignatureVerificationAlgorithm =
    &Ecdsa { key: alg_id::ECDSA_P521, signature: alg_id::ECDSA_SHA512, digest: sha512, verify: p521 };

/// A number on P-521 in bytes.
const P521_BYTES: usize = 66;
/// How a point begins that is written with both coordinates. Others are refused, as everywhere in TLS.
const UNCOMPRESSED: u8 = 4;

impl SignatureVerificationAlgorithm for Ecdsa {
    fn verify_signature(&self, point: &[u8], message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
        if point.first() != Some(&UNCOMPRESSED) {
            return Err(InvalidSignature);
        }
        (self.verify)(point, &(self.digest)(message), signature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.key
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.signature
    }
}

impl fmt::Debug for Ecdsa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ecdsa").field("key", &self.key).field("signature", &self.signature).finish_non_exhaustive()
    }
}

fn p256(point: &[u8], digest: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
    use p256::ecdsa::{Signature, VerifyingKey};
    check(VerifyingKey::from_sec1_bytes(point), Signature::from_der(signature), digest)
}

fn p384(point: &[u8], digest: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
    use p384::ecdsa::{Signature, VerifyingKey};
    check(VerifyingKey::from_sec1_bytes(point), Signature::from_der(signature), digest)
}

fn p521(point: &[u8], digest: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
    use p521::ecdsa::{Signature, VerifyingKey};
    // The library takes digests of less than half of the curve's size for a mistake: as numbers, they fit.
    let mut padded = [0; P521_BYTES];
    padded[P521_BYTES - digest.len()..].copy_from_slice(digest);
    check(VerifyingKey::from_sec1_bytes(point), Signature::from_der(signature), &padded)
}

/// A digest that is longer than the curve counts with its leftmost bits.
fn check<S, E>(
    key: Result<impl PrehashVerifier<S>, E>,
    signature: Result<S, E>,
    digest: &[u8],
) -> Result<(), InvalidSignature> {
    let (Ok(key), Ok(signature)) = (key, signature) else { return Err(InvalidSignature) };
    key.verify_prehash(digest, &signature).map_err(|_| InvalidSignature)
}

fn sha256(message: &[u8]) -> Vec<u8> {
    Sha256::digest(message).to_vec()
}

fn sha384(message: &[u8]) -> Vec<u8> {
    Sha384::digest(message).to_vec()
}

fn sha512(message: &[u8]) -> Vec<u8> {
    Sha512::digest(message).to_vec()
}

#[cfg(test)]
mod tests;
