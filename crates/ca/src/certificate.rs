//! A node's certificate with its key, and what can be read off it.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use rustls_pki_types::CertificateDer;
use x509_parser::{certificate::X509Certificate, prelude::FromDer as _};

use crate::{
    chain::{Expiry, verify_chain},
    der::{self, Signed},
    error::Error,
    identity::Identity,
    key::KeyPair,
    pem_text,
    root::RootCa,
};

/// The span of time in which a certificate counts, both ends included. Whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// First moment.
    pub not_before: SystemTime,
    /// Last moment.
    pub not_after: SystemTime,
}

/// Who signed a certificate. Managers compare it to see which nodes have moved to a new root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerInfo {
    /// The issuer's name, as its certificate encodes it (DER).
    pub subject: Vec<u8>,
    /// The issuer's public key, as its certificate encodes it (SubjectPublicKeyInfo, DER).
    pub public_key: Vec<u8>,
}

/// A certificate chain, leaf first, with the leaf's private key. Clones share both.
#[derive(Clone, Debug)]
pub struct NodeCertificate {
    chain: Arc<[CertificateDer<'static>]>,
    key: Arc<KeyPair>,
    identity: Identity,
    validity: Validity,
}

// === impl NodeCertificate ===

impl NodeCertificate {
    /// Puts a chain (PEM, leaf first) and the key of its leaf together. Says nothing about trust or time.
    ///
    /// # Errors
    ///
    /// When the chain is empty or unreadable, its leaf names no node, or the key is another's
    /// ([`Error::KeyMismatch`]).
    pub fn new(chain_pem: &str, key: impl Into<Arc<KeyPair>>) -> Result<Self, Error> {
        let key = key.into();
        let chain = pem_text::certificates(chain_pem)?;
        let leaf = chain.first().ok_or_else(|| Error::malformed("certificate", "no certificate"))?;
        let leaf = parse(leaf)?;
        if leaf.public_key().raw != key.public_key() {
            return Err(Error::KeyMismatch);
        }
        let (identity, validity) = (Identity::from_parsed(&leaf)?, validity(&leaf));
        Ok(Self { chain: chain.into(), key, identity, validity })
    }

    /// Whose certificate it is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// When the leaf counts.
    #[must_use]
    pub fn validity(&self) -> Validity {
        self.validity
    }

    /// The chain, leaf first.
    #[must_use]
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// The chain as PEM text, leaf first.
    #[must_use]
    pub fn chain_pem(&self) -> String {
        pem_text::encode_certificates(&*self.chain)
    }

    /// The leaf's private key.
    #[must_use]
    pub fn key(&self) -> &Arc<KeyPair> {
        &self.key
    }

    /// Checks the chain against trusted roots, and tells who signed the leaf.
    ///
    /// # Errors
    ///
    /// As [`verify_chain`].
    pub fn verify(&self, root: &RootCa, expiry: Expiry, now: SystemTime) -> Result<IssuerInfo, Error> {
        verify_chain(root, &self.chain, expiry, now)
    }
}

impl IssuerInfo {
    /// What every certificate that is signed by this one (one, PEM) says of its signer.
    ///
    /// # Errors
    ///
    /// When the text is not exactly one certificate.
    pub fn of_signer(certificate_pem: &str) -> Result<Self, Error> {
        Ok(issuer_info(&parse(&pem_text::single_certificate(certificate_pem)?)?))
    }
}

impl Validity {
    /// When the leaf of a chain (PEM, leaf first) counts.
    ///
    /// # Errors
    ///
    /// When the chain is empty or unreadable.
    pub fn of_chain(chain_pem: &str) -> Result<Self, Error> {
        let chain = pem_text::certificates(chain_pem)?;
        let leaf = chain.first().ok_or_else(|| Error::malformed("certificate", "no certificate"))?;
        Ok(validity(&parse(leaf)?))
    }

    /// The span in which both count. It ends before it begins when there is none.
    pub(crate) fn common(self, other: Self) -> Self {
        Self { not_before: self.not_before.max(other.not_before), not_after: self.not_after.min(other.not_after) }
    }
}

/// Reads one certificate.
pub(crate) fn parse(der: &[u8]) -> Result<X509Certificate<'_>, Error> {
    // The parser takes more for a certificate than others do: another kind of element around it, for one.
    let signed = Signed::from_der(der).map_err(|error| Error::malformed("certificate", error))?;
    if way_of_signing(signed.statement) != Some(signed.way) {
        return Err(Error::malformed("certificate", "what it says of its signature is not what stands beside it"));
    }
    let (rest, certificate) = X509Certificate::from_der(der).map_err(|error| Error::malformed("certificate", error))?;
    if !rest.is_empty() {
        return Err(Error::malformed("certificate", "bytes after its end"));
    }
    Ok(certificate)
}

/// How the statement of a certificate says that it is signed (AlgorithmIdentifier).
pub(crate) fn way_of_signing(statement: &[u8]) -> Option<&[u8]> {
    let fields = der::elements(statement).ok()?;
    fields.get(place_of_serial(&fields) + 1).copied()
}

/// Where among the fields of a statement the serial number is, which the way of signing and the issuer follow: the version
/// comes first, but for a certificate of the first version.
pub(crate) fn place_of_serial(fields: &[&[u8]]) -> usize {
    usize::from(fields.first().is_some_and(|field| field[0] == der::explicit(0)))
}

pub(crate) fn validity(certificate: &X509Certificate<'_>) -> Validity {
    let validity = certificate.validity();
    Validity {
        not_before: system_time(validity.not_before.timestamp()),
        not_after: system_time(validity.not_after.timestamp()),
    }
}

pub(crate) fn issuer_info(issuer: &X509Certificate<'_>) -> IssuerInfo {
    IssuerInfo { subject: issuer.subject().as_raw().to_vec(), public_key: issuer.public_key().raw.to_vec() }
}

/// Seconds of the Unix epoch as a time. Years before 1970 are of no interest here, and read as its beginning.
fn system_time(seconds: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}
