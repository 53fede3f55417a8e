//! A real cluster whose managers are killed, paused and cut off while clients write, and what must hold all the same.
//!
//! Managers are processes of `swarmd` with real disks, on a [`Network`] of their own: as root each in a network namespace,
//! otherwise on loopback addresses. [`run()`] keeps clients and watchers busy through rounds of faults from one seed,
//! takes every fault back, and judges: no acknowledged write is lost, none is visible twice, versions grow, watches have
//! no gap, every history is linearizable, every member takes writes again and has the same objects in the end. [`Cluster`]
//! by itself serves measurements.
//!
//! It is no simulation: a seed gives the same faults, not the same interleaving. It knows the cluster from outside only,
//! by its control socket, its network address and its signals.
//!
//! ```
//! use swarmkit_torture::plan;
//!
//! // What the third round of seed 7 does to three managers.
//! let faults = plan::round(7, 3, 3, true);
//! assert!(!faults.is_empty());
//! assert_eq!(faults, plan::round(7, 3, 3, true));
//! ```
//!
//! # Invariants
//!
//! - Whatever was done to the cluster is taken back before it is judged.
//! - What is judged is what was seen from outside. An operation whose fate is not certain counts as unknown.
//! - Processes and namespaces are removed at the end, also after a failure; state, logs and the history stay.

pub mod client;
pub mod cluster;
pub mod history;
pub mod member;
pub mod network;
pub mod plan;
pub mod report;
pub mod run;

mod check;
mod load;
mod members;
mod object;
mod objects;
mod watcher;

pub use client::Client;
pub use cluster::Cluster;
pub use member::Member;
pub use network::Network;
pub use report::Report;
pub use run::{Plan, run};
