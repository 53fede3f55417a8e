//! A change in the making.

use std::{ops::Deref, sync::Arc};

use bytes::Bytes;
use prost_types::Timestamp;
use swarmkit_api::Meta;

use crate::{
    Action, Change, Digest, Edit, ProposalId, State, StoreError, Stored,
    codec::{self, Base, Header},
    intern::Specs,
    store::MAX_BATCH_BYTES,
    table::Entry,
};

/// A private state that one writer changes.
///
/// It shows the newest state, changes under way and its own writes included; nobody else sees them until they are
/// committed. Reads are those of [`State`]. An error of the closure that was given it leaves no trace.
pub struct Transaction {
    state: State,
    now: Timestamp,
    nonce: u64,
    changes: Vec<Change>,
    /// The digests of what the changes replaced, to take them back; zero where there was nothing.
    replaced: Vec<Digest>,
    /// The change set as the log will hold it; empty until the first write.
    payload: Vec<u8>,
    /// Room to encode one object in.
    scratch: Vec<u8>,
    specs: Arc<Specs>,
}

/// What a transaction came to.
pub(crate) struct ChangeSet {
    pub(crate) id: ProposalId,
    pub(crate) state: Arc<State>,
    pub(crate) changes: Arc<[Change]>,
    pub(crate) payload: Bytes,
}

impl Deref for Transaction {
    type Target = State;

    fn deref(&self) -> &State {
        &self.state
    }
}

impl Transaction {
    /// A transaction on top of `head`. All its writes carry the time `now`, and its change set the given nonce.
    pub(crate) fn on(head: State, now: Timestamp, nonce: u64, specs: Arc<Specs>) -> Self {
        Self {
            state: head,
            now,
            nonce,
            changes: Vec::new(),
            replaced: Vec::new(),
            payload: Vec::new(),
            scratch: Vec::new(),
            specs,
        }
    }

    /// When this transaction takes place, by the clock of its writer: what it stamps its objects with.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Adds an object, and gives it as it is stored: with its version and its times set.
    ///
    /// # Errors
    ///
    /// [`StoreError::NameConflict`] and the other rules of its kind first, then [`StoreError::Exists`].
    pub fn create<O: Stored>(&mut self, mut object: O) -> Result<Arc<O>, StoreError> {
        if object.id().as_ref().is_empty() {
            return Err(StoreError::NoId);
        }
        O::admit(&self.state.tables, &object, None)?;
        if self.get::<O>(object.id()).is_some() {
            return Err(StoreError::Exists);
        }
        *object.meta_mut() = Meta {
            version: self.state.version,
            created_at: Some(self.now),
            updated_at: Some(self.now),
            created_version: self.state.version,
        };
        Ok(self.put(Action::Create, object))
    }

    /// Replaces an object, if it is still the one that `object` was made from, and gives it as it is stored.
    ///
    /// # Errors
    ///
    /// [`StoreError::NameConflict`] and the other rules of its kind first, then [`StoreError::NotFound`], then
    /// [`StoreError::OutOfSequence`] if it was written since.
    pub fn update<O: Stored>(&mut self, mut object: O) -> Result<Arc<O>, StoreError> {
        O::admit(&self.state.tables, &object, Some(object.id()))?;
        let stored = *self.get::<O>(object.id()).ok_or(StoreError::NotFound)?.meta();
        if stored.version != object.meta().version {
            return Err(StoreError::OutOfSequence);
        }
        *object.meta_mut() = Meta { version: self.state.version, updated_at: Some(self.now), ..stored };
        Ok(self.put(Action::Update, object))
    }

    /// Changes the object with that id in place, whatever its version, and gives it as it is stored.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotFound`], and the rules of [`Transaction::update`].
    pub fn edit<O: Stored>(&mut self, id: &O::Id, edit: impl FnOnce(&mut O)) -> Result<Arc<O>, StoreError> {
        let stored = self.get::<O>(id).ok_or(StoreError::NotFound)?;
        let meta = *stored.meta();
        let mut object = O::clone(stored);
        edit(&mut object);
        if object.id() != id || object.meta().version != meta.version {
            return self.update(object);
        }
        // It is the stored one, so it need not be looked up again.
        O::admit(&self.state.tables, &object, Some(id))?;
        *object.meta_mut() = Meta { version: self.state.version, updated_at: Some(self.now), ..meta };
        Ok(self.put(Action::Update, object))
    }

    /// Removes an object, and gives what it was.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotFound`], then the rules of its kind.
    pub fn delete<O: Stored>(&mut self, id: &O::Id) -> Result<Arc<O>, StoreError> {
        let object = self.get::<O>(id).ok_or(StoreError::NotFound)?.clone();
        O::dismiss(&self.state.tables, &object)?;
        self.begin();
        codec::encode_action(Action::Remove, object.as_ref(), &mut self.scratch, &mut self.payload);
        let before = O::table_mut(&mut self.state.tables).remove(id);
        self.record(before, None);
        Ok(object)
    }

    /// Does a part that succeeds or fails by itself: on an error, its writes are taken back and the rest stays.
    ///
    /// # Errors
    ///
    /// The error of `part`.
    pub fn attempt<T, E>(&mut self, part: impl FnOnce(&mut Self) -> Result<T, E>) -> Result<T, E> {
        let (changes, bytes) = (self.changes.len(), self.payload.len());
        part(self).inspect_err(|_| {
            for (change, digest) in self.changes.drain(changes..).zip(self.replaced.drain(changes..)).rev() {
                self.state.tables.undo(&change, digest);
            }
            self.payload.truncate(bytes);
        })
    }

    /// How many writes there were so far.
    #[must_use]
    pub fn changes(&self) -> usize {
        self.changes.len()
    }

    /// How many bytes the change set takes in the log so far.
    #[must_use]
    pub fn size(&self) -> usize {
        self.payload.len()
    }

    /// Makes room for so many more writes, each as large as those so far.
    pub(crate) fn expect(&mut self, more: usize) {
        let each = self.payload.len().div_ceil(self.changes.len().max(1));
        self.payload.reserve(more.saturating_mul(each).min(MAX_BATCH_BYTES));
        self.changes.reserve(more);
        self.replaced.reserve(more);
    }

    /// The finished change set. `None` when there was no write.
    pub(crate) fn finish(self) -> Option<ChangeSet> {
        if self.changes.is_empty() {
            return None;
        }
        let id = ProposalId { version: self.state.version.next(), nonce: self.nonce };
        let state = State { version: id.version, lineage: id.nonce, tables: self.state.tables };
        Some(ChangeSet { id, state: Arc::new(state), changes: self.changes.into(), payload: self.payload.into() })
    }

    /// The state as it is with the writes, for a transaction that goes nowhere.
    pub(crate) fn into_state(self) -> State {
        self.state
    }

    fn put<O: Stored>(&mut self, action: Action, mut object: O) -> Arc<O> {
        object.intern(&self.specs);
        let object = Arc::new(object);
        self.begin();
        codec::encode_action(action, object.as_ref(), &mut self.scratch, &mut self.payload);
        let digest = Digest::of_bytes(O::KIND, &self.scratch);
        let before = O::table_mut(&mut self.state.tables).put(object.clone(), digest);
        self.record(before, Some(object.clone()));
        object
    }

    /// Writes the header before the first change, while the state is still the one that the transaction was built on.
    fn begin(&mut self) {
        if self.payload.is_empty() {
            let id = ProposalId { version: self.state.version.next(), nonce: self.nonce };
            let base = Base { lineage: self.state.lineage, digest: Some(self.state.digest()) };
            codec::encode_header(&Header { id, base }, &mut self.payload);
        }
    }

    fn record<O: Stored>(&mut self, before: Option<Entry<O>>, after: Option<Arc<O>>) {
        self.replaced.push(before.as_ref().map(|entry| entry.digest).unwrap_or_default());
        self.changes.push(O::into_change(Edit { before: before.map(|entry| entry.object), after }));
    }
}
