//! Calls between nodes: who is at the other end, what it may call, and how the call gets to the leader.
//!
//! A server is a set of [`Services`] behind one [`Authority`], served on listeners by [`serve`]. Every request has been
//! checked against the access table before a service sees it, and carries a [`Peer`] that says who calls. A client is a
//! [`Channel`], an open connection for generated clients; [`Channels`] keeps one for each manager, [`Remotes`] knows
//! which managers there are, and [`Forward`] finds the leader. Network and encryption lie behind [`Transport`].
//!
//! This crate knows no service and no store. It opens sockets, and starts its futures through a crew's spawner only.
//!
//! ```
//! use swarmkit_api::{NodeRole, wire};
//! use swarmkit_ca::Identity;
//! use swarmkit_rpc::{Authority, Channel, MountError, Peer, Services};
//! use tonic::{Request, Response, Status, async_trait};
//!
//! struct Health;
//!
//! #[async_trait]
//! impl wire::health_server::Health for Health {
//!     async fn check(
//!         &self,
//!         request: Request<wire::HealthCheckRequest>,
//!     ) -> Result<Response<wire::HealthCheckResponse>, Status> {
//!         tracing::debug!(peer = ?Peer::of(&request)?, "asked");
//!         Ok(Response::new(wire::HealthCheckResponse { status: 1 }))
//!     }
//! }
//!
//! # fn main() -> Result<(), MountError> {
//! let own = Identity::new("node1".into(), NodeRole::Manager, "cluster1".into());
//! let services = Services::new(Authority::fixed(own)).with(wire::health_server::HealthServer::new(Health))?;
//! let client = wire::health_client::HealthClient::new(Channel::here(&services));
//! # let _ = client; Ok(()) }
//! ```
//!
//! # Invariants
//!
//! - A service without rows in the access table cannot be mounted, and a method without one is not answered.
//! - Handlers see no raw metadata: identity, forwarder and deadline are typed, and what a caller claims about itself in
//!   headers counts only when the connection proves it to be a manager.
//! - A call goes from one manager to the next at most once. It is made again at another leader only if the first has done
//!   nothing, or if doing it twice is as good as doing it once.
//! - Every call without streams has a deadline on the calling side, and every deadline is kept on the serving side.
//! - A connection error names its cause in one line.
//! - Callers that have not proved to be members take no more than [`StrangerLimits`] of a server, and nothing that members
//!   need.

mod authorize;
mod bootstrap;
mod channel;
mod channels;
mod clock;
pub mod conformance;
mod connect_error;
mod deadline;
mod executor;
mod forward;
mod limits;
mod measure;
mod memory;
mod metadata;
mod patience;
mod peer;
mod remotes;
mod server;
mod services;
mod socket;
mod status;
mod strangers;
mod tls;
mod transport;

pub use authorize::{Authority, is_removed};
pub use bootstrap::{FetchError, Introduction, fetch_root, introduce};
pub use channel::{Channel, ChannelOptions};
pub use channels::Channels;
pub use clock::{CLOCK_TOLERANCE, ClockReading, tell_time};
pub use connect_error::ConnectError;
pub use forward::{Forward, Leader, is_leaderless};
pub use memory::{MemoryNetwork, MemoryTransport};
pub use peer::{Origin, Peer};
pub use remotes::{NoRemotes, OBSERVATION_DEFAULT, Remote, Remotes};
pub use server::{ServerOptions, serve};
pub use services::{MountError, Services};
pub use socket::{ControlSocket, connect_plain_unix, connect_unix};
pub use status::{ErrorCode, ServiceError};
pub use strangers::StrangerLimits;
pub use tls::TlsTransport;
pub use transport::{Arrival, Link, Listener, ServerRole, Stream, Transport};
