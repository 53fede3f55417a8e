//! A manager: the replicated store, the services that every manager serves, and the loops that its leader runs.
//!
//! [`Manager::start`] opens the log, binds the addresses and mounts the services; [`Manager::run`] serves until it is told
//! to stop. Whenever this manager leads, a *leader term* is built: the certificate authority, the keys of networks, the
//! allocator, the scheduler, the orchestrators, the rebalancer, the dispatcher and the log broker, as one crew. When it
//! leads no more the term is stopped and everything of it is awaited; nothing is left to be switched off.
//!
//! This crate decides nothing about services or tasks, and holds no identity: certificates come from the node around it.
//!
//! ```no_run
//! use swarmkit_manager::{Manager, ManagerConfig};
//! use tokio_util::sync::CancellationToken;
//!
//! # async fn f(config: ManagerConfig, stop: CancellationToken) -> Result<(), swarmkit_manager::Error> {
//! let manager = Manager::start(config).await?;
//! println!("managers are reached at {}", manager.handle().addr());
//! manager.run(stop).await
//! # }
//! ```
//!
//! # Invariants
//!
//! - No loop of a leader term runs before this manager leads, and none of the next begins before the last has ended.
//! - A term that fails while this manager leads is built anew, after a pause.
//! - Stopping goes from the outside in: listeners and the leader term, then connections to other managers, then raft, and
//!   the store at last. Whatever was answered is in the log.
//! - The key file of a manager is under the lock that its cluster is under, and a log key that was kept in clear is replaced
//!   when a lock is put on.
//! - Every service that is mounted has its row in the access table; otherwise the manager does not start.

mod address;
mod begin;
mod bootstrap;
mod config;
mod dirty;
mod divergence;
mod error;
mod follow;
mod join;
mod lead;
mod locking;
mod manager;
mod membership;
mod network_keys;
mod raft_service;
mod reach;
mod roles;
mod seat;
mod services;
mod standing;
mod term;
mod voters;

pub use config::{Begin, FirstLeader, ManagerConfig};
pub use error::Error;
pub use manager::{Manager, ManagerHandle};
