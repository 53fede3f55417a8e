//! The programs of the toolkit: `swarmd` runs a node, `swarmctl` controls a cluster, `swarm-bench` measures how
//! fast one starts tasks, `swarm-rafttool` looks into the log of a manager.
//!
//! This crate turns flags and Compose files into the wire's specifications, calls a node's control socket, and prints
//! what it answers. It is NOT where anything is decided: whatever these programs can do, a program that uses the
//! `swarmkit` crate or the control API can do as well. The library is public so that its parts can be tested; its
//! interface may change at any time. What is stable is what the programs print and accept.
//!
//! ```
//! use swarmkit_cli::compose;
//!
//! let text = "services: { web: { command: sleep 60, deploy: { replcas: 3 } } }";
//! let findings = compose::parse(text, &|_| None).unwrap_err();
//! assert_eq!(
//!     findings[0].to_string(),
//!     r#"1:49: unknown key "replcas" in services.web.deploy (did you mean "replicas"?)"#
//! );
//! ```
//!
//! # Invariants
//!
//! - Nothing in a Compose file is dropped silently: a key has an effect, or is warned of, or is refused.
//! - Clients speak to a node through its control socket only, also when the node runs in the same process.
//! - A program that fails says why in one place on standard error, and its exit code is not 0.

pub mod bench;
pub mod client;
pub mod compose;
pub mod ctl;
pub mod daemon;
pub mod dev;
pub mod doctor;
mod external_ca;
pub mod metrics;
pub mod output;
pub mod rafttool;
pub mod sealing;
pub mod units;
pub mod unlocking;
