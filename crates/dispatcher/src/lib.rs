//! Sessions, heartbeats and assignments: how the leader talks to the agents of its cluster.
//!
//! A manager mounts one [`Dispatcher`] for its whole life and runs it once for each leader term. Nodes register with it,
//! say that they are alive, are told what they shall have, and report how that goes; what they report is in the store
//! when they are answered. A node that falls silent is down, and after a day its tasks are given up for lost. Beside it
//! a [`LogBroker`] brings those who want to read logs together with the nodes that have them.
//!
//! It is not the scheduler: it sends a task to the node that the store names, and decides nothing else about it. It opens
//! no sockets and checks no certificates; who calls is told by [`swarmkit_rpc::Peer`].
//!
//! ```
//! use swarmkit_api::wire::dispatcher_server::DispatcherServer;
//! use swarmkit_dispatcher::{Dispatcher, DispatcherConfig};
//! use swarmkit_runtime::Env;
//! use swarmkit_store::Store;
//! use tokio_util::sync::CancellationToken;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), swarmkit_runtime::PartError> {
//! let env = Env::real();
//! let store = Store::local(env.clone());
//! let (_members, managers) = tokio::sync::watch::channel(vec![]);
//! let dispatcher = Dispatcher::new(env, store, "m1".into(), managers, DispatcherConfig::default());
//! let service = DispatcherServer::new(dispatcher.clone()); // mounted once
//! # drop(service);
//! let term = CancellationToken::new();
//! # term.cancel();
//! dispatcher.run(term).await // once for each leader term
//! # }
//! ```
//!
//! # Invariants
//!
//! - One future owns the session table. Everything else asks it, and nothing waits while it decides.
//! - Sessions never outlive the term that made them, and nothing is written after it.
//! - A node is never marked down while it has called in time: waiting calls are heard before deadlines are.
//! - An observed task state never goes back, whatever is reported.
//! - Secrets and configs go to a node only while a task or volume there uses them.
//! - A secret driver that hangs holds up only the tasks that need it.
//! - A change costs what the nodes that it concerns cost, not how many are connected.

mod assignments;
mod config;
mod dispatcher;
mod error;
mod logs;
mod secrets;
mod sessions;
mod streams;
mod term;
mod writer;

pub use config::DispatcherConfig;
pub use dispatcher::Dispatcher;
pub use error::DispatcherError;
pub use logs::{LogBroker, LogCursor, LogError, Replay};
