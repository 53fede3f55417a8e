//! Private keys: making, reading, signing and wiping them.

use std::{fmt, ops::RangeInclusive, sync::Arc};

use pem::Pem;
use pkcs8::{ObjectIdentifier, PrivateKeyInfo};
use ring::{
    rand::SystemRandom,
    signature::{self, EcdsaKeyPair, KeyPair as _, RsaEncoding, RsaKeyPair},
};
use rustls::sign::SigningKey as HandshakeKey;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

use crate::{
    algorithm::{self, Algorithm},
    compose,
    der::{self, BIT_STRING, INTEGER, OCTET_STRING, SEQUENCE, tagged},
    error::Error,
    locked_key,
    p521_key::P521Key,
    pem_text,
};

mod elliptic;

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

/// A private key and its public half: ECDSA on P-256, P-384 or P-521, or RSA of 2048 to 4096 bits with a public exponent
/// of 65,537 or more.
///
/// The encoded form is wiped when dropped; what the cryptographic library derives from it while the key is in use is
/// out of reach.
pub struct KeyPair {
    pkcs8: Zeroizing<Vec<u8>>,
    signer: Signer,
    algorithm: Algorithm,
    public_key: Vec<u8>,
}

enum Signer {
    Ecdsa(EcdsaKeyPair),
    Rsa(RsaKeyPair, &'static dyn RsaEncoding),
    P521(P521Key),
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
    /// Reads an unencrypted key: PKCS#8, SEC1 or PKCS#1, in one PEM block, headers allowed. The public half of a key on a
    /// curve may be missing: some programs leave it out.
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
            PKCS1 => Self::from_pkcs8(wrap(&Algorithm::RsaSha256.of_key(), block.contents())),
            _ => Err(Error::MalformedKey),
        }
    }

    fn from_sec1(sec1: &[u8]) -> Result<Self, Error> {
        let curve = elliptic::curve_of_sec1(sec1).ok_or(Error::MalformedKey)?;
        Self::from_pkcs8(wrap(&elliptic::algorithm(curve)?.of_key(), sec1))
    }

    /// Reads a key in PKCS#8 form.
    ///
    /// # Errors
    ///
    /// [`Error::MalformedKey`] when it is none, [`Error::UnsupportedKey`] when it is of a kind that does not sign here.
    pub fn from_pkcs8(pkcs8: Zeroizing<Vec<u8>>) -> Result<Self, Error> {
        let kind = PrivateKeyInfo::try_from(&pkcs8[..]).map_err(|_| Error::MalformedKey)?.algorithm;
        let (pkcs8, signer, algorithm) = match kind.oid {
            ELLIPTIC => {
                let algorithm = elliptic::algorithm(kind.parameters_oid().map_err(|_| Error::MalformedKey)?)?;
                let pkcs8 = elliptic::complete(pkcs8, algorithm)?;
                let signer = elliptic::signer(&pkcs8, algorithm)?;
                (pkcs8, signer, algorithm)
            }
            RSA => {
                let (signer, algorithm) = rsa(&pkcs8)?;
                (pkcs8, signer, algorithm)
            }
            _ => return Err(Error::MalformedKey),
        };
        let bits = tagged(BIT_STRING, &[&[0], &signer.public()]);
        let public_key = tagged(SEQUENCE, &[&algorithm.of_key(), &bits]).to_vec();
        Ok(Self { pkcs8, signer, algorithm, public_key })
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
        self.public_key.clone()
    }

    pub(crate) fn spki(&self) -> &[u8] {
        &self.public_key
    }

    /// How this key signs.
    pub(crate) fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// A signing request (PKCS#10, PEM) for this key. It names nobody: the issuer decides whom the key belongs to.
    ///
    /// # Errors
    ///
    /// [`Error::Crypto`] when signing fails.
    pub fn request(&self) -> Result<String, Error> {
        let nobody = tagged(SEQUENCE, &[]);
        let request = compose::request(&compose::blank(), &nobody, self)?;
        Ok(pem_text::encode(pem_text::REQUEST, &request))
    }

    /// Signs a statement, in the way that [`KeyPair::algorithm`] says.
    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let failed = || Error::crypto("a signature could not be made");
        let random = SystemRandom::new();
        match &self.signer {
            Signer::Ecdsa(key) => Ok(key.sign(&random, message).map_err(|_| failed())?.as_ref().to_vec()),
            Signer::Rsa(key, encoding) => {
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(*encoding, &random, message, &mut signature).map_err(|_| failed())?;
                Ok(signature)
            }
            Signer::P521(key) => key.sign(message),
        }
    }

    /// The key in the form that rustls signs handshakes with.
    pub(crate) fn to_rustls(&self) -> Result<Arc<dyn HandshakeKey>, Error> {
        if let Signer::P521(key) = &self.signer {
            return Ok(Arc::new(key.for_handshakes(&self.public_key)));
        }
        let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.pkcs8.as_slice()));
        rustls::crypto::ring::sign::any_supported_type(&der).map_err(|_| Error::MalformedKey)
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPair").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

impl Signer {
    /// The public half without the words about what it is.
    fn public(&self) -> Vec<u8> {
        match self {
            Self::Ecdsa(key) => key.public_key().as_ref().to_vec(),
            Self::Rsa(key, _) => key.public_key().as_ref().to_vec(),
            Self::P521(key) => key.point(),
        }
    }
}

fn rsa(pkcs8: &[u8]) -> Result<(Signer, Algorithm), Error> {
    let pkcs1 = PrivateKeyInfo::try_from(pkcs8).map_err(|_| Error::MalformedKey)?.private_key;
    // Version, modulus, exponent, and the secret ones.
    let numbers = der::elements(pkcs1).map_err(|_| Error::MalformedKey)?;
    let significant = |index: usize| {
        let number = numbers.get(index).and_then(|number| der::contents(number).ok()).ok_or(Error::MalformedKey)?;
        Ok::<_, Error>(number.iter().skip_while(|&&byte| byte == 0).count())
    };
    if !RSA_BYTES.contains(&significant(1)?) || significant(2)? < RSA_EXPONENT_BYTES_MIN {
        return Err(Error::UnsupportedKey { reason: algorithm::RSA_PARAMETERS });
    }
    let key = RsaKeyPair::from_pkcs8(pkcs8).map_err(|_| Error::MalformedKey)?;
    let algorithm = Algorithm::rsa(key.public().modulus_len() * 8);
    let encoding: &'static dyn RsaEncoding = match algorithm {
        Algorithm::RsaSha512 => &signature::RSA_PKCS1_SHA512,
        Algorithm::RsaSha384 => &signature::RSA_PKCS1_SHA384,
        _ => &signature::RSA_PKCS1_SHA256,
    };
    Ok((Signer::Rsa(key, encoding), algorithm))
}

fn is_encrypted(block: &Pem) -> bool {
    block.tag() == locked_key::ENCRYPTED || block.headers().get("DEK-Info").is_some()
}

/// How many bytes the modulus of an RSA key has that signs here: what ring takes. Verification takes up to 8192 bits.
const RSA_BYTES: RangeInclusive<usize> = algorithm::RSA_BITS_MIN / 8..=512;
/// 65,537 is the first odd number with as many, and what everybody uses.
const RSA_EXPONENT_BYTES_MIN: usize = 3;

const ELLIPTIC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

/// Wraps a key in PKCS#8: version 0, the algorithm, and the key as an octet string.
fn wrap(algorithm: &[u8], key: &[u8]) -> Zeroizing<Vec<u8>> {
    let inner = tagged(OCTET_STRING, &[key]);
    tagged(SEQUENCE, &[&tagged(INTEGER, &[&[0]]), algorithm, &inner])
}

#[cfg(test)]
mod tests;
