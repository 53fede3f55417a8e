//! The replicated object store.
//!
//! A cluster is ten kinds of objects, and every manager has all of them in memory, in one immutable [`State`]. Readers
//! take a [`View`] of the committed one without a lock. A writer runs a closure on the newest state, changes under way
//! included; its change set is handed to a [`Proposer`], and becomes visible, in order, when that has committed it.
//! Watchers get a snapshot and then every change, routed by what they are interested in.
//!
//! It is not a database for everything: the kinds are fixed, and all of it lies in memory. It knows no raft, no network
//! and no clock but the one that it is given; the only thing that it writes to disk is the [`journal`] of a store that is
//! not replicated and wants one.
//!
//! ```
//! use swarmkit_api::{Kind, Node, NodeId};
//! use swarmkit_runtime::Env;
//! use swarmkit_store::{NodeBy, Store, StoreError, Update};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let store = Store::local(Env::real());
//! let mut watch = store.watch(Kind::Node);
//! assert!(matches!(watch.next().await?, Update::Snapshot(view) if view.count::<Node>() == 0));
//!
//! let written = store.update(|tx| tx.create(Node::new(NodeId::from("n1")))).await?;
//! assert_eq!(store.view().find(NodeBy::IdPrefix("n")).next(), Some(&written.value));
//!
//! let Update::Delta(delta) = watch.next().await? else { panic!("a watcher that keeps up gets deltas") };
//! assert_eq!((delta.version, delta.changes.len()), (written.version, 1));
//! # Ok(()) }
//! ```
//!
//! # Invariants
//!
//! - Nobody sees what is not committed, except a transaction that builds on it and is committed after it, or not at all.
//! - Order of transactions, of commits, of versions and of updates is one order.
//! - The same log gives the same state, on every replica: applying asks no rule, no clock and no chance.
//! - A watcher has no gap: if it falls behind, it starts over.
//! - Every queue is bounded: [`MAX_IN_FLIGHT`], [`WATCH_QUEUE`], [`HISTORY_CHANGES`].

mod applier;
mod change;
mod codec;
pub mod conformance;
mod digest;
mod each;
mod error;
mod groups;
mod index;
mod intern;
pub mod journal;
mod kinds;
mod line;
mod local;
#[cfg(test)]
mod properties;
mod proposer;
mod query;
mod snapshot;
mod state;
mod store;
mod table;
mod tasks;
mod transaction;
mod watch;

pub use applier::{Applied, Applier};
pub use change::{Action, Change, Edit};
pub use digest::{Digest, Divergence};
pub use each::Written;
pub use error::{ApplyError, HistoryError, ProposeError, StoreError, WatchEnded};
pub use journal::{Journal, JournalError, JournalFolder, JournalWriter, RealFolder};
pub use local::LocalProposer;
pub use proposer::{MAX_PROPOSAL_BYTES, Proposal, ProposalId, Proposer};
pub use query::{
    ClusterBy, ConfigBy, ExtensionBy, Found, NetworkBy, NodeBy, Query, ResourceBy, SecretBy, ServiceBy, TaskBy,
    VolumeBy,
};
pub use snapshot::{Restore, SNAPSHOT_CHUNK_BYTES, Snapshot};
pub use state::{DEFAULT_CLUSTER, State, Stored, View};
pub use store::{Committed, MAX_BATCH_BYTES, MAX_BATCH_CHANGES, MAX_IN_FLIGHT, Pending, Store};
pub use transaction::Transaction;
pub use watch::{Delta, HISTORY_CHANGES, Interest, PastChanges, Update, WATCH_QUEUE, Watch};
