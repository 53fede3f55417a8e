//! What services ask of each other: to be near, or to be apart.
//!
//! To be near is asked of one's own tasks alone. To be apart holds for both: where tasks of a service are that asks to be
//! apart from another, those of the other do not come either. What counts is tasks that are wanted to run, as for
//! everything else that counts tasks; what is asked is looked at when a task is placed, and never afterwards.

mod company;
mod mates;
mod places;

use std::collections::{BTreeMap, BTreeSet};

use swarmkit_api::{
    Service, ServiceId, Task,
    constraint::Label,
    wire::swarmkit::scheduling::v1::{self as scheduling, affinity::Direction},
};

use self::mates::Mates;
pub(crate) use self::{
    company::{Company, Effect},
    places::Places,
};

/// What one service asks of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Affinity {
    /// Its name as it was given. The service may be there or not.
    pub(crate) other: String,
    pub(crate) direction: Direction,
    /// Nodes that share the value of it are one place. `None`: each node is.
    pub(crate) scope: Option<Label>,
    pub(crate) required: bool,
}

/// What binds the tasks of a service to those of another one, or of its own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tie<'a> {
    /// The service whose tasks count. `None` if there is none of that name.
    pub(crate) other: Option<&'a ServiceId>,
    /// Its name.
    pub(crate) name: &'a str,
    /// Whether it is the other one that asks.
    pub(crate) is_asked_of: bool,
    pub(crate) affinity: &'a Affinity,
}

/// What services ask of each other, by their names, whether they are there or not.
#[derive(Clone, Debug, Default)]
pub(crate) struct Affinities {
    /// Of the services that ask for anything.
    asked: BTreeMap<ServiceId, Vec<Affinity>>,
    /// Who asks for anything of the service of a name, in lower case.
    askers: BTreeMap<String, BTreeSet<ServiceId>>,
    /// The services that there are, by their names in lower case.
    ids: BTreeMap<String, ServiceId>,
    names: BTreeMap<ServiceId, String>,
    mates: Mates,
    /// Something else is asked for than when the labels were last looked at.
    is_new: bool,
    /// Services whose waiting tasks may have other nodes open to them than they had.
    stirred: BTreeSet<ServiceId>,
}

// === impl Affinity ===

impl Affinity {
    fn of(wire: &scheduling::Affinity) -> Self {
        // What is no label was refused when it was asked for; a label of that name is one that no node should have.
        let scope = Label::parse(&wire.scope).unwrap_or_else(|| Label::Node(wire.scope.clone()));
        Self {
            other: wire.service.clone(),
            direction: wire.direction(),
            scope: Some(scope).filter(|_| !wire.scope.is_empty()),
            required: wire.required,
        }
    }

    fn names(&self, name: &str) -> bool {
        self.other.eq_ignore_ascii_case(name)
    }

    fn is_apart(&self) -> bool {
        self.direction == Direction::Apart
    }
}

// === impl Affinities ===

impl Affinities {
    /// Whether nobody asks for anything.
    pub(crate) fn is_empty(&self) -> bool {
        self.asked.is_empty()
    }

    /// Takes over a service. `None` where there was none, or is none any more.
    pub(crate) fn set(&mut self, before: Option<&Service>, after: Option<&Service>) {
        let asks = |service: &Service| asked(service).next().is_some();
        let is_same = before.zip(after).is_some_and(|(before, after)| {
            before.name() == after.name() && (before.spec.scheduling == after.spec.scheduling)
        });
        if is_same || before.or(after).is_none() {
            return;
        }
        self.is_new = true;
        if let Some(service) = before {
            self.stir_all(service);
            self.forget(service);
        }
        if let Some(service) = after {
            let id = &service.id;
            self.names.insert(id.clone(), service.name().to_owned());
            self.ids.insert(service.name().to_ascii_lowercase(), id.clone());
            if asks(service) {
                let affinities: Vec<_> = asked(service).map(Affinity::of).collect();
                for affinity in &affinities {
                    self.askers.entry(affinity.other.to_ascii_lowercase()).or_default().insert(id.clone());
                }
                let keeps_apart =
                    affinities.iter().any(|own| own.required && own.is_apart() && own.names(service.name()));
                self.mates.watch(id, keeps_apart);
                self.asked.insert(id.clone(), affinities);
            }
            self.stir_all(service);
        }
    }

    fn forget(&mut self, service: &Service) {
        let (id, name) = (&service.id, service.name().to_ascii_lowercase());
        self.names.remove(id);
        // One of the same name may have been created before this one is known to have gone.
        if self.ids.get(&name) == Some(id) {
            self.ids.remove(&name);
        }
        for affinity in self.asked.remove(id).unwrap_or_default() {
            let other = affinity.other.to_ascii_lowercase();
            if let Some(askers) = self.askers.get_mut(&other) {
                askers.remove(id);
                if askers.is_empty() {
                    self.askers.remove(&other);
                }
            }
        }
        self.mates.watch(id, false);
    }

    /// Takes over that a task has come to a node, has left it, or is wanted there no more. `None`: it is nowhere.
    pub(crate) fn moved(&mut self, before: Option<&Task>, after: Option<&Task>) {
        if self.asked.is_empty() {
            return;
        }
        let place = |task: Option<&Task>| task.and_then(|task| Some((task.service_id.clone()?, task.node_id.clone()?)));
        if place(before) == place(after) {
            return;
        }
        for (task, by) in [(before, -1), (after, 1)] {
            let Some(task) = task else { continue };
            self.mates.count(task, by);
            let Some(id) = &task.service_id else { continue };
            // Who needs to be near waits for one that comes; who needs to be apart, for one that goes.
            let others = self.askers_of(id).filter(|(_, affinity)| affinity.required);
            let others = others.filter(|(_, affinity)| by < 0 || !affinity.is_apart());
            let mut stirred: BTreeSet<_> = others.map(|(asker, _)| asker.clone()).collect();
            if by < 0 {
                stirred.extend(self.kept_apart_by(id).cloned());
            } else if self.mates.watches(id) {
                // One of the same slot may wait, that can take its place.
                stirred.insert(id.clone());
            }
            self.stirred.extend(stirred);
        }
    }

    /// Takes over that some node is in another place than it was, and with it what is on it.
    pub(crate) fn relocated(&mut self) {
        let is_moved = |affinity: &&Affinity| affinity.required && affinity.scope.is_some();
        for (id, affinities) in &self.asked {
            if affinities.iter().any(|affinity| is_moved(&affinity)) {
                self.stirred.insert(id.clone());
            }
            for affinity in affinities.iter().filter(is_moved).filter(|affinity| affinity.is_apart()) {
                self.stirred.extend(self.ids.get(&affinity.other.to_ascii_lowercase()).cloned());
            }
        }
    }

    /// Takes over that a task looks for a node: who has to be near it may find one in the same plan, too.
    pub(crate) fn comes(&mut self, task: &Task) {
        let Some(id) = task.service_id.as_ref().filter(|_| !self.asked.is_empty()) else { return };
        let needed =
            self.askers_of(id).filter(|(asker, affinity)| affinity.required && !affinity.is_apart() && *asker != id);
        let needed: Vec<_> = needed.map(|(asker, _)| asker.clone()).collect();
        self.stirred.extend(needed);
        // It need not wait for what the others of its service wait for.
        if self.mates.of(task).next().is_some() {
            self.stirred.insert(id.clone());
        }
    }

    /// The tasks that share a slot, of services that are to be apart from themselves, anew from those that there are.
    pub(crate) fn recount<'t, T: Iterator<Item = &'t Task>>(&mut self, placed: impl Fn(&ServiceId) -> T) {
        self.mates.recount(placed);
    }

    /// The services whose waiting tasks may have other nodes open to them than when this was last asked.
    pub(crate) fn take_stirred(&mut self) -> BTreeSet<ServiceId> {
        std::mem::take(&mut self.stirred)
    }

    /// All that binds the tasks of a service to others: what it asks for, and what others ask of it.
    pub(crate) fn ties<'a>(&'a self, id: &'a ServiceId) -> impl Iterator<Item = Tie<'a>> {
        let own = self.asked.get(id).into_iter().flatten().map(|affinity| Tie {
            other: self.ids.get(&affinity.other.to_ascii_lowercase()),
            name: &affinity.other,
            is_asked_of: false,
            affinity,
        });
        let others = self.askers_of(id).filter(move |(asker, affinity)| affinity.is_apart() && *asker != id);
        let others = others.map(|(asker, affinity)| Tie {
            other: Some(asker),
            name: self.names.get(asker).map_or("", String::as_str),
            is_asked_of: true,
            affinity,
        });
        own.chain(others)
    }

    /// How many services have to come before one, each near to the next: those are placed first.
    pub(crate) fn depth(&self, id: &ServiceId) -> usize {
        let mut depth = 0;
        let (mut seen, mut row) = (BTreeSet::from([id]), vec![id]);
        while !row.is_empty() {
            let needed = |id: &&'_ ServiceId| self.asked.get(*id).into_iter().flatten();
            let near = row.iter().flat_map(needed).filter(|affinity| affinity.required && !affinity.is_apart());
            let next: Vec<_> = near.filter_map(|affinity| self.ids.get(&affinity.other.to_ascii_lowercase())).collect();
            row = next.into_iter().filter(|id| seen.insert(id)).collect();
            depth += usize::from(!row.is_empty());
        }
        depth
    }

    /// The labels by which places are told apart, if they may be others than when this was last asked.
    pub(crate) fn take_scopes(&mut self) -> Option<BTreeSet<&Label>> {
        let is_new = std::mem::take(&mut self.is_new);
        is_new.then(|| self.asked.values().flatten().filter_map(|affinity| affinity.scope.as_ref()).collect())
    }

    /// How many tasks of the same slot a node has, of a service that is to be apart from itself: those that a task takes
    /// the place of.
    pub(crate) fn mates<'a>(&'a self, task: &'a Task) -> impl Iterator<Item = (&'a swarmkit_api::NodeId, u32)> {
        self.mates.of(task)
    }

    /// Who asks for what of a service.
    fn askers_of(&self, id: &ServiceId) -> impl Iterator<Item = (&ServiceId, &Affinity)> {
        let name = self.names.get(id).map(|name| name.to_ascii_lowercase()).unwrap_or_default();
        let askers = self.askers.get(&name).into_iter().flatten();
        askers.flat_map(move |asker| {
            let name = name.clone();
            let asked = self.asked.get(asker).into_iter().flatten();
            asked.filter(move |affinity| affinity.names(&name)).map(move |affinity| (asker, affinity))
        })
    }

    /// The services that one has to be apart from.
    fn kept_apart_by(&self, id: &ServiceId) -> impl Iterator<Item = &ServiceId> {
        let asked = self.asked.get(id).into_iter().flatten();
        let apart = asked.filter(|affinity| affinity.required && affinity.is_apart());
        apart.filter_map(|affinity| self.ids.get(&affinity.other.to_ascii_lowercase()))
    }

    /// Whoever a service has to do with, as things are.
    fn stir_all(&mut self, service: &Service) {
        let id = &service.id;
        let mut all: BTreeSet<_> = self.askers_of(id).map(|(asker, _)| asker.clone()).collect();
        all.extend(self.kept_apart_by(id).cloned());
        if self.asked.contains_key(id) || !all.is_empty() {
            all.insert(id.clone());
        }
        self.stirred.extend(all);
    }
}

fn asked(service: &Service) -> impl Iterator<Item = &scheduling::Affinity> {
    service.spec.scheduling.iter().flat_map(|scheduling| &scheduling.affinities)
}
