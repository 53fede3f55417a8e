//! A small authority that speaks CFSSL, for trying things out and for tests.
//!
//! It holds the key of a root and signs what managers of a cluster ask for, over HTTPS: whoever asks must show a manager's
//! certificate under the same root. It writes nothing down and knows nothing of nodes, so a real one is needed where it is
//! to matter who gets a certificate.

mod authority;
mod listener;

use std::{io, net::SocketAddr, sync::Arc};

use parking_lot::Mutex;
use swarmkit_ca::{Error as CaError, RootCa};
use swarmkit_runtime::Env;
use tokio::{net::TcpListener, sync::watch};
use tokio_rustls::rustls::ServerConfig;

use self::authority::Authority;

/// Where questions go on a [`CfsslServer`].
pub const PATH: &str = "/sign";

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Which one.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The root cannot be used.
    #[error(transparent)]
    Root(#[from] CaError),
    /// The server's own certificate could not be made.
    #[error("the server has no certificate: {0}")]
    Certificate(String),
}

/// A server that listens, and answers once it runs.
pub struct CfsslServer {
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    authority: Arc<Authority>,
    handle: ServerHandle,
}

/// Looks at a server and upsets it, while it runs. Clones are of the same server.
#[derive(Clone)]
pub struct ServerHandle {
    url: String,
    fault: Arc<Mutex<Option<Fault>>>,
    seen: watch::Sender<Seen>,
}

/// What a server can be made to do wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It answers with status 500.
    Status,
    /// It never answers.
    Silence,
    /// Its answers are no JSON.
    Garbage,
    /// Its answers end in the middle.
    Cut,
    /// Its answers are larger than anybody reads.
    Flood,
    /// It says no.
    Refusal,
    /// It signs for another node than it was asked for.
    Impostor,
}

/// Who has asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// How many questions there were.
    pub questions: u64,
    /// The certificate (DER) that the last one was asked with.
    pub client: Vec<u8>,
}

// === impl CfsslServer ===

impl CfsslServer {
    /// Listens on `address`, with a certificate of `root` for that address and for `localhost`. Port 0 takes any.
    ///
    /// `root` must hold its key, which may be of any accepted kind but P-521. Who asks must show a certificate of `clients`: mostly `root` too, and while a cluster
    /// replaces its root, the one that it comes from. Authorities are cross-signed where `cross_signing` says so.
    ///
    /// # Errors
    ///
    /// When the address is taken, or the root cannot sign.
    pub async fn bind(
        address: SocketAddr,
        root: RootCa,
        clients: &RootCa,
        cross_signing: bool,
        env: &Env,
    ) -> Result<Self, ServerError> {
        let tls = listener::tls(&root, clients, address.ip(), env)?;
        let listen = |source| ServerError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(listen)?;
        let bound = listener.local_addr().map_err(listen)?;
        let host = if bound.ip().is_loopback() { "localhost".to_owned() } else { bound.ip().to_string() };
        let handle = ServerHandle {
            url: format!("https://{host}:{}{PATH}", bound.port()),
            fault: Arc::default(),
            seen: watch::Sender::new(Seen::default()),
        };
        let authority = Arc::new(Authority { root, cross_signing, env: env.clone() });
        Ok(Self { listener, tls, authority, handle })
    }

    /// Looks at it while it runs.
    #[must_use]
    pub fn handle(&self) -> ServerHandle {
        self.handle.clone()
    }
}

// === impl ServerHandle ===

impl ServerHandle {
    /// Where questions go.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// From now on it does this wrong, or nothing.
    pub fn misbehave(&self, fault: Option<Fault>) {
        *self.fault.lock() = fault;
    }

    /// Follows who asks.
    #[must_use]
    pub fn seen(&self) -> watch::Receiver<Seen> {
        self.seen.subscribe()
    }

    fn fault(&self) -> Option<Fault> {
        *self.fault.lock()
    }

    fn note(&self, client: &[u8]) {
        self.seen.send_modify(|seen| {
            seen.questions += 1;
            seen.client = client.to_vec();
        });
    }
}
