//! The managers a node knows of, weighted by how well it fared with them.

use std::{collections::BTreeMap, fmt, sync::Arc};

use parking_lot::Mutex;
use rand::{RngExt as _, rngs::SmallRng};
use swarmkit_api::NodeId;
use swarmkit_runtime::Env;
use tokio::sync::watch;

/// What an ordinary good or bad experience counts. As upstream.
pub const OBSERVATION_DEFAULT: i32 = 10;
/// No weight goes beyond this, on either side. As upstream.
const WEIGHT_MAX: i32 = 256;
/// What even the worst remote keeps of a chance, in thousandths of a point of weight.
const CHANCE_LEAST: u64 = 1;
const THOUSANDTHS: u64 = 1000;

/// A manager that can be called.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Remote {
    /// Its node; not known for an address that a person gave.
    pub node: Option<NodeId>,
    /// Where it listens (`host:port`).
    pub address: String,
}

/// No manager is known that is not excluded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no remote hosts provided")]
pub struct NoRemotes;

/// The known managers. Clones share them.
#[derive(Clone)]
pub struct Remotes(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    known: watch::Sender<Vec<Remote>>,
}

struct State {
    weights: BTreeMap<Remote, i32>,
    rng: SmallRng,
}

// === impl Remotes ===

impl Remotes {
    /// Knows these, all equally well.
    #[must_use]
    pub fn new(known: impl IntoIterator<Item = Remote>, env: &Env) -> Self {
        let state = State { weights: BTreeMap::new(), rng: env.rng("remotes") };
        let remotes = Self(Arc::new(Shared { state: Mutex::new(state), known: watch::Sender::default() }));
        known.into_iter().for_each(|remote| remotes.observe(remote, OBSERVATION_DEFAULT));
        remotes
    }

    /// Notes an experience with a manager, good (positive) or bad, and knows it from now on.
    ///
    /// The new weight is the mean of the old one and this observation, rounded up, so the past fades.
    pub fn observe(&self, remote: Remote, observation: i32) {
        let mut state = self.0.state.lock();
        let weight = state.weights.entry(remote).or_insert(0);
        *weight = mean(*weight, observation);
        self.publish(&state);
    }

    /// Notes an experience with a manager that is known still.
    pub fn observe_if_known(&self, remote: &Remote, observation: i32) {
        if let Some(weight) = self.0.state.lock().weights.get_mut(remote) {
            *weight = mean(*weight, observation);
        }
    }

    /// Forgets a manager.
    pub fn remove(&self, remote: &Remote) {
        let mut state = self.0.state.lock();
        state.weights.remove(remote);
        self.publish(&state);
    }

    /// Knows these and no others. Those known before keep their weight; new ones begin with a good word.
    pub fn replace(&self, known: impl IntoIterator<Item = Remote>) {
        let mut state = self.0.state.lock();
        let old = std::mem::take(&mut state.weights);
        let start = mean(0, OBSERVATION_DEFAULT);
        state.weights = known
            .into_iter()
            .map(|remote| {
                let weight = old.get(&remote).copied().unwrap_or(start);
                (remote, weight)
            })
            .collect();
        self.publish(&state);
    }

    /// Draws a manager by weight, leaving out those whose node or address is excluded.
    ///
    /// # Errors
    ///
    /// When none is left.
    pub fn select(&self, excluded: &[&str]) -> Result<Remote, NoRemotes> {
        let mut state = self.0.state.lock();
        let State { weights, rng } = &mut *state;
        let chance = |weight: i32| u64::from(weight.max(0).unsigned_abs()) * THOUSANDTHS + CHANCE_LEAST;
        let is_excluded = |remote: &Remote| {
            excluded
                .iter()
                .any(|&name| name == remote.address || remote.node.as_ref().is_some_and(|n| n.as_str() == name))
        };
        let candidates = || weights.iter().filter(|(remote, _)| !is_excluded(remote));
        let total: u64 = candidates().map(|(_, &weight)| chance(weight)).sum();
        if total == 0 {
            return Err(NoRemotes);
        }
        let mut drawn = rng.random_range(0..total);
        for (remote, &weight) in candidates() {
            match drawn.checked_sub(chance(weight)) {
                Some(rest) => drawn = rest,
                None => return Ok(remote.clone()),
            }
        }
        Err(NoRemotes)
    }

    /// Draws a manager as soon as one is known.
    pub async fn wait_select(&self) -> Remote {
        let mut known = self.0.known.subscribe();
        loop {
            if let Ok(remote) = self.select(&[]) {
                return remote;
            }
            // The sender lives in `self`, so this waits and never fails.
            let _ = known.changed().await;
        }
    }

    /// The known managers, in order.
    #[must_use]
    pub fn list(&self) -> Vec<Remote> {
        self.0.known.borrow().clone()
    }

    /// What it has been like with a manager; none if it is not known.
    #[must_use]
    pub fn weight(&self, remote: &Remote) -> Option<i32> {
        self.0.state.lock().weights.get(remote).copied()
    }

    /// Follows the list, for keeping it on disk. Weights are not part of it.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Vec<Remote>> {
        self.0.known.subscribe()
    }

    fn publish(&self, state: &State) {
        self.0.known.send_if_modified(|known| {
            let changed = !known.iter().eq(state.weights.keys());
            if changed {
                *known = state.weights.keys().cloned().collect();
            }
            changed
        });
    }
}

impl fmt::Debug for Remotes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.0.state.lock().weights.iter()).finish()
    }
}

/// The mean of two weights within the limits, rounded up.
fn mean(old: i32, observation: i32) -> i32 {
    (old + observation.clamp(-WEIGHT_MAX, WEIGHT_MAX) + 1).div_euclid(2)
}

#[cfg(test)]
mod tests;
