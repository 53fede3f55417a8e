//! The store as openraft sees it: a state machine in memory, with snapshots on the disk.

use std::io;

use futures_util::{Stream, StreamExt as _};
use openraft::{
    EntryPayload,
    storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine, Snapshot},
    type_config::alias::SnapshotOf,
};
use swarmkit_store::Applier;
use tokio::sync::watch;

use crate::{
    compaction::Ledger,
    snapshot::{Shelf, SnapshotFile},
    types::{LogId, SnapshotMeta, StoredMembership, Types, term_of},
};

/// Applies committed entries to the store.
pub(crate) struct Machine {
    applier: Applier,
    shelf: Shelf,
    applied: Option<LogId>,
    membership: StoredMembership,
    /// The term of the newest entry that was applied: when it is the leader's own, all earlier ones are applied too.
    applied_term: watch::Sender<u64>,
    ledger: Ledger,
}

impl Machine {
    pub(crate) fn new(applier: Applier, shelf: Shelf, ledger: Ledger) -> (Self, watch::Receiver<u64>) {
        let (applied_term, term) = watch::channel(0);
        let membership = StoredMembership::default();
        (Self { applier, shelf, applied: None, membership, applied_term, ledger }, term)
    }

    fn advance(&mut self, id: LogId) {
        self.applied = Some(id);
        let term = term_of(&id);
        self.applied_term.send_if_modified(|known| std::mem::replace(known, term) != term);
    }
}

impl RaftStateMachine<Types> for Machine {
    type SnapshotData = SnapshotFile;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        Ok((self.applied, self.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<Types>>> + Unpin + Send,
    {
        let (mut count, mut bytes) = (0, 0);
        while let Some(next) = entries.next().await {
            let (entry, responder) = next?;
            let _span = tracing::debug_span!("raft.apply", term = term_of(&entry.log_id), index = entry.log_id.index);
            match entry.payload {
                EntryPayload::Blank => {}
                EntryPayload::Normal(command) => {
                    bytes += command.payload.len() as u64;
                    // A replica that cannot read what the others can would diverge, so it stops here.
                    self.applier.apply(&command.payload).map_err(io::Error::other)?;
                }
                EntryPayload::Membership(membership) => {
                    self.membership = StoredMembership::new(Some(entry.log_id), membership);
                }
            }
            self.advance(entry.log_id);
            count += 1;
            if let Some(responder) = responder {
                responder.send(());
            }
        }
        self.ledger.applied(count, bytes);
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        self.ledger.begin_anew();
        let meta = SnapshotMeta { last_log_id: self.applied, last_membership: self.membership.clone() };
        Builder { state: self.applier.snapshot(), shelf: self.shelf.clone(), meta }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: SnapshotFile) -> io::Result<()> {
        let mut restore = self.applier.restore();
        let mut reader = snapshot.reader();
        while let Some(piece) = reader.next().await? {
            restore.chunk(&piece).map_err(io::Error::other)?;
        }
        self.applier.install(restore).map_err(io::Error::other)?;
        self.shelf.adopt(snapshot).await?;
        self.ledger.begin_anew();
        self.membership = meta.last_membership.clone();
        if let Some(id) = meta.last_log_id {
            self.advance(id);
        }
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<SnapshotOf<Types, SnapshotFile>>> {
        Ok(self.shelf.newest().map(|snapshot| Snapshot { meta: snapshot.meta.clone(), snapshot }))
    }
}

/// Writes the state of one moment to the disk.
pub(crate) struct Builder {
    state: swarmkit_store::Snapshot,
    shelf: Shelf,
    meta: SnapshotMeta,
}

impl RaftSnapshotBuilder<Types> for Builder {
    type SnapshotData = SnapshotFile;

    async fn build_snapshot(&mut self) -> io::Result<SnapshotOf<Types, SnapshotFile>> {
        let _span = tracing::debug_span!("raft.snapshot", last = ?self.meta.last_log_id);
        let mut writer = self.shelf.begin(self.meta.clone()).await?;
        for (number, piece) in self.state.chunks().enumerate() {
            if number > 0 {
                self.shelf.rest().await;
            }
            writer.write(&piece).await?;
        }
        let snapshot = self.shelf.adopt(writer.finish().await?).await?;
        tracing::info!(last = ?snapshot.meta.last_log_id, bytes = snapshot.size, "wrote a snapshot");
        Ok(Snapshot { meta: snapshot.meta.clone(), snapshot })
    }
}
