//! Issuing: from a signing request and an identity to a certificate chain.

use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, SanType};
use swarmkit_api::{ClusterId, NodeId, NodeRole};
use swarmkit_runtime::Env;
use x509_parser::{certification_request::X509CertificationRequest, prelude::FromDer as _};

use crate::{
    algorithm::{self, check_key},
    certificate::{Validity, parse},
    chain::{Expiry, verify_chain},
    compose,
    der::Signed,
    error::Error,
    identity::{Identity, role_name},
    pem_text,
    root::RootCa,
};

/// How long a node's certificate lasts unless the cluster says otherwise: 90 days, as upstream.
pub const LEAF_VALIDITY_DEFAULT: Duration = Duration::from_secs(90 * 24 * 3600);
/// The shortest life a certificate may be given. As upstream.
pub const LEAF_VALIDITY_MIN: Duration = Duration::from_secs(3600);
/// How far back a node's certificate begins, for clocks that are behind. As upstream.
pub const LEAF_BACKDATE: Duration = Duration::from_secs(3600);
/// The largest signing request that is read. One for an RSA key of 4096 bits with every common extension has 3 KB.
pub const REQUEST_BYTES_MAX: usize = 16 * 1024;

/// Certificates begin and end on whole minutes.
pub(crate) const MINUTE: Duration = Duration::from_secs(60);

/// As long as X.509 allows.
const SERIAL_BYTES: usize = 20;

impl RootCa {
    /// Issues a certificate for `identity` to the key of a signing request (PEM), whose other contents are ignored.
    ///
    /// The certificate counts from an hour ago until `validity` from now, to the minute. Less than
    /// [`LEAF_VALIDITY_MIN`] means [`LEAF_VALIDITY_DEFAULT`], as upstream. The answer is the chain as PEM text: the
    /// leaf, then the intermediates of this root.
    ///
    /// # Errors
    ///
    /// [`Error::MalformedRequest`] for a request that no certificate can be made for, [`Error::NoSigner`] when the key
    /// is elsewhere.
    pub fn issue(&self, request: &str, identity: &Identity, validity: Duration, env: &Env) -> Result<String, Error> {
        let signer = self.signer()?;
        let key = public_key(request)?;
        let params = params(identity, &serial(env), span(validity, env.now()))?;
        let certificate = compose::signed_by(params, &key, &parse(&signer.certificate)?, &signer.key)?;
        Ok(pem_text::encode(pem_text::CERTIFICATE, &certificate) + self.intermediates())
    }
}

/// The key of a request (SubjectPublicKeyInfo) that can be answered at all: readable, of an accepted size and key, and
/// signed by that key.
pub(crate) fn public_key(request: &str) -> Result<Vec<u8>, Error> {
    let malformed = |reason: String| Error::MalformedRequest { reason };
    if request.len() > REQUEST_BYTES_MAX {
        return Err(malformed(format!("larger than {REQUEST_BYTES_MAX} bytes")));
    }
    let block = pem::parse(request).map_err(|error| malformed(error.to_string()))?;
    if block.tag() != pem_text::REQUEST && block.tag() != "NEW CERTIFICATE REQUEST" {
        return Err(malformed(format!("a block of kind {:?}", block.tag())));
    }
    let signed = Signed::from_der(block.contents()).map_err(|error| malformed(error.to_string()))?;
    let (_, parsed) =
        X509CertificationRequest::from_der(block.contents()).map_err(|error| malformed(error.to_string()))?;
    let key = &parsed.certification_request_info.subject_pki;
    check_key(key).map_err(|error| malformed(error.to_string()))?;
    if !algorithm::verify(signed.way, key.raw, signed.statement, signed.signature) {
        return Err(malformed("its signature was not made with its key in an accepted way".to_owned()));
    }
    Ok(key.raw.to_vec())
}

/// When a certificate that is issued now is to count, for a wanted life of `validity`.
pub(crate) fn span(validity: Duration, now: SystemTime) -> Validity {
    let validity = if validity < LEAF_VALIDITY_MIN { LEAF_VALIDITY_DEFAULT } else { validity };
    let now = to_the_minute(now);
    Validity { not_before: now - LEAF_BACKDATE, not_after: now + validity }
}

/// What a node's certificate says, but for its key and its issuer.
fn params(identity: &Identity, serial: &[u8], validity: Validity) -> Result<CertificateParams, Error> {
    let subject = [
        (DnType::OrganizationName, identity.cluster.as_str()),
        (DnType::OrganizationalUnitName, role_name(identity.role)),
        (DnType::CommonName, identity.node.as_str()),
    ];
    let mut params = compose::about(serial, validity, &subject)?;
    params.subject_alt_names = identity
        .names()
        .into_iter()
        .map(|name| name.try_into().map(SanType::DnsName).map_err(Error::crypto))
        .collect::<Result<_, _>>()?;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    Ok(params)
}

/// Issues a certificate to the signer's own key and checks it as any node would, so that a signer whose certificates
/// nobody would accept (a path length of zero in the middle of its chain, a forbidden use, a name it may not give) is found out at once.
pub(crate) fn try_out(root: &RootCa, env: &Env) -> Result<(), Error> {
    let request = root.signer()?.key.request()?;
    let nobody = Identity::new(NodeId::from("trial"), NodeRole::Worker, ClusterId::from("trial"));
    let chain = pem_text::certificates(&root.issue(&request, &nobody, LEAF_VALIDITY_MIN, env)?)?;
    verify_chain(root, &chain, Expiry::Enforced, env.now())
        .map(drop)
        .map_err(|error| Error::UnusableSigner { reason: error.to_string() })
}

/// A random serial number, positive.
pub(crate) fn serial(env: &Env) -> [u8; SERIAL_BYTES] {
    let mut bytes = [0; SERIAL_BYTES];
    env.fill_random(&mut bytes);
    bytes[0] &= 0x7f;
    bytes
}

/// The nearest whole minute.
pub(crate) fn to_the_minute(time: SystemTime) -> SystemTime {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let minutes = (since + MINUTE / 2).as_secs() / MINUTE.as_secs();
    SystemTime::UNIX_EPOCH + MINUTE * u32::try_from(minutes).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
