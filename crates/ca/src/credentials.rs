//! A node's present certificate and trust roots, replaceable while it runs.

use std::{fmt, sync::Arc, time::SystemTime};

use rustls::{ClientConfig, ServerConfig};
use swarmkit_api::wire;
use swarmkit_runtime::Env;
use tokio::sync::watch;

use crate::{
    certificate::{IssuerInfo, NodeCertificate},
    chain::Expiry,
    error::Error,
    identity::Identity,
    root::RootCa,
    tls,
};

/// What a node shows and trusts at one moment. It does not change; [`Credentials`] moves on to another.
pub struct Trust {
    root: RootCa,
    node: NodeCertificate,
    issuer: IssuerInfo,
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
    generation: u64,
}

/// A node's certificate, key and trust roots, as they are now. Clones share them.
///
/// Take [`Credentials::trust`] anew for every handshake: connections made before a change keep what they were made
/// with, so whoever keeps connections open watches [`Credentials::subscribe`] and replaces them.
#[derive(Clone)]
pub struct Credentials {
    trust: watch::Sender<Arc<Trust>>,
    env: Env,
}

// === impl Trust ===

impl Trust {
    fn new(root: RootCa, node: NodeCertificate, expiry: Expiry, generation: u64, env: &Env) -> Result<Self, Error> {
        let issuer = node.verify(&root, expiry, env.now())?;
        let (client, server) = (tls::client(&root, &node, env)?, tls::server(&root, &node, env)?);
        Ok(Self { root, node, issuer, client, server, generation })
    }

    /// Who this node is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        self.node.identity()
    }

    /// Whom it trusts.
    #[must_use]
    pub fn root(&self) -> &RootCa {
        &self.root
    }

    /// What it shows.
    #[must_use]
    pub fn certificate(&self) -> &NodeCertificate {
        &self.node
    }

    /// Who signed what it shows.
    #[must_use]
    pub fn issuer(&self) -> &IssuerInfo {
        &self.issuer
    }

    /// What managers are told of it, by which they see whose certificate this node has.
    #[must_use]
    pub fn tls_info(&self) -> wire::NodeTlsInfo {
        wire::NodeTlsInfo {
            trust_root: self.root.bundle().to_owned().into(),
            cert_issuer_subject: self.issuer.subject.clone().into(),
            cert_issuer_public_key: self.issuer.public_key.clone().into(),
        }
    }

    /// How many changes came before it: what was made under another generation is out of date.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// TLS settings for calling managers: verify the name [`MANAGER`](crate::MANAGER) with them.
    #[must_use]
    pub fn client_config(&self) -> Arc<ClientConfig> {
        self.client.clone()
    }

    /// TLS settings for serving. A caller may come without a certificate.
    #[must_use]
    pub fn server_config(&self) -> Arc<ServerConfig> {
        self.server.clone()
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust").field("identity", self.identity()).field("root", &self.root).finish_non_exhaustive()
    }
}

// === impl Credentials ===

impl Credentials {
    /// Starts with a certificate that verifies under these roots now.
    ///
    /// # Errors
    ///
    /// As [`verify_chain`](crate::verify_chain).
    pub fn new(root: RootCa, node: NodeCertificate, env: &Env) -> Result<Self, Error> {
        Self::with_expiry(root, node, Expiry::Enforced, env)
    }

    /// Like [`Credentials::new`]; an expired certificate may be tolerated, for forcing a new cluster.
    ///
    /// # Errors
    ///
    /// As [`verify_chain`](crate::verify_chain).
    pub fn with_expiry(root: RootCa, node: NodeCertificate, expiry: Expiry, env: &Env) -> Result<Self, Error> {
        let trust = Trust::new(root, node, expiry, 0, env)?;
        Ok(Self { trust: watch::Sender::new(Arc::new(trust)), env: env.clone() })
    }

    /// What holds now. Later changes do not reach it.
    #[must_use]
    pub fn trust(&self) -> Arc<Trust> {
        self.trust.borrow().clone()
    }

    /// TLS settings for calling a server over HTTP/1.1 that is not a node: its certificate must chain to one of `roots`, and
    /// this node shows the one that it has now. Take them anew for each call, since renewals replace them.
    ///
    /// # Errors
    ///
    /// When the roots cannot be used for verification.
    pub fn https_client(&self, roots: &[&RootCa]) -> Result<Arc<ClientConfig>, Error> {
        tls::https_client(roots, &self.trust().node, &self.env)
    }

    /// Who this node is now. Its role may change with a renewal.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.trust.borrow().identity().clone()
    }

    /// Follows the changes.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Arc<Trust>> {
        self.trust.subscribe()
    }

    /// The present time, by the clock that handshakes are checked against.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        self.env.now()
    }

    /// Shows a renewed certificate from now on.
    ///
    /// # Errors
    ///
    /// As [`verify_chain`](crate::verify_chain), and then nothing has changed.
    pub fn replace_certificate(&self, node: NodeCertificate) -> Result<(), Error> {
        self.replace(|trust| Trust::new(trust.root.clone(), node, Expiry::Enforced, trust.generation + 1, &self.env))
    }

    /// Trusts other roots from now on.
    ///
    /// # Errors
    ///
    /// [`Error::RootMismatch`] when this node's own certificate would not verify under them, and then nothing has
    /// changed.
    pub fn replace_root(&self, root: RootCa) -> Result<(), Error> {
        self.replace(|trust| {
            Trust::new(root, trust.node.clone(), Expiry::Enforced, trust.generation + 1, &self.env).map_err(|error| {
                match error {
                    Error::UnknownAuthority | Error::BrokenChain => Error::RootMismatch,
                    other => other,
                }
            })
        })
    }

    /// Changes are made one at a time, each from the one before.
    fn replace(&self, next: impl FnOnce(&Trust) -> Result<Trust, Error>) -> Result<(), Error> {
        let mut result = Ok(());
        self.trust.send_if_modified(|trust| match next(trust) {
            Ok(next) => {
                *trust = Arc::new(next);
                true
            }
            Err(error) => {
                result = Err(error);
                false
            }
        });
        result
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Credentials").field(&*self.trust.borrow()).finish()
    }
}

#[cfg(test)]
mod tests;
