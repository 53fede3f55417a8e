//! The decision: which waiting task goes where, and what the others are told.

use std::{collections::BTreeMap, sync::Arc, time::SystemTime};

use swarmkit_api::{Node, NodeId, Task, TaskState, TaskStatus, wire::GenericResource};
use swarmkit_store::{StoreError, Transaction};

use crate::{
    books::{Books, is_active, wanted},
    filter::Needs,
    reasons::{no_such_node, no_suitable_node},
    spread::Ranking,
    volumes::{Chosen, Idle, attachments, publish},
    world::{Due, Group, GroupKey, World, looks_the_same},
};

const ASSIGNED: &str = "scheduler assigned task to node";
const CONFIRMED: &str = "scheduler confirmed task can run on preassigned node";

/// What to write about one task.
#[derive(Clone, Debug)]
pub(crate) enum Decision {
    /// It goes to this node, or, if it was made for the node, may run there.
    Assign {
        task: Arc<Task>,
        node: Arc<Node>,
        given: Vec<GenericResource>,
        volumes: Vec<Chosen>,
        message: &'static str,
    },
    /// It goes on waiting, for this reason.
    Explain { task: Arc<Task>, err: Arc<str> },
    /// It was asked to stop before it had a node, so it is stopped.
    Stop { task: Arc<Task> },
    /// Nobody has a volume any more on a node where it is published.
    Free { idle: Idle },
}

/// What to write, and what is known of the groups that were looked at.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) decisions: Vec<Decision>,
    /// Why the tasks of a group that are left over wait. `None` when none is left over.
    pub(crate) blocked: Vec<(GroupKey, Option<Arc<str>>)>,
}

/// A plan in the making: decisions book on a copy of the books.
struct Draft<'w> {
    world: &'w World,
    books: Books,
    now: SystemTime,
    plan: Plan,
}

// === impl World ===

impl World {
    /// Decides about everything that is due. The same world gives the same plan.
    pub(crate) fn plan(&self, due: &Due, now: SystemTime) -> Plan {
        let mut draft = Draft { world: self, books: self.books.clone(), now, plan: Plan::default() };
        for node in due.preassigned.union(&due.freed) {
            draft.confirm(node);
        }
        let stopped = due.stopped.iter().filter_map(|id| self.stopped.get(id));
        draft.plan.decisions.extend(stopped.map(|task| Decision::Stop { task: task.clone() }));
        if due.everything || !due.freed.is_empty() {
            self.groups.iter().for_each(|(key, group)| draft.consider(key, group, due));
        } else {
            let groups = due.groups.iter().filter_map(|key| self.groups.get_key_value(key));
            groups.for_each(|(key, group)| draft.consider(key, group, due));
        }
        let idle = due.idle.iter().filter(|idle| idle.holds(&draft.books));
        draft.plan.decisions.extend(idle.map(|idle| Decision::Free { idle: idle.clone() }));
        draft.plan
    }
}

// === impl Draft ===

impl Draft<'_> {
    /// Looks at the tasks that were made for a node.
    fn confirm(&mut self, node_id: &NodeId) {
        let Some(tasks) = self.world.preassigned.get(node_id) else { return };
        let mut needs = BTreeMap::new();
        for task in tasks.values() {
            let needs = needs.entry(GroupKey::of(task)).or_insert_with(|| Needs::of(task));
            let Some((book, node)) = self.books.get(node_id).and_then(|book| Some((book, book.node.clone()?))) else {
                self.explain(task, &no_such_node(node_id));
                continue;
            };
            match needs.refusal(&self.books, book) {
                Some(reason) => self.explain(task, &needs.explain_one(reason).into()),
                None => self.assign(task, node, needs, CONFIRMED),
            }
        }
    }

    /// Looks at a group, if anything happened that may place its tasks.
    fn consider(&mut self, key: &GroupKey, group: &Group, due: &Due) {
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
        let fits = |node| self.books.get(node).is_some_and(|book| group.needs.refusal(&self.books, book).is_none());
        if due.everything || due.freed.iter().any(fits) {
            self.place(key, group);
        } else if is_due {
            self.explain_all(group.tasks.values(), err);
        }
    }

    /// Places as many tasks of a group as there is room for, and tells the others why they wait.
    fn place(&mut self, key: &GroupKey, group: &Group) {
        let needs = &group.needs;
        let Some(first) = group.tasks.values().next() else { return };
        let ranking = Ranking::of(&self.books, first, self.now);
        let mut candidates = ranking.candidates(&self.books);
        let mut left_over = Vec::new();
        for task in group.tasks.values() {
            let placed = candidates.place(&mut |node| {
                let book = self.books.get(node).filter(|book| needs.refusal(&self.books, book).is_none())?;
                self.assign(task, book.node.clone()?, needs, ASSIGNED);
                let active = self.books.get(node).map_or(0, |book| book.active);
                Some(ranking.rank(node, self.books.active_of(task.service_id.as_ref(), node), active))
            });
            if !placed {
                left_over.push(task);
            }
        }
        let blocked = (!left_over.is_empty()).then(|| no_suitable_node(&needs.explain(&self.books).text()));
        if let Some(err) = &blocked {
            self.explain_all(left_over, err);
        }
        self.plan.blocked.push((key.clone(), blocked));
    }

    fn assign(&mut self, task: &Arc<Task>, node: Arc<Node>, needs: &Needs, message: &'static str) {
        let mut booked = Task::clone(task);
        let volumes = self.books.volumes.choose(&needs.volumes, &node).unwrap_or_default();
        booked.volumes = attachments(&volumes);
        if let (Some(book), Some(wanted)) = (self.books.get(&node.id), wanted(task)) {
            booked.assigned_generic_resources = book.choose(wanted);
        }
        booked.node_id = Some(node.id.clone());
        self.books.add(&booked);
        self.books.volumes.add(&booked);
        let given = booked.assigned_generic_resources;
        self.plan.decisions.push(Decision::Assign { task: task.clone(), node, given, volumes, message });
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
}

// === impl Decision ===

impl Decision {
    /// The task that it is about.
    pub(crate) fn task(&self) -> Option<&Arc<Task>> {
        match self {
            Self::Assign { task, .. } | Self::Explain { task, .. } | Self::Stop { task } => Some(task),
            Self::Free { .. } => None,
        }
    }

    /// Writes the decision, if what it was based on still holds. Gives whether it did.
    pub(crate) fn write(&self, tx: &mut Transaction) -> Result<bool, StoreError> {
        let now = Some(tx.now());
        if !self.task().is_none_or(|task| still_waits(tx, task)) {
            return Ok(false);
        }
        match self {
            Self::Assign { task, node, given, volumes, message } => {
                if !tx.get::<Node>(&node.id).is_some_and(|stored| looks_the_same(stored, node)) {
                    return Ok(false);
                }
                if !publish(tx, &node.id, volumes)? {
                    return Ok(false);
                }
                tx.edit::<Task>(&task.id, |task| {
                    task.node_id = Some(node.id.clone());
                    task.assigned_generic_resources.clone_from(given);
                    task.volumes = attachments(volumes);
                    task.status = status(TaskState::Assigned, message, now);
                })?;
            }
            Self::Explain { task, err } => {
                if tx.get::<Task>(&task.id).is_some_and(|stored| stored.status.err == **err) {
                    return Ok(true);
                }
                tx.edit::<Task>(&task.id, |task| {
                    task.status.err = err.to_string();
                    task.status.timestamp = now;
                })?;
            }
            Self::Stop { task } => {
                tx.edit::<Task>(&task.id, |task| {
                    task.status = status(TaskState::Shutdown, "stopped before it was assigned to a node", now);
                })?;
            }
            Self::Free { idle } => idle.write(tx)?,
        }
        Ok(true)
    }
}

/// Whether a task still is what a decision about it was based on.
fn still_waits(tx: &Transaction, task: &Task) -> bool {
    tx.get::<Task>(&task.id).is_some_and(|stored| {
        stored.status.state == TaskState::Pending
            && stored.node_id == task.node_id
            && stored.spec_version == task.spec_version
            && is_active(stored) == is_active(task)
    })
}

fn status(state: TaskState, message: &str, now: Option<prost_types::Timestamp>) -> TaskStatus {
    TaskStatus { state, message: message.to_owned(), timestamp: now, ..Default::default() }
}
