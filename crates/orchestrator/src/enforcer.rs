//! The enforcer: evicts tasks from nodes that no longer fit them.
//!
//! When a node changes its labels, its role or what it has, the tasks on it may have no right to be there any more. They
//! are rejected, and the restart policy decides what follows.

use std::{collections::BTreeSet, sync::Arc};

use swarmkit_api::{
    Kind, Node, NodeId, Service, Task, TaskState, constraint,
    resources::{Reserved, reservations},
    wire::{Resources, node_spec::Availability},
};
use swarmkit_runtime::Env;
use swarmkit_store::{Change, Edit, State, Store, StoreError, TaskBy, Transaction, Update, View};
use tokio_util::sync::CancellationToken;

use crate::{
    Error,
    keeper::{Keeper, keep},
    reject::{is_at_work, reject},
};

const MESSAGE: &str = "task rejected by constraint enforcer";
const REASON: &str = "assigned node no longer meets constraints";

/// Enforces until told to stop.
///
/// # Errors
///
/// When this manager leads no more, or its store was closed.
pub async fn run(env: Env, store: Store, stop: CancellationToken) -> Result<(), Error> {
    keep::<Enforcer>(env, store, stop).await
}

#[derive(Default)]
struct Enforcer {
    view: Option<View>,
    nodes: BTreeSet<NodeId>,
}

impl Keeper for Enforcer {
    const NAME: &str = "enforcer";
    const KINDS: &[Kind] = &[Kind::Node];
    const SEES_ITS_WRITES: bool = false;
    type Write = Arc<Task>;

    fn absorb(&mut self, update: &Update) {
        match update {
            Update::Snapshot(view) => self.nodes.extend(view.all::<Node>().map(|node| node.id.clone())),
            Update::Delta(delta) => {
                for change in delta.changes.iter() {
                    if let Change::Node(Edit { before: Some(before), after: Some(after) }) = change
                        && is_different(before, after)
                    {
                        self.nodes.insert(after.id.clone());
                    }
                }
            }
        }
        self.view = Some(update.view().clone());
    }

    fn plan(&mut self) -> Vec<Arc<Task>> {
        let Some(view) = self.view.clone() else { return Vec::new() };
        let nodes = std::mem::take(&mut self.nodes);
        let nodes = nodes.iter().filter_map(|node| view.get::<Node>(node));
        nodes.flat_map(|node| evicted(&view, node)).collect()
    }

    fn write(task: &Arc<Task>, tx: &mut Transaction) -> Result<bool, StoreError> {
        if tx.get::<Task>(&task.id).is_some_and(|stored| is_subject(stored)) {
            reject(tx, &task.id, MESSAGE, REASON)?;
        }
        Ok(true)
    }

    fn again(&mut self, task: &Arc<Task>) {
        self.nodes.extend(task.node_id.clone());
    }
}

/// The tasks of a node that have to leave. Who has been there longest stays.
fn evicted(state: &State, node: &Node) -> Vec<Arc<Task>> {
    if node.spec.availability() != Availability::Active {
        return Vec::new();
    }
    let nothing = Resources::default();
    let described = node.description.as_ref().and_then(|description| description.resources.as_ref());
    let described = described.unwrap_or(&nothing);
    let mut tasks: Vec<_> = state.find(TaskBy::Node(Some(&node.id))).filter(|task| is_subject(task)).collect();
    tasks.sort_by_key(|task| (task.meta.created_at.map(|at| (at.seconds, at.nanos)), &task.id));
    let mut reserved = Reserved::default();
    let mut evicted = Vec::new();
    for task in tasks {
        if satisfies(state, node, task) && has_room(&reserved, described, task) {
            reserved.add(task);
        } else {
            evicted.push(task.clone());
        }
    }
    evicted
}

/// Whether a node satisfies the constraints of a task: those of its service as it is now, since a change of these alone
/// replaces no tasks. What cannot be read constrains nothing.
fn satisfies(state: &State, node: &Node, task: &Task) -> bool {
    let service = task.service_id.as_ref().and_then(|service| state.get::<Service>(service));
    let spec = service.map_or(Some(&*task.spec), |service| service.spec.task.as_ref());
    let placement = spec.and_then(|spec| spec.placement.as_ref());
    let constraints = placement.and_then(|placement| constraint::parse_all(&placement.constraints).ok());
    constraints.is_none_or(|constraints| constraint::all_match(&constraints, node))
}

/// Whether a node still has what a task reserves, and what it was given.
fn has_room(reserved: &Reserved, described: &Resources, task: &Task) -> bool {
    let fits = reservations(&task.spec).is_none_or(|wanted| {
        // Generic resources are held against the units that were given, not against the wish.
        reserved.fits(described, &Resources { generic: Vec::new(), ..wanted.clone() })
    });
    fits && reserved.honours(described, &task.assigned_generic_resources)
}

/// Whether a task is on a node and wanted there.
fn is_subject(task: &Task) -> bool {
    is_at_work(task) && task.status.state >= TaskState::Assigned
}

/// Whether a change of a node can turn out its tasks.
fn is_different(before: &Node, after: &Node) -> bool {
    before.spec != after.spec
        || before.description != after.description
        || before.role != after.role
        || before.status.addr != after.status.addr
}
