//! This manager's seat in the group: empty until raft runs, which for a manager that joins is after its services do.

use std::sync::{Arc, OnceLock, Weak};

use swarmkit_raft::{LateReceiver, Raft, Role};

/// Where the services find raft. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seat {
    raft: Arc<OnceLock<Raft>>,
    receiver: LateReceiver,
}

/// A seat as a handle knows it, which must not keep raft and its disk alive after the manager.
#[derive(Clone, Debug)]
pub(crate) struct WeakSeat(Weak<OnceLock<Raft>>);

impl WeakSeat {
    /// Raft, while the manager runs.
    pub(crate) fn raft(&self) -> Option<Raft> {
        self.0.upgrade()?.get().cloned()
    }
}

impl Seat {
    pub(crate) fn weak(&self) -> WeakSeat {
        WeakSeat(Arc::downgrade(&self.raft))
    }

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
