//! The network between the managers: it delays, loses, repeats and reorders messages, and cuts ways in one or both
//! directions. Every message is bytes on its way.

mod call;
mod messenger;
mod stream;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use rand::{RngExt as _, rngs::SmallRng};
use swarmkit_api::NodeId;
use swarmkit_raft::Receiver;
use swarmkit_runtime::Spawner;
use tokio_util::sync::CancellationToken;

use crate::{Trace, oracle::Oracle};

pub use messenger::SimMessenger;

/// How often something that is held up by a cut way is tried again.
const RETRY: Duration = Duration::from_millis(100);

/// The network. Clones share it.
#[derive(Clone)]
pub struct Network(Arc<Shared>);

struct Shared {
    trace: Trace,
    oracle: Oracle,
    /// Messages on their way belong to the network: they arrive although their sender has died.
    spawner: Spawner,
    state: Mutex<State>,
}

struct State {
    rng: SmallRng,
    weather: Weather,
    ends: BTreeMap<NodeId, End>,
    /// Ways that nothing goes, by sender and receiver.
    cut: BTreeSet<(NodeId, NodeId)>,
}

/// A member that can be reached.
#[derive(Clone)]
pub(crate) struct End {
    /// Which of its lives.
    pub(crate) life: CancellationToken,
    pub(crate) receiver: Receiver,
    /// Messages are worked on by its own crew.
    pub(crate) spawner: Spawner,
}

/// How the network behaves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weather {
    /// How many messages are lost, of one.
    pub loss: f64,
    /// How many arrive twice, of one.
    pub repeat: f64,
    /// How many are much later than others, of one.
    pub late: f64,
    /// How many connections break with a message, of one.
    pub reset: f64,
    /// How long a message takes, in milliseconds.
    pub delay_ms: (u64, u64),
    /// How long a late one takes.
    pub late_ms: (u64, u64),
}

impl Weather {
    /// Nothing is lost, and everything is quick.
    pub const FAIR: Self = Self { loss: 0.0, repeat: 0.0, late: 0.0, reset: 0.0, delay_ms: (0, 2), late_ms: (0, 2) };

    /// Much is lost, repeated and late.
    pub const STORM: Self =
        Self { loss: 0.08, repeat: 0.08, late: 0.05, reset: 0.01, delay_ms: (0, 25), late_ms: (100, 3000) };

    /// Some is.
    pub const RAIN: Self =
        Self { loss: 0.01, repeat: 0.02, late: 0.01, reset: 0.001, delay_ms: (0, 8), late_ms: (50, 1500) };
}

impl Network {
    /// A network in fair weather, whose chance comes from `rng`.
    #[must_use]
    pub fn new(rng: SmallRng, trace: Trace, oracle: Oracle, spawner: Spawner) -> Self {
        let state = State { rng, weather: Weather::FAIR, ends: BTreeMap::new(), cut: BTreeSet::new() };
        Self(Arc::new(Shared { trace, oracle, spawner, state: Mutex::new(state) }))
    }

    /// Changes how it behaves.
    pub fn weather(&self, weather: Weather) {
        self.0.state.lock().weather = weather;
    }

    /// Cuts the ways from all of the first to all of the second; what is on them is lost, or held up.
    pub fn cut(&self, from: &[NodeId], to: &[NodeId]) {
        let mut state = self.0.state.lock();
        for from in from {
            let ways = to.iter().filter(|to| *to != from).map(|to| (from.clone(), to.clone()));
            state.cut.extend(ways);
        }
    }

    /// Mends all ways.
    pub fn mend(&self) {
        self.0.state.lock().cut.clear();
    }

    /// The messenger of one life of a node.
    #[must_use]
    pub fn messenger(&self, me: NodeId, life: CancellationToken) -> SimMessenger {
        SimMessenger { network: self.clone(), me, life }
    }

    /// Makes a node reachable, in place of an earlier life.
    pub(crate) fn add(&self, node: NodeId, end: End) {
        self.0.state.lock().ends.insert(node, end);
    }

    /// The member at a node, if it lives.
    fn end(&self, node: &NodeId) -> Option<End> {
        let end = self.0.state.lock().ends.get(node).cloned()?;
        (!end.life.is_cancelled()).then_some(end)
    }

    fn is_cut(&self, from: &NodeId, to: &NodeId) -> bool {
        self.0.state.lock().cut.contains(&(from.clone(), to.clone()))
    }

    /// How long each copy of a message is on its way; none if it is lost.
    fn copies(&self, from: &NodeId, to: &NodeId) -> Vec<Duration> {
        let state = &mut *self.0.state.lock();
        if state.cut.contains(&(from.clone(), to.clone())) || state.chance(state.weather.loss) {
            return Vec::new();
        }
        let copies = if state.chance(state.weather.repeat) { 2 } else { 1 };
        (0..copies).map(|_| state.delay()).collect()
    }

    /// How long a message of a connection takes; nothing if the connection breaks with it. One that is lost is sent again.
    fn next_delay(&self) -> Option<Duration> {
        let state = &mut *self.0.state.lock();
        if state.chance(state.weather.reset) {
            return None;
        }
        let again = if state.chance(state.weather.loss) { 2 * RETRY } else { Duration::ZERO };
        Some(again + state.delay())
    }

    fn note(&self, from: &NodeId, to: &NodeId, what: std::fmt::Arguments<'_>) {
        self.0.trace.line(format_args!("{from}>{to}"), what);
    }
}

impl State {
    /// Whether something of this probability happens.
    fn chance(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.rng.random_bool(probability)
    }

    fn delay(&mut self) -> Duration {
        let late = self.chance(self.weather.late);
        let (from, to) = if late { self.weather.late_ms } else { self.weather.delay_ms };
        Duration::from_millis(self.rng.random_range(from..=to))
    }
}

impl std::fmt::Debug for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Network")
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;
    use swarmkit_runtime::Crew;

    use super::*;

    fn network(crew: &Crew) -> Network {
        let trace = Trace::new();
        Network::new(SmallRng::seed_from_u64(1), trace.clone(), Oracle::new(trace), crew.spawner())
    }

    #[tokio::test(start_paused = true)]
    async fn a_cut_goes_one_way_and_is_mended() {
        let crew = Crew::under(&CancellationToken::new());
        let network = network(&crew);
        let [one, two] = ["n1", "n2"].map(NodeId::from);
        network.cut(std::slice::from_ref(&one), &[one.clone(), two.clone()]);
        assert!(network.copies(&one, &two).is_empty());
        assert_eq!(network.copies(&two, &one).len(), 1);
        assert_eq!(network.copies(&one, &one).len(), 1, "nobody is cut off from itself");
        network.mend();
        assert_eq!(network.copies(&one, &two).len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_storm_loses_repeats_and_reorders_and_fair_weather_does_none_of_it() {
        let crew = Crew::under(&CancellationToken::new());
        let network = network(&crew);
        let [one, two] = ["n1", "n2"].map(NodeId::from);
        let copies = |network: &Network| -> Vec<_> { (0..1000).map(|_| network.copies(&one, &two)).collect() };
        assert!(copies(&network).iter().all(|copies| copies.len() == 1 && copies[0] <= Duration::from_millis(2)));
        assert!((0..1000).all(|_| network.next_delay().is_some()));
        network.weather(Weather::STORM);
        let storm = copies(&network);
        let count = |number| storm.iter().filter(|copies| copies.len() == number).count();
        assert!(count(0) > 20 && count(2) > 20, "{} lost, {} repeated", count(0), count(2));
        assert!(storm.windows(2).filter(|pair| pair[0].first() > pair[1].first()).count() > 100, "they overtake");
        assert!(storm.iter().flatten().any(|delay| *delay > Duration::from_secs(1)));
        assert!((0..1000).any(|_| network.next_delay().is_none()), "connections break");
    }
}
