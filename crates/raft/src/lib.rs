//! openraft behind the store's `Proposer` seam: log on disk, messages between managers, membership, snapshots.
//!
//! A manager's store hands its change sets to a [`RaftProposer`]. [`Raft::start`] puts a replicated log behind it: on a
//! [`Disk`], encrypted with a [`LogKey`], shared with other members through a [`Messenger`]. [`Leadership`] says when
//! this member may act for the cluster.
//!
//! No type of openraft leaves this crate, and this crate knows nothing of what the change sets say. It decides no
//! membership; who joins and leaves is the manager's business.
//!
//! ```
//! use std::sync::Arc;
//! use swarmkit_api::{Node, NodeId};
//! use swarmkit_raft::{Begin, LogKey, MemoryDisk, NoMessenger, Raft, RaftConfig, RaftOptions, RaftProposer};
//! use swarmkit_runtime::{Crew, Env};
//! use swarmkit_store::Store;
//! use tokio_util::sync::CancellationToken;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! let (env, stop, proposer) = (Env::real(), CancellationToken::new(), RaftProposer::new());
//! let store = Store::new(env.clone(), proposer.clone());
//! let config = RaftConfig {
//!     disk: Arc::new(MemoryDisk::new()),
//!     keys: LogKey::generate(&env).into(),
//!     env,
//!     options: RaftOptions::default(),
//!     node_id: NodeId::from("n1"),
//!     addr: "127.0.0.1:2377".to_owned(),
//!     messenger: Arc::new(NoMessenger),
//!     begin: Begin::Bootstrap,
//! };
//! let (raft, parts) = Raft::start(config, &proposer, &stop).await?;
//! let mut crew = Crew::under(&stop);
//! crew.spawn("raft", |_| parts.run());
//!
//! raft.leadership().lead().await?;
//! store.update(|tx| tx.create(Node::new(NodeId::from("n1")))).await?;
//! stop.cancel();
//! crew.finish().await
//! # }
//! ```
//!
//! # Invariants
//!
//! - What was acknowledged is durable here, and on a quorum.
//! - A member that cannot write, or cannot understand what the others do, ends; it never goes on with a guess.
//! - Damage of the log is told apart from a torn tail: the first is reported with file and offset, the second repaired.
//! - Nothing of a change set or a snapshot lies on the disk in clear.
//! - openraft's tasks belong to the member's crew, and its chance comes from one seed.

mod backup;
mod chance;
mod codec;
mod compaction;
mod disk;
mod error;
mod healing;
mod hearing;
mod inspect;
mod log;
mod machine;
mod membership;
mod messenger;
mod network;
mod options;
mod proposer;
mod raft;
mod read;
mod receiver;
mod role;
mod rotation;
mod seal;
mod snapshot;
mod stall;
mod types;

pub use backup::{Backup, BackupReader, BackupWriter};
pub use compaction::SnapshotPolicy;
pub use disk::{Crash, Disk, DiskFile, DiskFuture, MemoryDisk, ReadOnlyDisk, RealDisk};
pub use error::RaftError;
pub use inspect::{Content, Finding, InspectError, Inspected, Inspector, LogRecord, Replayed, SnapshotReport, Tail};
pub use log::LogError;
pub use membership::{MemberStatus, MemberWatch};
pub use messenger::{
    Answer, Answers, Destination, DirectMessenger, Exchange, Lane, LateReceiver, Messenger, NoMessenger, RaftService,
    RpcMessenger, SendError,
};
pub use options::{InvalidOptions, RaftOptions};
pub use proposer::RaftProposer;
pub use raft::{Begin, Raft, RaftConfig, RaftParts, new_raft_id};
pub use receiver::{ReceiveError, Receiver};
pub use role::{Leadership, Member, Role};
pub use rotation::{KeyKeeper, KeyRotation, KeyRotator};
pub use seal::{LogKey, LogKeys};
