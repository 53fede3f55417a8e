//! What is written when tasks make room, and what people are told.

use std::{collections::BTreeMap, sync::Arc};

use swarmkit_api::{
    Node, Preemption, Service, ServiceId, Task, TaskId, TaskState,
    wire::swarmkit::scheduling::v1::preemption::{Claim, Side, Yield},
};
use swarmkit_store::{StoreError, Transaction};

use super::{asked_priority, budget::missing, max_disrupted, priority, search::Offer};
use crate::{
    books::is_active,
    world::{is_placed, looks_the_same},
};

/// Room that is made for a task.
#[derive(Clone, Debug)]
pub(crate) struct Room {
    pub(crate) node: Arc<Node>,
    /// The tasks that are told to go.
    pub(crate) gone: Vec<Arc<Task>>,
    /// Those, and others that go anyway.
    pub(crate) tasks: Vec<TaskId>,
    /// What the task is told that the room is for.
    pub(crate) err: Arc<str>,
    /// Of its service.
    priority: i32,
    /// What those are told that go.
    message: String,
}

impl Room {
    pub(crate) fn new(task: &Task, priority: i32, node: Arc<Node>, offer: Offer) -> Self {
        let highest = offer.gone.iter().map(|tenant| tenant.priority).max();
        let gone: Vec<_> = offer.gone.into_iter().map(|tenant| tenant.task).collect();
        let over = highest.map(|highest| format!(" (priority {priority} over {highest})")).unwrap_or_default();
        let count = |tasks: usize| if tasks == 1 { "1 task".to_owned() } else { format!("{tasks} tasks") };
        let who = if gone.is_empty() {
            count(offer.leaving.len())
        } else {
            format!("{} of lower priority", count(gone.len()))
        };
        let tasks = gone.iter().map(|task| task.id.clone()).chain(offer.leaving).collect();
        Self {
            err: format!("waits for {who} to leave node {}{over}", name_of_node(&node)).into(),
            message: format!("made room for {}{over}", name_of_task(task)),
            node,
            gone,
            tasks,
            priority,
        }
    }

    /// Writes it, if what it was based on still holds: the node, how important everybody is, that those who go are there and
    /// can be spared. Gives whether it did.
    pub(crate) fn write(&self, tx: &mut Transaction, task: &Task) -> Result<bool, StoreError> {
        if !self.holds(tx, task) {
            return Ok(false);
        }
        let now = Some(tx.now());
        let tasks = self.tasks.iter().map(ToString::to_string).collect();
        let claim = Claim { node_id: self.node.id.to_string(), tasks };
        tx.edit::<Task>(&task.id, |task| {
            task.preemption = side(Side::Claim(claim));
            task.status.err = self.err.to_string();
            task.status.timestamp = now;
        })?;
        let service_id = task.service_id.as_ref().map(ToString::to_string).unwrap_or_default();
        let given = Yield { task_id: task.id.to_string(), service_id, message: self.message.clone() };
        for gone in &self.gone {
            tx.edit::<Task>(&gone.id, |gone| {
                gone.desired_state = TaskState::Shutdown;
                gone.preemption = side(Side::Yield(given.clone()));
            })?;
        }
        Ok(true)
    }

    fn holds(&self, tx: &Transaction, task: &Task) -> bool {
        let service = |task: &Task| tx.get::<Service>(task.service_id.as_ref()?).cloned();
        let is_same_node = tx.get::<Node>(&self.node.id).is_some_and(|stored| looks_the_same(stored, &self.node));
        if !is_same_node || asked_priority(service(task).as_deref()) != Some(self.priority) {
            return false;
        }
        let mut missed = BTreeMap::<ServiceId, (Arc<Service>, u64)>::new();
        for gone in &self.gone {
            let stored = tx.get::<Task>(&gone.id).filter(|stored| {
                is_placed(stored) && is_active(stored) && stored.node_id.as_ref() == Some(&self.node.id)
            });
            let Some((stored, service)) = stored.and_then(|stored| Some((stored, service(stored)?))) else {
                return false;
            };
            if priority(Some(&service)) >= self.priority {
                return false;
            }
            let (_, missed) = missed.entry(service.id.clone()).or_insert((service, 0));
            *missed += u64::from(stored.status.state == TaskState::Running);
        }
        missed.values().all(|(service, missed)| {
            let is_spared = |limit: u64| missing(tx, service).saturating_add(*missed) <= limit;
            max_disrupted(service).is_none_or(is_spared)
        })
    }
}

/// Gives up the room that a task claimed: it waits for a reason that others wait for, too.
pub(crate) fn release(tx: &mut Transaction, task: &TaskId, err: &str) -> Result<(), StoreError> {
    let now = Some(tx.now());
    tx.edit::<Task>(task, |task| {
        task.preemption = None;
        task.status.err = err.to_owned();
        task.status.timestamp = now;
    })
    .map(drop)
}

fn side(side: Side) -> Option<Arc<Preemption>> {
    Some(Arc::new(Preemption { side: Some(side) }))
}

/// The name that people know a node by.
fn name_of_node(node: &Node) -> &str {
    let hostname = node.description.as_ref().map(|description| description.hostname.as_str());
    hostname.filter(|name| !name.is_empty()).unwrap_or(node.id.as_str())
}

/// The name that people know a task by: its service, and its slot if it has one.
fn name_of_task(task: &Task) -> String {
    let name = &task.service_annotations.name;
    if task.slot == 0 { name.clone() } else { format!("{name}.{}", task.slot) }
}
