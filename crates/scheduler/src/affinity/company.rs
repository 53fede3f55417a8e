//! The company that nodes offer to tasks of one service: which it forbids, and which is wished for.

use std::{collections::BTreeMap, sync::Arc};

use swarmkit_api::{ServiceId, constraint::Label, wire::swarmkit::scheduling::v1::affinity::Direction};

use super::{Affinities, Places, Tie};
use crate::{bitmap::Bitmap, books::NodeIx};

/// What binds tasks of one service, with the nodes where those that count are now.
pub(crate) struct Company<'w> {
    places: &'w Places,
    ties: Vec<Bound<'w>>,
}

struct Bound<'w> {
    tie: Tie<'w>,
    /// Whether those that count are of the same service.
    is_own: bool,
    /// Nobody is there yet to be near to, so that the first may go anywhere where others can follow.
    is_free: bool,
    /// Nobody is there at all.
    is_alone: bool,
    /// The nodes that share a place with one that counts.
    around: Bitmap,
}

/// What becomes of nodes when a task comes to one.
#[derive(Debug)]
pub(crate) enum Effect {
    /// They take no more of the service.
    Refuse(Bitmap),
    /// All others take none.
    Confine(Bitmap),
    /// They are worse by so much, or better if it is below zero.
    Shift(Bitmap, i32),
}

// === impl Company ===

impl<'w> Company<'w> {
    /// `None` if nothing binds the tasks of the service. `there` are the nodes that have active tasks of a service.
    pub(crate) fn of(
        affinities: &'w Affinities,
        places: &'w Places,
        service: &'w ServiceId,
        mut there: impl FnMut(&ServiceId) -> Arc<Bitmap>,
    ) -> Option<Self> {
        let bound = |tie: Tie<'w>| {
            let nodes = tie.other.map(&mut there).unwrap_or_default();
            let is_own = tie.other == Some(service);
            let is_near = tie.affinity.direction == Direction::Near;
            let mut around = places.around(tie.affinity.scope.as_ref(), &nodes);
            if !is_near {
                // A node without the label is a place of its own.
                around.extend(&nodes);
            }
            let is_alone = nodes.is_empty();
            Bound { tie, is_own, is_free: is_near && is_own && is_alone, is_alone, around }
        };
        let ties: Vec<_> = affinities.ties(service).map(bound).collect();
        (!ties.is_empty()).then_some(Self { places, ties })
    }

    /// The first of what is required that a node does not give, by its number.
    pub(crate) fn refusal(&self, ix: NodeIx) -> Option<u8> {
        self.refusal_beside(ix, &BTreeMap::new(), &|_| 0)
    }

    /// The same for a task that takes the place of others of its service: how many `mates` of it are on which nodes. `own`
    /// is how many active tasks of the service a node has.
    pub(crate) fn refusal_beside(
        &self,
        ix: NodeIx,
        mates: &BTreeMap<NodeIx, u32>,
        own: &dyn Fn(NodeIx) -> u32,
    ) -> Option<u8> {
        let is_broken = |bound: &Bound<'_>| match bound.tie.affinity.direction {
            Direction::Near => !bound.gives_near(self.places, ix),
            Direction::Apart if bound.is_own && !mates.is_empty() => {
                let place = self.places.of(bound.scope(), ix);
                let mut others = place.iter().filter(|ix| own(*ix) > mates.get(ix).copied().unwrap_or(0));
                bound.around.contains(ix) && others.next().is_some()
            }
            Direction::Apart => bound.around.contains(ix),
        };
        let broken = self.ties.iter().position(|bound| bound.tie.affinity.required && is_broken(bound));
        broken.map(|index| u8::try_from(index).unwrap_or(u8::MAX))
    }

    /// Whether a task may not be on a node while one of another service is on the other, or comes to it.
    pub(crate) fn keeps_apart(&self, ix: NodeIx, other: &ServiceId, at: NodeIx) -> bool {
        let is_apart = |bound: &&Bound<'_>| {
            let affinity = bound.tie.affinity;
            affinity.required && affinity.direction == Direction::Apart && bound.tie.other == Some(other)
        };
        self.ties.iter().filter(is_apart).any(|bound| self.places.of(bound.scope(), ix).contains(at))
    }

    /// Whether tasks have to be near to those of a service, so that these may not go for them.
    pub(crate) fn needs(&self, other: &ServiceId) -> bool {
        let is_near = |bound: &Bound<'_>| {
            let affinity = bound.tie.affinity;
            affinity.required && affinity.direction == Direction::Near && bound.tie.other == Some(other)
        };
        self.ties.iter().any(is_near)
    }

    /// The nodes that may take a task in spite of `mates`, since it takes their place: those that share a place with one.
    pub(crate) fn beside(&self, mates: &BTreeMap<NodeIx, u32>) -> Bitmap {
        let mut nodes = Bitmap::default();
        for bound in self.ties.iter().filter(|bound| bound.is_own && bound.tie.affinity.direction == Direction::Apart) {
            mates.keys().for_each(|mate| nodes.extend(&self.places.of(bound.scope(), *mate)));
        }
        nodes
    }

    /// What is required and what is wished, of all nodes at once, as things stand.
    pub(crate) fn effects(&self) -> impl Iterator<Item = Effect> {
        self.ties.iter().filter_map(|bound| {
            let is_near = bound.tie.affinity.direction == Direction::Near;
            Some(match (bound.tie.affinity.required, is_near) {
                (true, true) if bound.is_free => Effect::Confine(self.places.all(bound.scope()?)),
                (true, true) => Effect::Confine(bound.around.clone()),
                (true, false) => Effect::Refuse(bound.around.clone()),
                (false, _) => Effect::Shift(bound.around.clone(), bound.weight()),
            })
        })
    }

    /// A task of the service has come to a node.
    pub(crate) fn join(&mut self, ix: NodeIx) -> Vec<Effect> {
        let mut effects = Vec::new();
        for bound in self.ties.iter_mut().filter(|bound| bound.is_own) {
            let affinity = bound.tie.affinity;
            let is_near = affinity.direction == Direction::Near;
            if bound.around.contains(ix) || (is_near && !self.places.has(bound.scope(), ix)) {
                continue;
            }
            let place = self.places.of(bound.scope(), ix);
            bound.around.extend(&place);
            let was_free = std::mem::take(&mut bound.is_free);
            bound.is_alone = false;
            match (affinity.required, is_near) {
                (true, false) => effects.push(Effect::Refuse(place)),
                (true, true) if was_free => effects.push(Effect::Confine(place)),
                (true, true) => {}
                (false, _) => effects.push(Effect::Shift(place, bound.weight())),
            }
        }
        effects
    }

    /// What binds, by its number.
    pub(crate) fn tie(&self, number: u8) -> Option<&Tie<'w>> {
        self.ties.get(usize::from(number)).map(|bound| &bound.tie)
    }

    /// What binds, by their numbers, for people.
    pub(crate) fn told(&self) -> Vec<String> {
        self.ties.iter().map(Self::tell).collect()
    }

    fn tell(bound: &Bound<'_>) -> String {
        let (name, affinity) = (bound.tie.name, bound.tie.affinity);
        let scope = affinity.scope.as_ref().map(|label| format!(" by {label}")).unwrap_or_default();
        match affinity.direction {
            Direction::Near if bound.tie.other.is_none() => {
                format!("affinity to service {name}{scope}, which does not exist,")
            }
            Direction::Near if bound.is_alone && !bound.is_own => {
                format!("affinity to service {name}{scope}, of which no task has a node,")
            }
            Direction::Near => format!("affinity to service {name}{scope}"),
            Direction::Apart if bound.tie.is_asked_of => format!("anti-affinity of service {name}{scope}"),
            Direction::Apart => format!("anti-affinity to service {name}{scope}"),
        }
    }
}

// === impl Bound ===

impl Bound<'_> {
    fn scope(&self) -> Option<&Label> {
        self.tie.affinity.scope.as_ref()
    }

    fn gives_near(&self, places: &Places, ix: NodeIx) -> bool {
        self.around.contains(ix) || (self.is_free && places.has(self.scope(), ix))
    }

    /// By how much nodes around are worse.
    fn weight(&self) -> i32 {
        match self.tie.affinity.direction {
            Direction::Near => -1,
            Direction::Apart => 1,
        }
    }
}
