//! One machine's membership in a cluster: its identity, and what it runs because of it.
//!
//! A [`Node`] finds its identity in its state directory, founds a cluster, or joins one with a token. It then runs an
//! agent, and a manager beside it while its certificate says so: the cluster may promote and demote it as it runs. It
//! renews its certificate in time, follows changes of the cluster's roots, and remembers the managers that it has heard of.
//!
//! It decides nothing: managers and agents do. Flags, signals and printing are the business of the program around it.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use swarmkit_executor::InertExecutor;
//! use swarmkit_node::{Node, NodeError};
//! use tokio_util::sync::CancellationToken;
//!
//! # async fn f() -> Result<(), NodeError> {
//! let stop = CancellationToken::new();
//! let node = Node::builder("/var/lib/swarmd", Arc::new(InertExecutor::new()))
//!     .listen_remote("127.0.0.1:4242")
//!     .listen_control("/run/swarmd.sock")
//!     .start(&stop)
//!     .await?;
//! println!("node {} is reached at {}", node.handle().id(), node.handle().control_socket().display());
//! node.run(stop).await
//! # }
//! ```
//!
//! # Invariants
//!
//! - A cluster is founded wholly or not at all: a node that was killed while founding one starts over.
//! - A join is never retried without a pause, and not at all where trying again cannot help.
//! - A change of role does not touch the tasks of the node.
//! - The log of a manager is either whole or gone, and one that has lost it joins again as a new member.
//! - The keys of a manager of a locked cluster are not on the disk in clear, from the first file on.
//! - A state directory is used by one node at a time, and what is written there replaces what was there in one step.
//! - Whatever waits for the disk does so on a thread of its own.

mod advice;
mod builder;
mod error;
mod founding;
mod identity;
mod join;
mod log_dir;
mod log_key;
mod managing;
mod node;
mod offline;
mod peers;
mod removal;
mod renewal;
mod request;
mod restore;
mod roots;
mod state_dir;
mod supervisor;
mod unlock;

#[cfg(test)]
mod testing;

pub use builder::NodeBuilder;
pub use error::{JoinError, NodeError};
pub use log_key::log_keys;
pub use node::{Node, NodeHandle};
pub use offline::{Offline, Renewed};
pub use peers::known_managers;
pub use restore::Restored;
pub use swarmkit_agent::TaskUsage;
