//! Room in a plan: who gets what was kept, and for whom more is made.

use std::{collections::BTreeSet, sync::Arc};

use swarmkit_api::{NodeId, ServiceId, Task, TaskId};

use super::{
    asked_priority, claim,
    search::{Offer, Offers, Seeker},
    write::Room,
};
use crate::{
    books::NodeIx,
    decision::Decision,
    group::{Group, GroupKey},
    needs::Needs,
    plan::{ASSIGNED, Planner},
    reasons::{kept, no_suitable_node},
    volumes::Waiter,
    world::World,
};

/// Where room may be made for a group that has none.
#[derive(Clone, Copy)]
pub(crate) enum Scope<'s> {
    Everywhere,
    /// Where something became free; elsewhere is none, as was found before.
    Nodes(&'s BTreeSet<NodeId>),
}

impl World {
    /// How important the tasks of a service are.
    pub(crate) fn priority(&self, service: Option<&ServiceId>) -> i32 {
        super::priority(service.and_then(|service| self.services.get(service)).map(AsRef::as_ref))
    }

    /// The priority with which others are made to go for a task. `None` if nobody is: its service does not ask for it, or
    /// is about to replace the task by one that runs something else.
    pub(crate) fn insists(&self, task: &Task) -> Option<i32> {
        let service = self.services.get(task.service_id.as_ref()?)?;
        let asked = asked_priority(Some(service))?;
        let is_current = service.spec_version <= task.spec_version || service.spec.task.as_ref() == Some(&*task.spec);
        is_current.then_some(asked)
    }
}

impl<'w> Planner<'w> {
    /// Whether the room that a node has for a task now is not kept for others.
    pub(crate) fn is_admitted(&self, task: &Task, needs: &Needs, ix: NodeIx) -> bool {
        self.making.claims.is_empty() || {
            let priority = self.world.priority(task.service_id.as_ref());
            self.making.admits(&self.draft, Seeker { task, needs, priority }, &self.world.books.get(ix).id)
        }
    }

    /// Gives tasks of a group the room that was kept for them, where it is free now. Gives those that have it.
    pub(crate) fn seat(&mut self, group: &'w Group) -> BTreeSet<&'w TaskId> {
        let mut seated = BTreeSet::new();
        if self.making.claims.is_empty() {
            return seated;
        }
        let needs = &group.needs;
        for task in group.tasks.values() {
            let node = claim(task).map(|claim| NodeId::from(claim.node_id.as_str()));
            let Some(ix) = node.and_then(|node| self.world.books.find(&node)) else { continue };
            let company = self.draft.company(task.service_id.as_ref());
            let is_barred = company.is_some_and(|company| self.draft.bars(&company, task, ix).is_some());
            let is_free = !is_barred && self.draft.refusal(needs, task.service_id.as_ref(), ix).is_none();
            if is_free && self.is_admitted(task, needs, ix) {
                let given = self.draft.give(task, needs, ix);
                self.assign(task, given, ASSIGNED);
                seated.insert(&task.id);
            }
        }
        seated
    }

    /// Has room made for the tasks of a group that are left over, as far as it can be. Gives those for which it cannot, and
    /// which claim none any more.
    pub(crate) fn make_room(
        &mut self,
        key: &GroupKey,
        group: &'w Group,
        left_over: Vec<&'w Arc<Task>>,
        scope: Scope<'_>,
    ) -> Vec<&'w Arc<Task>> {
        let Some(priority) = left_over.first().and_then(|task| self.world.insists(task)) else {
            left_over.iter().for_each(|task| drop(self.making.claims.remove(task)));
            return left_over;
        };
        let seeker = |task: &'w Arc<Task>| Seeker { task, needs: &group.needs, priority };
        let waiting: Vec<_> = left_over.into_iter().filter(|task| !self.keeps(seeker(task))).collect();
        let waiter = Waiter::Group(key.clone());
        let mut offers = None::<Offers>;
        let mut hopeless = Vec::new();
        for task in waiting {
            if self.making.is_exhausted() || (offers.is_none() && self.making.has_looked_enough()) {
                self.plan.rest.groups.insert(key.clone());
                hopeless.push(task);
                continue;
            }
            let seeker = seeker(task);
            let mut known = offers.take().unwrap_or_else(|| self.offers(seeker, scope, &waiter));
            match self.making.take(&mut known, &self.draft, seeker, &waiter) {
                Some(offer) => self.accept(task, priority, offer),
                None => hopeless.push(task),
            }
            offers = Some(known);
        }
        hopeless
    }

    /// Has room made for a task on the one node that it was made for, if there is none. Gives whether it waits for that.
    pub(crate) fn makes_room_on(&mut self, task: &Arc<Task>, needs: &Needs, ix: NodeIx) -> bool {
        let is_free = self.draft.refusal(needs, task.service_id.as_ref(), ix).is_none();
        if is_free && self.is_admitted(task, needs, ix) {
            return false;
        }
        let world = self.world;
        let node = &world.books.get(ix).id;
        let Some(priority) = self.world.insists(task) else {
            self.making.claims.remove(task);
            return false;
        };
        let seeker = Seeker { task, needs, priority };
        if self.keeps(seeker) {
            return true;
        }
        if self.making.is_exhausted() || self.making.has_looked_enough() {
            self.plan.rest.preassigned.insert(node.clone());
            return false;
        }
        let waiter = Waiter::Node(node.clone());
        let mut offers = self.making.offers(&self.draft, seeker, [node], &waiter);
        let offer = self.making.take(&mut offers, &self.draft, seeker, &waiter);
        offer.map(|offer| self.accept(task, priority, offer)).is_some()
    }

    /// Why tasks of a group wait, if it is not only for what nodes refuse: some would take them, had others not been promised
    /// the room, or some could be made room on, if services could spare more.
    pub(crate) fn reason_of_others(&self, key: &GroupKey, task: &Task, needs: &Needs) -> Option<Arc<str>> {
        let (limiting, service) = (self.making.limiting(&Waiter::Group(key.clone())), task.service_id.as_ref());
        let mut promised = 0;
        if !self.making.claims.is_empty() {
            let company = self.draft.company(service);
            let is_barred = |ix| company.as_ref().is_some_and(|company| self.draft.bars(company, task, ix).is_some());
            let has_room = |ix: &NodeIx| self.draft.refusal(needs, service, *ix).is_none() && !is_barred(*ix);
            let nodes = self.world.books.nodes().map(|(ix, _)| ix).filter(has_room);
            promised = nodes.filter(|ix| !self.is_admitted(task, needs, *ix)).count();
        }
        if promised == 0 && limiting.is_empty() {
            return None;
        }
        let others = (promised > 0).then(|| kept(promised)).into_iter().chain(limiting);
        let refusals = Some(self.draft.explain(needs, service).text()).filter(|text| !text.is_empty());
        let all: Vec<_> = refusals.into_iter().chain(others).collect();
        Some(no_suitable_node(&all.join("; ")))
    }

    fn offers(&mut self, seeker: Seeker<'_>, scope: Scope<'_>, waiter: &Waiter) -> Offers {
        match scope {
            Scope::Everywhere => {
                let class = self.draft.class(seeker.needs);
                let nodes = class.fit.iter().map(|ix| &self.world.books.get(ix).id);
                self.making.offers(&self.draft, seeker, nodes, waiter)
            }
            Scope::Nodes(nodes) => self.making.offers(&self.draft, seeker, nodes, waiter),
        }
    }

    /// Whether the room that a task claims will do when all have gone that were told to. If not, it is claimed no more.
    fn keeps(&mut self, seeker: Seeker<'_>) -> bool {
        let Some(claim) = claim(seeker.task) else { return false };
        let node = NodeId::from(claim.node_id.as_str());
        let keeps = self.making.will_have_room(&self.draft, seeker, &node);
        if !keeps {
            self.making.claims.remove(seeker.task);
        }
        keeps
    }

    /// A task takes room on a node. Those that are less important and wait for some there are looked at again: there may not
    /// be enough for them any more.
    pub(crate) fn disturb(&mut self, task: &Task, node: &NodeId) {
        let priority = self.world.priority(task.service_id.as_ref());
        let matters_less = |other: &&Arc<Task>| self.world.priority(other.service_id.as_ref()) < priority;
        for other in self.making.claims.on(node).filter(matters_less) {
            match &other.node_id {
                Some(node) => drop(self.plan.rest.preassigned.insert(node.clone())),
                None => drop(self.plan.rest.groups.insert(GroupKey::of(other))),
            }
        }
    }

    fn accept(&mut self, task: &Arc<Task>, priority: i32, offer: Offer) {
        let ix = self.world.books.find(&offer.node);
        let Some(node) = ix.and_then(|ix| self.draft.book(ix).node.clone()) else { return };
        self.making.accept(task, &offer);
        self.disturb(task, &node.id);
        let room = Room::new(task, priority, node, offer);
        self.plan.decisions.push(Decision::MakeRoom { task: task.clone(), room });
    }
}
