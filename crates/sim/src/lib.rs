//! Managers in a simulated world: their real store and raft, on a network and disks that fail, from one seed.
//!
//! [`run`] founds a group of managers, lets clients write, read and watch while faults happen, ends the faults, and waits until
//! all is well again. Everything runs in one thread on paused time, and all chance comes from the seed, so a run can be
//! repeated, to the byte of its [`Trace`]. What must hold whatever happens is in [`invariants`], one file each.
//!
//! What is simulated is the production code, unchanged. Replaced are its seams: [`Disk`](swarmkit_raft::Disk) by
//! [`SimDisk`], [`Messenger`](swarmkit_raft::Messenger) by [`SimMessenger`], which carries bytes, and the clock by
//! [`SimClock`]. Not simulated are gRPC, TLS and the real file system.
//!
//! ```no_run
//! use swarmkit_sim::{Plan, Trace, run};
//!
//! let report = run(&Plan::new(7, None), &Trace::new());
//! assert_eq!(report.broken, None, "{report}");
//! ```
//!
//! The same seed gives the same trace only in a process in which the standard library's hash maps have the same keys, which
//! is what the program `swarm-sim` sees to: `cargo xtask sim --seed 7 --trace trace.txt`.
//!
//! # To add
//!
//! - a fault: a variant of [`Fault`], an arm where faults strike, and its end, by itself or at the healing;
//! - an invariant: a file in [`invariants`] that is told what was seen and answers what is wrong with it, and a line in
//!   the oracle, which is told of everything;
//! - a mistake, to prove that an invariant sees it: a variant of [`Bug`], made by a disk, a client or a watcher. The code that
//!   is simulated has no switch for mistakes;
//! - more of a node: a machine is a site, which starts a crew on a disk with a clock and a messenger. Whatever else a node
//!   has is started there, and reaches others through a seam that the network carries.
//!
//! # Invariants
//!
//! - One run depends on its plan alone: no wall clock, no entropy, no thread, no socket, no file.
//! - A life of a member that has ended can change nothing: its disk and its messenger refuse it.
//! - An invariant is pure: it is told, and answers.
//! - What nobody knows the fate of is never called failed.

mod bug;
mod clients;
mod clock;
mod cluster;
mod disk;
mod faults;
mod history;
pub mod invariants;
mod network;
mod oracle;
mod panics;
mod plan;
mod run;
mod site;
mod trace;

pub use bug::Bug;
pub use clock::SimClock;
pub use disk::{Moment, SimDisk};
pub use faults::Fault;
pub use network::{Network, SimMessenger, Weather};
pub use oracle::{Counts, Oracle};
pub use plan::Plan;
pub use run::{Report, run};
pub use trace::Trace;
