//! Runs tasks as plain processes of the machine.
//!
//! A [`ProcessExecutor`] runs every task whose image is [`PROCESS_IMAGE`](swarmkit_executor::PROCESS_IMAGE): its
//! command with its arguments, environment, directory, user, limits, secrets and configs, in a session of its own. It needs no
//! root; what only root can do (running as other users) is refused without. It is for Linux.
//!
//! A process sees the machine's files, network and other processes, as far as its user may, unless it is isolated: then it
//! has mounts, processes, a host name and inter-process communication of its own, and perhaps a root file system, but never
//! a network. See [`IsolationMode`].
//!
//! ```no_run
//! use swarmkit_executor::Executor as _;
//! use swarmkit_executor_process::ProcessExecutor;
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     swarmkit_executor_process::run_if_requested();
//!     tokio::runtime::Runtime::new()?.block_on(async {
//!         let executor = ProcessExecutor::builder("/var/lib/swarmkit/executor").open().await?;
//!         println!("{:?}", executor.describe().await?);
//!         Ok(())
//!     })
//! }
//! ```
//!
//! # What a process finds
//!
//! - In its environment: `PATH`, `HOME` and `USER` of the user that it runs as; `SWARMKIT_TASK_ID`, `_TASK_NAME`,
//!   `_TASK_SLOT`, `_SERVICE_ID`, `_SERVICE_NAME`, `_NODE_ID`; `DOCKER_RESOURCE_<KIND>` for generic resources that it
//!   was given; and above all what its specification says. An entry without `=` takes a variable away. The task's id stays.
//! - Its secrets as files in `SWARMKIT_SECRETS_DIR` and its configs in `SWARMKIT_CONFIGS_DIR`, under the name of their
//!   target. A target that is an absolute path is placed below that directory too: the machine's own files are not
//!   touched. Only the task's user can read them, and they are kept in memory where the machine offers that. A task with
//!   an image finds them where containers do: secrets in `/run/secrets`, configs in `/`, or at their absolute target.
//! - `/` as its directory, unless its specification says otherwise, and nothing on its standard input.
//!
//! # Invariants
//!
//! - A task runs at most once, and never unseen: whoever runs it holds a lock in the task's directory, from before the
//!   process starts until after its end is on record.
//! - Tasks, their output and their exit codes outlive the program that asked for them, if its `main` calls
//!   [`run_if_requested`] first. Otherwise they end with it.
//! - When a task's process ends, whatever it has started ends too, as far as it can be found.
//! - A supervisor that a program has started may be older than the program that next talks to it: the files of a task
//!   and the orders of its pipe change by addition only.

mod alive;
mod capabilities;
mod cgroups;
mod controller;
mod describe;
mod devices;
mod exec;
mod executor;
mod files;
mod health;
mod images;
mod isolation;
mod logs;
mod order;
mod plan;
mod removal;
mod signals;
mod supervisor;
mod task_dir;
mod usage;
mod users;

pub use controller::ProcessController;
pub use executor::{Builder, OpenError, ProcessExecutor};
pub use isolation::IsolationMode;
pub use logs::LogLimits;
pub use supervisor::run_if_requested;
