//! Who a certificate says its holder is.

use swarmkit_api::{ClusterId, NodeId, NodeRole};
use x509_parser::{certificate::X509Certificate, prelude::FromDer as _, x509::AttributeTypeAndValue};

use crate::error::Error;

/// The role name of workers: the organizational unit in their certificates.
pub const WORKER: &str = "swarm-worker";
/// The role name of managers: the organizational unit in their certificates, and the server name that clients verify.
pub const MANAGER: &str = "swarm-manager";
/// The name of the certificate authority: the common name of a self-made root, and the server name that nodes verify
/// while they have no certificate of their own. Managers carry it beside their role.
pub const SWARM_CA: &str = "swarm-ca";

/// One node as the rest of its cluster knows it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The node: the certificate's common name.
    pub node: NodeId,
    /// What it may do: the certificate's organizational unit.
    pub role: NodeRole,
    /// The cluster it belongs to: the certificate's organization.
    pub cluster: ClusterId,
}

/// The name of a role in certificates.
#[must_use]
pub fn role_name(role: NodeRole) -> &'static str {
    match role {
        NodeRole::Worker => WORKER,
        NodeRole::Manager => MANAGER,
    }
}

fn parse_role(name: &str) -> Option<NodeRole> {
    [NodeRole::Worker, NodeRole::Manager].into_iter().find(|&role| role_name(role).eq_ignore_ascii_case(name))
}

// === impl Identity ===

impl Identity {
    /// An identity to issue a certificate for.
    #[must_use]
    pub fn new(node: NodeId, role: NodeRole, cluster: ClusterId) -> Self {
        Self { node, role, cluster }
    }

    /// Reads the subject of a certificate. The certificate must have been verified before: this only reads.
    ///
    /// Where a certificate names several units, the one that may do most counts.
    ///
    /// # Errors
    ///
    /// When the bytes are no certificate, a part of the subject is missing, or no unit is a known role.
    pub fn from_certificate(der: &[u8]) -> Result<Self, Error> {
        let (_, certificate) =
            X509Certificate::from_der(der).map_err(|error| Error::malformed("certificate", error))?;
        Self::from_parsed(&certificate)
    }

    pub(crate) fn from_parsed(certificate: &X509Certificate<'_>) -> Result<Self, Error> {
        let subject = certificate.subject();
        let node = first(subject.iter_common_name(), "common name")?;
        let cluster = first(subject.iter_organization(), "organization")?;
        let unit = first(subject.iter_organizational_unit(), "organizational unit")?;
        let role = subject.iter_organizational_unit().filter_map(text).filter_map(parse_role).max();
        let role = role.ok_or_else(|| Error::UnknownRole { role: unit.to_owned() })?;
        Ok(Self { node: NodeId::from(node), role, cluster: ClusterId::from(cluster) })
    }

    /// The DNS names that the certificate of this node carries, in upstream's order: its role, its id, and
    /// [`SWARM_CA`] for a manager.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        let mut names = vec![role_name(self.role), self.node.as_str()];
        names.extend((self.role == NodeRole::Manager).then_some(SWARM_CA));
        names
    }
}

fn text<'a>(attribute: &'a AttributeTypeAndValue<'_>) -> Option<&'a str> {
    attribute.as_str().ok().filter(|text| !text.is_empty())
}

fn first<'a>(
    mut attributes: impl Iterator<Item = &'a AttributeTypeAndValue<'a>>,
    missing: &'static str,
) -> Result<&'a str, Error> {
    attributes.find_map(text).ok_or(Error::IncompleteSubject { missing })
}

/// The common name of a certificate, for messages.
pub(crate) fn common_name(certificate: &X509Certificate<'_>) -> String {
    certificate.subject().iter_common_name().find_map(text).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType};

    use super::*;
    use crate::key::{KeySource as _, SystemKeys};

    fn named(parts: &[(DnType, &str)]) -> Result<Identity, Error> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for (kind, value) in parts {
            params.distinguished_name.push(kind.clone(), *value);
        }
        let certificate = params.self_signed(&SystemKeys.generate().unwrap()).unwrap();
        Identity::from_certificate(certificate.der())
    }

    #[test]
    fn a_subject_must_name_node_role_and_cluster() {
        use DnType::{CommonName, OrganizationName, OrganizationalUnitName};
        let full = [(OrganizationName, "c"), (OrganizationalUnitName, "Swarm-Manager"), (CommonName, "n")];
        let identity = named(&full).unwrap();
        assert_eq!(identity, Identity::new("n".into(), NodeRole::Manager, "c".into()));
        for (index, missing) in ["organization", "organizational unit", "common name"].into_iter().enumerate() {
            let mut parts = full.to_vec();
            parts.remove(index);
            assert_eq!(named(&parts).unwrap_err().to_string(), format!("certificate names no {missing}"));
        }
    }

    #[test]
    fn a_role_that_is_not_known_is_refused() {
        let error = named(&[
            (DnType::OrganizationName, "c"),
            (DnType::OrganizationalUnitName, "swarm-admin"),
            (DnType::CommonName, "n"),
        ]);
        assert_eq!(error.unwrap_err().to_string(), "unknown role \"swarm-admin\" in certificate");
    }

    #[test]
    fn bytes_that_are_no_certificate_are_refused() {
        assert!(matches!(Identity::from_certificate(b"garbage"), Err(Error::Malformed { .. })));
    }
}
