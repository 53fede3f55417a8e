//! The decision: which waiting task goes where, and what the others are told.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::SystemTime,
};

use swarmkit_api::{NodeId, ServiceId, Task};

use crate::{
    affinity::Company,
    decision::Decision,
    draft::{Draft, Given},
    group::{Group, GroupKey},
    needs::Needs,
    preemption::{Limited, Making, Scope, claim},
    reasons::{Tally, kept, no_such_node, no_suitable_node},
    search::Search,
    world::{Due, World},
};

pub(crate) const ASSIGNED: &str = "scheduler assigned task to node";
const CONFIRMED: &str = "scheduler confirmed task can run on preassigned node";

/// How many decisions one plan has at most: what is planned takes memory, and what was written comes back as changes, of
/// which only so many are kept for a watcher. What is left over is decided next, on what was written.
pub(crate) const DECISIONS_MAX: usize = 20_000;

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

/// What tasks need, and of which service they are where that matters.
type Asked = (Arc<Needs>, Option<ServiceId>);

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

    fn plan_up_to(&self, most: usize, due: &Due, now: SystemTime) -> Plan {
        let (draft, making) = (Draft::of(self, now), Making::of(self));
        let mut planner = Planner { world: self, draft, making, most, plan: Plan::default(), stuck: BTreeMap::new() };
        if self.has_priorities() {
            planner.by_priority(due);
        } else {
            due.preassigned.union(&due.freed).for_each(|node| planner.confirm(node, |_| true));
            self.groups_of(due).into_iter().for_each(|(key, group)| planner.consider(key, group, due));
        }
        let stopped = due.stopped.iter().filter_map(|id| self.stopped.get(id));
        planner.plan.decisions.extend(stopped.map(|task| Decision::Stop { task: task.clone() }));
        let is_there = |node: &NodeId| self.books.find(node).is_some_and(|ix| self.books.get(ix).node.is_some());
        let idle = due.idle.iter().filter(|idle| idle.holds(&planner.draft.volumes, is_there(&idle.node)));
        planner.plan.decisions.extend(idle.map(|idle| Decision::Free { idle: idle.clone() }));
        planner.plan.limited = planner.making.limited;
        planner.plan
    }

    /// The groups that may have to be looked at; those that others have to be near to come before these.
    fn groups_of(&self, due: &Due) -> Vec<(&GroupKey, &Group)> {
        let mut groups: Vec<_> = if due.everything || !due.freed.is_empty() {
            self.groups.iter().collect()
        } else {
            due.groups.iter().filter_map(|key| self.groups.get_key_value(key)).collect()
        };
        if !self.affinities.is_empty() {
            let depth = |key: &GroupKey| key.service.as_ref().map_or(0, |service| self.affinities.depth(service));
            groups.sort_by_cached_key(|(key, _)| depth(key));
        }
        groups
    }
}

// === impl Planner ===

impl<'w> Planner<'w> {
    /// Looks at what is more important first.
    fn by_priority(&mut self, due: &Due) {
        let world = self.world;
        let mut levels = BTreeMap::<_, (BTreeSet<&NodeId>, Vec<_>)>::new();
        for node in due.preassigned.union(&due.freed) {
            for task in world.preassigned.get(node).into_iter().flat_map(BTreeMap::values) {
                levels.entry(Reverse(world.priority(task.service_id.as_ref()))).or_default().0.insert(node);
            }
        }
        for (key, group) in world.groups_of(due) {
            levels.entry(Reverse(world.priority(key.service.as_ref()))).or_default().1.push((key, group));
        }
        for (Reverse(level), (nodes, groups)) in levels {
            nodes.iter().for_each(|node| self.confirm(node, |task| world.priority(task.service_id.as_ref()) == level));
            groups.iter().for_each(|(key, group)| self.consider(key, group, due));
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

    /// Looks at a group, if anything happened that may place its tasks.
    fn consider(&mut self, key: &GroupKey, group: &'w Group, due: &Due) {
        let Some(task) = group.tasks.values().next() else { return };
        let is_due = due.everything || due.groups.contains(key);
        let Some(err) = &group.blocked else {
            if is_due {
                self.place(key, group, Scope::Everywhere);
            }
            return;
        };
        if self.service_is_gone(task) {
            return;
        }
        let fits = |node: &NodeId| {
            let ix = self.world.books.find(node);
            ix.is_some_and(|ix| self.draft.refusal(&group.needs, task.service_id.as_ref(), ix).is_none())
        };
        let insists = self.world.has_priorities() && self.world.insists(task).is_some();
        if due.everything || (is_due && insists) {
            self.place(key, group, Scope::Everywhere);
        } else if due.freed.iter().any(fits) {
            self.place(key, group, Scope::Nodes(&due.freed));
        } else if is_due {
            self.explain_all(group.tasks.values(), err);
        } else if insists {
            let hopeless = self.make_room(key, group, group.tasks.values().collect(), Scope::Nodes(&due.freed));
            self.explain_all(hopeless.into_iter().filter(|task| claim(task).is_some()), err);
        }
    }

    /// Places as many tasks of a group as there is room for, and tells the others why they wait.
    fn place(&mut self, key: &GroupKey, group: &'w Group, scope: Scope<'_>) {
        let needs = &group.needs;
        let Some(first) = group.tasks.values().next() else { return };
        let service = first.service_id.as_ref();
        let seated = self.seat(group);
        let mut tasks = group.tasks.values().filter(|task| !seated.contains(&task.id)).peekable();
        let mut company = self.draft.company(service);
        let memo = (needs.clone(), service.filter(|_| needs.counts_service() || company.is_some()).cloned());
        let mut left_over = Vec::new();
        if !self.making.claims.is_empty() || !self.stuck.contains_key(&memo) {
            let mut search = self.draft.search(needs, first, company.as_ref());
            while let Some(task) = tasks.peek() {
                if self.is_full() {
                    self.plan.rest.groups.insert(key.clone());
                    self.plan.blocked.push((key.clone(), None));
                    return;
                }
                if !self.place_one(&mut search, company.as_mut(), needs, task) {
                    let Some(company) = &company else { break };
                    if !self.place_beside(&search, company, needs, task) {
                        left_over.push(*task);
                    }
                }
                tasks.next();
            }
        }
        // What one of them cannot have, the others cannot either.
        left_over.extend(tasks);
        let is_blocked = !left_over.is_empty();
        let left_over = self.make_room(key, group, left_over, scope);
        let blocked = is_blocked.then(|| self.kept_reason(first, needs).unwrap_or_else(|| self.reason(memo)));
        if let Some(err) = &blocked {
            self.explain_all(left_over, err);
        }
        self.plan.blocked.push((key.clone(), blocked));
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
        let best = nodes.min_by_key(|ix| (self.draft.active_of(service, *ix), self.draft.book(*ix).active, *ix));
        let Some(ix) = best else { return false };
        let given = self.draft.give(task, needs, ix);
        self.assign(task, given, ASSIGNED);
        true
    }

    /// Why tasks that need this cannot be placed.
    fn reason(&mut self, memo: Asked) -> Arc<str> {
        let bookings = self.draft.bookings;
        match self.stuck.get(&memo) {
            Some((then, err)) if *then == bookings => err.clone(),
            _ => {
                let err = no_suitable_node(&self.draft.explain(&memo.0, memo.1.as_ref()).text());
                self.stuck.insert(memo, (bookings, err.clone()));
                err
            }
        }
    }

    pub(crate) fn assign(&mut self, task: &Arc<Task>, given: Option<Given>, message: &'static str) {
        let Some(Given { node, generic, volumes }) = given else { return };
        self.making.claims.remove(task);
        self.plan.decisions.push(Decision::Assign { task: task.clone(), node, given: generic, volumes, message });
    }

    /// A task of a version that its service has left behind is about to be replaced: its waiting needs no reason.
    fn explain_all<'t>(&mut self, tasks: impl IntoIterator<Item = &'t Arc<Task>>, err: &Arc<str>) {
        for task in tasks {
            let service = task.service_id.as_ref().map(|service| self.world.services.get(service));
            let is_told = match service {
                None => true,
                Some(None) => false,
                Some(Some(service)) => service.spec_version <= task.spec_version,
            };
            if is_told || claim(task).is_some() {
                self.explain(task, err);
            }
        }
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
