//! Checking chains that come from disk or from another node.

use std::time::{Duration, SystemTime};

use rustls::{
    CertificateError, RootCertStore, client::verify_server_cert_signed_by_trust_anchor, server::ParsedCertificate,
};
use rustls_pki_types::{CertificateDer, UnixTime};
use x509_parser::{
    certificate::X509Certificate,
    oid_registry::{
        OID_PKCS1_SHA256WITHRSA, OID_PKCS1_SHA384WITHRSA, OID_PKCS1_SHA512WITHRSA, OID_SIG_ECDSA_WITH_SHA256,
        OID_SIG_ECDSA_WITH_SHA384, OID_SIG_ECDSA_WITH_SHA512, Oid,
    },
};

use crate::{
    algorithm::{self, VERIFICATION, check_key},
    certificate::{self, IssuerInfo, issuer_info, parse, validity},
    error::Error,
    identity::common_name,
    root::RootCa,
};

/// Whether a certificate whose time is over may still be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// It is refused.
    Enforced,
    /// It is accepted when there was a moment at which the whole chain was valid: for forcing a new cluster only.
    Tolerated,
}

/// Checks that a chain (leaf first) is in order, in time, and ends at one of the trusted roots.
///
/// The self-signed root at its end may be there or not. A chain of intermediates alone is checked as well.
///
/// # Errors
///
/// [`Error::NotYetValid`] and [`Error::Expired`] name the first certificate out of time, [`Error::BrokenChain`] says
/// that one is not signed by the next, [`Error::UnknownAuthority`] that no trusted root signed the last one. With
/// [`Expiry::Tolerated`], [`Error::NoCommonSpan`] takes the place of expiry; not yet valid is never tolerated.
pub fn verify_chain(
    root: &RootCa,
    chain: &[CertificateDer<'static>],
    expiry: Expiry,
    now: SystemTime,
) -> Result<IssuerInfo, Error> {
    let parsed = chain.iter().map(|der| parse(der)).collect::<Result<Vec<_>, _>>()?;
    let Some(leaf) = parsed.first() else {
        return Err(Error::malformed("certificate chain", "no certificate"));
    };
    for (index, certificate) in parsed.iter().enumerate() {
        check_time(certificate, index + 1, expiry, now)?;
        check_algorithm(certificate)?;
        check_key(certificate.public_key())?;
    }
    for pair in parsed.windows(2) {
        if !signs(&pair[1], &pair[0]) {
            return Err(Error::BrokenChain);
        }
    }
    match expiry {
        Expiry::Enforced => verify_at(root, chain, &parsed, now)?,
        Expiry::Tolerated => verify_at_some_time(root, chain, &parsed, now)?,
    }
    let roots = root.roots().iter().map(|der| parse(der)).collect::<Result<Vec<_>, _>>()?;
    let issuer = parsed.get(1).or_else(|| roots.iter().find(|root| signs(root, leaf)));
    issuer.map(issuer_info).ok_or(Error::UnknownAuthority)
}

/// Whether `issuer` made the signature of `certificate`, by name and by key.
pub(crate) fn signs(issuer: &X509Certificate<'_>, certificate: &X509Certificate<'_>) -> bool {
    certificate.issuer().as_raw() == issuer.subject().as_raw() && is_signed_with(certificate, issuer.public_key().raw)
}

/// Whether a key (SubjectPublicKeyInfo) made the signature of a certificate.
fn is_signed_with(certificate: &X509Certificate<'_>, key: &[u8]) -> bool {
    let statement = certificate.tbs_certificate.as_ref();
    certificate::way_of_signing(statement)
        .is_some_and(|way| algorithm::verify(way, key, statement, &certificate.signature_value.data))
}

/// Checks the moment against a certificate's validity. Positions count from one.
pub(crate) fn check_time(
    certificate: &X509Certificate<'_>,
    position: usize,
    expiry: Expiry,
    now: SystemTime,
) -> Result<(), Error> {
    let validity = validity(certificate);
    let subject = || common_name(certificate);
    if now < validity.not_before {
        return Err(Error::NotYetValid { position, subject: subject(), not_before: validity.not_before, now });
    }
    if now > validity.not_after && expiry == Expiry::Enforced {
        return Err(Error::Expired { position, subject: subject(), not_after: validity.not_after, now });
    }
    Ok(())
}

/// Only RSA (PKCS#1 v1.5) and ECDSA with SHA-2 may have signed a certificate.
pub(crate) fn check_algorithm(certificate: &X509Certificate<'_>) -> Result<(), Error> {
    const ACCEPTED: [Oid<'static>; 6] = [
        OID_PKCS1_SHA256WITHRSA,
        OID_PKCS1_SHA384WITHRSA,
        OID_PKCS1_SHA512WITHRSA,
        OID_SIG_ECDSA_WITH_SHA256,
        OID_SIG_ECDSA_WITH_SHA384,
        OID_SIG_ECDSA_WITH_SHA512,
    ];
    if ACCEPTED.contains(&certificate.signature_algorithm.algorithm) {
        Ok(())
    } else {
        Err(Error::UnsupportedSignature { subject: common_name(certificate) })
    }
}

/// Tries the moments at which members of the chain ended, from the leaf's on backwards.
fn verify_at_some_time(
    root: &RootCa,
    chain: &[CertificateDer<'static>],
    parsed: &[X509Certificate<'_>],
    now: SystemTime,
) -> Result<(), Error> {
    const AFTER_THE_LEAF: Duration = Duration::from_secs(3600);
    let mut moment = validity(&parsed[0]).not_after + AFTER_THE_LEAF;
    let mut last = verify_at(root, chain, parsed, now);
    for certificate in parsed {
        if last.is_ok() {
            break;
        }
        moment = moment.min(validity(certificate).not_after);
        last = verify_at(root, chain, parsed, moment);
    }
    last.map_err(|error| match error {
        Error::Expired { .. } | Error::NotYetValid { .. } => Error::NoCommonSpan,
        other => other,
    })
}

/// Checks the path from the first certificate to a root that is itself valid at that moment.
fn verify_at(
    root: &RootCa,
    chain: &[CertificateDer<'static>],
    parsed: &[X509Certificate<'_>],
    moment: SystemTime,
) -> Result<(), Error> {
    let is_valid_then = |der: &&CertificateDer<'static>| {
        parse(der).is_ok_and(|root| check_time(&root, 1, Expiry::Enforced, moment).is_ok())
    };
    let roots: Vec<_> = root.roots().iter().filter(is_valid_then).collect();
    for (index, certificate) in parsed.iter().enumerate() {
        check_time(certificate, index + 1, Expiry::Enforced, moment)?;
    }
    if parsed[0].is_ca() {
        return verify_authority(&roots, parsed);
    }
    let mut anchors = RootCertStore::empty();
    for root in roots {
        anchors.add(root.clone()).map_err(|error| Error::malformed("root CA certificate", error))?;
    }
    let leaf = ParsedCertificate::try_from(&chain[0]).map_err(|error| Error::malformed("certificate", error))?;
    let seconds = moment.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    verify_server_cert_signed_by_trust_anchor(
        &leaf,
        &anchors,
        &chain[1..],
        UnixTime::since_unix_epoch(seconds),
        VERIFICATION.all,
    )
    .map_err(from_rustls)
}

/// Checks a chain of authorities: each may sign, and a root signed one of them.
fn verify_authority(roots: &[&CertificateDer<'static>], parsed: &[X509Certificate<'_>]) -> Result<(), Error> {
    let roots = roots.iter().map(|der| parse(der)).collect::<Result<Vec<_>, _>>()?;
    for certificate in parsed {
        if !certificate.is_ca() {
            return Err(Error::BrokenChain);
        }
        if roots.iter().any(|root| signs(root, certificate)) {
            return Ok(());
        }
    }
    Err(Error::UnknownAuthority)
}

fn from_rustls(error: rustls::Error) -> Error {
    match error {
        // All self-made roots bear the same name, so another cluster's shows as a signature that does not fit.
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
            Error::UnknownAuthority
        }
        other => Error::malformed("certificate chain", other),
    }
}

#[cfg(test)]
mod tests;
