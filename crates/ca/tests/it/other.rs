//! The other end of a handshake, as another implementation might be.

use std::sync::Arc;

use rustls::{
    ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
    version::{TLS12, TLS13},
};
use swarmkit_ca::{KeyPair, RootCa};

use crate::world::Wall;

/// Another implementation at the other end, which shows its chain in whatever order.
pub(crate) struct Other<'a> {
    pub(crate) provider: Arc<CryptoProvider>,
    pub(crate) trusts: &'a RootCa,
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: &'a KeyPair,
    pub(crate) version: &'static SupportedProtocolVersion,
}

pub(crate) const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

impl Other<'_> {
    pub(crate) fn client(self, wall: &Wall) -> Arc<ClientConfig> {
        let config = ClientConfig::builder_with_details(self.provider.clone(), Arc::new(wall.clone()));
        let config =
            config.with_protocol_versions(&[self.version]).unwrap().with_root_certificates(anchors(self.trusts));
        Arc::new(config.with_client_auth_cert(self.chain, private(self.key)).unwrap())
    }

    pub(crate) fn server(self, wall: &Wall) -> Arc<ServerConfig> {
        let verifier =
            WebPkiClientVerifier::builder_with_provider(anchors(self.trusts), self.provider.clone()).build().unwrap();
        let config = ServerConfig::builder_with_details(self.provider.clone(), Arc::new(wall.clone()));
        let config = config.with_protocol_versions(&[self.version]).unwrap().with_client_cert_verifier(verifier);
        Arc::new(config.with_single_cert(self.chain, private(self.key)).unwrap())
    }
}

/// What such an implementation has without additions of ours.
pub(crate) fn ring() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn anchors(roots: &RootCa) -> Arc<RootCertStore> {
    let mut anchors = RootCertStore::empty();
    roots.roots().iter().for_each(|root| anchors.add(root.clone()).unwrap());
    Arc::new(anchors)
}

fn private(key: &KeyPair) -> PrivateKeyDer<'static> {
    PrivateKeyDer::from_pem_slice(key.to_pem().as_bytes()).unwrap()
}
