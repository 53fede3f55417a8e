//! Groups that wait because no node can take their tasks, by what they need.
//!
//! What one of them cannot have, the others that need the same cannot have either, and they are told the same. So when
//! something happens to a node, each need is looked at once, however many groups have it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use swarmkit_api::ServiceId;

use crate::{group::GroupKey, needs::Needs};

/// What tasks need, and of which service they are where that matters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Asked {
    pub(crate) needs: Arc<Needs>,
    pub(crate) service: Option<ServiceId>,
}

/// The groups that wait, by what they need and what they were told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Blocked(BTreeMap<Asked, Told>);

/// Groups that need the same, by what they were told.
pub(crate) type Told = BTreeMap<Arc<str>, BTreeSet<GroupKey>>;

// === impl Blocked ===

impl Blocked {
    /// Takes over that a group waits, and was told that.
    pub(crate) fn insert(&mut self, key: &GroupKey, asked: &Asked, told: &Arc<str>) {
        let groups = self.0.entry(asked.clone()).or_default();
        groups.entry(told.clone()).or_default().insert(key.clone());
    }

    /// Takes that back.
    pub(crate) fn remove(&mut self, key: &GroupKey, asked: &Asked, told: &Arc<str>) {
        let Some(groups) = self.0.get_mut(asked) else { return };
        if let Some(alike) = groups.get_mut(told) {
            alike.remove(key);
            if alike.is_empty() {
                groups.remove(told);
            }
        }
        if groups.is_empty() {
            self.0.remove(asked);
        }
    }

    /// What is needed, and the groups that need it; there is one at least.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Asked, &Told)> {
        self.0.iter()
    }
}
