//! The seam between an agent and what runs its tasks.
//!
//! An [`Executor`] describes what a node can run and makes one [`Controller`] for each task that the node is assigned;
//! the agent drives the controller through prepare, start, wait, shutdown and remove. Whoever wants swarm tasks to be
//! something new (processes, containers, functions, virtual machines) implements these two traits and proves it with
//! the [`conformance`] suite. [`InertExecutor`] is the trivial implementation: its tasks exist and do nothing. [`Jobs`]
//! looks after the lives of tasks that are futures of the program itself.
//!
//! This crate knows no runtime, no network and no task state machine: which call comes next is the agent's business.
//!
//! ```
//! use std::sync::Arc;
//! use swarmkit_api::{Task, TaskId, wire};
//! use swarmkit_executor::{Assignment, Controller, Executor, InertExecutor};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), swarmkit_executor::ExecError> {
//! let executor = InertExecutor::new();
//! let task = Arc::new(Task::new(TaskId::from("6nkkxmkwpoxpolyy4gkrcgyqv"), wire::TaskSpec::default()));
//! let controller = executor.controller(Assignment::new(task)).await?;
//! controller.prepare().await?;
//! controller.start().await?;
//! controller.shutdown().await?;
//! assert!(controller.wait().await.is_err(), "it was told to stop, so it did not end by itself");
//! controller.remove().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Invariants
//!
//! - Every operation of a controller may be repeated, and may be dropped half way and called again.
//! - What a task is and whether it runs is decided by the machine, not by the controller's memory: a new controller
//!   for a running task finds it running. So an agent that was killed neither loses a task nor starts it twice.
//! - An error says what the agent can do about it ([`ExecError`]); its text is for people.

mod assignment;
pub mod conformance;
mod devices;
mod dynamic;
mod error;
mod exec;
mod inert;
mod job;
mod logs;
mod seam;
mod shelf;
mod usage;
mod volumes;
mod workload;

pub use assignment::{Assignment, Dependencies, FixedDependencies, NoDependencies, Payload};
pub use devices::{Device, DeviceFile, Devices};
pub use dynamic::{DynController, DynExecutor};
pub use error::{Cause, ExecError};
pub use exec::{AttachOptions, ExecCommand, ExecInput, ExecInputs, ExecOutput, ExecOutputs, TerminalSize};
pub use inert::{Behaviour, Ending, InertController, InertExecutor, Machine};
pub use job::{Job, Jobs};
pub use logs::{LogOptions, LogRecord, LogSource, LogStart, LogStream};
pub use seam::{Controller, Executor, RuntimeStatus};
pub use shelf::Shelf;
pub use usage::Usage;
pub use volumes::{NodeVolumes, VolumeRequest};
pub use workload::{
    DEFAULT_STOP_GRACE, EXECUTOR_PLUGIN, PROCESS_IMAGE, PROCESS_IMAGES, Workload, container_spec, describe_node,
    platform, stop_grace,
};
