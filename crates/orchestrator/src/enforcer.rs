//! The enforcer: evicts tasks from nodes that no longer fit them.
//!
//! When a node changes its labels, its role or what it has, the tasks on it may have no right to be there any more; and
//! so they may when their service asks for other nodes and no rollout is going to move them. They are rejected, and the
//! restart policy decides what follows.
//!
//! It only rejects what the scheduler would not place there again, so that the two never work against each other.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use swarmkit_api::{
    Kind, Node, NodeId, Service, ServiceId, Task, TaskState,
    wire::{Resources, node_spec::Availability},
};
use swarmkit_runtime::Env;
use swarmkit_store::{Change, Edit, State, Store, StoreError, TaskBy, Transaction, Update, View};
use tokio_util::sync::CancellationToken;

use crate::{
    Error,
    fit::overflow,
    keeper::{Keeper, keep},
    policy,
    reject::{is_at_work, reject},
    rules::Judge,
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
    services: BTreeSet<ServiceId>,
}

impl Keeper for Enforcer {
    const NAME: &str = "enforcer";
    const KINDS: &[Kind] = &[Kind::Node, Kind::Service];
    const SEES_ITS_WRITES: bool = false;
    type Write = Arc<Task>;

    fn absorb(&mut self, update: &Update) {
        match update {
            Update::Snapshot(view) => self.nodes.extend(view.all::<Node>().map(|node| node.id.clone())),
            Update::Delta(delta) => {
                for change in delta.changes.iter() {
                    match change {
                        Change::Node(Edit { before: Some(before), after: Some(after) })
                            if is_different(before, after) =>
                        {
                            self.nodes.insert(after.id.clone());
                        }
                        Change::Service(Edit { before: Some(before), after: Some(after) })
                            if asks_otherwise(before, after) =>
                        {
                            self.services.insert(after.id.clone());
                        }
                        _ => {}
                    }
                }
            }
        }
        self.view = Some(update.view().clone());
    }

    fn plan(&mut self) -> Vec<Arc<Task>> {
        let Some(view) = self.view.clone() else { return Vec::new() };
        let nodes = std::mem::take(&mut self.nodes);
        let services = std::mem::take(&mut self.services);
        let mut judge = Judge::new(&view);
        let mut leaving = BTreeMap::new();
        let mut note = |tasks: Vec<Arc<Task>>| leaving.extend(tasks.into_iter().map(|task| (task.id.clone(), task)));
        for node in nodes.iter().filter_map(|node| view.get::<Node>(node)) {
            note(evicted(&mut judge, &view, node));
        }
        for service in &services {
            note(turned_out(&mut judge, &view, service));
        }
        leaving.into_values().collect()
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

/// The tasks of a node that have to leave: by the rules, and then since there is no room for all.
fn evicted(judge: &mut Judge<'_>, state: &State, node: &Node) -> Vec<Arc<Task>> {
    if node.spec.availability() != Availability::Active {
        return Vec::new();
    }
    let nothing = Resources::default();
    let described = node.description.as_ref().and_then(|description| description.resources.as_ref());
    let tasks = state.find(TaskBy::Node(Some(&node.id))).filter(|task| is_subject(task)).collect();
    let (staying, leaving) = judge.split(node, tasks);
    let leaving = leaving.into_iter().cloned();
    leaving.chain(overflow(described.unwrap_or(&nothing), staying)).collect()
}

/// The tasks of a service that its rules turn out. What they reserve is the same as before.
fn turned_out(judge: &mut Judge<'_>, state: &State, service: &ServiceId) -> Vec<Arc<Task>> {
    let mut nodes = BTreeMap::<_, Vec<_>>::new();
    for task in state.find(TaskBy::Service(service)).filter(|task| is_subject(task)) {
        let Some(node) = &task.node_id else { continue };
        nodes.entry(node).or_default().push(task);
    }
    let nodes = nodes.into_iter().filter_map(|(node, tasks)| Some((state.get::<Node>(node)?, tasks)));
    let nodes = nodes.filter(|(node, _)| node.spec.availability() == Availability::Active);
    nodes.flat_map(|(node, tasks)| judge.split(node, tasks).1).cloned().collect()
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

/// Whether a service asks its nodes for something else, or has ended a rollout before which others than its own rules
/// counted.
fn asks_otherwise(before: &Service, after: &Service) -> bool {
    let placement = |service: &Service| service.spec.task.as_ref().and_then(|task| task.placement.clone());
    let ended = || policy::state(before) != policy::state(after) && placement(after).is_some();
    (!Arc::ptr_eq(&before.spec, &after.spec) && placement(before) != placement(after)) || ended()
}
