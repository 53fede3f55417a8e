//! Issuing: from a signing request and an identity to a certificate chain.

use std::time::{Duration, SystemTime};

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, PublicKeyData as _,
    SanType, SerialNumber, SubjectPublicKeyInfo,
};
use swarmkit_api::{ClusterId, NodeId, NodeRole};
use swarmkit_runtime::Env;
use x509_parser::{certification_request::X509CertificationRequest, prelude::FromDer as _};

use crate::{
    certificate::Validity,
    chain::{Expiry, verify_chain},
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
        let issuer = self.issuer()?;
        let key = public_key(request)?;
        let certificate = params(identity, validity, env)?.signed_by(&key, issuer).map_err(Error::crypto)?;
        Ok(pem_text::encode_certificates([certificate.der()]) + self.intermediates())
    }
}

/// Whether a request can be answered at all: readable, of an accepted size and key, and signed by that key.
pub(crate) fn public_key(request: &str) -> Result<SubjectPublicKeyInfo, Error> {
    let malformed = |reason: String| Error::MalformedRequest { reason };
    if request.len() > REQUEST_BYTES_MAX {
        return Err(malformed(format!("larger than {REQUEST_BYTES_MAX} bytes")));
    }
    let block = pem::parse(request).map_err(|error| malformed(error.to_string()))?;
    if block.tag() != pem_text::REQUEST && block.tag() != "NEW CERTIFICATE REQUEST" {
        return Err(malformed(format!("a block of kind {:?}", block.tag())));
    }
    let (_, parsed) =
        X509CertificationRequest::from_der(block.contents()).map_err(|error| malformed(error.to_string()))?;
    parsed.verify_signature().map_err(|error| malformed(error.to_string()))?;
    let key = parsed.certification_request_info.subject_pki.raw;
    let key = SubjectPublicKeyInfo::from_der(key).map_err(|error| malformed(error.to_string()))?;
    if key.algorithm() == &rcgen::PKCS_ED25519 {
        return Err(malformed("an Ed25519 key, which other nodes do not accept".to_owned()));
    }
    Ok(key)
}

/// When a certificate that is issued now is to count, for a wanted life of `validity`.
pub(crate) fn span(validity: Duration, now: SystemTime) -> Validity {
    let validity = if validity < LEAF_VALIDITY_MIN { LEAF_VALIDITY_DEFAULT } else { validity };
    let now = to_the_minute(now);
    Validity { not_before: now - LEAF_BACKDATE, not_after: now + validity }
}

fn params(identity: &Identity, validity: Duration, env: &Env) -> Result<CertificateParams, Error> {
    let span = span(validity, env.now());
    let mut params = CertificateParams::default();
    params.not_before = span.not_before.into();
    params.not_after = span.not_after.into();
    params.serial_number = Some(serial(env));
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, identity.cluster.as_str());
    params.distinguished_name.push(DnType::OrganizationalUnitName, role_name(identity.role));
    params.distinguished_name.push(DnType::CommonName, identity.node.as_str());
    params.subject_alt_names = identity
        .names()
        .into_iter()
        .map(|name| name.try_into().map(SanType::DnsName).map_err(Error::crypto))
        .collect::<Result<_, _>>()?;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

/// Issues a certificate to the signer's own key and checks it as any node would, so that a signer whose certificates
/// nobody would accept (a name that cannot be copied, a path length of zero, a forbidden use) is found out at once.
pub(crate) fn try_out(root: &RootCa, env: &Env) -> Result<(), Error> {
    let request = root.issuer()?.key().request()?;
    let nobody = Identity::new(NodeId::from("trial"), NodeRole::Worker, ClusterId::from("trial"));
    let chain = pem_text::certificates(&root.issue(&request, &nobody, LEAF_VALIDITY_MIN, env)?)?;
    verify_chain(root, &chain, Expiry::Enforced, env.now())
        .map(drop)
        .map_err(|error| Error::UnusableSigner { reason: error.to_string() })
}

/// A random serial number, positive.
pub(crate) fn serial(env: &Env) -> SerialNumber {
    let mut bytes = vec![0; SERIAL_BYTES];
    env.fill_random(&mut bytes);
    bytes[0] &= 0x7f;
    bytes.into()
}

/// The nearest whole minute.
pub(crate) fn to_the_minute(time: SystemTime) -> SystemTime {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let minutes = (since + MINUTE / 2).as_secs() / MINUTE.as_secs();
    SystemTime::UNIX_EPOCH + MINUTE * u32::try_from(minutes).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
