//! Moves tasks to nodes that have fewer of their service, for services that ask for it.
//!
//! The scheduler never revisits a decision, so a node that joins or returns stays empty while others are full. Here such
//! a decision is revisited: a task is moved when the scheduler itself would now put it on a node that has at least two
//! fewer tasks of the service than the one it is on. So every move makes the counts more even, and there is a last one.
//!
//! It never moves what is not replicated, a service that is being rolled out or has a slot that is not as wanted, more
//! slots at a time than the update policy of the service allows, or more tasks in a minute than service and cluster
//! say. Nodes must have settled before anything is moved to them.
//!
//! It knows no filter and no order of nodes: the scheduler is asked ([`swarmkit_scheduler::prospect`]). It gives no task
//! a node and starts none: how a move goes on is the orchestrator's ([`swarmkit_orchestrator::moving`]).
//!
//! ```
//! use swarmkit_api::{Service, ServiceId, wire};
//! use swarmkit_api::wire::swarmkit::orchestration::v1::{Rebalance, rebalance::Mode};
//! use swarmkit_runtime::{Crew, Env};
//! use swarmkit_store::{Store, StoreError};
//! use tokio_util::sync::CancellationToken;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! let (env, stop) = (Env::real(), CancellationToken::new());
//! let store = Store::local(env.clone());
//! let mut crew = Crew::under(&stop);
//! crew.spawn("orchestrator", |stop| swarmkit_orchestrator::run(env.clone(), store.clone(), stop));
//! crew.spawn("scheduler", |stop| swarmkit_scheduler::run(env.clone(), store.clone(), stop));
//! crew.spawn("rebalancer", |stop| swarmkit_rebalancer::run(env, store.clone(), stop));
//!
//! let spec = wire::ServiceSpec {
//!     mode: Some(wire::service_spec::Mode::Replicated(wire::ReplicatedService { replicas: 3 })),
//!     rebalance: Some(Rebalance { mode: Mode::On.into(), moves_per_minute: 5 }),
//!     ..Default::default()
//! };
//! store.update(|tx| tx.create(Service::new(ServiceId::from("web"), spec))).await.map_err(|e: StoreError| e)?;
//! stop.cancel();
//! crew.finish().await
//! # }
//! ```
//!
//! # Invariants
//!
//! - Every move makes the counts of a service more even.
//! - All that decides is in the store, but since when a node is READY: a new leader has every node settle again.
//! - While nobody asks for it, it watches no nodes and no tasks; services that do not ask for it cost nothing but a look
//!   at whether they do.

mod book;
mod decide;
mod error;
mod moves;
mod nodes;
mod policy;
mod run;
mod times;
mod world;

#[cfg(test)]
mod tests;

pub use error::Error;
pub use nodes::SETTLING;
pub use policy::MOVES_PER_MINUTE;
pub use run::run;
