//! Who has something that only one should have.

use std::collections::BTreeSet;

/// One holder, as it should be; or several, as old records may have it. What several have is free when the last lets go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Holders<H> {
    /// The only one.
    One(H),
    /// At least two.
    Many(BTreeSet<H>),
}

impl<H: Clone + Ord> Holders<H> {
    /// Adds a holder. Adding one twice changes nothing.
    pub(crate) fn add(&mut self, holder: &H) {
        match self {
            Self::One(one) if one == holder => {}
            Self::One(one) => *self = Self::Many(BTreeSet::from([one.clone(), holder.clone()])),
            Self::Many(many) => drop(many.insert(holder.clone())),
        }
    }

    /// Removes a holder. Gives whether none is left; then this must be dropped.
    pub(crate) fn remove(&mut self, holder: &H) -> bool {
        match self {
            Self::One(one) => one == holder,
            Self::Many(many) => {
                many.remove(holder);
                if let (1, Some(last)) = (many.len(), many.first().cloned()) {
                    *self = Self::One(last);
                }
                false
            }
        }
    }

    /// The first holder that is another one.
    pub(crate) fn other_than(&self, holder: &H) -> Option<&H> {
        match self {
            Self::One(one) => Some(one).filter(|one| *one != holder),
            Self::Many(many) => many.iter().find(|one| *one != holder),
        }
    }
}
