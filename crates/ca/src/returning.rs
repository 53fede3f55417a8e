//! Coming back after a certificate has expired: the node proves that it still has the key of it.
//!
//! TLS knows no certificate whose time is over, so the proof is a signature of its own, over the request for the next
//! certificate. It says who the node was. Whether it may be that again, its cluster decides.

use std::time::SystemTime;

use x509_parser::x509::SubjectPublicKeyInfo;

use crate::{
    algorithm::VERIFICATION,
    certificate::{NodeCertificate, Validity, parse, validity},
    chain::{Expiry, verify_chain},
    der::{SEQUENCE, elements, tagged},
    error::Error,
    identity::Identity,
    pem_text,
    root::RootCa,
};

/// What the signed bytes begin with, so that they are taken for nothing else that a key of a node signs.
const CONTEXT: &[u8] = b"swarmkit.ca.v1.Returning\0";

/// The longest chain that is read, PEM: more than ten certificates of the largest keys.
const CHAIN_BYTES_MAX: usize = 64 * 1024;
/// The longest signature that is read: twice that of an RSA key of 8192 bits.
const SIGNATURE_BYTES_MAX: usize = 2048;

/// Who a caller was, by its old certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Returning {
    /// The node, its role then, and its cluster.
    pub identity: Identity,
    /// When the old certificate counted.
    pub validity: Validity,
}

impl NodeCertificate {
    /// Signs a request (the bytes that are sent) for another certificate of the same node.
    ///
    /// # Errors
    ///
    /// [`Error::Crypto`] when signing fails.
    pub fn sign_return(&self, request: &[u8]) -> Result<Vec<u8>, Error> {
        self.key().sign(&statement(self.identity().cluster.as_str(), request))
    }
}

impl Returning {
    /// Checks that `signature` over a request was made with the key of a certificate (PEM, leaf first) that the cluster of
    /// these roots has issued at some time, whether that is over or not.
    ///
    /// Whoever has read a proof can show it again, with the same request: the certificate that comes of it is for the key
    /// of the node that made the request, and of no use to others.
    ///
    /// # Errors
    ///
    /// [`Error::NoProof`] when the signature is not by that key or not over this request, and as [`verify_chain`] with
    /// [`Expiry::Tolerated`].
    pub fn verify(
        root: &RootCa,
        chain: &[u8],
        signature: &[u8],
        request: &[u8],
        now: SystemTime,
    ) -> Result<Self, Error> {
        let text = std::str::from_utf8(chain).map_err(|_| Error::malformed("certificate", "not a text"))?;
        if text.len() > CHAIN_BYTES_MAX || signature.len() > SIGNATURE_BYTES_MAX {
            return Err(Error::malformed("certificate", "too large"));
        }
        let chain = pem_text::certificates(text)?;
        let leaf = parse(chain.first().ok_or_else(|| Error::malformed("certificate", "no certificate"))?)?;
        let identity = Identity::from_parsed(&leaf)?;
        verify_chain(root, &chain, Expiry::Tolerated, now)?;
        if is_signed(leaf.public_key(), &statement(identity.cluster.as_str(), request), signature) {
            Ok(Self { identity, validity: validity(&leaf) })
        } else {
            Err(Error::NoProof)
        }
    }
}

fn statement(cluster: &str, request: &[u8]) -> Vec<u8> {
    let length = u32::try_from(cluster.len()).unwrap_or(u32::MAX).to_be_bytes();
    [CONTEXT, &length, cluster.as_bytes(), request].concat()
}

/// Whether a key has made a signature, in any of the ways that it may sign certificates in.
fn is_signed(key: &SubjectPublicKeyInfo<'_>, statement: &[u8], signature: &[u8]) -> bool {
    let Ok(parts) = elements(key.raw) else { return false };
    VERIFICATION
        .all
        .iter()
        .filter(|way| parts.first().is_some_and(|of_key| tagged(SEQUENCE, &[&way.public_key_alg_id()])[..] == **of_key))
        .any(|way| way.verify_signature(&key.subject_public_key.data, statement, signature).is_ok())
}

#[cfg(test)]
mod tests;
