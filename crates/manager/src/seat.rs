//! This manager's seat in the group: empty until raft runs, which for a manager that joins is after its services do.

use std::sync::{Arc, OnceLock};

use swarmkit_raft::{LateReceiver, Raft, Role};

/// Where the services find raft. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seat {
    raft: Arc<OnceLock<Raft>>,
    receiver: LateReceiver,
}

impl Seat {
    /// Raft runs: it is taken once.
    pub(crate) fn take(&self, raft: &Raft) {
        self.receiver.set(raft.receiver());
        let _ = self.raft.set(raft.clone());
    }

    pub(crate) fn raft(&self) -> Option<&Raft> {
        self.raft.get()
    }

    /// For the service that takes the messages of other members.
    pub(crate) fn receiver(&self) -> LateReceiver {
        self.receiver.clone()
    }

    /// Raft, if this manager leads.
    pub(crate) fn leading(&self) -> Option<&Raft> {
        self.raft().filter(|raft| matches!(raft.leadership().current(), Role::Leader { .. }))
    }
}
