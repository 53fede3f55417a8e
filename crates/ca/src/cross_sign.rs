//! Cross-signing: how those who trust one root come to trust what another root signs.
//!
//! While a cluster changes its root, its nodes trust the old one only. The old root therefore signs the new one's name
//! and key: that *cross certificate* issues with the new key, and follows every leaf.

use rcgen::{CertificateParams, CustomExtension};
use x509_parser::{
    certificate::X509Certificate,
    extensions::X509Extension,
    oid_registry,
    x509::{AttributeTypeAndValue, X509Name},
};

use crate::{
    certificate::{self, parse},
    chain::check_algorithm,
    compose,
    der::{elements, replaced, signed},
    error::Error,
    identity::common_name,
    pem_text,
    root::{RootCa, Signer},
};

/// What another authority is told so that it signs the certificate of this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrossSignRequest {
    /// A signing request (PKCS#10, PEM) for the name and the key of this authority, that asks for the same
    /// alternative names and the same basic constraints.
    pub request: String,
    /// The common name of this authority, empty when it has none.
    pub common_name: String,
    /// The other parts of its name, as many as the part that occurs most often.
    pub names: Vec<CrossSignName>,
    /// The contents of its basic constraints (DER), which say that it is an authority. They are critical.
    pub basic_constraints: Vec<u8>,
}

/// Parts of an authority's name beside the common name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is named as X.520 names it")]
pub struct CrossSignName {
    pub country: Option<String>,
    pub province: Option<String>,
    pub locality: Option<String>,
    pub organization: Option<String>,
    pub organizational_unit: Option<String>,
}

impl RootCa {
    /// Signs the certificate of another authority (one, PEM) with this one's key: subject, key, serial number, validity
    /// and extensions stay as they are, byte for byte; issuer and signature are new.
    ///
    /// Whoever trusts this root then accepts what the other authority signs, if the cross certificate follows it.
    ///
    /// # Errors
    ///
    /// [`Error::NoSigner`] when the key is elsewhere, [`Error::NotAnAuthority`] for the certificate of a node,
    /// [`Error::UnsupportedSignature`] as for a root, and [`Error::Malformed`] for what is not exactly one certificate.
    pub fn cross_sign(&self, other_pem: &str) -> Result<String, Error> {
        let Signer { certificate, key, .. } = self.signer()?;
        let other = pem_text::single_certificate(other_pem)?;
        let other = authority(&other)?;
        let issuer = parse(certificate)?;
        let tbs = reissued(other.tbs_certificate.as_ref(), issuer.subject().as_raw(), &key.algorithm().of_signature())?;
        Ok(pem_text::encode(pem_text::CERTIFICATE, &signed(&tbs, key)?))
    }

    /// What to ask another authority for, so that it cross-signs the certificate that this one signs with.
    ///
    /// # Errors
    ///
    /// [`Error::NoSigner`] when the key is elsewhere.
    pub fn cross_sign_request(&self) -> Result<CrossSignRequest, Error> {
        let Signer { certificate, key, .. } = self.signer()?;
        let certificate = authority(certificate)?;
        let constraints = |extension: &&X509Extension<'_>| extension.oid == BASIC_CONSTRAINTS;
        let basic_constraints = certificate.extensions().iter().find(constraints).map(|found| found.value.to_vec());
        let subject = certificate.subject();
        let request = compose::request(&wanted(&certificate), subject.as_raw(), key)?;
        Ok(CrossSignRequest {
            request: pem_text::encode(pem_text::REQUEST, &request),
            common_name: common_name(&certificate),
            names: names(subject),
            // An authority has them: that was checked above.
            basic_constraints: basic_constraints.unwrap_or_default(),
        })
    }
}

const BASIC_CONSTRAINTS: oid_registry::Oid<'static> = oid_registry::OID_X509_EXT_BASIC_CONSTRAINTS;
const ALTERNATIVE_NAMES: oid_registry::Oid<'static> = oid_registry::OID_X509_EXT_SUBJECT_ALT_NAME;

fn authority(der: &[u8]) -> Result<X509Certificate<'_>, Error> {
    let certificate = parse(der)?;
    check_algorithm(&certificate)?;
    if !certificate.is_ca() {
        return Err(Error::NotAnAuthority { subject: common_name(&certificate) });
    }
    Ok(certificate)
}

/// The statement of a certificate with another issuer and another way to sign it.
fn reissued(tbs: &[u8], issuer: &[u8], algorithm: &[u8]) -> Result<Vec<u8>, Error> {
    let malformed = |error| Error::malformed("certificate", error);
    let serial = certificate::place_of_serial(&elements(tbs).map_err(malformed)?);
    replaced(tbs, &[(serial + 1, algorithm), (serial + 2, issuer)]).map_err(malformed)
}

/// What a request for the name and the key of a certificate asks for.
fn wanted(certificate: &X509Certificate<'_>) -> CertificateParams {
    let mut params = compose::blank();
    for extension in certificate.extensions() {
        if extension.oid == BASIC_CONSTRAINTS || extension.oid == ALTERNATIVE_NAMES {
            let id: Vec<u64> = extension.oid.iter().into_iter().flatten().collect();
            let mut same = CustomExtension::from_oid_content(&id, extension.value.to_vec());
            same.set_criticality(extension.critical);
            params.custom_extensions.push(same);
        }
    }
    params
}

/// The first of each part together, then the second ones, and so on.
fn names(subject: &X509Name<'_>) -> Vec<CrossSignName> {
    let country = texts(subject.iter_country());
    let province = texts(subject.iter_state_or_province());
    let locality = texts(subject.iter_locality());
    let organization = texts(subject.iter_organization());
    let organizational_unit = texts(subject.iter_organizational_unit());
    let columns = [&country, &province, &locality, &organization, &organizational_unit];
    let rows = columns.iter().map(|column| column.len()).max().unwrap_or_default();
    (0..rows)
        .map(|row| CrossSignName {
            country: country.get(row).cloned(),
            province: province.get(row).cloned(),
            locality: locality.get(row).cloned(),
            organization: organization.get(row).cloned(),
            organizational_unit: organizational_unit.get(row).cloned(),
        })
        .collect()
}

fn texts<'a>(parts: impl Iterator<Item = &'a AttributeTypeAndValue<'a>>) -> Vec<String> {
    parts.filter_map(|part| part.as_str().ok().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests;
