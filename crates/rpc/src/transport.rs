//! The seam between calls and the network: byte streams whose other end is known.

use std::{io, net::SocketAddr};

use futures_util::future::BoxFuture;
use swarmkit_ca::{MANAGER, SWARM_CA};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{connect_error::ConnectError, peer::Origin};

/// A byte stream in both directions.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Stream for S {}

/// A connection: its byte stream, and who was found at its other end.
pub struct Link {
    /// The bytes, in clear.
    pub stream: Box<dyn Stream>,
    /// Who is there.
    pub origin: Origin,
}

/// As what a server must prove itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ServerRole {
    /// A manager of this node's cluster.
    Manager,
    /// Whoever may speak for the certificate authority, which every manager may: for callers without a certificate.
    Authority,
}

impl ServerRole {
    /// The name that the server's certificate must carry.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Manager => MANAGER,
            Self::Authority => SWARM_CA,
        }
    }
}

/// How nodes reach each other. Encryption and the proof of identity lie behind it: a simulated network hands out links
/// that simply state who is there.
///
/// Obligations, which [`conformance::transport`](crate::conformance::transport) checks:
///
/// - The origin of a link is proved, not claimed. A dialled link leads to a server in the role that was asked for.
/// - Nothing is retried: whoever dials decides that.
/// - Dropping a future gives up what it did; nothing of it lives on.
pub trait Transport: Send + Sync + 'static {
    /// Reaches the server at an address (`host:port`).
    ///
    /// # Errors
    ///
    /// What stands in the way. The caller sets the time limit.
    fn dial<'a>(&'a self, address: &'a str, role: ServerRole) -> BoxFuture<'a, Result<Link, ConnectError>>;

    /// Takes an address (`host:port`; port 0 means any) and listens there.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn listen<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>>;

    /// Changes with what this node shows and trusts: links of another generation are out of date.
    fn generation(&self) -> u64 {
        0
    }
}

/// A place where connections arrive.
pub trait Listener: Send + 'static {
    /// The next connection. Cancel safe: a dropped call loses no connection.
    ///
    /// # Errors
    ///
    /// What the system says. The listener goes on: the next call may succeed.
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Arrival>>;

    /// Where it listens, for addresses of the network.
    fn local_addr(&self) -> Option<SocketAddr>;
}

/// A connection that has arrived and does not yet say who it is.
pub struct Arrival {
    /// For the log.
    pub addr: Option<SocketAddr>,
    /// Finds out who is there; may take as long as the other side lets it.
    pub handshake: BoxFuture<'static, Result<Link, ConnectError>>,
}
