//! A network of pipes within one process, in which everybody says the truth about who they are.

use std::{collections::BTreeMap, io, net::SocketAddr, sync::Arc};

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use swarmkit_api::NodeRole;
use swarmkit_ca::{Identity, TlsFault};
use tokio::sync::mpsc;

use crate::{
    connect_error::ConnectError,
    peer::Origin,
    transport::{Arrival, Link, Listener, ServerRole, Transport},
};

/// How many bytes a pipe holds.
const PIPE_BYTES: usize = 64 * 1024;
/// How many connections may wait to be accepted.
const BACKLOG: usize = 128;

/// The places where somebody listens. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct MemoryNetwork(Arc<Mutex<BTreeMap<String, Place>>>);

#[derive(Debug)]
struct Place {
    owner: Identity,
    arrivals: mpsc::Sender<Link>,
}

/// One node's way into a [`MemoryNetwork`]: the simplest transport, for tests and for nodes of one process.
#[derive(Clone, Debug)]
pub struct MemoryTransport {
    network: MemoryNetwork,
    own: Option<Identity>,
}

// === impl MemoryNetwork ===

impl MemoryNetwork {
    /// The way in for a node; without an identity, for one that has none yet.
    #[must_use]
    pub fn transport(&self, own: Option<Identity>) -> MemoryTransport {
        MemoryTransport { network: self.clone(), own }
    }
}

// === impl MemoryTransport ===

impl Transport for MemoryTransport {
    fn dial<'a>(&'a self, address: &'a str, role: ServerRole) -> BoxFuture<'a, Result<Link, ConnectError>> {
        Box::pin(async move {
            let unreachable = || ConnectError::unreachable(address, &io::ErrorKind::ConnectionRefused.into());
            let (arrivals, owner) = {
                let places = self.network.0.lock();
                let place = places.get(address).ok_or_else(unreachable)?;
                (place.arrivals.clone(), place.owner.clone())
            };
            // Managers have both roles, workers neither.
            let (ServerRole::Manager | ServerRole::Authority) = role;
            if owner.role != NodeRole::Manager {
                return Err(ConnectError::Tls { address: address.to_owned(), fault: TlsFault::WrongRole });
            }
            let (near, far) = tokio::io::duplex(PIPE_BYTES);
            let caller = Origin::Remote { identity: self.own.clone(), addr: None };
            arrivals.send(Link { stream: Box::new(far), origin: caller }).await.map_err(|_| unreachable())?;
            let server = Origin::Remote { identity: Some(owner), addr: None };
            Ok(Link { stream: Box::new(near), origin: server })
        })
    }

    fn listen<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            let owner = self.own.clone().ok_or_else(|| io::Error::other("a node without an identity cannot serve"))?;
            let mut places = self.network.0.lock();
            if places.get(address).is_some_and(|place| !place.arrivals.is_closed()) {
                return Err(io::ErrorKind::AddrInUse.into());
            }
            let (arrivals, receiver) = mpsc::channel(BACKLOG);
            places.insert(address.to_owned(), Place { owner, arrivals });
            Ok(Box::new(MemoryListener(receiver)) as Box<dyn Listener>)
        })
    }
}

struct MemoryListener(mpsc::Receiver<Link>);

impl Listener for MemoryListener {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Arrival>> {
        Box::pin(async {
            let link = self.0.recv().await.ok_or(io::ErrorKind::NotConnected)?;
            Ok(Arrival { addr: None, handshake: Box::pin(std::future::ready(Ok(link))) })
        })
    }

    fn local_addr(&self) -> Option<SocketAddr> {
        None
    }
}
