//! Calls to nodes: brings commands for tasks from clients to the nodes that the tasks are on, and the output back.
//!
//! A manager mounts one [`ExecBroker`] for its whole life and runs it once for each leader term. A client opens a call; the
//! node that the task is on listens, is told of it, and serves it. From then on each side reads what the other one sends:
//! the broker matches the two streams and keeps nothing of what goes through them.
//!
//! It runs no command and knows nothing of executors. It opens no sockets and checks no certificates; who calls is told by
//! [`swarmkit_rpc::Peer`].
//!
//! ```
//! use swarmkit_api::wire::swarmkit::exec::v1::{exec_broker_server::ExecBrokerServer, exec_server::ExecServer};
//! use swarmkit_exec::ExecBroker;
//! use swarmkit_runtime::Env;
//! use swarmkit_store::Store;
//! use tokio_util::sync::CancellationToken;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), swarmkit_exec::ExecError> {
//! let env = Env::real();
//! let broker = ExecBroker::new(env.clone(), Store::local(env));
//! let (clients, nodes) = (ExecServer::new(broker.clone()), ExecBrokerServer::new(broker.clone())); // mounted once
//! # drop((clients, nodes));
//! let term = CancellationToken::new();
//! # term.cancel();
//! broker.run(term).await // once for each leader term
//! # }
//! ```
//!
//! # Invariants
//!
//! - A call is served by the node that its task is on, as its certificate names it, and once.
//! - Nothing of a call outlives the client that made it, or the leader term.
//! - A side that stalls stalls the other one; nothing is kept for it here.
//! - Every call is on record, at its beginning and at its end, without what went through it.

mod audit;
mod broker;
mod check;
mod conversation;
mod desk;
mod error;

pub use broker::{CALLS_MAX, CALLS_PER_NODE, ExecBroker};
pub use check::COMMAND_BYTES_MAX;
pub use error::ExecError;
