//! Turns services into tasks and keeps them as the specification says.
//!
//! What has to be done for a service is one decision about what is: its specification, the slots with their tasks and
//! the history of these, the nodes, and the time. It makes tasks and gives them up, replaces those that have ended, by
//! their restart policy, starts what waits, and brings slots to a changed specification a few at a time. It never looks
//! at what happened, so what was missed is found again, and a new leader goes on where the old one was. A service that
//! depends on others gets no tasks before these have come as far as it says.
//!
//! Whoever wants a task elsewhere says so with a [`moving::Move`]; which tasks those are is not decided here. Whoever wants
//! to know which tasks a service would have asks for its [`outlook`].
//!
//! Beside that, the [`reaper`] deletes history, the [`enforcer`] evicts tasks from nodes that no longer fit
//! them, the one of [`volumes`] those that use what is being drained, and the deallocator deletes services and networks that
//! were to go when nobody uses them any more.
//!
//! The orchestrator chooses no nodes and gives out no addresses. It writes what tasks are wanted to be, never (but for
//! the enforcers' rejections) what they are. It knows no sockets, no files, and no time but that of [`Env`](swarmkit_runtime::Env).
//!
//! ```
//! use swarmkit_api::{Service, ServiceId, Task, wire};
//! use swarmkit_runtime::{Crew, Env};
//! use swarmkit_store::{Store, StoreError};
//! use tokio_util::sync::CancellationToken;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! let (env, stop) = (Env::real(), CancellationToken::new());
//! let store = Store::local(env.clone());
//! let mut crew = Crew::under(&stop);
//! crew.spawn("orchestrator", |stop| swarmkit_orchestrator::run(env, store.clone(), stop));
//!
//! let mode = wire::service_spec::Mode::Replicated(wire::ReplicatedService { replicas: 3 });
//! let service = Service::new(ServiceId::from("web"), wire::ServiceSpec { mode: Some(mode), ..Default::default() });
//! store.update(|tx| tx.create(service)).await.map_err(|e: StoreError| e)?;
//! while store.view().count::<Task>() < 3 {
//!     tokio::task::yield_now().await;
//! }
//! stop.cancel();
//! crew.finish().await
//! # }
//! ```
//!
//! # Invariants
//!
//! - The desired state of a task only grows, and nobody else writes it: a move is written here, too.
//! - A slot is given a new task only together with telling the old one to stop, in one transaction; or beside an old one
//!   that goes on until the new one runs.
//! - No two tasks of a slot are wanted to run at once, but while one is started before the other stops.
//! - All that decides is in the store: restart delays, attempts and rollouts outlive a leader.
//! - What came first is told by the store's count, not by clocks: these only measure how long something lasts.
//! - An event costs what it changes: its slot, the tasks of its node, or the slots of the service that asks for something else.

mod attempts;
mod book;
mod deallocator;
mod decide;
mod depend;
mod dirty;
pub mod enforcer;
mod error;
mod fate;
mod fit;
mod global;
mod jobs;
mod keeper;
pub mod moving;
mod numbers;
mod outlook;
mod plan;
mod policy;
pub mod reaper;
mod reject;
mod rollout;
mod rules;
mod run;
mod scale;
pub mod services;
mod slot;
mod start;
mod template;
mod times;
mod turns;
pub mod volumes;
mod world;

#[cfg(test)]
mod tests;

pub use dirty::is_up_to_date;
pub use error::Error;
pub use outlook::{Outlook, outlook};
pub use run::run;
