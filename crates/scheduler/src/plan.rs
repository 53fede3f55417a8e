//! The decision: which waiting task goes where, and what the others are told.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::SystemTime,
};

use swarmkit_api::{NodeId, Task};

use crate::{
    affinity::Company,
    blocked::Asked,
    decision::Decision,
    draft::{Draft, Given},
    group::{Group, GroupKey},
    needs::Needs,
    preemption::{Limited, Making, Scope, asked_priority, claim},
    reasons::{Tally, kept, no_such_node, no_suitable_node},
    search::Search,
    world::{Due, World},
};

pub(crate) const ASSIGNED: &str = "scheduler assigned task to node";
const CONFIRMED: &str = "scheduler confirmed task can run on preassigned node";

/// How many decisions one plan has at most: what is planned takes memory and a few microseconds each, and what was written
/// comes back as change sets, of which only so many wait for a watcher. What is left over is decided next, on what was
/// written. The more are decided at once, the nearer to each other in the store are those that are written together.
pub(crate) const DECISIONS_MAX: usize = 100_000;

/// What to write, and what is known of the groups that were looked at.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) decisions: Vec<Decision>,
    /// Why the tasks of a group that are left over wait. `None` when none is left over, or none was tried yet.
    pub(crate) blocked: Vec<(GroupKey, Option<Arc<str>>)>,
    /// What there was no room for in this plan.
    pub(crate) rest: Due,
    /// Who would have got room if services could have spared more tasks.
    pub(crate) limited: Limited,
}

/// Why a group is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    /// Tasks have joined it, or it was never tried.
    Due,
    /// Nothing is known of it, or all that is known may be different.
    Anew,
    /// A node may take its tasks now.
    Try,
    /// No node takes them, but not for the reason that it was told.
    Tell,
    /// Others may make room for them where something has changed.
    Room,
}

/// A plan in the making.
pub(crate) struct Planner<'w> {
    pub(crate) world: &'w World,
    pub(crate) draft: Draft<'w>,
    pub(crate) making: Making<'w>,
    /// How many decisions there may be.
    most: usize,
    pub(crate) plan: Plan,
    /// Why tasks that need the same could not be placed, and how much was booked then. What was booked since has left
    /// nothing more for them.
    stuck: BTreeMap<Asked, (usize, Arc<str>)>,
}

// === impl World ===

impl World {
    /// Decides about what is due, as far as one plan goes. The same world gives the same plan.
    pub(crate) fn plan(&self, due: &Due, now: SystemTime) -> Plan {
        self.plan_up_to(DECISIONS_MAX, due, now)
    }

    /// Decides about everything that is due, however much it is.
    pub(crate) fn plan_all(&self, due: &Due, now: SystemTime) -> Plan {
        self.plan_up_to(usize::MAX, due, now)
    }

    /// Decides about what is due, with about so many decisions.
    pub(crate) fn plan_up_to(&self, most: usize, due: &Due, now: SystemTime) -> Plan {
        let (draft, making) = (Draft::of(self, now), Making::of(self));
        let mut planner = Planner { world: self, draft, making, most, plan: Plan::default(), stuck: BTreeMap::new() };
        if self.has_priorities() {
            planner.by_priority(due);
        } else {
            due.preassigned.union(&due.freed).for_each(|node| planner.confirm(node, |_| true));
            for (key, look) in planner.looks(due) {
                planner.consider(key, look, &due.freed);
            }
        }
        let stopped = due.stopped.iter().filter_map(|id| self.stopped.get(id));
        planner.plan.decisions.extend(stopped.map(|task| Decision::Stop { task: task.clone() }));
        if planner.is_full() {
            // Those who are yet to be placed may want what nobody has.
            planner.plan.rest.idle.clone_from(&due.idle);
        } else {
            planner.free(due);
        }
        planner.plan.limited = planner.making.limited;
        planner.plan
    }
}

// === impl Planner ===

impl<'w> Planner<'w> {
    /// Lets go of what nobody has, as it is now.
    fn free(&mut self, due: &Due) {
        let books = &self.world.books;
        let is_there = |node: &NodeId| books.find(node).is_some_and(|ix| books.get(ix).node.is_some());
        let idle = due.idle.iter().filter(|idle| idle.holds(&self.draft.volumes, is_there(&idle.node)));
        self.plan.decisions.extend(idle.map(|idle| Decision::Free { idle: idle.clone() }));
    }

    /// Looks at what is more important first.
    fn by_priority(&mut self, due: &Due) {
        let world = self.world;
        let mut levels = BTreeMap::<_, (BTreeSet<&NodeId>, Vec<_>)>::new();
        for node in due.preassigned.union(&due.freed) {
            for task in world.preassigned.get(node).into_iter().flat_map(BTreeMap::values) {
                levels.entry(Reverse(world.priority(task.service_id.as_ref()))).or_default().0.insert(node);
            }
        }
        for (key, look) in self.looks(due) {
            levels.entry(Reverse(world.priority(key.service.as_ref()))).or_default().1.push((key, look));
        }
        for (Reverse(level), (nodes, groups)) in levels {
            nodes.iter().for_each(|node| self.confirm(node, |task| world.priority(task.service_id.as_ref()) == level));
            groups.iter().for_each(|(key, look)| self.consider(key, *look, &due.freed));
        }
    }

    /// Looks at tasks that were made for a node.
    fn confirm(&mut self, node: &NodeId, which: impl Fn(&Task) -> bool) {
        let Some(tasks) = self.world.preassigned.get(node) else { return };
        let ix = self.world.books.find(node).filter(|ix| self.draft.book(*ix).node.is_some());
        if self.is_full() {
            self.plan.rest.preassigned.insert(node.clone());
            return;
        }
        let mut needs = BTreeMap::new();
        for task in tasks.values().filter(|task| which(task)) {
            let needs = needs.entry(GroupKey::of(task)).or_insert_with(|| Needs::of(task));
            let Some(ix) = ix else {
                self.explain(task, &no_such_node(node));
                continue;
            };
            let company = self.draft.company(task.service_id.as_ref());
            let refusal = self.draft.refusal(needs, task.service_id.as_ref(), ix);
            match refusal.or_else(|| self.draft.bars(company.as_ref()?, task, ix)) {
                _ if self.makes_room_on(task, needs, ix) => {}
                Some(reason) => {
                    let tally = Tally::one(needs.fixed.kind().map(str::to_owned), reason);
                    let ties = company.as_ref().map(Company::told).unwrap_or_default();
                    self.explain(task, &tally.bound(ties).text().into());
                }
                None if !self.is_admitted(task, needs, ix) => self.explain(task, &kept(1).into()),
                None => {
                    let given = self.draft.give(task, needs, ix);
                    self.assign(task, given, CONFIRMED);
                }
            }
        }
    }

    /// The groups to look at, in their order; those that others have to be near to come before these.
    fn looks<'d>(&self, due: &'d Due) -> Vec<(&'d GroupKey, Look)>
    where
        'w: 'd,
    {
        let mut looks: Vec<_> = self.looks_by_key(due).into_iter().collect();
        let affinities = &self.world.affinities;
        if !affinities.is_empty() {
            let depth = |key: &GroupKey| key.service.as_ref().map_or(0, |service| affinities.depth(service));
            looks.sort_by_cached_key(|(key, _)| depth(key));
        }
        looks
    }

    fn looks_by_key<'d>(&self, due: &'d Due) -> BTreeMap<&'d GroupKey, Look>
    where
        'w: 'd,
    {
        if due.everything {
            return self.world.groups.keys().map(|key| (key, Look::Anew)).collect();
        }
        let mut looks: BTreeMap<_, _> = due.groups.iter().map(|key| (key, Look::Due)).collect();
        if due.freed.is_empty() && !due.recount {
            return looks;
        }
        for (asked, told) in self.world.blocked.iter() {
            if due.recount && self.world.company(asked.service.as_ref()).is_some() {
                // Where a node belongs to decides about others as well.
                looks.extend(told.values().flatten().map(|key| (key, Look::Anew)));
            } else if self.is_taken_by_any(asked, &due.freed) {
                looks.extend(told.values().flatten().map(|key| (key, Look::Try)));
            } else if due.recount {
                let reason = self.explained(asked);
                let others = told.iter().filter(|(told, _)| **told != reason);
                looks.extend(others.flat_map(|(_, groups)| groups).map(|key| (key, Look::Tell)));
            }
            if self.world.has_priorities() {
                let insists = |key: &&GroupKey| {
                    let service = key.service.as_ref().and_then(|service| self.world.services.get(service));
                    asked_priority(service.map(AsRef::as_ref)).is_some()
                };
                for key in told.values().flatten().filter(insists) {
                    let look = looks.entry(key).or_insert(Look::Room);
                    *look = if due.recount || *look == Look::Due { Look::Anew } else { *look };
                }
            }
        }
        looks
    }

    fn is_taken_by_any(&self, asked: &Asked, nodes: &BTreeSet<NodeId>) -> bool {
        let mut nodes = nodes.iter().filter_map(|node| self.world.books.find(node));
        nodes.any(|ix| self.draft.refusal(&asked.needs, asked.service.as_ref(), ix).is_none())
    }

    /// Looks at a group.
    fn consider(&mut self, key: &GroupKey, look: Look, freed: &BTreeSet<NodeId>) {
        let Some(group) = self.world.groups.get(key) else { return };
        let Some(task) = group.tasks.values().next() else { return };
        let insists = self.world.has_priorities() && self.world.insists(task).is_some();
        match (&group.blocked, look) {
            (None, _) => self.place(key, group, Scope::Everywhere),
            (Some(_), _) if self.service_is_gone(task) => {}
            (Some(_), Look::Anew) => self.place(key, group, Scope::Everywhere),
            (Some(_), Look::Due) if insists => self.place(key, group, Scope::Everywhere),
            (Some(_), Look::Try) => self.place(key, group, Scope::Nodes(freed)),
            (Some(err), Look::Due) => self.wait(key, group.tasks.values(), err.clone()),
            (Some(_), Look::Tell) => {
                let err = self.reason_for(key, group, task);
                self.wait(key, group.tasks.values(), err);
            }
            (Some(err), Look::Room) => {
                let hopeless = self.make_room(key, group, group.tasks.values().collect(), Scope::Nodes(freed));
                self.wait(key, hopeless.into_iter().filter(|task| claim(task).is_some()), err.clone());
            }
        }
    }

    /// Places as many tasks of a group as there is room for, and tells the others why they wait.
    fn place(&mut self, key: &GroupKey, group: &'w Group, scope: Scope<'_>) {
        let Some(first) = group.tasks.values().next() else { return };
        let asked = self.world.asked(key, group);
        let seated = self.seat(group);
        let mut tasks = group.tasks.values().filter(|task| !seated.contains(&task.id)).peekable();
        let mut company = self.draft.company(first.service_id.as_ref());
        let mut left_over = Vec::new();
        // What one has in common with those that could not be placed says nothing where it matters whom it replaces.
        if company.is_some() || !self.making.claims.is_empty() || !self.stuck.contains_key(&asked) {
            let mut search = self.draft.search(&group.needs, first, company.as_ref());
            while let Some(task) = tasks.peek() {
                if self.is_full() {
                    self.plan.rest.groups.insert(key.clone());
                    self.plan.blocked.push((key.clone(), None));
                    return;
                }
                if !self.place_one(&mut search, company.as_mut(), &group.needs, task) {
                    let Some(company) = &company else { break };
                    if !self.place_beside(&search, company, &group.needs, task) {
                        left_over.push(*task);
                    }
                }
                tasks.next();
            }
        }
        // What one of them cannot have, the others cannot either.
        left_over.extend(tasks);
        if left_over.is_empty() {
            self.plan.blocked.push((key.clone(), None));
        } else {
            let left_over = self.make_room(key, group, left_over, scope);
            let err = self.reason_for(key, group, first);
            self.wait(key, left_over, err);
        }
    }

    /// Tries nodes in order until one takes the task. A node that refuses is not tried again.
    fn place_one(
        &mut self,
        search: &mut Search,
        company: Option<&mut Company<'_>>,
        needs: &Needs,
        task: &Arc<Task>,
    ) -> bool {
        let service = task.service_id.as_ref();
        while let Some(ix) = self.draft.next(search, service) {
            if self.draft.lack(needs, service, ix).is_some() || !self.is_admitted(task, needs, ix) {
                search.refuse(ix);
                continue;
            }
            let given = self.draft.give(task, needs, ix);
            self.assign(task, given, ASSIGNED);
            search.placed();
            if let Some(company) = company {
                company.join(ix).iter().for_each(|effect| search.take_over(effect));
            }
            return true;
        }
        false
    }

    /// Places a task of a service that is to be apart from itself where the one is whose place it takes, when nothing else
    /// is open.
    fn place_beside(&mut self, search: &Search, company: &Company<'_>, needs: &Needs, task: &Arc<Task>) -> bool {
        let (service, mates) = (task.service_id.as_ref(), self.world.mates(task));
        let nodes = company.beside(&mates);
        let nodes = nodes.iter().filter(|ix| search.is_fit(*ix) && self.draft.lack(needs, service, *ix).is_none());
        let nodes = nodes.filter(|ix| self.draft.bars(company, task, *ix).is_none());
        let nodes = nodes.filter(|ix| self.is_admitted(task, needs, *ix));
        let best = nodes.min_by_key(|ix| (self.draft.active_of(service, *ix), self.draft.book(*ix).active, *ix));
        let Some(ix) = best else { return false };
        let given = self.draft.give(task, needs, ix);
        self.assign(task, given, ASSIGNED);
        true
    }

    /// Why tasks that need this cannot be placed.
    fn reason(&mut self, asked: Asked) -> Arc<str> {
        let bookings = self.draft.bookings;
        match self.stuck.get(&asked) {
            Some((then, err)) if *then == bookings => err.clone(),
            _ => {
                let err = self.explained(&asked);
                self.stuck.insert(asked, (bookings, err.clone()));
                err
            }
        }
    }

    /// The same, where others may have a part in it.
    fn reason_for(&mut self, key: &GroupKey, group: &Group, task: &Task) -> Arc<str> {
        self.reason_of_others(key, task, &group.needs).unwrap_or_else(|| self.reason(self.world.asked(key, group)))
    }

    fn explained(&self, asked: &Asked) -> Arc<str> {
        no_suitable_node(&self.draft.explain(&asked.needs, asked.service.as_ref()).text())
    }

    pub(crate) fn assign(&mut self, task: &Arc<Task>, given: Option<Given>, message: &'static str) {
        let Some(Given { node, generic, volumes }) = given else { return };
        if !self.making.claims.is_empty() {
            self.making.claims.remove(task);
            self.disturb(task, &node.id);
        }
        self.plan.decisions.push(Decision::Assign { task: task.clone(), node, given: generic, volumes, message });
    }

    /// Tasks of a group wait, and are told why. A task of a version that its service has left behind is about to be
    /// replaced: its waiting needs no reason.
    fn wait<'t>(&mut self, key: &GroupKey, tasks: impl IntoIterator<Item = &'t Arc<Task>>, err: Arc<str>) {
        for task in tasks {
            let service = task.service_id.as_ref().map(|service| self.world.services.get(service));
            let is_told = match service {
                None => true,
                Some(None) => false,
                Some(Some(service)) => service.spec_version <= task.spec_version,
            };
            let is_told = is_told || claim(task).is_some();
            if is_told && self.is_full() {
                self.plan.rest.groups.insert(key.clone());
                break;
            }
            if is_told {
                self.explain(task, &err);
            }
        }
        self.plan.blocked.push((key.clone(), Some(err)));
    }

    fn explain(&mut self, task: &Arc<Task>, err: &Arc<str>) {
        if claim(task).is_some() {
            self.plan.decisions.push(Decision::Release { task: task.clone(), err: err.clone() });
        } else if task.status.err != **err {
            self.plan.decisions.push(Decision::Explain { task: task.clone(), err: err.clone() });
        }
    }

    fn service_is_gone(&self, task: &Task) -> bool {
        task.service_id.as_ref().is_some_and(|service| !self.world.services.contains_key(service))
    }

    fn is_full(&self) -> bool {
        self.plan.decisions.len() >= self.most
    }
}
