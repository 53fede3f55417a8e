//! The store as its users have it.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use parking_lot::{Mutex, MutexGuard};
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};
use swarmkit_api::Version;
use swarmkit_runtime::Env;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};

use crate::{
    Applier, Digest, Divergence, HistoryError, Interest, Journal, JournalError, JournalWriter, LocalProposer,
    MAX_PROPOSAL_BYTES, PastChanges, Proposal, ProposeError, Proposer, StoreError, Transaction, View, Watch,
    line::{Line, Outcome},
};

/// The most change sets that may be under way at once. Writers beyond that wait for a place, in order; it bounds the
/// memory of the line, and what is lost with leadership.
pub const MAX_IN_FLIGHT: usize = 1024;

/// The most writes of one group of a batch, as upstream.
pub const MAX_BATCH_CHANGES: usize = 200;

/// The size at which a group of a batch is closed, in bytes: three quarters of [`MAX_PROPOSAL_BYTES`], as upstream.
pub const MAX_BATCH_BYTES: usize = MAX_PROPOSAL_BYTES / 4 * 3;

/// How long a writer waits for its turn before it says that the transaction before it does not end: as long as upstream lets
/// its store be locked.
const PATIENCE: Duration = Duration::from_secs(30);

/// The replicated object store. Clones share it.
#[derive(Clone)]
pub struct Store {
    line: Arc<Line>,
    writers: Arc<Writers>,
}

struct Writers {
    env: Env,
    proposer: Box<dyn Proposer>,
    /// Held while a transaction is made and queued, so never across a wait. Nonces are drawn by whoever holds it.
    slot: Mutex<SmallRng>,
    places: Arc<Semaphore>,
}

/// What a transaction gave, and the version that it made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed<T> {
    /// What the closure gave.
    pub value: T,
    /// The version that made it visible. A transaction without writes has that of the state that it read.
    pub version: Version,
}

/// The outcome of a transaction that was handed out. Giving up the wait does not take the transaction back.
#[derive(Debug)]
#[must_use = "whether the transaction was committed is told here alone"]
pub struct Pending(Wait);

#[derive(Debug)]
enum Wait {
    Done(Version),
    Under(Version, oneshot::Receiver<Outcome>),
}

impl Future for Pending {
    type Output = Result<Version, StoreError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Wait::Done(version) => Poll::Ready(Ok(*version)),
            Wait::Under(_, outcome) => Poll::Ready(match ready!(Pin::new(outcome).poll(context)) {
                Ok(outcome) => Ok(outcome?),
                // The line was dropped, and with it the knowledge of what became of it.
                Err(_) => Err(ProposeError::Unknown.into()),
            }),
        }
    }
}

impl Pending {
    /// The version that the transaction makes if it is committed.
    #[must_use]
    pub fn version(&self) -> Version {
        match self.0 {
            Wait::Done(version) | Wait::Under(version, _) => version,
        }
    }
}

// === impl Store ===

impl Store {
    /// An empty store whose change sets go through `proposer`.
    #[must_use]
    pub fn new(env: Env, proposer: impl Proposer) -> Self {
        let line = Line::new();
        proposer.attach(Applier(line.clone()));
        let mut seed = [0; 8];
        env.fill_random(&mut seed);
        let writers = Writers {
            env,
            proposer: Box::new(proposer),
            slot: Mutex::new(SmallRng::seed_from_u64(u64::from_le_bytes(seed))),
            places: Arc::new(Semaphore::new(MAX_IN_FLIGHT)),
        };
        Self { line, writers: Arc::new(writers) }
    }

    /// An empty store that commits at once, without replication.
    #[must_use]
    pub fn local(env: Env) -> Self {
        Self::new(env, LocalProposer::new())
    }

    /// A store without replication that keeps its state in a journal on disk: what it held, and what goes on writing it.
    /// Blocks while the journal is read.
    ///
    /// Nothing is committed unless the writer runs: spawn [`JournalWriter::run`].
    ///
    /// # Errors
    ///
    /// The journal cannot be read, or is damaged. Nothing was changed then, but that a torn tail may have been cut off.
    pub fn journaled(env: Env, journal: Journal) -> Result<(Self, JournalWriter), JournalError> {
        let queue = Arc::default();
        let store = Self::new(env, LocalProposer::journaled(Arc::clone(&queue)));
        let writer = journal.recover(store.applier(), queue)?;
        Ok((store, writer))
    }

    /// The committed state. Takes no lock.
    #[must_use]
    pub fn view(&self) -> View {
        self.line.view()
    }

    /// The version of the committed state.
    #[must_use]
    pub fn version(&self) -> Version {
        self.view().version()
    }

    /// What the state of a version comes to, if that is the committed one or among the last [`crate::HISTORY_CHANGES`]
    /// changes: for managers that compare what they hold.
    #[must_use]
    pub fn digest_at(&self, version: Version) -> Option<Digest> {
        self.line.digest_at(version)
    }

    /// The first difference between this replica and the leader that was noticed; see [`Divergence`].
    #[must_use]
    pub fn divergence(&self) -> Option<Divergence> {
        self.line.divergence()
    }

    /// Tells of such a difference when it is noticed, and when a snapshot has put an end to it.
    #[must_use]
    pub fn watch_divergence(&self) -> watch::Receiver<Option<Divergence>> {
        self.line.watch_divergence()
    }

    /// Runs a transaction, and waits until it is committed and visible.
    ///
    /// `edit` runs on the newest state, changes under way included; while it does, other writers wait, so it should only
    /// look and decide. If it fails, nothing happened. If it fails or writes nothing, nothing is proposed, and the wait is
    /// only for what it has read to be committed.
    ///
    /// # Errors
    ///
    /// The error of `edit`, or a [`StoreError::Propose`] if the change set was not, or perhaps not, committed. `edit` may
    /// have failed because of changes under way; if those do not come to be, the error is [`ProposeError::Superseded`].
    pub async fn update<T, E: From<StoreError>>(
        &self,
        edit: impl FnOnce(&mut Transaction) -> Result<T, E>,
    ) -> Result<Committed<T>, E> {
        let _span = tracing::debug_span!("store.write");
        let place = self.writers.place().await?;
        match self.transact(place, edit) {
            Ok((value, pending)) => Ok(Committed { value, version: pending.await? }),
            Err(refusal) => Err(refusal.confirmed().await),
        }
    }

    pub(crate) fn env(&self) -> &Env {
        &self.writers.env
    }

    /// Runs a transaction, and returns as soon as it is handed out: the next one builds on it at once.
    ///
    /// # Errors
    ///
    /// The error of `edit`, or a [`StoreError::Propose`] if the change set could not be handed out. What `edit` has failed
    /// on may be under way itself.
    pub async fn submit<T, E: From<StoreError>>(
        &self,
        edit: impl FnOnce(&mut Transaction) -> Result<T, E>,
    ) -> Result<(T, Pending), E> {
        let place = self.writers.place().await?;
        self.transact(place, edit).map_err(|refusal| refusal.error)
    }

    /// Runs many edits that need not be committed together, in as few transactions as the limits allow.
    ///
    /// Each edit is atomic: if it fails, its writes are taken back. That ends the batch; the edits before it stay. Other
    /// writers get their turn between two groups, so an edit must look at the state afresh. Returns when everything
    /// handed out is committed, with the last version.
    ///
    /// # Errors
    ///
    /// The first error of an edit or of a group.
    pub async fn batch<E, F>(&self, edits: impl IntoIterator<Item = F>) -> Result<Version, E>
    where
        E: From<StoreError>,
        F: FnOnce(&mut Transaction) -> Result<(), E>,
    {
        let _span = tracing::debug_span!("store.batch");
        let mut edits = edits.into_iter().peekable();
        let mut groups = Vec::new();
        let mut failed = None;
        while failed.is_none() && edits.peek().is_some() {
            let place = self.writers.place().await?;
            match self.transact(place, |tx| Ok::<_, E>(fill(tx, &mut edits))) {
                Ok((failure, group)) => {
                    failed = failure;
                    groups.push(group);
                }
                Err(refusal) => failed = Some(refusal.error),
            }
        }
        let mut version = self.version();
        for group in groups {
            version = group.await?;
        }
        failed.map_or(Ok(version), Err)
    }

    /// Subscribes to what is of interest. The first update is a snapshot.
    pub fn watch(&self, interest: impl Into<Interest>) -> Watch {
        self.line.subscribe(interest.into())
    }

    /// Subscribes from a version on: the first updates are the deltas since then, without a snapshot.
    ///
    /// # Errors
    ///
    /// The version is too old for that, or was never reached.
    pub fn watch_from(&self, version: Version, interest: impl Into<Interest>) -> Result<Watch, HistoryError> {
        self.line.resume(version, interest.into())
    }

    /// The change sets that were committed after version `from`, up to and with version `to`, in order: for whoever wants
    /// to know what has happened, and not to be told of what happens next. Between a version and itself there are none.
    ///
    /// # Errors
    ///
    /// The versions are in the wrong order, the last one was never reached, or the first one is too old: no more than
    /// the last [`crate::HISTORY_CHANGES`] changes are kept.
    pub fn changes_between(&self, from: Version, to: Version) -> Result<Vec<PastChanges>, HistoryError> {
        self.line.changes_between(from, to)
    }

    /// The other end, which proposers are given: for tools that save and restore a whole store.
    #[must_use]
    pub fn applier(&self) -> Applier {
        Applier(self.line.clone())
    }

    /// Ends the store: nothing can be written any more, and all watches end.
    pub fn close(&self) {
        self.line.close();
    }

    fn transact<T, E: From<StoreError>>(
        &self,
        place: OwnedSemaphorePermit,
        edit: impl FnOnce(&mut Transaction) -> Result<T, E>,
    ) -> Result<(T, Pending), Refusal<E>> {
        let mut slot = self.writers.turn(PATIENCE, || {
            tracing::error!(seconds = PATIENCE.as_secs(), "a transaction does not end, and all writers wait for it");
        });
        let _held = tracing::debug_span!("store.lock");
        let head = self.line.head();
        let now = self.writers.env.now().into();
        let mut transaction =
            Transaction::on(head.state.as_ref().clone(), now, slot.next_u64(), self.line.specs.clone());
        let value = edit(&mut transaction).map_err(|error| Refusal { error, read: self.line.follow(&head) })?;
        let Some(mut set) = transaction.finish() else {
            let outcome = self.line.follow(&head).map_err(Refusal::of_proposal)?;
            let version = head.state.version();
            return Ok((value, Pending(outcome.map_or(Wait::Done(version), |outcome| Wait::Under(version, outcome)))));
        };
        let limit = self.writers.proposer.max_bytes();
        if set.payload.len() > limit {
            let error = ProposeError::TooLarge { size: set.payload.len(), limit };
            return Err(Refusal::of_proposal(error));
        }
        let proposal = Proposal { id: set.id, payload: std::mem::take(&mut set.payload) };
        let id = set.id;
        let outcome = self.line.push(&head, set, place).map_err(Refusal::of_proposal)?;
        if let Err(error) = self.writers.proposer.propose(proposal) {
            self.line.reject(id, error.clone());
            return Err(Refusal::of_proposal(error));
        }
        Ok((value, Pending(Wait::Under(id.version, outcome))))
    }
}

/// A transaction that was not handed out.
struct Refusal<E> {
    error: E,
    /// The end of what the edit had read and had failed on, if that was under way.
    read: Result<Option<oneshot::Receiver<Outcome>>, ProposeError>,
}

impl<E: From<StoreError>> Refusal<E> {
    fn of_proposal(error: ProposeError) -> Self {
        Self { error: StoreError::from(error).into(), read: Ok(None) }
    }

    /// The error that may be told: nobody learns of changes that do not come to be, not from a refusal either.
    async fn confirmed(self) -> E {
        let came_to_be = match self.read {
            Ok(None) => true,
            Ok(Some(outcome)) => matches!(outcome.await, Ok(Ok(_))),
            Err(_) => false,
        };
        if came_to_be { self.error } else { StoreError::from(ProposeError::Superseded).into() }
    }
}

/// Runs edits until a group is full, or one fails, or there are no more.
fn fill<E, F>(transaction: &mut Transaction, edits: &mut impl Iterator<Item = F>) -> Option<E>
where
    F: FnOnce(&mut Transaction) -> Result<(), E>,
{
    while transaction.changes() < MAX_BATCH_CHANGES && transaction.size() < MAX_BATCH_BYTES {
        let edit = edits.next()?;
        if let Err(error) = transaction.attempt(edit) {
            return Some(error);
        }
        if transaction.changes() == 1 {
            transaction.expect(edits.size_hint().0.min(MAX_BATCH_CHANGES - 1));
        }
    }
    None
}

impl Writers {
    /// A place among the change sets under way.
    async fn place(&self) -> Result<OwnedSemaphorePermit, StoreError> {
        self.places.clone().acquire_owned().await.map_err(|_| ProposeError::Stopped.into())
    }

    /// Waits for the slot, and calls `late` once if that takes longer than `patience`. Asks no clock while the slot is free.
    fn turn(&self, patience: Duration, late: impl FnOnce()) -> MutexGuard<'_, SmallRng> {
        self.slot.try_lock_for(patience).unwrap_or_else(|| {
            late();
            self.slot.lock()
        })
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Store").field(&self.version()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_that_does_not_end_is_told_of_once_by_the_next_writer() {
        let store = Store::local(Env::real());
        let stuck = store.writers.turn(PATIENCE, || panic!("nobody else has it"));
        let mut told = 0;
        let turn = store.writers.turn(Duration::ZERO, || {
            told += 1;
            drop(stuck);
        });
        drop(turn);
        assert_eq!(told, 1);
    }
}
