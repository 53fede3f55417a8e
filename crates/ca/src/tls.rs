//! TLS settings: the one place that names a cryptographic provider and writes down what a handshake must look like.

use std::{fmt, sync::Arc, time::SystemTime};

use rustls::{
    ClientConfig, ConfigBuilder, ConfigSide, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme,
    WantsVerifier,
    client::{
        Resumption, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, KeyProvider},
    server::{NoServerSessionStorage, WebPkiClientVerifier},
    sign::{CertifiedKey, SigningKey, SingleCertAndKey},
    time_provider::TimeProvider,
    version::{TLS12, TLS13},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use swarmkit_runtime::Env;
use zeroize::Zeroizing;

use crate::{algorithm::VERIFICATION, certificate::NodeCertificate, error::Error, key::KeyPair, root::RootCa};

/// The application protocol that both sides offer. A peer that offers none is served all the same: older engines do
/// that once their certificate has been renewed.
pub const ALPN_H2: &[u8] = b"h2";

/// The application protocol of plain HTTP.
const ALPN_HTTP: &[u8] = b"http/1.1";

/// Settings for a node that has no certificate yet, but knows the cluster's roots.
///
/// Verify the name [`SWARM_CA`](crate::SWARM_CA) with them.
///
/// # Errors
///
/// When the roots cannot be used for verification.
pub fn joining_client(root: &RootCa, env: &Env) -> Result<Arc<ClientConfig>, Error> {
    let verifier = WebPkiServerVerifier::builder_with_provider(anchors(root)?, provider())
        .build()
        .map_err(|error| Error::malformed("root CA certificate", error))?;
    let config = builder(ClientConfig::builder_with_details, env)?;
    Ok(finish_client(config.with_webpki_verifier(verifier).with_no_client_auth()))
}

/// Settings that believe any server: only for fetching a root bundle that is then compared with a pinned digest, and
/// for the control socket of this machine. They show no certificate.
///
/// # Errors
///
/// When the provider lacks a protocol version.
pub fn unverified_client(env: &Env) -> Result<Arc<ClientConfig>, Error> {
    let config = builder(ClientConfig::builder_with_details, env)?;
    let config = config.dangerous().with_custom_certificate_verifier(Arc::new(AnyServer(provider())));
    Ok(finish_client(config.with_no_client_auth()))
}

/// Settings for calling the managers of this node's cluster.
pub(crate) fn client(root: &RootCa, node: &NodeCertificate, env: &Env) -> Result<Arc<ClientConfig>, Error> {
    let verifier = WebPkiServerVerifier::builder_with_provider(anchors(root)?, provider())
        .build()
        .map_err(|error| Error::malformed("root CA certificate", error))?;
    let config = builder(ClientConfig::builder_with_details, env)?.with_webpki_verifier(verifier);
    Ok(finish_client(config.with_client_cert_resolver(Arc::new(certified(node)?))))
}

/// Settings for calling a server that is not a node, over HTTP/1.1: its certificate must chain to one of `roots`, and this
/// node shows its own.
pub(crate) fn https_client(roots: &[&RootCa], node: &NodeCertificate, env: &Env) -> Result<Arc<ClientConfig>, Error> {
    let mut trusted = RootCertStore::empty();
    for root in roots {
        trusted.roots.extend_from_slice(&anchors(root)?.roots);
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(trusted), provider())
        .build()
        .map_err(|error| Error::malformed("root CA certificate", error))?;
    let config = builder(ClientConfig::builder_with_details, env)?.with_webpki_verifier(verifier);
    let mut config = config.with_client_cert_resolver(Arc::new(certified(node)?));
    config.alpn_protocols = vec![ALPN_HTTP.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// Settings for serving this node's cluster. A client certificate is asked for, verified when shown, and not required:
/// a joining node has none, and each call decides what that means.
pub(crate) fn server(root: &RootCa, node: &NodeCertificate, env: &Env) -> Result<Arc<ServerConfig>, Error> {
    let verifier = WebPkiClientVerifier::builder_with_provider(anchors(root)?, provider())
        .allow_unauthenticated()
        .build()
        .map_err(|error| Error::malformed("root CA certificate", error))?;
    let config = builder(ServerConfig::builder_with_details, env)?.with_client_cert_verifier(verifier);
    let mut config = config.with_cert_resolver(Arc::new(certified(node)?));
    config.alpn_protocols = vec![ALPN_H2.to_vec()];
    // A resumed session would bring back the identity of its first handshake.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// Settings for a server that is not a node, over HTTP/1.1: it shows `chain`, whose key is `key`, and only listens to clients
/// that show a certificate of `clients`.
///
/// # Errors
///
/// When the roots cannot be used for verification, or the key does not belong to the chain.
pub fn https_server(
    clients: &RootCa,
    chain: Vec<CertificateDer<'static>>,
    key: &KeyPair,
    env: &Env,
) -> Result<Arc<ServerConfig>, Error> {
    let verifier = WebPkiClientVerifier::builder_with_provider(anchors(clients)?, provider())
        .build()
        .map_err(|error| Error::malformed("root CA certificate", error))?;
    let certified = CertifiedKey::new(chain, key.to_rustls()?);
    certified.keys_match().map_err(|_| Error::KeyMismatch)?;
    let config = builder(ServerConfig::builder_with_details, env)?.with_client_cert_verifier(verifier);
    let mut config = config.with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    config.alpn_protocols = vec![ALPN_HTTP.to_vec()];
    Ok(Arc::new(config))
}

/// The provider of all cryptography in TLS. Its suites for TLS 1.2 are those that upstream allows: ECDHE with AES-GCM
/// or ChaCha20-Poly1305.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    let ring = rustls::crypto::ring::default_provider();
    Arc::new(CryptoProvider { signature_verification_algorithms: VERIFICATION, key_provider: &Keys, ..ring })
}

/// Reads the keys that this crate can sign with, for those who hand rustls a key instead of a [`NodeCertificate`].
#[derive(Debug)]
struct Keys;

impl KeyProvider for Keys {
    fn load_private_key(&self, der: PrivateKeyDer<'static>) -> Result<Arc<dyn SigningKey>, rustls::Error> {
        let refused = |error: Error| rustls::Error::General(error.to_string());
        match &der {
            PrivateKeyDer::Pkcs8(key) => KeyPair::from_pkcs8(Zeroizing::new(key.secret_pkcs8_der().to_vec()))
                .and_then(|key| key.to_rustls())
                .map_err(refused),
            _ => Err(refused(Error::MalformedKey)),
        }
    }
}

fn builder<S: ConfigSide>(
    make: impl FnOnce(Arc<CryptoProvider>, Arc<dyn TimeProvider>) -> ConfigBuilder<S, rustls::WantsVersions>,
    env: &Env,
) -> Result<ConfigBuilder<S, WantsVerifier>, Error> {
    make(provider(), Arc::new(EnvTime(env.clone()))).with_protocol_versions(&[&TLS13, &TLS12]).map_err(Error::crypto)
}

fn finish_client(mut config: ClientConfig) -> Arc<ClientConfig> {
    config.alpn_protocols = vec![ALPN_H2.to_vec()];
    config.resumption = Resumption::disabled();
    Arc::new(config)
}

fn anchors(root: &RootCa) -> Result<Arc<RootCertStore>, Error> {
    let mut anchors = RootCertStore::empty();
    for certificate in root.roots() {
        anchors.add(certificate.clone()).map_err(|error| Error::malformed("root CA certificate", error))?;
    }
    Ok(Arc::new(anchors))
}

fn certified(node: &NodeCertificate) -> Result<SingleCertAndKey, Error> {
    let certified = CertifiedKey::new(node.chain().to_vec(), node.key().to_rustls()?);
    certified.keys_match().map_err(|_| Error::KeyMismatch)?;
    Ok(certified.into())
}

/// The node's clock, for certificates met in handshakes.
struct EnvTime(Env);

impl TimeProvider for EnvTime {
    fn current_time(&self) -> Option<UnixTime> {
        self.0.now().duration_since(SystemTime::UNIX_EPOCH).ok().map(UnixTime::since_unix_epoch)
    }
}

impl fmt::Debug for EnvTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EnvTime")
    }
}

/// Believes whatever certificate it is shown, but insists that the server holds its key.
#[derive(Debug)]
struct AnyServer(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
