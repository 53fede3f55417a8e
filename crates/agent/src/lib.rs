//! Runs the tasks of one node: what its managers assign, with the executor that it is given.
//!
//! An [`Agent`] keeps one session with a manager, takes what its node shall have, brings every task forward through a
//! controller of the executor, and reports how that goes. It remembers its tasks on disk, so that an agent that was
//! killed finds them again. How it reaches managers is a [`Managers`]; [`ClusterManagers`] is the one of a real node.
//!
//! It knows nothing of services, of scheduling or of the store. It decides nothing about the node itself: its role, its
//! certificates and its trust are the business of the node around it, which reads them from [`AgentHandle::membership`].
//!
//! ```no_run
//! use std::sync::Arc;
//! use swarmkit_agent::{Agent, AgentError, ClusterManagers};
//! use swarmkit_executor::InertExecutor;
//! use swarmkit_rpc::{Channels, Remotes};
//! use swarmkit_runtime::Env;
//! use tokio_util::sync::CancellationToken;
//!
//! # async fn f(env: Env, remotes: Remotes, channels: Channels, stop: CancellationToken) -> Result<(), AgentError> {
//! let managers = Arc::new(ClusterManagers::new(remotes, channels));
//! let agent = Agent::builder(env, Arc::new(InertExecutor::new()), managers, "/var/lib/swarmd/worker").build()?;
//! let handle = agent.handle(); // says when the node is ready, what managers say of it, and how to leave
//! agent.run(stop).await
//! # }
//! ```
//!
//! # Invariants
//!
//! - A task has one runner, and a runner has one operation of its controller under way.
//! - The state of a task never goes back.
//! - A task is written down before anything is done for it, so a kill at any moment loses and doubles none.
//! - The latest status of every task reaches a manager, however many sessions that takes.
//! - What is left of a task is removed, however often that takes, also by a later agent.
//! - Secrets and configs are in memory only, wiped when dropped, and seen by the tasks alone that list them.

mod agent;
mod attachments;
mod backoff;
mod controller;
mod database;
mod describe;
mod error;
mod exec;
mod logs;
mod manager;
mod membership;
mod payloads;
mod progress;
mod records;
mod remote;
mod reports;
mod roster;
mod runner;
mod session;
mod step;
mod usage;
mod volumes;
mod worker;

pub use agent::{Agent, AgentBuilder, AgentHandle};
pub use error::{AgentError, ConnectError, SessionError};
pub use manager::{Call, Connection, Experience, ManagerClient, Managers, Messages};
pub use membership::{Contact, Membership};
pub use remote::{ClusterManagers, GrpcManager};
pub use usage::TaskUsage;
