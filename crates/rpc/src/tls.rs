//! The transport of production: TCP with mutual TLS.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use rustls::{ClientConfig, pki_types::ServerName};
use swarmkit_ca::{Credentials, Error, Identity, RootCa, joining_client, unverified_client};
use swarmkit_runtime::Env;
use tokio::net::{TcpListener, TcpStream, lookup_host};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::{
    connect_error::ConnectError,
    peer::Origin,
    transport::{Arrival, Link, Listener, ServerRole, Stream, Transport},
};

/// How long whoever has taken a connection may say nothing. Just below the time in which a connection must stand, so that
/// who is silent is told apart from who is not there.
const SILENCE: Duration = Duration::from_millis(4_900);

/// TCP with TLS, as its credentials are at the moment of each handshake.
#[derive(Clone, Debug)]
pub struct TlsTransport(Shows);

#[derive(Clone, Debug)]
enum Shows {
    Node(Credentials),
    Nothing(Arc<ClientConfig>),
}

// === impl TlsTransport ===

impl TlsTransport {
    /// For a node with a certificate: dials managers and listens.
    #[must_use]
    pub fn new(credentials: Credentials) -> Self {
        Self(Shows::Node(credentials))
    }

    /// For a node that joins: shows no certificate, and verifies servers against the cluster's roots.
    ///
    /// # Errors
    ///
    /// When the roots cannot be used.
    pub fn joining(root: &RootCa, env: &Env) -> Result<Self, Error> {
        Ok(Self(Shows::Nothing(joining_client(root, env)?)))
    }

    /// Believes any server: for fetching what is then checked by other means.
    pub(crate) fn unverified(env: &Env) -> Result<Self, Error> {
        Ok(Self(Shows::Nothing(unverified_client(env)?)))
    }

    fn client_config(&self) -> Arc<ClientConfig> {
        match &self.0 {
            Shows::Node(credentials) => credentials.trust().client_config(),
            Shows::Nothing(config) => config.clone(),
        }
    }
}

impl Transport for TlsTransport {
    fn dial<'a>(&'a self, address: &'a str, role: ServerRole) -> BoxFuture<'a, Result<Link, ConnectError>> {
        Box::pin(async move {
            let stream = connect(address).await?;
            let addr = stream.peer_addr().ok();
            let _ = stream.set_nodelay(true);
            let handshake = call(stream, addr, self.client_config(), address, role);
            let silent = || ConnectError::Silent { address: address.to_owned(), after: SILENCE };
            tokio::time::timeout(SILENCE, handshake).await.unwrap_or_else(|_| Err(silent()))
        })
    }

    fn listen<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            let Shows::Node(credentials) = &self.0 else {
                return Err(io::Error::other("a node without a certificate cannot serve"));
            };
            let listener = TcpListener::bind(address).await?;
            Ok(Box::new(TlsListener { listener, credentials: credentials.clone() }) as Box<dyn Listener>)
        })
    }

    fn generation(&self) -> u64 {
        match &self.0 {
            Shows::Node(credentials) => credentials.trust().generation(),
            Shows::Nothing(_) => 0,
        }
    }
}

struct TlsListener {
    listener: TcpListener,
    credentials: Credentials,
}

impl Listener for TlsListener {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Arrival>> {
        Box::pin(async {
            let (stream, addr) = self.listener.accept().await?;
            let _ = stream.set_nodelay(true);
            let credentials = self.credentials.clone();
            let handshake = Box::pin(async move {
                let (stream, identity) = answer(stream, &credentials, &addr.to_string()).await?;
                Ok(Link { stream, origin: Origin::Remote { identity, addr: Some(addr) } })
            });
            Ok(Arrival { addr: Some(addr), handshake })
        })
    }

    fn local_addr(&self) -> Option<SocketAddr> {
        self.listener.local_addr().ok()
    }
}

/// Reaches a host and port. A name that is not known is told apart from a host that is not there.
async fn connect(address: &str) -> Result<TcpStream, ConnectError> {
    let found = lookup_host(address).await.map_err(|error| ConnectError::unknown_name(address, &error))?;
    let addresses: Vec<SocketAddr> = found.collect();
    TcpStream::connect(&*addresses).await.map_err(|error| ConnectError::unreachable(address, &error))
}

/// Shakes hands as client.
pub(crate) async fn call(
    stream: impl Stream,
    addr: Option<SocketAddr>,
    config: Arc<ClientConfig>,
    address: &str,
    role: ServerRole,
) -> Result<Link, ConnectError> {
    let name = ServerName::try_from(role.name())
        .map_err(|error| ConnectError::Closed { address: address.to_owned(), reason: error.to_string() })?;
    let connected = TlsConnector::from(config).connect(name, stream).await;
    let stream = connected.map_err(|error| ConnectError::broken(address, &error))?;
    let identity = identity(stream.get_ref().1.peer_certificates());
    Ok(Link { stream: Box::new(stream), origin: Origin::Remote { identity, addr } })
}

/// Shakes hands as server. Who shows a certificate that names no node is refused.
pub(crate) async fn answer(
    stream: impl Stream,
    credentials: &Credentials,
    address: &str,
) -> Result<(Box<dyn Stream>, Option<Identity>), ConnectError> {
    let accepted = TlsAcceptor::from(credentials.trust().server_config()).accept(stream).await;
    let stream = accepted.map_err(|error| ConnectError::broken(address, &error))?;
    let certificates = stream.get_ref().1.peer_certificates();
    let identity = identity(certificates);
    if identity.is_none() && certificates.is_some_and(|chain| !chain.is_empty()) {
        let reason = "its certificate names no node".to_owned();
        return Err(ConnectError::Closed { address: address.to_owned(), reason });
    }
    Ok((Box::new(stream), identity))
}

fn identity(chain: Option<&[rustls::pki_types::CertificateDer<'_>]>) -> Option<Identity> {
    Identity::from_certificate(chain?.first()?).ok()
}
