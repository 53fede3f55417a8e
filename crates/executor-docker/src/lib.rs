//! Runs tasks as containers of a Docker Engine.
//!
//! A [`DockerExecutor`] speaks the engine's HTTP interface over its unix socket, from API 1.41 (Docker 20.10) on. Each
//! task is one container, with the name and the labels that Docker's own swarm would give it. The engine need not be
//! part of a Docker swarm, and several nodes may share one.
//!
//! It is no container runtime, and it knows no managers: everything that a container is, the engine makes it. The
//! engine must see the files of this machine, since secrets and configs are handed over as such.
//!
//! ```no_run
//! use swarmkit_executor::Executor as _;
//! use swarmkit_executor_docker::{DockerExecutor, PullPolicy};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let executor = DockerExecutor::builder("/var/lib/swarmkit/executor-docker")
//!     .socket("/run/docker.sock")
//!     .pull(PullPolicy::Missing)
//!     .open()
//!     .await?;
//! println!("{:?}", executor.describe().await?);
//! # Ok(())
//! # }
//! ```
//!
//! # What becomes of a specification
//!
//! Everything in it that the engine's interface can express is passed on; what it cannot express is refused when the
//! task is prepared, by its name: ports in ingress mode, networks that span nodes, and fields that are newer than the
//! engine. Placeholders are expanded before it comes here.
//!
//! Networks that each node has for itself are made when the first task needs them, and removed with the last one.
//!
//! Secrets and configs are files that are kept in the node's memory and mounted read-only: secrets below
//! `/run/secrets` unless their target is an absolute path, configs below `/`.
//!
//! # Invariants
//!
//! - What a task is and whether it runs is what the engine says; nothing is remembered here. An agent that was killed
//!   finds its containers again, and removes those that nobody asks for any more.
//! - Containers of other executors, and those that a person has made, are never touched, whatever their names.
//! - Every call has a deadline. An engine that is away is waited for; it ends no task by being away.
//! - An operation on a container that was begun is awaited before the next one begins, also if whoever asked for it
//!   went away.

mod controller;
mod describe;
mod doing;
mod engine;
mod events;
mod executor;
mod files;
mod labels;
mod logs;
mod networks;
mod pace;
mod pull;
mod request;
mod usage;

pub use controller::DockerController;
pub use executor::{Builder, DEFAULT_SOCKET, DockerExecutor, OpenError};
pub use pull::{DEFAULT_PULL_TRIES, PullPolicy};
