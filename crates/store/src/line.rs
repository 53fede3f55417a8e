//! The line of commits: what is committed, what is under way, and who is told.

use std::{collections::VecDeque, sync::Arc};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use swarmkit_api::Version;
use tokio::sync::{OwnedSemaphorePermit, oneshot, watch};

use crate::{
    Applied, ApplyError, Change, Delta, Digest, Divergence, HistoryError, Interest, PastChanges, ProposalId,
    ProposeError, State, View, Watch,
    codec::{self, Written},
    intern::Specs,
    transaction::ChangeSet,
    watch::{History, Mailbox, Router, WatchId},
};

/// How a proposal ended.
pub(crate) type Outcome = Result<Version, ProposeError>;

/// Everything of a store but the slot for writers.
pub(crate) struct Line {
    committed: ArcSwap<State>,
    /// One apply or restore at a time, so that the slow part of applying needs no other lock.
    applying: Mutex<()>,
    inner: Mutex<Inner>,
    /// The first difference from the leader that was noticed.
    divergence: watch::Sender<Option<Divergence>>,
    pub(crate) specs: Arc<Specs>,
}

struct Inner {
    /// Proposed and neither committed nor failed, oldest first. Each was built on the one before it.
    in_flight: VecDeque<InFlight>,
    /// Counts how often the newest state was replaced by one that was not built on it.
    turn: u64,
    router: Router,
    history: History,
    closed: bool,
}

/// The newest state, as a writer found it.
pub(crate) struct Head {
    pub(crate) state: Arc<State>,
    turn: u64,
    /// Nothing was under way: the state was the committed one.
    committed: bool,
}

/// A change set under way.
struct InFlight {
    id: ProposalId,
    state: Arc<State>,
    changes: Arc<[Change]>,
    waiting: Vec<oneshot::Sender<Outcome>>,
    /// Held for its effect: a place among those under way.
    _place: OwnedSemaphorePermit,
    /// Held for its effect: it lasts from the proposal until the change set is visible, or has failed.
    _span: tracing::Span,
}

impl Line {
    pub(crate) fn new() -> Arc<Self> {
        let state = State::empty();
        let inner = Inner {
            in_flight: VecDeque::new(),
            turn: 0,
            router: Router::default(),
            history: History::starting_at(state.version),
            closed: false,
        };
        Arc::new(Self {
            committed: ArcSwap::from_pointee(state),
            applying: Mutex::new(()),
            inner: Mutex::new(inner),
            divergence: watch::Sender::new(None),
            specs: Arc::default(),
        })
    }

    /// The committed state.
    pub(crate) fn view(&self) -> View {
        View(self.committed.load_full())
    }

    /// The newest state, changes under way included.
    pub(crate) fn head(&self) -> Head {
        let inner = self.inner.lock();
        let (state, committed) = match inner.in_flight.back() {
            Some(last) => (last.state.clone(), false),
            None => (self.committed.load_full(), true),
        };
        Head { state, turn: inner.turn, committed }
    }

    /// Puts a change set at the end of the line, if the state that it was built on is still the newest. The caller has the
    /// writers' slot, so it is unless the line took another turn.
    pub(crate) fn push(
        &self,
        head: &Head,
        set: ChangeSet,
        place: OwnedSemaphorePermit,
    ) -> Result<oneshot::Receiver<Outcome>, ProposeError> {
        let (done, outcome) = oneshot::channel();
        let ChangeSet { id, state, changes, .. } = set;
        let span = tracing::debug_span!("raft.proposal", version = id.version.0, changes = changes.len());
        let mut inner = self.inner.lock();
        if inner.closed {
            return Err(ProposeError::Stopped);
        }
        if head.turn != inner.turn {
            return Err(ProposeError::Superseded);
        }
        inner.in_flight.push_back(InFlight { id, state, changes, waiting: vec![done], _place: place, _span: span });
        Ok(outcome)
    }

    /// Waits for a state that somebody read, without having changed it. `None` when it is committed already.
    pub(crate) fn follow(&self, head: &Head) -> Result<Option<oneshot::Receiver<Outcome>>, ProposeError> {
        if head.committed {
            return Ok(None);
        }
        let mut inner = self.inner.lock();
        if head.turn != inner.turn {
            return Err(ProposeError::Superseded);
        }
        Ok(inner.in_flight.back_mut().map(|last| {
            let (done, outcome) = oneshot::channel();
            last.waiting.push(done);
            outcome
        }))
    }

    /// Takes over a committed change set, in the order of the log.
    pub(crate) fn apply(&self, payload: &[u8]) -> Result<Applied, ApplyError> {
        let _one = self.applying.lock();
        let header = codec::decode_header(payload)?;
        let committed = self.committed.load_full();
        if header.id.version != committed.version.next() || header.base.lineage != committed.lineage {
            self.reject(header.id, ProposeError::Superseded);
            return Ok(Applied::Superseded);
        }
        let canonical = header.base.digest.is_some();
        let divergence = header.base.digest.filter(|said| *said != committed.digest()).map(|said| Divergence {
            version: committed.version,
            own: committed.digest(),
            proposer: said,
        });
        if divergence.is_some() {
            self.divergence.send_if_modified(|first| first.is_none().then(|| *first = divergence).is_some());
        }
        let mut inner = self.inner.lock();
        let own = inner.in_flight.pop_front_if(|first| first.id == header.id);
        if let Some(own) = own {
            self.publish(&mut inner, own.state, own.changes);
            drop(inner);
            resolve(own.waiting, Ok(header.id.version));
        } else {
            drop(inner);
            let (state, changes) = self.replay(&committed, header.id, payload, canonical)?;
            let mut inner = self.inner.lock();
            // Whatever is under way was built on a state that this one has replaced.
            let lost = inner.take_turn();
            self.publish(&mut inner, Arc::new(state), changes.into());
            drop(inner);
            fail(lost, &ProposeError::Superseded);
        }
        Ok(Applied::Committed(header.id.version))
    }

    /// Builds the state that a change set of another process leads to.
    fn replay(
        &self,
        on: &State,
        id: ProposalId,
        payload: &[u8],
        canonical: bool,
    ) -> Result<(State, Vec<Change>), ApplyError> {
        let mut state = State { version: id.version, lineage: id.nonce, tables: on.tables.clone() };
        let mut changes = Vec::new();
        for written in codec::decode_actions(payload, canonical) {
            match written? {
                Written::Put(object, digest) => {
                    changes.push(state.tables.put_any(self.specs.intern_any(object), digest));
                }
                // Removing what is not there is nothing, on every replica alike.
                Written::Removed(kind, id) => changes.extend(state.tables.remove_any(kind, &id)),
            }
        }
        Ok((state, changes))
    }

    /// Makes a state the committed one and tells the watchers. The state is visible first: see [`Mailbox::push`].
    fn publish(&self, inner: &mut Inner, state: Arc<State>, changes: Arc<[Change]>) {
        self.committed.store(state.clone());
        inner.history.push(state.version, state.digest(), changes.clone());
        if !changes.is_empty() {
            inner.router.publish(&Delta { version: state.version, changes, view: View(state) });
        }
    }

    /// Replaces the committed state by one from a snapshot. Watchers are told the difference.
    pub(crate) fn install(&self, state: State) {
        let _one = self.applying.lock();
        let before = self.committed.load_full();
        let changes: Arc<[Change]> = before.tables.difference(&state.tables).into();
        let state = Arc::new(state);
        let mut inner = self.inner.lock();
        let lost = inner.take_turn();
        let backward = state.version < before.version || (state.version == before.version && !changes.is_empty());
        self.publish(&mut inner, state.clone(), changes);
        inner.history = History::starting_at(state.version);
        // Whatever it was, it is replaced.
        self.divergence.send_if_modified(|first| first.take().is_some());
        if backward {
            // A delta of a version that watchers have seen would be taken for an old one.
            inner.router.resync();
        }
        drop(inner);
        fail(lost, &ProposeError::Unknown);
    }

    /// Fails a proposal and all after it. Does nothing if it is not under way.
    pub(crate) fn reject(&self, id: ProposalId, error: ProposeError) {
        let mut inner = self.inner.lock();
        let Some(position) = inner.in_flight.iter().position(|set| set.id == id) else { return };
        let mut lost = inner.in_flight.split_off(position);
        inner.turn += 1;
        drop(inner);
        if let Some(first) = lost.pop_front() {
            let rest = match error {
                ProposeError::TooLarge { .. } => ProposeError::Superseded,
                ref same => same.clone(),
            };
            resolve(first.waiting, Err(error));
            fail(lost, &rest);
        }
    }

    /// Fails everything under way.
    pub(crate) fn abandon(&self, error: &ProposeError) {
        let lost = self.inner.lock().take_turn();
        fail(lost, error);
    }

    /// Ends everything: nothing can be written any more, and watches end.
    pub(crate) fn close(&self) {
        let mut inner = self.inner.lock();
        inner.closed = true;
        inner.router.end();
        let lost = inner.take_turn();
        drop(inner);
        fail(lost, &ProposeError::Unknown);
    }

    /// The first difference from the leader that was noticed since the last snapshot was installed.
    pub(crate) fn divergence(&self) -> Option<Divergence> {
        *self.divergence.borrow()
    }

    pub(crate) fn watch_divergence(&self) -> watch::Receiver<Option<Divergence>> {
        self.divergence.subscribe()
    }

    /// What the state of a version comes to, if that is the committed one or still remembered.
    pub(crate) fn digest_at(&self, version: Version) -> Option<Digest> {
        let inner = self.inner.lock();
        let committed = self.committed.load();
        if committed.version == version { Some(committed.digest()) } else { inner.history.digest_at(version) }
    }

    pub(crate) fn subscribe(self: &Arc<Self>, interest: Interest) -> Watch {
        let mut inner = self.inner.lock();
        let mailbox = Arc::new(Mailbox::fresh());
        self.enter(&mut inner, interest, mailbox)
    }

    pub(crate) fn resume(self: &Arc<Self>, from: Version, interest: Interest) -> Result<Watch, HistoryError> {
        let mut inner = self.inner.lock();
        let view = self.view();
        if from > view.version() {
            return Err(HistoryError::OutOfBounds);
        }
        let replay = inner.history.between(from, view.version())?.filter_map(|set| {
            let PastChanges { version, changes } = &set.past;
            let changes: Arc<[Change]> = changes.iter().filter(|change| interest.selects(change)).cloned().collect();
            (!changes.is_empty()).then(|| Delta { version: *version, changes, view: view.clone() })
        });
        let mailbox = Arc::new(Mailbox::resumed(replay.collect(), view.version()));
        Ok(self.enter(&mut inner, interest, mailbox))
    }

    /// What was committed after `from`, up to `to`.
    pub(crate) fn changes_between(&self, from: Version, to: Version) -> Result<Vec<PastChanges>, HistoryError> {
        let inner = self.inner.lock();
        Ok(inner.history.between(from, to)?.map(|set| set.past.clone()).collect())
    }

    fn enter(self: &Arc<Self>, inner: &mut Inner, interest: Interest, mailbox: Arc<Mailbox>) -> Watch {
        if inner.closed {
            mailbox.end();
        }
        let id = inner.router.add(interest, mailbox.clone());
        Watch::new(self.clone(), mailbox, id)
    }

    pub(crate) fn unsubscribe(&self, id: WatchId) {
        self.inner.lock().router.remove(id);
    }
}

impl Inner {
    /// Takes out everything under way; the newest state is the committed one again, or what will replace it.
    fn take_turn(&mut self) -> VecDeque<InFlight> {
        self.turn += 1;
        std::mem::take(&mut self.in_flight)
    }
}

fn fail(lost: VecDeque<InFlight>, error: &ProposeError) {
    for set in lost {
        resolve(set.waiting, Err(error.clone()));
    }
}

/// Tells everyone who waits. Some have given up; that is their business.
fn resolve(waiting: Vec<oneshot::Sender<Outcome>>, outcome: Outcome) {
    for waiter in waiting {
        waiter.send(outcome.clone()).ok();
    }
}
