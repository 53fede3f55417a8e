//! Why a task waits: the same that its status says, with which nodes lack what.
//!
//! Nothing of it is stored, for it would have to be written anew with each task that is placed.

use std::{cmp::Reverse, sync::Arc, time::SystemTime};

use swarmkit_api::{Node, NodeId, Task, TaskState};
use swarmkit_store::{Update, View};

use crate::{
    affinity::Company,
    books::NodeIx,
    lack::{Lack, lacks},
    needs::Needs,
    reasons::{Reason, Tally, no_such_node, no_suitable_node},
    world::World,
};

/// The most things that are told of one reason; what they refuse more is only counted.
pub const NEEDS_MAX: usize = 20;

/// How far a task has come on its way to a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// It has not been given its addresses and ports yet; its status says what that waits for.
    #[default]
    Unallocated,
    /// It waits for a node.
    Waiting,
    /// It waits for the node that it was made for.
    Bound,
    /// It has its node.
    Placed,
    /// It was asked to stop before it had one.
    Stopped,
    /// It is over.
    Over,
}

/// Why a task waits, if it does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Explanation {
    /// How far it has come.
    pub standing: Standing,
    /// What it waits for. Empty if for nothing.
    pub message: String,
    /// How many nodes there are; of a task that was made for a node, only that one counts.
    pub nodes: usize,
    /// How many of them would take it as they are.
    pub open: usize,
    /// What the others refuse it for, the most frequent first.
    pub refusals: Vec<Refusal>,
    /// Nodes that refuse it, by id, as many as were asked for.
    pub refused: Vec<NodeRefusal>,
}

/// What some nodes refuse a task for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What it is.
    pub reason: Reason,
    /// How many nodes.
    pub nodes: usize,
    /// As the status of the task says it.
    pub message: String,
    /// What exactly they lack, the most frequent first; at most [`NEEDS_MAX`].
    pub needs: Vec<Need>,
    /// How many more things.
    pub needs_left_out: usize,
}

/// One thing that nodes lack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// What it is. Of a resource: with the most that any of the nodes has left.
    pub lack: Lack,
    /// How many nodes lack it.
    pub nodes: usize,
    /// One of them; of a resource, the one that has the most left.
    pub node: NodeId,
}

/// A node that refuses a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRefusal {
    /// Its id.
    pub node: NodeId,
    /// What it refuses the task for.
    pub reason: Reason,
    /// What exactly it lacks.
    pub lacks: Vec<Lack>,
}

/// Says why a task waits, by the filters that it waits for; and of so many nodes one by one.
///
/// `task` need not be in the state: then this says what nodes would think of it. It looks at everything in the state.
#[must_use]
pub fn explain(view: &View, task: &Task, now: SystemTime, max_nodes: usize) -> Explanation {
    match Standing::of(task) {
        Standing::Waiting | Standing::Bound => Survey::new(view, now).explain(task, max_nodes),
        standing => without_nodes(task, standing),
    }
}

fn without_nodes(task: &Task, standing: Standing) -> Explanation {
    let message = if standing == Standing::Unallocated { told(task) } else { String::new() };
    Explanation { standing, message, ..Explanation::default() }
}

/// What the status of a task says that it waits for.
fn told(task: &Task) -> String {
    if task.status.err.is_empty() { task.status.message.clone() } else { task.status.err.clone() }
}

/// What nodes think of tasks in one state.
pub(crate) struct Survey<'v> {
    view: &'v View,
    world: World,
}

// === impl Standing ===

impl Standing {
    /// How far a task has come.
    #[must_use]
    pub fn of(task: &Task) -> Self {
        let state = task.status.state;
        match &task.node_id {
            _ if state > TaskState::Running => Self::Over,
            _ if state <= TaskState::Pending && task.desired_state > TaskState::Complete => Self::Stopped,
            _ if state < TaskState::Pending => Self::Unallocated,
            None => Self::Waiting,
            Some(_) if state == TaskState::Pending => Self::Bound,
            Some(_) => Self::Placed,
        }
    }
}

// === impl Survey ===

impl<'v> Survey<'v> {
    pub(crate) fn new(view: &'v View, now: SystemTime) -> Self {
        let mut world = World::default();
        world.absorb(&Update::Snapshot(view.clone()), now);
        Self { view, world }
    }

    pub(crate) fn explain(&self, task: &Task, max_nodes: usize) -> Explanation {
        let standing = Standing::of(task);
        if !matches!(standing, Standing::Waiting | Standing::Bound) {
            return without_nodes(task, standing);
        }
        let books = &self.world.books;
        let needs = Needs::of(task);
        let only = task.node_id.as_ref().filter(|_| standing == Standing::Bound);
        if let Some(node) = only.filter(|node| self.view.get::<Node>(node).is_none()) {
            return Explanation { standing, message: no_such_node(node).to_string(), ..Explanation::default() };
        }
        let (company, mates) = (self.world.company(task.service_id.as_ref()), self.world.mates(task));
        let own = |ix: NodeIx| task.service_id.as_ref().map_or(0, |service| books.active_of(service, ix));
        let bars = |ix: NodeIx| company.as_ref()?.refusal_beside(ix, &mates, &own).map(Reason::Affinity);
        let ties = company.as_ref().map(Company::told).unwrap_or_default();
        let kind = crate::filter::kind(&task.spec);
        let mut tally = Tally::new(kind.clone()).bound(ties.clone());
        let mut refusing = Vec::new();
        for (ix, node) in books.nodes().filter(|(_, node)| only.is_none_or(|only| *only == node.id)) {
            let reason = books.refusal(&needs, task.service_id.as_ref(), ix).or_else(|| bars(ix));
            tally.count(reason);
            refusing.extend(reason.map(|reason| (node, reason)));
        }
        let message = match refusing.first() {
            Some((_, reason)) if only.is_some() => Tally::one(kind, *reason).bound(ties).text(),
            _ if tally.open() == 0 => no_suitable_node(&tally.text()).to_string(),
            _ => String::new(),
        };
        Explanation {
            standing,
            message,
            nodes: tally.nodes(),
            open: tally.open(),
            refusals: tally
                .reasons()
                .into_iter()
                .map(|(reason, _)| self.refusal(task, company.as_ref(), &tally, reason, &refusing))
                .collect(),
            refused: refusing
                .iter()
                .take(max_nodes)
                .map(|(node, reason)| self.of_node(task, company.as_ref(), node, *reason))
                .collect(),
        }
    }

    fn lacks(&self, task: &Task, company: Option<&Company<'_>>, node: &Node, reason: Reason) -> Vec<Lack> {
        if let Reason::Affinity(number) = reason {
            return company.and_then(|company| company.tie(number)).map(Lack::of_tie).into_iter().collect();
        }
        lacks(self.view, &self.world.books.volumes, task, node, reason)
    }

    fn of_node(&self, task: &Task, company: Option<&Company<'_>>, node: &Node, reason: Reason) -> NodeRefusal {
        NodeRefusal { node: node.id.clone(), reason, lacks: self.lacks(task, company, node, reason) }
    }

    /// What is told of one reason: what its nodes lack, counted.
    fn refusal(
        &self,
        task: &Task,
        company: Option<&Company<'_>>,
        tally: &Tally,
        reason: Reason,
        refusing: &[(&Arc<Node>, Reason)],
    ) -> Refusal {
        let mut needs = Vec::<Need>::new();
        let mut nodes = 0;
        for (node, _) in refusing.iter().filter(|(_, other)| *other == reason) {
            nodes += 1;
            for lack in self.lacks(task, company, node, reason) {
                match needs.iter_mut().find(|need| need.lack.is_alike(&lack)) {
                    Some(need) => need.count(lack, node),
                    None => needs.push(Need { lack, nodes: 1, node: node.id.clone() }),
                }
            }
        }
        needs.sort_by_key(|need| Reverse(need.nodes));
        let needs_left_out = needs.len().saturating_sub(NEEDS_MAX);
        needs.truncate(NEEDS_MAX);
        Refusal { reason, nodes, message: tally.tell(reason), needs, needs_left_out }
    }
}

// === impl Need ===

impl Need {
    /// Takes another node into account that lacks the same.
    fn count(&mut self, lack: Lack, node: &Node) {
        self.nodes += 1;
        if let (Lack::Resource(most), Lack::Resource(here)) = (&self.lack, &lack)
            && here.free > most.free
        {
            (self.lack, self.node) = (lack, node.id.clone());
        }
    }
}
