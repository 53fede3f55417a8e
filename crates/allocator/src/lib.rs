//! Gives services and tasks their networks, addresses and ports.
//!
//! New tasks become PENDING here, once their service has the ports that it publishes and they are attached to the
//! networks that they ask for. What cannot be had is waited for, and the waiting task says in its status what that is.
//! Published ports are given out by this crate; networks and their addresses by a [`NetworkProvider`], of which
//! [`InertNetworks`] is the one for clusters without networks of their own.
//!
//! It chooses no nodes, opens no sockets, and touches no network device: it decides what is recorded.
//!
//! ```
//! use std::sync::Arc;
//!
//! use swarmkit_allocator::InertNetworks;
//! use swarmkit_api::{Task, TaskId, TaskState, wire};
//! use swarmkit_runtime::{Crew, Env};
//! use swarmkit_store::{Store, StoreError};
//! use tokio_util::sync::CancellationToken;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! let (env, stop) = (Env::real(), CancellationToken::new());
//! let store = Store::local(env.clone());
//! let mut crew = Crew::under(&stop);
//! crew.spawn("allocator", |stop| swarmkit_allocator::run(env, store.clone(), Arc::new(InertNetworks), stop));
//!
//! let mut task = Task::new(TaskId::from("t1"), wire::TaskSpec::default());
//! task.desired_state = TaskState::Running;
//! store.update(|tx| tx.create(task)).await.map_err(|e: StoreError| e)?;
//! while store.view().get::<Task>(&TaskId::from("t1")).is_none_or(|task| task.status.state < TaskState::Pending) {
//!     tokio::task::yield_now().await;
//! }
//! stop.cancel();
//! crew.finish().await
//! # }
//! ```
//!
//! # Invariants
//!
//! - A published port in ingress mode belongs to one service at a time.
//! - Nothing is given out before everything that is in use is known: a new leader gives out nothing twice.
//! - A task is given all its attachments, or none.
//! - A service or task that has what it asks for is not written again.

mod addresses;
pub mod conformance;
mod decision;
mod error;
mod holders;
mod network_error;
mod plan;
mod ports;
mod provider;
mod run;
mod uses;
mod waits;
mod world;

#[cfg(test)]
mod tests;

pub use error::Error;
pub use network_error::{Blocker, NetworkError};
pub use ports::{DYNAMIC_PORTS, PortError};
pub use provider::{
    AddressRequest, DriverPurpose, InertNetworks, NetworkAllocator, NetworkEnd, NetworkGrant, NetworkOptions,
    NetworkProvider, PredefinedNetwork, is_ingress_network,
};
pub use run::run;
