//! The decision: which waiting task goes where, and what the others are told.

use std::{collections::BTreeMap, sync::Arc, time::SystemTime};

use swarmkit_api::{NodeId, ServiceId, Task};

use crate::{
    decision::Decision,
    draft::{Draft, Given},
    group::{Group, GroupKey},
    needs::Needs,
    reasons::{Tally, no_such_node, no_suitable_node},
    search::Search,
    world::{Due, World},
};

const ASSIGNED: &str = "scheduler assigned task to node";
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
}

/// What tasks need, and of which service they are where that matters.
type Asked = (Arc<Needs>, Option<ServiceId>);

/// A plan in the making.
struct Planner<'w> {
    world: &'w World,
    draft: Draft<'w>,
    /// How many decisions there may be.
    most: usize,
    plan: Plan,
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
        let draft = Draft::of(self, now);
        let mut planner = Planner { world: self, draft, most, plan: Plan::default(), stuck: BTreeMap::new() };
        for node in due.preassigned.union(&due.freed) {
            planner.confirm(node);
        }
        let stopped = due.stopped.iter().filter_map(|id| self.stopped.get(id));
        planner.plan.decisions.extend(stopped.map(|task| Decision::Stop { task: task.clone() }));
        if due.everything || !due.freed.is_empty() {
            self.groups.iter().for_each(|(key, group)| planner.consider(key, group, due));
        } else {
            let groups = due.groups.iter().filter_map(|key| self.groups.get_key_value(key));
            groups.for_each(|(key, group)| planner.consider(key, group, due));
        }
        let is_there = |node: &NodeId| self.books.find(node).is_some_and(|ix| self.books.get(ix).node.is_some());
        let idle = due.idle.iter().filter(|idle| idle.holds(&planner.draft.volumes, is_there(&idle.node)));
        planner.plan.decisions.extend(idle.map(|idle| Decision::Free { idle: idle.clone() }));
        planner.plan
    }
}

// === impl Planner ===

impl<'w> Planner<'w> {
    /// Looks at the tasks that were made for a node.
    fn confirm(&mut self, node: &NodeId) {
        let Some(tasks) = self.world.preassigned.get(node) else { return };
        let ix = self.world.books.find(node).filter(|ix| self.draft.book(*ix).node.is_some());
        if self.is_full() {
            self.plan.rest.preassigned.insert(node.clone());
            return;
        }
        let mut needs = BTreeMap::new();
        for task in tasks.values() {
            let needs = needs.entry(GroupKey::of(task)).or_insert_with(|| Needs::of(task));
            let Some(ix) = ix else {
                self.explain(task, &no_such_node(node));
                continue;
            };
            match self.draft.refusal(needs, task.service_id.as_ref(), ix) {
                Some(reason) => {
                    let text = Tally::of_one(needs.fixed.kind().map(str::to_owned), reason);
                    self.explain(task, &text.into());
                }
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
                self.place(key, group);
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
        if due.everything || due.freed.iter().any(fits) {
            self.place(key, group);
        } else if is_due {
            self.explain_all(group.tasks.values(), err);
        }
    }

    /// Places as many tasks of a group as there is room for, and tells the others why they wait.
    fn place(&mut self, key: &GroupKey, group: &'w Group) {
        let needs = &group.needs;
        let Some(first) = group.tasks.values().next() else { return };
        let service = first.service_id.as_ref();
        let mut tasks = group.tasks.values().peekable();
        let memo = (needs.clone(), service.filter(|_| needs.counts_service()).cloned());
        if !self.stuck.contains_key(&memo) {
            let mut search = self.draft.search(needs, first);
            while let Some(task) = tasks.peek() {
                if self.is_full() {
                    self.plan.rest.groups.insert(key.clone());
                    self.plan.blocked.push((key.clone(), None));
                    return;
                }
                if !self.place_one(&mut search, needs, task) {
                    break;
                }
                tasks.next();
            }
        }
        // What one of them cannot have, the others cannot either.
        let blocked = tasks.peek().is_some().then(|| self.reason(memo));
        if let Some(err) = &blocked {
            self.explain_all(tasks, err);
        }
        self.plan.blocked.push((key.clone(), blocked));
    }

    /// Tries nodes in order until one takes the task. A node that refuses is not tried again.
    fn place_one(&mut self, search: &mut Search, needs: &Needs, task: &Arc<Task>) -> bool {
        let service = task.service_id.as_ref();
        while let Some(ix) = self.draft.next(search, service) {
            if self.draft.lack(needs, service, ix).is_some() {
                search.refuse(ix);
                continue;
            }
            let given = self.draft.give(task, needs, ix);
            self.assign(task, given, ASSIGNED);
            search.placed();
            return true;
        }
        false
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

    fn assign(&mut self, task: &Arc<Task>, given: Option<Given>, message: &'static str) {
        let Some(Given { node, generic, volumes }) = given else { return };
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
            if is_told {
                self.explain(task, err);
            }
        }
    }

    fn explain(&mut self, task: &Arc<Task>, err: &Arc<str>) {
        if task.status.err != **err {
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
