//! One secondary index: which objects have which key.

use std::{borrow::Cow, cmp::Ordering, ops::Bound, sync::Arc};

use equivalent::{Comparable, Equivalent};
use im::{OrdSet, ordset::RangedIter, shared_ptr::DefaultSharedPtr};

/// Text that many versions of an index share.
pub(crate) type Text = Arc<str>;

/// The ids of all objects that have a key, for every key. Ids of one key come out in ascending order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Index<K: Ord, I: Ord>(OrdSet<(K, I)>);

impl<K: Ord, I: Ord> Default for Index<K, I> {
    fn default() -> Self {
        Self(OrdSet::new())
    }
}

impl<K: Ord + Clone, I: Ord + Clone> Index<K, I> {
    /// Moves an object from one key to another. `None` means that it is under no key.
    pub(crate) fn amend(&mut self, id: &I, before: Option<K>, after: Option<K>) {
        if before == after {
            return;
        }
        if let Some(key) = before {
            self.0.remove(&(key, id.clone()));
        }
        if let Some(key) = after {
            self.0.insert((key, id.clone()));
        }
    }

    /// Moves an object that may be under several keys.
    pub(crate) fn amend_all(&mut self, id: &I, before: &[K], after: &[K]) {
        for key in before.iter().filter(|key| !after.contains(key)) {
            self.0.remove(&(key.clone(), id.clone()));
        }
        for key in after.iter().filter(|key| !before.contains(key)) {
            self.0.insert((key.clone(), id.clone()));
        }
    }

    /// The ids whose key `probe` finds equal. It orders a key relative to what is looked for, in agreement with the order
    /// of keys.
    pub(crate) fn find(&self, probe: impl Fn(&K) -> Ordering) -> Ids<'_, K, I> {
        let low = Probe { key: &probe, side: Ordering::Less };
        let high = Probe { key: &probe, side: Ordering::Greater };
        Ids(self.0.range((Bound::Included(low), Bound::Included(high))))
    }

    /// The ids under one key.
    pub(crate) fn at(&self, key: &K) -> Ids<'_, K, I> {
        self.find(|other| other.cmp(key))
    }
}

/// The ids that an index was asked for.
pub(crate) struct Ids<'a, K, I>(RangedIter<'a, (K, I), DefaultSharedPtr>);

impl<'a, K: Ord, I: Ord> Iterator for Ids<'a, K, I> {
    type Item = &'a I;

    fn next(&mut self) -> Option<&'a I> {
        self.0.next().map(|(_, id)| id)
    }
}

/// An end of a range: just before or just after all entries whose key compares equal.
struct Probe<'p, F> {
    key: &'p F,
    side: Ordering,
}

impl<K, I, F: Fn(&K) -> Ordering> Equivalent<(K, I)> for Probe<'_, F> {
    fn equivalent(&self, _: &(K, I)) -> bool {
        false
    }
}

impl<K, I, F: Fn(&K) -> Ordering> Comparable<(K, I)> for Probe<'_, F> {
    fn compare(&self, (key, _): &(K, I)) -> Ordering {
        (self.key)(key).reverse().then(self.side)
    }
}

/// A probe for text that is exactly `wanted`.
pub(crate) fn exactly(wanted: &str) -> impl Fn(&Text) -> Ordering {
    move |key| key.as_ref().cmp(wanted)
}

/// A probe for text that starts with `prefix`.
pub(crate) fn starting_with(prefix: &str) -> impl Fn(&Text) -> Ordering {
    move |key| compare_prefix(key, prefix)
}

/// Orders text relative to all texts that start with `prefix`.
pub(crate) fn compare_prefix(text: &str, prefix: &str) -> Ordering {
    if text.starts_with(prefix) { Ordering::Equal } else { text.cmp(prefix) }
}

/// Names compare without case: each character is lower-cased by itself, as clients of the wire expect.
pub(crate) fn fold(name: &str) -> Text {
    folded(name).into()
}

/// The same, copied only if it makes a difference.
pub(crate) fn folded(name: &str) -> Cow<'_, str> {
    if name.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase()) {
        return name.into();
    }
    name.chars().map(|c| c.to_lowercase().next().unwrap_or(c)).collect::<String>().into()
}
