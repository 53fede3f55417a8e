//! Decides which node runs which task.
//!
//! Tasks that are PENDING without a node get one; tasks that were made for a node are confirmed there or wait. The
//! decision is a pure function of the nodes, the tasks on them and the tasks that wait: nodes that cannot run a task are
//! filtered out, and of the others the one with the fewest tasks of the service takes it, evenly over the branches of
//! the placement preferences. What cannot be placed is told why, in its status, once.
//!
//! The scheduler makes no tasks and moves none: a decision is revisited only where a more important task has no room, for
//! which less important ones are told to make some. Whoever thinks about moving one can ask
//! where it [would go](prospect) now. Whoever asks is told [why a task waits](explain), with which nodes lack what, and
//! [what would become](dry_run) of tasks that do not exist yet. The scheduler knows no sockets, no files, and no time but
//! that of [`Env`](swarmkit_runtime::Env).
//!
//! ```
//! use swarmkit_api::{Node, NodeId, Task, TaskId, TaskState, wire};
//! use swarmkit_runtime::{Crew, Env};
//! use swarmkit_store::{Store, StoreError};
//! use tokio_util::sync::CancellationToken;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! let (env, stop) = (Env::real(), CancellationToken::new());
//! let store = Store::local(env.clone());
//! let mut crew = Crew::under(&stop);
//! crew.spawn("scheduler", |stop| swarmkit_scheduler::run(env, store.clone(), stop));
//!
//! let mut node = Node::new(NodeId::from("n1"));
//! node.status.set_state(wire::node_status::State::Ready);
//! let mut task = Task::new(TaskId::from("t1"), wire::TaskSpec::default());
//! (task.status.state, task.desired_state) = (TaskState::Pending, TaskState::Running);
//! store.update(|tx| tx.create(node).and_then(|_| tx.create(task))).await.map_err(|e: StoreError| e)?;
//! while store.view().get::<Task>(&TaskId::from("t1")).is_none_or(|task| task.node_id.is_none()) {
//!     tokio::task::yield_now().await;
//! }
//! stop.cancel();
//! crew.finish().await
//! # }
//! ```
//!
//! # Invariants
//!
//! - A task is placed only where every filter let it pass, on the node as it is stored at that moment.
//! - A task is never taken from a node but for one that is more important, and its state never goes back.
//! - The same objects give the same assignment.
//! - The books of the nodes are the same whether kept up change by change or built anew from a snapshot.
//! - A task that waits for an unchanged reason is not written again.

mod affinity;
mod bitmap;
mod blocked;
mod books;
mod branches;
mod decision;
mod draft;
mod dry_run;
mod error;
mod explain;
mod failures;
mod feasible;
mod filter;
mod group;
mod lack;
mod loads;
mod needs;
mod plan;
mod preemption;
mod prospect;
mod reasons;
mod run;
mod search;
mod volumes;
mod world;

#[cfg(test)]
mod tests;

pub use dry_run::{DryRun, Waiting, dry_run};
pub use error::Error;
pub use explain::{Explanation, NEEDS_MAX, Need, NodeRefusal, Refusal, Standing, explain};
pub use lack::Lack;
pub use prospect::{Prospect, prospect};
pub use reasons::Reason;
pub use run::run;
