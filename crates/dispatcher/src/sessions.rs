//! Who has a session, until when, and who is down: the state of one leader term, without I/O.
//!
//! Session ids live here alone and never survive a term. Deadlines are kept in one ordered set, so that looking for
//! the next one costs the same with one node or ten thousand.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, OnceLock, Weak},
    time::Duration,
};

use rand::{RngExt as _, rngs::SmallRng};
use swarmkit_api::{NodeId, wire};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{DispatcherConfig, DispatcherError, config::DEAF_AFTER};

/// The managers that there are, as session messages name them.
pub(crate) type ManagerList = Arc<[wire::WeightedPeer]>;

/// One registration of one node, shared with the streams that belong to it.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: String,
    pub(crate) node: NodeId,
    managers: watch::Sender<ManagerList>,
    ended: CancellationToken,
    reason: OnceLock<DispatcherError>,
}

/// The nodes of a term.
pub(crate) struct Sessions {
    config: DispatcherConfig,
    /// From the cluster's specification.
    period: Duration,
    rng: SmallRng,
    nodes: BTreeMap<NodeId, Entry>,
    /// When each node is given up, unless it calls before.
    deadlines: BTreeSet<(Instant, NodeId)>,
    /// Since when nodes are down, or rather until when their tasks are not yet given up.
    down: BTreeMap<NodeId, Instant>,
    down_deadlines: BTreeSet<(Instant, NodeId)>,
}

/// What is known of a node that is not down.
struct Entry {
    /// `None` until it has registered.
    session: Option<Arc<Session>>,
    /// It was there when the term began, and has not come back yet.
    unknown: bool,
    deadline: Instant,
    registrations: u32,
    last_registration: Option<Instant>,
    /// Upgrades as long as somebody waits for the node to be written down as ready.
    registering: Weak<()>,
}

/// A registration that is under way. As long as it is kept, the node is alive.
pub(crate) type Registering = Arc<()>;

/// What has become due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// The node was silent for too long.
    Down { node: NodeId, unknown: bool },
    /// The node was down for so long that its tasks are lost.
    Lost(NodeId),
}

// === impl Session ===

impl Session {
    /// Waits until the session is over, and says why.
    pub(crate) async fn ended(&self) -> DispatcherError {
        self.ended.cancelled().await;
        self.reason.get().cloned().unwrap_or(DispatcherError::SessionInvalid)
    }

    /// Why the session is over, if it is.
    pub(crate) fn end_reason(&self) -> Option<DispatcherError> {
        self.ended.is_cancelled().then(|| self.reason.get().cloned().unwrap_or(DispatcherError::SessionInvalid))
    }

    /// The managers that there are, now and later.
    pub(crate) fn managers(&self) -> watch::Receiver<ManagerList> {
        self.managers.subscribe()
    }

    fn end(&self, reason: DispatcherError) {
        self.reason.set(reason).ok();
        self.ended.cancel();
    }
}

// === impl Sessions ===

impl Sessions {
    pub(crate) fn new(config: DispatcherConfig, rng: SmallRng) -> Self {
        Self {
            period: config.heartbeat_period,
            config,
            rng,
            nodes: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            down: BTreeMap::new(),
            down_deadlines: BTreeSet::new(),
        }
    }

    /// Takes the heartbeat period of the cluster's specification; zero means the default. Deadlines that are set stay.
    pub(crate) fn set_period(&mut self, period: Duration) {
        self.period = if period.is_zero() { self.config.heartbeat_period } else { period };
    }

    /// A node that was not down when the term began: it has some time to come back.
    pub(crate) fn expect(&mut self, node: &NodeId, now: Instant) {
        let deadline = now + self.draw_period() * self.config.grace_unknown;
        let (session, last_registration, registering) = (None, None, Weak::new());
        let entry = Entry { session, unknown: true, deadline, registrations: 0, last_registration, registering };
        self.insert(node.clone(), entry);
    }

    /// A node that is down, and whose tasks are lost in `remaining`.
    pub(crate) fn expect_down(&mut self, node: &NodeId, remaining: Duration, now: Instant) {
        let until = now + remaining;
        if let Some(earlier) = self.down.insert(node.clone(), until) {
            self.down_deadlines.remove(&(earlier, node.clone()));
        }
        self.down_deadlines.insert((until, node.clone()));
    }

    /// The session of a node, if that is its id.
    pub(crate) fn check(&self, node: &NodeId, session: &str) -> Result<&Arc<Session>, DispatcherError> {
        let entry = self.nodes.get(node).ok_or(DispatcherError::NotRegistered)?;
        match &entry.session {
            Some(current) if !session.is_empty() && current.id == session => Ok(current),
            _ => Err(DispatcherError::SessionInvalid),
        }
    }

    /// A node wants to register: refused if it does so too often, or is no member. It counts as alive while it does, which
    /// is as long as what this gives is kept.
    pub(crate) fn admit(
        &mut self,
        node: &NodeId,
        is_member: impl FnOnce() -> bool,
        now: Instant,
    ) -> Result<Registering, DispatcherError> {
        let mut deadline = now + self.draw_period() * self.config.grace;
        let (registrations, last_registration) = match self.nodes.get(node) {
            None => (0, None),
            Some(entry) => {
                let window = self.config.registration_window;
                let over = entry.last_registration.is_none_or(|last| now - last > window);
                let attempts = if over { 1 } else { entry.registrations + 1 };
                if !window.is_zero() && attempts > self.config.registrations {
                    return Err(DispatcherError::TooManyRegistrations(node.clone()));
                }
                (attempts, Some(now))
            }
        };
        if !is_member() {
            return Err(DispatcherError::NodeNotFound);
        }
        let (session, unknown) = match self.nodes.get(node) {
            None => (None, false),
            Some(entry) => {
                deadline = deadline.max(entry.deadline);
                (entry.session.clone(), entry.unknown)
            }
        };
        let under_way = Registering::default();
        let registering = Arc::downgrade(&under_way);
        let entry = Entry { session, unknown, deadline, registrations, last_registration, registering };
        self.insert(node.clone(), entry);
        Ok(under_way)
    }

    /// A node that was admitted is written down as ready: it has a new session, and any older one is over.
    pub(crate) fn register(
        &mut self,
        node: &NodeId,
        id: String,
        managers: &ManagerList,
        now: Instant,
    ) -> Result<Arc<Session>, DispatcherError> {
        let deadline = now + self.draw_period() * self.config.grace;
        let entry = self.nodes.get_mut(node).ok_or(DispatcherError::NotRegistered)?;
        let session = Arc::new(Session {
            id,
            node: node.clone(),
            managers: watch::Sender::new(Arc::clone(managers)),
            ended: CancellationToken::new(),
            reason: OnceLock::new(),
        });
        if let Some(older) = entry.session.replace(Arc::clone(&session)) {
            older.end(DispatcherError::SessionInvalid);
        }
        entry.unknown = false;
        self.set_deadline(node, deadline);
        self.forget_down(node);
        Ok(session)
    }

    /// A node says that it is alive. Gives the time after which it shall do so again.
    pub(crate) fn beat(&mut self, node: &NodeId, session: &str, now: Instant) -> Result<Duration, DispatcherError> {
        self.check(node, session)?;
        let period = self.draw_period();
        self.set_deadline(node, now + period * self.config.grace);
        Ok(period)
    }

    /// What is due by now. Nodes that are down from now on have no session any more.
    ///
    /// If that is asked late, nobody was listening meanwhile: then nodes get their time again instead.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<Due> {
        let mut due = Vec::new();
        let was_deaf = self.deadlines.first().is_some_and(|(at, _)| now.saturating_duration_since(*at) > DEAF_AFTER);
        while let Some((_, node)) = pop_until(&mut self.deadlines, now) {
            let is_registering = self.nodes.get(&node).is_some_and(|entry| entry.registering.strong_count() > 0);
            if was_deaf || is_registering {
                let deadline = now + self.draw_period() * self.config.grace;
                self.set_deadline(&node, deadline);
                continue;
            }
            let Some(entry) = self.nodes.remove(&node) else { continue };
            if let Some(session) = entry.session {
                session.end(DispatcherError::NotRegistered);
            }
            self.expect_down(&node, self.config.node_down_period, now);
            due.push(Due::Down { node, unknown: entry.unknown });
        }
        while let Some((_, node)) = pop_until(&mut self.down_deadlines, now) {
            self.down.remove(&node);
            due.push(Due::Lost(node));
        }
        due
    }

    /// When something becomes due, if nothing happens before.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        let first = |set: &BTreeSet<(Instant, NodeId)>| set.first().map(|(at, _)| *at);
        [first(&self.deadlines), first(&self.down_deadlines)].into_iter().flatten().min()
    }

    /// The node is no member any more.
    pub(crate) fn remove(&mut self, node: &NodeId) {
        if let Some(entry) = self.nodes.remove(node) {
            self.deadlines.remove(&(entry.deadline, node.clone()));
            if let Some(session) = entry.session {
                session.end(DispatcherError::NotRegistered);
            }
        }
        self.forget_down(node);
    }

    /// Nodes that are known, in whatever condition.
    pub(crate) fn known(&self) -> impl Iterator<Item = &NodeId> {
        self.nodes.keys().chain(self.down.keys())
    }

    /// There are other managers now.
    pub(crate) fn announce(&self, managers: &ManagerList) {
        for session in self.nodes.values().filter_map(|entry| entry.session.as_ref()) {
            session.managers.send_replace(Arc::clone(managers));
        }
    }

    /// The term is over.
    pub(crate) fn end_all(&mut self) {
        for session in std::mem::take(&mut self.nodes).into_values().filter_map(|entry| entry.session) {
            session.end(DispatcherError::MustDisconnect);
        }
        self.deadlines.clear();
        self.down.clear();
        self.down_deadlines.clear();
    }

    /// A period for one node, drawn around the common one, in whole milliseconds.
    fn draw_period(&mut self) -> Duration {
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let (period, epsilon) = (millis(self.period), millis(self.config.heartbeat_epsilon.min(self.period)));
        if epsilon == 0 {
            return self.period;
        }
        Duration::from_millis(self.rng.random_range(period - epsilon..period + epsilon).max(1))
    }

    fn insert(&mut self, node: NodeId, entry: Entry) {
        let deadline = entry.deadline;
        if let Some(earlier) = self.nodes.insert(node.clone(), entry) {
            self.deadlines.remove(&(earlier.deadline, node.clone()));
        }
        self.deadlines.insert((deadline, node));
    }

    fn set_deadline(&mut self, node: &NodeId, deadline: Instant) {
        if let Some(entry) = self.nodes.get_mut(node) {
            self.deadlines.remove(&(entry.deadline, node.clone()));
            entry.deadline = deadline;
            self.deadlines.insert((deadline, node.clone()));
        }
    }

    fn forget_down(&mut self, node: &NodeId) {
        if let Some(until) = self.down.remove(node) {
            self.down_deadlines.remove(&(until, node.clone()));
        }
    }
}

fn pop_until(set: &mut BTreeSet<(Instant, NodeId)>, now: Instant) -> Option<(Instant, NodeId)> {
    if set.first()?.0 > now { None } else { set.pop_first() }
}

#[cfg(test)]
mod tests;
