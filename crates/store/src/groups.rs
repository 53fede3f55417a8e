//! Objects in groups, and how many of each group have something in common.
//!
//! What a cluster has most of, its tasks, is looked up by group: those of a service, those of a node. Everything that is
//! asked for rarely is answered from the groups in which it occurs at all, so a write touches few and small trees.

use std::{cmp::Ordering, ops::Bound};

use equivalent::{Comparable, Equivalent};
use im::{OrdMap, OrdSet};
use swarmkit_api::{ServiceId, TaskState};

use crate::index::{Text, compare_prefix};

/// Sets of entries by what they have in common. No set is empty.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Groups<K: Ord, E: Ord>(OrdMap<K, OrdSet<E>>);

impl<K: Ord, E: Ord> Default for Groups<K, E> {
    fn default() -> Self {
        Self(OrdMap::new())
    }
}

impl<K: Ord + Clone, E: Ord + Clone> Groups<K, E> {
    /// Moves an entry from one group to another. `None` means that it is in no group.
    pub(crate) fn amend(&mut self, before: Option<(K, E)>, after: Option<(K, E)>) {
        if before == after {
            return;
        }
        if let Some((key, entry)) = before
            && let Some(group) = self.0.get_mut(&key)
        {
            group.remove(&entry);
            if group.is_empty() {
                self.0.remove(&key);
            }
        }
        if let Some((key, entry)) = after {
            match self.0.get_mut(&key) {
                Some(group) => drop(group.insert(entry)),
                None => drop(self.0.insert(key, OrdSet::unit(entry))),
            }
        }
    }

    /// The entries of a group.
    pub(crate) fn of(&self, key: &K) -> Option<&OrdSet<E>> {
        self.0.get(key)
    }
}

/// Something that tasks have in common within a service and across services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Facet<T> {
    DesiredState(TaskState),
    State(TaskState),
    Runtime(T),
    Network(T),
    Secret(T),
    Config(T),
    /// The name of the service, in lower case, of tasks that have no name of their own.
    ServiceName(T),
}

impl<T: AsRef<str>> Facet<T> {
    /// The same without owning its text.
    pub(crate) fn borrowed(&self) -> Facet<&str> {
        match self {
            Self::DesiredState(state) => Facet::DesiredState(*state),
            Self::State(state) => Facet::State(*state),
            Self::Runtime(text) => Facet::Runtime(text.as_ref()),
            Self::Network(text) => Facet::Network(text.as_ref()),
            Self::Secret(text) => Facet::Secret(text.as_ref()),
            Self::Config(text) => Facet::Config(text.as_ref()),
            Self::ServiceName(text) => Facet::ServiceName(text.as_ref()),
        }
    }
}

impl Facet<&str> {
    /// The same with a text of its own.
    pub(crate) fn owned(&self) -> Facet<Text> {
        match *self {
            Self::DesiredState(state) => Facet::DesiredState(state),
            Self::State(state) => Facet::State(state),
            Self::Runtime(text) => Facet::Runtime(text.into()),
            Self::Network(text) => Facet::Network(text.into()),
            Self::Secret(text) => Facet::Secret(text.into()),
            Self::Config(text) => Facet::Config(text.into()),
            Self::ServiceName(text) => Facet::ServiceName(text.into()),
        }
    }
}

/// Whose tasks have a facet: those of a service, or those of none.
type Group = Option<ServiceId>;

/// How many tasks of each service have a facet. No number is zero.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Facets(OrdMap<(Facet<Text>, Group), u32>);

impl Facets {
    /// Counts one more task of a group. A task that has a facet twice counts twice.
    pub(crate) fn add(&mut self, facet: Facet<&str>, group: &Group) {
        match self.0.get_mut(&Exactly(facet, group)) {
            Some(count) => *count += 1,
            None => drop(self.0.insert((facet.owned(), group.clone()), 1)),
        }
    }

    /// Counts one task less.
    pub(crate) fn subtract(&mut self, facet: Facet<&str>, group: &Group) {
        let Some(count) = self.0.get_mut(&Exactly(facet, group)) else { return };
        *count -= 1;
        if *count == 0 {
            self.0.remove(&Exactly(facet, group));
        }
    }

    /// The groups that have a facet.
    pub(crate) fn groups(&self, facet: Facet<&str>) -> impl Iterator<Item = &Group> {
        self.between(move |other| other.cmp(&facet))
    }

    /// The groups whose service's name starts with a text.
    pub(crate) fn groups_named(&self, prefix: &str) -> impl Iterator<Item = &Group> {
        self.between(move |other| match other {
            Facet::ServiceName(name) => compare_prefix(name, prefix),
            // The names come last.
            _ => Ordering::Less,
        })
    }

    /// The groups of the facets that `probe` finds equal. It orders a facet relative to what is looked for.
    fn between(&self, probe: impl Fn(Facet<&str>) -> Ordering) -> impl Iterator<Item = &Group> {
        let (low, high) = (Side(&probe, Ordering::Less), Side(&probe, Ordering::Greater));
        self.0.range((Bound::Included(low), Bound::Included(high))).map(|((_, group), _)| group)
    }
}

/// One entry, asked for without making its text.
struct Exactly<'a>(Facet<&'a str>, &'a Group);

impl Equivalent<(Facet<Text>, Group)> for Exactly<'_> {
    fn equivalent(&self, key: &(Facet<Text>, Group)) -> bool {
        self.compare(key).is_eq()
    }
}

impl Comparable<(Facet<Text>, Group)> for Exactly<'_> {
    fn compare(&self, (facet, group): &(Facet<Text>, Group)) -> Ordering {
        self.0.cmp(&facet.borrowed()).then_with(|| self.1.cmp(group))
    }
}

/// An end of a range: just before or just after all entries whose facet compares equal.
struct Side<'p, F>(&'p F, Ordering);

impl<F: Fn(Facet<&str>) -> Ordering> Equivalent<(Facet<Text>, Group)> for Side<'_, F> {
    fn equivalent(&self, _: &(Facet<Text>, Group)) -> bool {
        false
    }
}

impl<F: Fn(Facet<&str>) -> Ordering> Comparable<(Facet<Text>, Group)> for Side<'_, F> {
    fn compare(&self, (facet, _): &(Facet<Text>, Group)) -> Ordering {
        (self.0)(facet.borrowed()).reverse().then(self.1)
    }
}
