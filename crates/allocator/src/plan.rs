//! The decision: what networks, nodes, services and tasks are given, and what those that wait are told.

mod ends;
mod networks;
mod services;
mod tasks;

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::Arc,
};

use swarmkit_api::{Network, NetworkId, NodeId, ServiceId, TaskId, wire::Endpoint};

use crate::{
    NetworkAllocator,
    decision::Decision,
    is_ingress_network,
    waits::{Cause, Wait, Waiter},
    world::{Due, World},
};

/// A plan in the making.
struct Draft<'w> {
    world: &'w mut World,
    provider: &'w mut dyn NetworkAllocator,
    /// What came free, or came to be, before the plan or by it.
    causes: BTreeSet<Cause>,
    /// What is new, or has changed.
    due: BTreeSet<Waiter>,
    /// Networks that are being allocated.
    granted: BTreeMap<NetworkId, Arc<Network>>,
    /// Endpoints that are being given out.
    endpoints: BTreeMap<ServiceId, Option<Arc<Endpoint>>>,
    decisions: Vec<Decision>,
}

/// What is looked at together. Each may need what those before it are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Networks,
    Nodes,
    Services,
    Tasks,
}

// === impl World ===

impl World {
    /// Decides about everything that is due. What a plan gives out is booked at once, and given back by
    /// [`Decision::put_back`] if it does not get into the store.
    pub(crate) fn plan(&mut self, provider: &mut dyn NetworkAllocator) -> Vec<Decision> {
        let Due { causes, objects: due } = std::mem::take(&mut self.due);
        let (granted, endpoints) = (BTreeMap::new(), BTreeMap::new());
        let mut draft = Draft { world: self, provider, causes, due, granted, endpoints, decisions: Vec::new() };
        [Stage::Networks, Stage::Nodes, Stage::Services, Stage::Tasks]
            .into_iter()
            .for_each(|stage| draft.look_at(stage));
        draft.decisions
    }
}

// === impl Draft ===

impl Draft<'_> {
    /// Looks at those who may go on waiting no longer, longest ago named first, and then at what is new.
    fn look_at(&mut self, stage: Stage) {
        let mut seen = BTreeSet::new();
        for cause in self.causes.clone() {
            let mut at = Bound::Included(stage.least());
            while let Some(waiter) = self.world.waits.next(&cause, at).filter(|waiter| stage.is_of(waiter)) {
                if seen.insert(waiter.clone()) {
                    self.consider(&waiter);
                    if cause.is_alike() && self.world.waits.cause(&waiter) == Some(&cause) {
                        break;
                    }
                }
                at = Bound::Excluded(waiter);
            }
        }
        let mut due: Vec<_> =
            self.due.iter().filter(|waiter| stage.is_of(waiter) && !seen.contains(waiter)).cloned().collect();
        due.sort_by_key(|waiter| !self.is_for_ports(waiter));
        due.iter().for_each(|waiter| self.consider(waiter));
    }

    /// Whether it is the network that carries published ports: it comes first, and gets the first subnet, as upstream.
    fn is_for_ports(&self, waiter: &Waiter) -> bool {
        let Waiter::Network(id) = waiter else { return false };
        self.world.networks.get(id).is_some_and(|network| is_ingress_network(network))
    }

    fn consider(&mut self, waiter: &Waiter) {
        match waiter {
            Waiter::Network(id) => self.consider_network(id),
            Waiter::Node(id) => self.consider_node(id),
            Waiter::Service(id) => self.consider_service(id),
            Waiter::Task(key) => self.consider_task(key),
        }
    }

    /// Notes what something waits for, if anything. Gives what it is told then, and whether that is new.
    fn note(&mut self, waiter: Waiter, wait: Option<Wait>) -> (Option<String>, bool) {
        let before = self.world.waits.why(&waiter).map(str::to_owned);
        let why = wait.as_ref().map(ToString::to_string);
        match (wait, &why) {
            (Some(wait), Some(why)) => self.world.waits.note(waiter, wait.cause(), why.clone()),
            _ => drop(self.world.waits.clear(&waiter)),
        }
        let is_new = why != before;
        (why, is_new)
    }
}

// === impl Stage ===

impl Stage {
    fn is_of(self, waiter: &Waiter) -> bool {
        self == match waiter {
            Waiter::Network(_) => Self::Networks,
            Waiter::Node(_) => Self::Nodes,
            Waiter::Service(_) => Self::Services,
            Waiter::Task(_) => Self::Tasks,
        }
    }

    /// What comes before all of the stage.
    fn least(self) -> Waiter {
        match self {
            Self::Networks => Waiter::Network(NetworkId::from("")),
            Self::Nodes => Waiter::Node(NodeId::from("")),
            Self::Services => Waiter::Service(ServiceId::from("")),
            Self::Tasks => Waiter::Task((None, TaskId::from(""))),
        }
    }
}
