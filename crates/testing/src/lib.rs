//! Builders of objects and of whole small worlds, for tests.
//!
//! [`world`] reads a text such as `node a drain; service web replicas=2; task web.1 on a running` into a store, and
//! [`describe`] tells a state in the same words, so that a test reads as a story: a world in, a world or some decisions
//! out. [`node`], [`service`] and [`task`] build single objects. Names are ids: node `a` has the id `a`.
//!
//! [`tamper`] makes a store hold something that nobody has written. [`linearizable`] judges what clients saw of one object while things went wrong.
//!
//! Not for production: everything here panics when it is given nonsense.
//!
//! ```
//! use swarmkit_api::{Task, TaskState};
//! use swarmkit_store::TaskBy;
//! use swarmkit_testing::{describe, world};
//!
//! let view = world("node a; node b drain; service web replicas=2; task web.1 on a running; task web.2");
//! assert_eq!(view.find(TaskBy::State(TaskState::Running)).count(), 1);
//! assert_eq!(describe::<Task>(&view), "task web.1 on a running\ntask web.2 new\n");
//! ```
//!
//! # Invariants
//!
//! - What [`describe`] says, [`world`] reads.
//! - Nothing depends on the machine: times come from [`env()`], ids are names.

mod describe;
mod env;
mod linear;
mod node;
mod outside;
mod service;
mod small;
mod tamper;
mod task;
mod units;
mod volume;
mod world;

pub use describe::{Told, describe};
pub use env::{EPOCH_SECONDS, env};
pub use linear::{CONFIGURATIONS_MAX, Dead, Model, Operation, Verdict, linearizable};
pub use node::{NodeBuilder, node};
pub use outside::{ExternalSigner, Mood};
pub use service::{ServiceBuilder, container, service};
pub use small::{cluster, config, named, network, secret};
pub use tamper::{diverge, tamper};
pub use task::{TaskBuilder, task};
pub use volume::volume;
pub use world::{amend, store, world};
