//! The objects of one kind, by id and by everything else that they are looked up by.

use std::{borrow::Borrow, fmt, ops::Bound, sync::Arc};

use im::OrdMap;
use swarmkit_api::Object;

use crate::{
    Change, Digest, Edit, StoreError,
    index::{Index, Text},
    intern::Specs,
    state::Tables,
};

/// What the store has to know of a kind: its indexes, its rules, and where it lies.
pub trait Record: Object {
    /// The secondary indexes of the kind, apart from the custom one that all kinds have.
    type Indexes: Clone + Default + fmt::Debug + PartialEq + Send + Sync;

    /// Brings the indexes from one form of an object to another. Touches only the keys that differ.
    fn reindex(indexes: &mut Self::Indexes, id: &Self::Id, before: Option<&Self>, after: Option<&Self>);

    /// The rules for a new or a changed object, apart from those on its id and its version. `replaced` is what a changed
    /// one is about to replace: itself.
    ///
    /// # Errors
    ///
    /// The rule that is broken.
    fn admit(tables: &Tables, new: &Self, replaced: Option<&Self::Id>) -> Result<(), StoreError>;

    /// The rules for removing an object that exists.
    ///
    /// # Errors
    ///
    /// The rule that is broken.
    fn dismiss(_tables: &Tables, _old: &Self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Shares with other objects what is equal in them.
    fn intern(&mut self, _specs: &Specs) {}

    /// The table of this kind.
    fn table(tables: &Tables) -> &Table<Self>;
    /// The table of this kind, made this owner's alone.
    fn table_mut(tables: &mut Tables) -> &mut Table<Self>;

    /// Wraps an edit for code that handles every kind.
    fn into_change(edit: Edit<Self>) -> Change;
    /// Unwraps an edit of this kind.
    fn from_change(change: &Change) -> Option<&Edit<Self>>;
}

/// An object and its digest.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry<O> {
    pub(crate) digest: Digest,
    pub(crate) object: Arc<O>,
}

/// The objects of one kind. Clones share everything until one of them is changed.
#[derive(Clone)]
pub struct Table<O: Record> {
    objects: OrdMap<O::Id, Entry<O>>,
    /// The sum of all entries' digests.
    pub(crate) digest: Digest,
    pub(crate) indexes: O::Indexes,
    pub(crate) custom: Index<(Text, Text), O::Id>,
}

impl<O: Record> Default for Table<O> {
    fn default() -> Self {
        Self {
            objects: OrdMap::new(),
            digest: Digest::default(),
            indexes: O::Indexes::default(),
            custom: Index::default(),
        }
    }
}

impl<O: Record> PartialEq for Table<O> {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
            && self.objects == other.objects
            && self.indexes == other.indexes
            && self.custom == other.custom
    }
}

impl<O: Record> fmt::Debug for Table<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.objects.iter().map(|(id, entry)| (id, &entry.object))).finish()
    }
}

impl<O: Record> Table<O> {
    pub(crate) fn get(&self, id: &O::Id) -> Option<&Arc<O>> {
        self.objects.get(id).map(|entry| &entry.object)
    }

    /// All objects, in ascending order of their ids.
    pub(crate) fn values(&self) -> impl Iterator<Item = &Arc<O>> {
        self.objects.values().map(|entry| &entry.object)
    }

    /// How many objects there are.
    pub(crate) fn len(&self) -> usize {
        self.objects.len()
    }

    /// Inserts or replaces an object of a known digest, and gives what it replaced.
    pub(crate) fn put(&mut self, object: Arc<O>, digest: Digest) -> Option<Entry<O>> {
        let before = self.objects.insert(object.id().clone(), Entry { digest, object: object.clone() });
        self.digest = self.digest.plus(digest);
        if let Some(before) = &before {
            self.digest = self.digest.minus(before.digest);
        }
        self.reindex(object.id(), before.as_ref().map(|entry| entry.object.as_ref()), Some(&object));
        before
    }

    /// Removes an object, and gives it.
    pub(crate) fn remove(&mut self, id: &O::Id) -> Option<Entry<O>> {
        let before = self.objects.remove(id)?;
        self.digest = self.digest.minus(before.digest);
        self.reindex(id, Some(&before.object), None);
        Some(before)
    }

    /// How `after` differs from this, as edits, in ascending order of the ids.
    pub(crate) fn difference(&self, after: &Self) -> impl Iterator<Item = Edit<O>> {
        use im::ordmap::DiffItem;

        self.objects.diff(&after.objects).map(|item| match item {
            DiffItem::Add(_, new) => Edit { before: None, after: Some(new.object.clone()) },
            DiffItem::Update { old: (_, old), new: (_, new) } => {
                Edit { before: Some(old.object.clone()), after: Some(new.object.clone()) }
            }
            DiffItem::Remove(_, old) => Edit { before: Some(old.object.clone()), after: None },
        })
    }

    fn reindex(&mut self, id: &O::Id, before: Option<&O>, after: Option<&O>) {
        O::reindex(&mut self.indexes, id, before, after);
        let (before, after) = (custom_keys(before), custom_keys(after));
        self.custom.amend_all(id, &before, &after);
    }

    /// All objects whose id starts with `prefix`, in ascending order.
    pub(crate) fn with_id_prefix<'a>(&'a self, prefix: &str) -> impl Iterator<Item = &'a Arc<O>> + use<'a, O> {
        let prefix = prefix.to_owned();
        self.objects
            .range::<_, str>((Bound::Included(prefix.as_str()), Bound::Unbounded))
            .take_while(move |(id, _)| Borrow::<str>::borrow(*id).starts_with(&prefix))
            .map(|(_, entry)| &entry.object)
    }
}

/// The pairs that an object's annotations ask to be found by.
fn custom_keys<O: Object>(object: Option<&O>) -> Vec<(Text, Text)> {
    let indices = object.map(|object| object.annotations().indices.as_slice()).unwrap_or_default();
    indices.iter().map(|entry| (Text::from(entry.key.as_str()), Text::from(entry.val.as_str()))).collect()
}
