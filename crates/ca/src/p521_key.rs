//! Private keys on P-521, which ring has not: they sign certificates and handshakes.

use std::{fmt, sync::Arc};

use p521::{
    SecretKey,
    ecdsa::{Signature, SigningKey, VerifyingKey, signature::Signer as _},
    pkcs8::DecodePrivateKey as _,
};
use rustls::{
    SignatureAlgorithm, SignatureScheme,
    sign::{Signer, SigningKey as HandshakeKey},
};
use rustls_pki_types::SubjectPublicKeyInfoDer;
use zeroize::Zeroizing;

use crate::error::Error;

/// A private key on P-521. It is wiped when the last clone is dropped.
#[derive(Clone)]
pub(crate) struct P521Key(Arc<SigningKey>);

/// Such a key as it signs handshakes: always with SHA-512, which is the only way in TLS 1.3.
#[derive(Clone)]
pub(crate) struct P521Handshakes {
    key: P521Key,
    public_key: SubjectPublicKeyInfoDer<'static>,
}

impl P521Key {
    /// Reads a key that is known to be on this curve.
    pub(crate) fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, Error> {
        let key = SecretKey::from_pkcs8_der(pkcs8).map_err(|_| Error::MalformedKey)?;
        let key = SigningKey::from_bytes(&Zeroizing::new(key.to_bytes())).map_err(|_| Error::MalformedKey)?;
        Ok(Self(Arc::new(key)))
    }

    /// The public half: a point with both its coordinates.
    pub(crate) fn point(&self) -> Vec<u8> {
        VerifyingKey::from(&*self.0).to_encoded_point(false).as_bytes().to_vec()
    }

    /// Signs with SHA-512. The nonce is drawn from the operating system for each signature.
    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let signature: Signature = self.0.try_sign(message).map_err(Error::crypto)?;
        Ok(signature.to_der().as_bytes().to_vec())
    }

    /// The key for rustls, with its public half (SubjectPublicKeyInfo).
    pub(crate) fn for_handshakes(&self, public_key: &[u8]) -> P521Handshakes {
        P521Handshakes { key: self.clone(), public_key: public_key.to_vec().into() }
    }
}

impl HandshakeKey for P521Handshakes {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        offered.contains(&self.scheme()).then(|| Box::new(self.clone()) as Box<dyn Signer>)
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        Some(self.public_key.clone())
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ECDSA
    }
}

impl Signer for P521Handshakes {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        self.key.sign(message).map_err(|error| rustls::Error::General(error.to_string()))
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ECDSA_NISTP521_SHA512
    }
}

impl fmt::Debug for P521Handshakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("P521Handshakes")
    }
}
