//! Who has yet to turn to the next root, and whose turn it is.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use swarmkit_api::{Cluster, Node, NodeId, wire::node_status::State};
use swarmkit_store::{Change, Update, View};
use tokio::time::Instant;

use super::{Rotation, is_renewing};

/// How many nodes renew at a time. Upstream tells so many every three seconds; here a node that has its certificate makes
/// room for the next one at once.
pub(crate) const AT_ONCE: usize = 30;

/// How long a node keeps its place without having told of its new certificate. So those that are down hold up nobody: they
/// renew when they are back, since it stays written down that they are to. As long as upstream waits.
pub(crate) const TURN: Duration = Duration::from_secs(3);

/// The replacement that is under way, and the nodes that it waits for. Derived from the store.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    rotation: Option<Rotation>,
    waiting: BTreeSet<NodeId>,
    /// Those whose turn it is, and until when at most.
    turning: BTreeMap<NodeId, Instant>,
}

/// What there is to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing, but for waiting until then, if anything will come of that.
    Rest(Option<Instant>),
    /// These are to renew.
    Tell(Vec<NodeId>),
    /// Nobody is waited for.
    Finish,
}

impl Turns {
    pub(crate) fn rotation(&self) -> Option<&Rotation> {
        self.rotation.as_ref()
    }

    pub(crate) fn absorb(&mut self, update: &Update, now: Instant) {
        match update {
            Update::Snapshot(view) => self.follow(view),
            Update::Delta(delta) => {
                // The cluster comes first: it says whom to look for among the nodes.
                if delta.changes.iter().any(|change| change.as_::<Cluster>().is_some()) {
                    self.follow_cluster(&delta.view);
                }
                delta.changes.iter().for_each(|change| self.absorb_change(change, now));
            }
        }
    }

    /// Follows the cluster; nodes are looked at anew only when other certificates are wanted than before.
    fn follow_cluster(&mut self, view: &View) {
        let known = view.cluster().is_some_and(|cluster| {
            self.rotation.as_ref().is_some_and(|rotation| Arc::ptr_eq(&rotation.root, &cluster.root_ca))
        });
        if known {
            return;
        }
        match (rotation(view), &mut self.rotation) {
            // Another token, or the same root with another key: those that have turned have turned.
            (Some(next), Some(rotation)) if next.issuer == rotation.issuer => *rotation = next,
            // The cluster changes with every node that is removed: that is no reason to look at all the others.
            (None, None) => {}
            _ => self.follow(view),
        }
    }

    /// Looks at everything anew. Who has its turn keeps it, if the same certificates are wanted as before.
    fn follow(&mut self, view: &View) {
        let before = std::mem::replace(&mut self.rotation, rotation(view));
        let waits = |node: &&Arc<Node>| self.rotation.as_ref().is_some_and(|rotation| rotation.awaits(node));
        self.waiting = view.all::<Node>().filter(waits).map(|node| node.id.clone()).collect();
        let issuer = |rotation: &Option<Rotation>| rotation.as_ref().map(|rotation| rotation.issuer.clone());
        if issuer(&before) == issuer(&self.rotation) {
            self.turning.retain(|node, _| self.waiting.contains(node));
        } else {
            self.turning.clear();
        }
    }

    fn absorb_change(&mut self, change: &Change, now: Instant) {
        let (Some(node), Some(rotation)) = (change.as_::<Node>(), &self.rotation) else { return };
        if node.after.as_ref().is_some_and(|node| rotation.awaits(node)) {
            self.waiting.insert(node.id().clone());
            let renews = |node: &Option<Arc<Node>>| node.as_ref().is_some_and(|node| is_renewing(node));
            if renews(&node.before) && !renews(&node.after) {
                // It has another certificate, and has yet to tell whose. Until then it is not told again, also if it was
                // told long ago.
                self.turning.insert(node.id().clone(), now + TURN);
            }
        } else {
            self.waiting.remove(node.id());
            self.turning.remove(node.id());
        }
    }

    /// What there is to do. Whoever is to be told has its turn from now on.
    pub(crate) fn step(&mut self, view: &View, now: Instant) -> Step {
        if self.rotation.is_none() {
            return Step::Rest(None);
        }
        if self.waiting.is_empty() {
            return Step::Finish;
        }
        self.turning.retain(|_, until| *until > now);
        let room = AT_ONCE.saturating_sub(self.turning.len());
        let told = if room == 0 { Vec::new() } else { self.next(view, room) };
        if told.is_empty() {
            return Step::Rest(self.turning.values().min().copied());
        }
        self.turning.extend(told.iter().map(|node| (node.clone(), now + TURN)));
        Step::Tell(told)
    }

    /// So many nodes that have no turn and are not about to renew anyway: those first that can do it now.
    fn next(&self, view: &View, room: usize) -> Vec<NodeId> {
        let rest = |node: &&Arc<Node>| !self.turning.contains_key(&node.id) && !is_renewing(node);
        let nodes = || self.waiting.iter().filter_map(|id| view.get::<Node>(id)).filter(rest);
        let is_ready = |node: &&Arc<Node>| node.status.state() == State::Ready;
        let later = nodes().filter(|node| !is_ready(node));
        nodes().filter(is_ready).chain(later).take(room).map(|node| node.id.clone()).collect()
    }
}

/// The replacement that is under way. One that makes no sense is none: nobody could finish it.
fn rotation(view: &View) -> Option<Rotation> {
    Rotation::of(view.cluster()?).unwrap_or_else(|error| {
        tracing::error!(%error, "the root that is to come cannot be used");
        None
    })
}

#[cfg(test)]
mod tests;
