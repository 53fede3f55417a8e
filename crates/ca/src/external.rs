//! The seam to authorities outside of the cluster: whom to ask, what for, and what of their answers is believed.
//!
//! Where the key of the cluster's root is not kept in the cluster, someone else signs. This module knows which of the
//! authorities in the cluster's settings those are ([`Authorities`]), what a certificate is to look like
//! ([`SigningOrder`]), and whether one that came back does ([`SigningOrder::accept`]). Who carries the question there is an
//! [`ExternalCa`].

use std::time::{Duration, SystemTime};

use futures_util::future::BoxFuture;
use rustls_pki_types::CertificateDer;
use swarmkit_api::{wire, wire::external_ca::CaProtocol};
use x509_parser::extensions::{GeneralName, ParsedExtension};

use crate::{
    certificate::{Validity, parse},
    chain::{Expiry, verify_chain},
    error::Error,
    identity::Identity,
    issue, pem_text,
    root::RootCa,
};

/// Carries questions to authorities outside of the cluster.
///
/// An implementation
///
/// - asks the authorities of the list in its order, takes the first answer, and returns the last error when there is none;
/// - bounds each question in time and size, so that a call ends whatever the authority does. Callers may drop a call;
/// - shows the certificate that this node has at the moment of the call, not the one it had earlier;
/// - talks only to servers whose own certificate chains to [`Authorities::servers`] ([`ExternalCa::reach`]: to
///   [`Authorities::root`]);
/// - need not look at what it gets: callers check it, with [`SigningOrder::accept`] or by building a [`RootCa`] of it.
///
/// Calls may run at the same time, and each may be repeated.
pub trait ExternalCa: Send + Sync + 'static {
    /// Asks for a certificate. The answer is PEM text, leaf first, without what follows every leaf in this cluster.
    ///
    /// # Errors
    ///
    /// [`ExternalCaError::NoUrls`], [`ExternalCaError::Unavailable`] or [`ExternalCaError::Refused`].
    fn sign<'a>(
        &'a self,
        authorities: &'a Authorities,
        order: &'a SigningOrder,
    ) -> BoxFuture<'a, Result<String, ExternalCaError>>;

    /// Asks for the certificate of another root, signed by the one of `authorities`: with its name and its key, so that who
    /// trusts only the present root believes what the other one signs. `root` must hold its key, which signs the
    /// request. The answer is one certificate, as PEM text.
    ///
    /// # Errors
    ///
    /// As [`ExternalCa::sign`]; [`ExternalCaError::Refused`] also when `root` cannot make the request.
    fn cross_sign<'a>(
        &'a self,
        authorities: &'a Authorities,
        root: &'a RootCa,
    ) -> BoxFuture<'a, Result<String, ExternalCaError>>;

    /// Finds out whether anybody is there who holds a certificate of [`Authorities::root`]. Nothing is asked for.
    ///
    /// # Errors
    ///
    /// [`ExternalCaError::NoUrls`] or [`ExternalCaError::Unavailable`].
    fn reach<'a>(&'a self, authorities: &'a Authorities) -> BoxFuture<'a, Result<(), ExternalCaError>>;
}

/// Why an authority outside of the cluster gave no certificate.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExternalCaError {
    /// None of the authorities in the cluster's settings signs for this root.
    #[error("no external CA URLs")]
    NoUrls,
    /// It gave no answer that could be understood. It may, later.
    #[error("external CA {url}: {reason}")]
    Unavailable {
        /// Who was asked.
        url: String,
        /// What happened.
        reason: String,
    },
    /// It will not sign this.
    #[error("external CA {url}: {reason}")]
    Refused {
        /// Who was asked.
        url: String,
        /// What it said.
        reason: String,
    },
    /// It has signed something else than it was asked for.
    #[error("the external CA has issued a certificate that cannot be used: {reason}")]
    Unfit {
        /// What stands against it.
        reason: String,
    },
}

/// The authorities that sign under one root, out of all that the cluster knows.
#[derive(Clone, Debug)]
pub struct Authorities {
    urls: Vec<String>,
    root: RootCa,
    current: RootCa,
}

/// A certificate that is wanted.
#[derive(Clone, Debug)]
pub struct SigningOrder {
    request: String,
    key: Vec<u8>,
    identity: Identity,
    validity: Duration,
}

/// Nobody outside of the cluster: for clusters that keep their key, and for tests of everything else.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoExternalCa;

// === impl ExternalCaError ===

impl ExternalCaError {
    /// Whether the same question may be answered later.
    #[must_use]
    pub fn is_recoverable(&self) -> bool {
        match self {
            Self::NoUrls | Self::Unavailable { .. } => true,
            Self::Refused { .. } | Self::Unfit { .. } => false,
        }
    }
}

// === impl Authorities ===

impl Authorities {
    /// The authorities that sign under `root`, in a cluster whose root is `current`: the two differ while the root is being
    /// replaced, and where it is to be found out whether it could be.
    ///
    /// An authority that says no root is of the current one. Those that speak another protocol do not count.
    #[must_use]
    pub fn new(known: &[wire::ExternalCa], root: &RootCa, current: &RootCa) -> Self {
        let wanted = pem_text::normalize(root.bundle()).ok();
        let signs = |authority: &&wire::ExternalCa| {
            let said = std::str::from_utf8(&authority.ca_cert).ok();
            let said = said.map(|said| if said.trim().is_empty() { current.bundle() } else { said });
            authority.protocol == i32::from(CaProtocol::Cfssl)
                && wanted.is_some()
                && said.and_then(|said| pem_text::normalize(said).ok()) == wanted
        };
        let urls = known.iter().filter(signs).map(|authority| authority.url.clone()).collect();
        Self { urls, root: root.clone(), current: current.clone() }
    }

    /// Where to ask, in this order.
    #[must_use]
    pub fn urls(&self) -> &[String] {
        &self.urls
    }

    /// Whether there is nobody to ask.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.urls.is_empty()
    }

    /// The root that they sign under.
    #[must_use]
    pub fn root(&self) -> &RootCa {
        &self.root
    }

    /// The roots, one of which the certificate of a server that is asked must chain to: theirs, and that of the cluster.
    #[must_use]
    pub fn servers(&self) -> [&RootCa; 2] {
        [&self.current, &self.root]
    }
}

// === impl SigningOrder ===

impl SigningOrder {
    /// Orders a certificate for `identity`, for the key of a signing request (PEM). Its other contents count for nothing.
    ///
    /// `validity` is what [`RootCa::issue`] would be given. An authority outside may have its own mind about it.
    ///
    /// # Errors
    ///
    /// [`Error::MalformedRequest`] for a request that no certificate can be made for.
    pub fn new(request: &str, identity: Identity, validity: Duration) -> Result<Self, Error> {
        let key = issue::public_key(request)?;
        Ok(Self { request: request.to_owned(), key, identity, validity })
    }

    /// The signing request, PEM.
    #[must_use]
    pub fn request(&self) -> &str {
        &self.request
    }

    /// Whom the certificate is for.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// When the certificate is to count, if it is made now.
    #[must_use]
    pub fn validity(&self, now: SystemTime) -> Validity {
        issue::span(self.validity, now)
    }

    /// Checks that a certificate (PEM, leaf first) is what was ordered, and makes the chain of it that the node is given:
    /// what follows every leaf of `root` follows.
    ///
    /// It must be for the ordered key and name exactly this node in this role, neither less nor more: with a name too many a
    /// worker could pass for a manager. It must be of use on both sides of a connection, be no authority itself, and
    /// chain to `root`. How long it lives is the authority's business.
    ///
    /// # Errors
    ///
    /// [`ExternalCaError::Unfit`], which says why.
    pub fn accept(&self, certificate: &str, root: &RootCa, now: SystemTime) -> Result<String, ExternalCaError> {
        let unfit = |reason: String| ExternalCaError::Unfit { reason };
        let leading = pem_text::certificates(certificate).map_err(|error| unfit(error.to_string()))?;
        let text = pem_text::encode_certificates(&leading) + root.intermediates();
        let leaf = leading.first().ok_or_else(|| unfit("there is none in the answer".to_owned()))?;
        self.check_leaf(leaf).map_err(unfit)?;
        pem_text::certificates(&text)
            .and_then(|chain| verify_chain(root, &chain, Expiry::Enforced, now))
            .map_err(|error| unfit(error.to_string()))?;
        Ok(text)
    }

    fn check_leaf(&self, der: &CertificateDer<'static>) -> Result<(), String> {
        let leaf = parse(der).map_err(|error| error.to_string())?;
        if leaf.public_key().raw != self.key {
            return Err("it is for another key".to_owned());
        }
        let identity = Identity::from_parsed(&leaf).map_err(|error| error.to_string())?;
        if identity != self.identity {
            let Identity { node, role, cluster } = identity;
            return Err(format!("it is for node {node} as {role:?} of cluster {cluster}"));
        }
        // Others may read the last one of several where we read the first.
        let subject = leaf.subject();
        let parts = [
            subject.iter_common_name().count(),
            subject.iter_organizational_unit().count(),
            subject.iter_organization().count(),
        ];
        if parts != [1; 3] {
            return Err("its subject says more than one thing".to_owned());
        }
        if leaf.is_ca() {
            return Err("it is that of an authority".to_owned());
        }
        let mut uses = leaf.extensions().iter().filter_map(|extension| match extension.parsed_extension() {
            ParsedExtension::ExtendedKeyUsage(uses) => Some(uses.server_auth && uses.client_auth),
            _ => None,
        });
        if !uses.all(|both| both) {
            return Err("it is not for servers and clients both".to_owned());
        }
        let names = leaf.subject_alternative_name().map_err(|error| error.to_string())?;
        let names = names.map(|names| names.value.general_names.as_slice()).unwrap_or_default();
        let wanted = self.identity.names();
        let is_wanted = |name: &GeneralName<'_>| matches!(name, GeneralName::DNSName(name) if wanted.contains(name));
        if let Some(other) = names.iter().find(|name| !is_wanted(name)) {
            return Err(format!("it has a name too many, {other}"));
        }
        match wanted.iter().find(|name| !names.contains(&GeneralName::DNSName(name))) {
            Some(missing) => Err(format!("the name {missing} is missing from it")),
            None => Ok(()),
        }
    }
}

// === impl NoExternalCa ===

impl ExternalCa for NoExternalCa {
    fn sign<'a>(&'a self, _: &'a Authorities, _: &'a SigningOrder) -> BoxFuture<'a, Result<String, ExternalCaError>> {
        Box::pin(async { Err(ExternalCaError::NoUrls) })
    }

    fn cross_sign<'a>(&'a self, _: &'a Authorities, _: &'a RootCa) -> BoxFuture<'a, Result<String, ExternalCaError>> {
        Box::pin(async { Err(ExternalCaError::NoUrls) })
    }

    fn reach<'a>(&'a self, _: &'a Authorities) -> BoxFuture<'a, Result<(), ExternalCaError>> {
        Box::pin(async { Err(ExternalCaError::NoUrls) })
    }
}

#[cfg(test)]
mod tests;
