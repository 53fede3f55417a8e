//! Which keys may sign, in which ways, and the one place that checks a signature.
//!
//! A certificate is signed with RSA (PKCS#1 v1.5, 2048 to 8192 bits) or ECDSA (P-256, P-384, P-521), with SHA-256, SHA-384 or
//! SHA-512. Any digest may go with any key, since operators bring roots in which they do.

use rustls::{SignatureScheme, crypto::WebPkiSupportedAlgorithms};
use rustls_pki_types::{AlgorithmIdentifier, SignatureVerificationAlgorithm, alg_id};
use webpki::ring;
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::{
    der::{self, SEQUENCE, tagged},
    ecdsa,
    error::Error,
};

/// How a key of ours signs. The digest grows with the key, as upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Algorithm {
    EcdsaP256Sha256,
    EcdsaP384Sha384,
    EcdsaP521Sha512,
    RsaSha256,
    RsaSha384,
    RsaSha512,
}

/// How certificates may be signed, and what proves in a handshake that a peer holds its key.
pub(crate) static VERIFICATION: WebPkiSupportedAlgorithms = WebPkiSupportedAlgorithms {
    all: &[
        ring::ECDSA_P256_SHA256,
        ring::ECDSA_P256_SHA384,
        ecdsa::P256_SHA512,
        ring::ECDSA_P384_SHA256,
        ring::ECDSA_P384_SHA384,
        ecdsa::P384_SHA512,
        ecdsa::P521_SHA256,
        ecdsa::P521_SHA384,
        ecdsa::P521_SHA512,
        ring::RSA_PKCS1_2048_8192_SHA256,
        ring::RSA_PKCS1_2048_8192_SHA384,
        ring::RSA_PKCS1_2048_8192_SHA512,
        ring::RSA_PKCS1_2048_8192_SHA256_ABSENT_PARAMS,
        ring::RSA_PKCS1_2048_8192_SHA384_ABSENT_PARAMS,
        ring::RSA_PKCS1_2048_8192_SHA512_ABSENT_PARAMS,
    ],
    // The first of each is the one of TLS 1.3, where the scheme names the curve. In TLS 1.2 it does not.
    mapping: &[
        (
            SignatureScheme::ECDSA_NISTP256_SHA256,
            &[ring::ECDSA_P256_SHA256, ring::ECDSA_P384_SHA256, ecdsa::P521_SHA256],
        ),
        (
            SignatureScheme::ECDSA_NISTP384_SHA384,
            &[ring::ECDSA_P384_SHA384, ring::ECDSA_P256_SHA384, ecdsa::P521_SHA384],
        ),
        (SignatureScheme::ECDSA_NISTP521_SHA512, &[ecdsa::P521_SHA512, ecdsa::P384_SHA512, ecdsa::P256_SHA512]),
        (SignatureScheme::RSA_PSS_SHA512, &[ring::RSA_PSS_2048_8192_SHA512_LEGACY_KEY]),
        (SignatureScheme::RSA_PSS_SHA384, &[ring::RSA_PSS_2048_8192_SHA384_LEGACY_KEY]),
        (SignatureScheme::RSA_PSS_SHA256, &[ring::RSA_PSS_2048_8192_SHA256_LEGACY_KEY]),
        (SignatureScheme::RSA_PKCS1_SHA512, &[ring::RSA_PKCS1_2048_8192_SHA512]),
        (SignatureScheme::RSA_PKCS1_SHA384, &[ring::RSA_PKCS1_2048_8192_SHA384]),
        (SignatureScheme::RSA_PKCS1_SHA256, &[ring::RSA_PKCS1_2048_8192_SHA256]),
    ],
};

/// The shortest modulus of an RSA key, in bits.
pub(crate) const RSA_BITS_MIN: usize = 2048;

impl Algorithm {
    /// That of an RSA key with a modulus of so many bits.
    pub(crate) fn rsa(bits: usize) -> Self {
        match bits {
            4096.. => Self::RsaSha512,
            3072.. => Self::RsaSha384,
            _ => Self::RsaSha256,
        }
    }

    /// What a certificate says of such a key (AlgorithmIdentifier, DER).
    pub(crate) fn of_key(self) -> Vec<u8> {
        sequence(match self {
            Self::EcdsaP256Sha256 => alg_id::ECDSA_P256,
            Self::EcdsaP384Sha384 => alg_id::ECDSA_P384,
            Self::EcdsaP521Sha512 => alg_id::ECDSA_P521,
            Self::RsaSha256 | Self::RsaSha384 | Self::RsaSha512 => alg_id::RSA_ENCRYPTION,
        })
    }

    /// What a certificate says of such a signature (AlgorithmIdentifier, DER).
    pub(crate) fn of_signature(self) -> Vec<u8> {
        sequence(match self {
            Self::EcdsaP256Sha256 => alg_id::ECDSA_SHA256,
            Self::EcdsaP384Sha384 => alg_id::ECDSA_SHA384,
            Self::EcdsaP521Sha512 => alg_id::ECDSA_SHA512,
            Self::RsaSha256 => alg_id::RSA_PKCS1_SHA256,
            Self::RsaSha384 => alg_id::RSA_PKCS1_SHA384,
            Self::RsaSha512 => alg_id::RSA_PKCS1_SHA512,
        })
    }
}

fn sequence(identifier: AlgorithmIdentifier) -> Vec<u8> {
    tagged(SEQUENCE, &[&identifier]).to_vec()
}

/// Whether a signature over `statement` was made with a key, in one of the accepted ways.
///
/// `algorithm` is an AlgorithmIdentifier and `key` a SubjectPublicKeyInfo, both DER.
pub(crate) fn verify(algorithm: &[u8], key: &[u8], statement: &[u8], signature: &[u8]) -> bool {
    let Ok(parts) = der::sequence(key) else { return false };
    // The point or the modulus is in the bit string.
    let &[of_key, bits] = &parts[..] else { return false };
    let (Ok(of_key), Ok(algorithm), Ok(key)) = (der::contents(of_key), der::contents(algorithm), der::bits(bits))
    else {
        return false;
    };
    let fits = |way: &&&dyn SignatureVerificationAlgorithm| {
        *way.signature_alg_id() == *algorithm && *way.public_key_alg_id() == *of_key
    };
    VERIFICATION.all.iter().find(fits).is_some_and(|way| way.verify_signature(key, statement, signature).is_ok())
}

/// Refuses keys that are too weak, or on a curve that is not accepted. The texts are upstream's.
pub(crate) fn check_key(key: &SubjectPublicKeyInfo<'_>) -> Result<(), Error> {
    use x509_parser::public_key::PublicKey;
    let refused = |reason| Err(Error::UnsupportedKey { reason });
    match key.parsed() {
        Ok(PublicKey::RSA(rsa))
            if rsa.key_size() < RSA_BITS_MIN || rsa.try_exponent().is_ok_and(|exponent| exponent == 1) =>
        {
            refused(RSA_PARAMETERS)
        }
        Ok(PublicKey::RSA(_)) => Ok(()),
        Ok(PublicKey::EC(_)) => {
            let curves = [Algorithm::EcdsaP256Sha256, Algorithm::EcdsaP384Sha384, Algorithm::EcdsaP521Sha512];
            let named = der::elements(key.raw).ok().and_then(|parts| parts.first().copied()).unwrap_or_default();
            if curves.iter().any(|curve| curve.of_key() == named) { Ok(()) } else { refused(CURVE) }
        }
        Ok(_) | Err(_) => refused("unknown or unsupported certificate public key algorithm"),
    }
}

pub(crate) const RSA_PARAMETERS: &str = "unsupported RSA key parameters";
pub(crate) const CURVE: &str = "unsupported ECDSA key parameters";
