//! Private keys: making, reading, signing and wiping them.

use std::fmt;

use pem::Pem;
use rcgen::{
    CertificateParams, DistinguishedName, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256,
    PKCS_RSA_SHA384, PKCS_RSA_SHA512, PublicKeyData, SignatureAlgorithm, SigningKey,
};
use ring::{
    rand::SystemRandom,
    signature::{self, EcdsaKeyPair, EcdsaSigningAlgorithm, KeyPair as _, RsaEncoding, RsaKeyPair},
};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, alg_id};
use zeroize::Zeroizing;

use crate::{
    der::{OCTET_STRING, SEQUENCE, tagged},
    error::Error,
    locked_key, pem_text,
};

/// The tag of a private key in PKCS#8 form, which is how keys are written.
pub(crate) const PKCS8: &str = "PRIVATE KEY";
/// The tags of private keys in the forms before that.
pub(crate) const SEC1: &str = "EC PRIVATE KEY";
pub(crate) const PKCS1: &str = "RSA PRIVATE KEY";

/// Where fresh private keys come from: chance that cannot be drawn from a seed.
///
/// An implementation gives a key on each call. In production no two are ever the same; a simulation may hand out
/// prepared ones, because the library that makes keys takes its randomness from the operating system only.
pub trait KeySource: Send + Sync + 'static {
    /// A key on the P-256 curve.
    ///
    /// # Errors
    ///
    /// When there is none to give.
    fn generate(&self) -> Result<KeyPair, Error>;
}

/// Keys made from the randomness of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemKeys;

/// A private key and its public half.
///
/// The encoded form is wiped when dropped; what the cryptographic library derives from it while the key is in use is
/// out of reach. ECDSA on P-256 and P-384 and RSA of 2048 to 4096 bits can sign.
pub struct KeyPair {
    pkcs8: Zeroizing<Vec<u8>>,
    signer: Signer,
    algorithm: &'static SignatureAlgorithm,
}

enum Signer {
    Ecdsa(EcdsaKeyPair),
    Rsa(RsaKeyPair, &'static dyn RsaEncoding),
}

// === impl SystemKeys ===

impl KeySource for SystemKeys {
    fn generate(&self) -> Result<KeyPair, Error> {
        let document = EcdsaKeyPair::generate_pkcs8(&signature::ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new())
            .map_err(|_| Error::crypto("no key could be generated"))?;
        KeyPair::from_pkcs8(Zeroizing::new(document.as_ref().to_vec()))
    }
}

// === impl KeyPair ===

impl KeyPair {
    /// Reads an unencrypted key: PKCS#8, SEC1 or PKCS#1, in one PEM block, headers allowed.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`] for an encrypted key, [`Error::MalformedKey`] for anything else that cannot be used.
    pub fn from_pem(text: &str) -> Result<Self, Error> {
        Self::from_block(&pem::parse(text).map_err(|_| Error::MalformedKey)?)
    }

    pub(crate) fn from_block(block: &Pem) -> Result<Self, Error> {
        if is_encrypted(block) {
            return Err(Error::Locked);
        }
        match block.tag() {
            PKCS8 => Self::from_pkcs8(Zeroizing::new(block.contents().to_vec())),
            SEC1 => Self::from_sec1(block.contents()),
            PKCS1 => Self::from_pkcs8(wrap(&RSA_ALGORITHM, block.contents())),
            _ => Err(Error::MalformedKey),
        }
    }

    fn from_sec1(sec1: &[u8]) -> Result<Self, Error> {
        // The curve is named outside of what PKCS#8 wraps, so both are tried.
        [&P256_ALGORITHM[..], &P384_ALGORITHM]
            .into_iter()
            .find_map(|algorithm| Self::from_pkcs8(wrap(algorithm, sec1)).ok())
            .ok_or(Error::MalformedKey)
    }

    /// Reads a key in PKCS#8 form.
    ///
    /// # Errors
    ///
    /// [`Error::MalformedKey`] when it is none, or of a kind that cannot sign here.
    pub fn from_pkcs8(pkcs8: Zeroizing<Vec<u8>>) -> Result<Self, Error> {
        let curves: [(&'static EcdsaSigningAlgorithm, &'static SignatureAlgorithm); 2] = [
            (&signature::ECDSA_P256_SHA256_ASN1_SIGNING, &PKCS_ECDSA_P256_SHA256),
            (&signature::ECDSA_P384_SHA384_ASN1_SIGNING, &PKCS_ECDSA_P384_SHA384),
        ];
        for (curve, algorithm) in curves {
            if let Ok(key) = EcdsaKeyPair::from_pkcs8(curve, &pkcs8, &SystemRandom::new()) {
                return Ok(Self { pkcs8, signer: Signer::Ecdsa(key), algorithm });
            }
        }
        let key = RsaKeyPair::from_pkcs8(&pkcs8).map_err(|_| Error::MalformedKey)?;
        let (encoding, algorithm) = rsa_by_size(key.public().modulus_len() * 8);
        Ok(Self { pkcs8, signer: Signer::Rsa(key, encoding), algorithm })
    }

    /// The key as a PKCS#8 block in PEM form, in clear. The text is wiped when dropped.
    #[must_use]
    pub fn to_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(pem_text::encode(PKCS8, &self.pkcs8))
    }

    pub(crate) fn pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    /// The public half, as certificates carry it (SubjectPublicKeyInfo in DER form).
    #[must_use]
    pub fn public_key(&self) -> Vec<u8> {
        self.subject_public_key_info()
    }

    /// A signing request (PKCS#10, PEM) for this key. It names nobody: the issuer decides whom the key belongs to.
    ///
    /// # Errors
    ///
    /// [`Error::Crypto`] when signing fails.
    pub fn request(&self) -> Result<String, Error> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        let request = params.serialize_request(self).map_err(Error::crypto)?;
        Ok(pem_text::encode(pem_text::REQUEST, request.der()))
    }

    /// Signs a statement, in the way that [`KeyPair::signature_algorithm`] says.
    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let random = SystemRandom::new();
        match &self.signer {
            Signer::Ecdsa(key) => key.sign(&random, message).map(|signature| signature.as_ref().to_vec()),
            Signer::Rsa(key, encoding) => {
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(*encoding, &random, message, &mut signature).map(|()| signature)
            }
        }
        .map_err(|_| Error::crypto("a signature could not be made"))
    }

    /// How this key signs, as certificates say it (AlgorithmIdentifier in DER form).
    pub(crate) fn signature_algorithm(&self) -> Vec<u8> {
        let contents = match self.algorithm {
            algorithm if algorithm == &PKCS_ECDSA_P256_SHA256 => alg_id::ECDSA_SHA256,
            algorithm if algorithm == &PKCS_ECDSA_P384_SHA384 => alg_id::ECDSA_SHA384,
            algorithm if algorithm == &PKCS_RSA_SHA512 => alg_id::RSA_PKCS1_SHA512,
            algorithm if algorithm == &PKCS_RSA_SHA384 => alg_id::RSA_PKCS1_SHA384,
            _ => alg_id::RSA_PKCS1_SHA256,
        };
        tagged(SEQUENCE, &[&contents]).to_vec()
    }

    /// The key in the form that rustls signs handshakes with.
    pub(crate) fn to_rustls(&self) -> Result<std::sync::Arc<dyn rustls::sign::SigningKey>, Error> {
        let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.pkcs8.as_slice()));
        rustls::crypto::ring::sign::any_supported_type(&der).map_err(|_| Error::MalformedKey)
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPair").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

impl PublicKeyData for KeyPair {
    fn der_bytes(&self) -> &[u8] {
        match &self.signer {
            Signer::Ecdsa(key) => key.public_key().as_ref(),
            Signer::Rsa(key, _) => key.public_key().as_ref(),
        }
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.algorithm
    }
}

impl SigningKey for KeyPair {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        KeyPair::sign(self, message).map_err(|_| rcgen::Error::RingUnspecified)
    }
}

/// The digest grows with the key, as upstream.
fn rsa_by_size(bits: usize) -> (&'static dyn RsaEncoding, &'static SignatureAlgorithm) {
    match bits {
        4096.. => (&signature::RSA_PKCS1_SHA512, &PKCS_RSA_SHA512),
        3072.. => (&signature::RSA_PKCS1_SHA384, &PKCS_RSA_SHA384),
        _ => (&signature::RSA_PKCS1_SHA256, &PKCS_RSA_SHA256),
    }
}

fn is_encrypted(block: &Pem) -> bool {
    block.tag() == locked_key::ENCRYPTED || block.headers().get("DEK-Info").is_some()
}

// The algorithm identifiers that PKCS#8 puts before a key, in DER form.

/// `id-ecPublicKey` on `prime256v1`.
const P256_ALGORITHM: [u8; 21] = [
    0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03,
    0x01, 0x07,
];
/// `id-ecPublicKey` on `secp384r1`.
const P384_ALGORITHM: [u8; 18] =
    [0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22];
/// `rsaEncryption` with its NULL parameters.
const RSA_ALGORITHM: [u8; 15] =
    [0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];

/// Wraps a key in PKCS#8: version 0, the algorithm, and the key as an octet string.
fn wrap(algorithm: &[u8], key: &[u8]) -> Zeroizing<Vec<u8>> {
    const VERSION_0: [u8; 3] = [0x02, 0x01, 0x00];
    let inner = tagged(OCTET_STRING, &[key]);
    tagged(SEQUENCE, &[&VERSION_0, algorithm, &inner])
}

#[cfg(test)]
mod tests;
