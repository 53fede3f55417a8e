//! Writes what agents report into the store: one batch at a time, and whatever arrives meanwhile is the next batch.
//!
//! Nothing waits on an idle system. Whoever reports is answered when it is committed.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use swarmkit_api::{Node, NodeId, Task, TaskId, TaskState, TaskStatus, Volume, VolumeId, wire};
use swarmkit_runtime::Env;
use swarmkit_store::{ProposeError, Store, StoreError, TaskBy, Transaction};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use wire::{node_status::State as NodeState, volume_publish_status::State as PublishState};

use crate::{DispatcherError, config::WRITES_PER_BATCH};

/// How long a write of the dispatcher's own waits before it is tried again.
const RETRY: Duration = Duration::from_millis(100);

/// Answers whoever waits for a write.
pub(crate) type Done = oneshot::Sender<Result<(), DispatcherError>>;

/// Something to be written, and who waits for it. What nobody waits for is tried until it is written, or the term is
/// over.
pub(crate) struct Write {
    pub(crate) what: What,
    pub(crate) done: Option<Done>,
}

/// What is to be written.
pub(crate) enum What {
    /// Tasks of a node have these statuses.
    Statuses(NodeId, Vec<(TaskId, TaskStatus)>),
    /// Volumes are not published on the node any more.
    Unpublished(NodeId, Vec<VolumeId>),
    /// A node has this condition.
    Node(NodeWrite),
    /// The node's tasks are given up for lost.
    Lost(NodeId),
}

/// The condition of a node.
#[derive(Clone, Debug)]
pub(crate) struct NodeWrite {
    pub(crate) node: NodeId,
    pub(crate) state: NodeState,
    pub(crate) message: &'static str,
    /// Where it calls from. What is not known leaves the stored one.
    pub(crate) addr: Option<String>,
    /// What it says of itself. What is not said leaves the stored one.
    pub(crate) description: Option<Arc<wire::NodeDescription>>,
}

/// See the module's purpose.
pub(crate) struct Writer {
    pub(crate) env: Env,
    pub(crate) store: Store,
    /// The manager that this is, for the record.
    pub(crate) manager: NodeId,
}

/// One object to be written.
enum Edit {
    Status { task: TaskId, node: NodeId, status: TaskStatus },
    Orphan { task: TaskId, node: NodeId },
    Unpublished { volume: VolumeId, node: NodeId },
    Node(NodeWrite),
}

impl Writer {
    /// Writes until stopped. Those whose write was not committed by then are not answered.
    pub(crate) async fn run(
        self,
        mut writes: mpsc::Receiver<Write>,
        stop: CancellationToken,
    ) -> Result<(), DispatcherError> {
        let mut batch = Vec::new();
        loop {
            tokio::select! { biased; // a term that is over writes nothing more
                () = stop.cancelled() => return Ok(()),
                received = writes.recv_many(&mut batch, WRITES_PER_BATCH) => if received == 0 { return Ok(()) },
            }
            while !batch.is_empty() {
                tokio::select! { biased; // as above
                    () = stop.cancelled() => return Ok(()),
                    left = self.commit(&mut batch) => left,
                }
            }
        }
    }

    /// Commits a batch and answers those who wait. What has to be tried again is left in the batch.
    async fn commit(&self, batch: &mut Vec<Write>) {
        let edits = self.edits(batch);
        let manager = &self.manager;
        let edits = edits.into_iter().map(|edit| move |tx: &mut Transaction| edit.apply(tx, manager));
        let result = self.store.batch::<StoreError, _>(edits).await;
        let result = result.map(drop).map_err(DispatcherError::from);
        if let Err(error) = &result {
            tracing::warn!(%error, writes = batch.len(), "reports were not written");
        }
        let again = matches!(&result, Err(DispatcherError::Store(StoreError::Propose(error))) if may_work_later(error));
        batch.retain_mut(|write| match write.done.take() {
            Some(done) => {
                done.send(result.clone()).ok();
                false
            }
            None => again,
        });
        if !batch.is_empty() {
            self.env.sleep(RETRY).await;
        }
    }

    /// The objects that a batch writes. Of several statuses of a task the one that is furthest is kept, and of equal
    /// ones the last.
    fn edits(&self, batch: &[Write]) -> Vec<Edit> {
        let mut statuses: BTreeMap<&TaskId, (&NodeId, &TaskStatus)> = BTreeMap::new();
        let mut edits = Vec::new();
        for write in batch {
            match &write.what {
                What::Statuses(node, updates) => {
                    for (task, status) in updates {
                        let kept = statuses.entry(task).or_insert((node, status));
                        if status.state >= kept.1.state {
                            *kept = (node, status);
                        }
                    }
                }
                What::Unpublished(node, volumes) => edits.extend(
                    volumes.iter().map(|volume| Edit::Unpublished { volume: volume.clone(), node: node.clone() }),
                ),
                What::Node(write) => edits.push(Edit::Node(write.clone())),
                What::Lost(node) => {
                    let view = self.store.view();
                    let tasks = view.find(TaskBy::Node(Some(node)));
                    edits.extend(tasks.map(|task| Edit::Orphan { task: task.id.clone(), node: node.clone() }));
                }
            }
        }
        edits.extend(statuses.into_iter().map(|(task, (node, status))| Edit::Status {
            task: task.clone(),
            node: node.clone(),
            status: status.clone(),
        }));
        edits
    }
}

// === impl Edit ===

impl Edit {
    /// Writes one object, if it is still there and there is anything to write. Never fails for what is not.
    fn apply(self, tx: &mut Transaction, manager: &NodeId) -> Result<(), StoreError> {
        match self {
            Self::Status { task, node, status } => write_status(tx, manager, &task, &node, status),
            Self::Orphan { task, node } => write_orphan(tx, manager, &task, &node),
            Self::Unpublished { volume, node } => write_unpublished(tx, &volume, &node),
            Self::Node(write) => write_node(tx, &write),
        }
    }
}

fn write_status(
    tx: &mut Transaction,
    manager: &NodeId,
    task: &TaskId,
    node: &NodeId,
    status: TaskStatus,
) -> Result<(), StoreError> {
    let Some(stored) = tx.get::<Task>(task) else { return Ok(()) };
    if stored.node_id.as_ref() != Some(node) || stored.status.state > status.state {
        return Ok(());
    }
    // What managers say of it is not for the agent to tell.
    let same = TaskStatus {
        applied_by: stored.status.applied_by.clone(),
        applied_at: stored.status.applied_at,
        running_since: stored.status.running_since,
        ..status
    };
    if same == stored.status {
        return Ok(());
    }
    let now = Some(tx.now());
    let running_since = same.running_since.or(now.filter(|_| same.state == TaskState::Running));
    let status = TaskStatus { applied_by: Some(manager.clone()), applied_at: now, running_since, ..same };
    tx.edit::<Task>(task, |task| task.status = status)?;
    Ok(())
}

fn write_orphan(tx: &mut Transaction, manager: &NodeId, task: &TaskId, node: &NodeId) -> Result<(), StoreError> {
    let Some(stored) = tx.get::<Task>(task) else { return Ok(()) };
    let alive = TaskState::Assigned..=TaskState::Running;
    if stored.node_id.as_ref() != Some(node) || !alive.contains(&stored.status.state) {
        return Ok(());
    }
    let now = tx.now();
    tx.edit::<Task>(task, |task| {
        task.status.state = TaskState::Orphaned;
        task.status.message = "the node was down for too long".into();
        task.status.timestamp = Some(now);
        task.status.applied_by = Some(manager.clone());
        task.status.applied_at = Some(now);
    })?;
    Ok(())
}

fn write_unpublished(tx: &mut Transaction, volume: &VolumeId, node: &NodeId) -> Result<(), StoreError> {
    let Some(stored) = tx.get::<Volume>(volume) else { return Ok(()) };
    let is_new = |entry: &wire::VolumePublishStatus| {
        entry.node_id == node.as_str() && entry.state() != PublishState::PendingUnpublish
    };
    let Some(index) = stored.publish_status.iter().position(is_new) else { return Ok(()) };
    tx.edit::<Volume>(volume, |volume| volume.publish_status[index].set_state(PublishState::PendingUnpublish))?;
    Ok(())
}

fn write_node(tx: &mut Transaction, write: &NodeWrite) -> Result<(), StoreError> {
    let Some(stored) = tx.get::<Node>(&write.node) else {
        tracing::debug!(node = %write.node, "the node is gone");
        return Ok(());
    };
    let status = wire::NodeStatus {
        state: write.state.into(),
        message: write.message.into(),
        addr: write.addr.clone().unwrap_or_else(|| stored.status.addr.clone()),
        // Leaders after this one go on counting from here.
        down_since: (write.state == NodeState::Down).then(|| stored.status.down_since.unwrap_or_else(|| tx.now())),
    };
    let description = write.description.clone().or_else(|| stored.description.clone());
    if stored.status == status && stored.description == description {
        return Ok(());
    }
    tx.edit::<Node>(&write.node, |node| {
        node.status = status;
        node.description = description;
    })?;
    Ok(())
}

/// Whether the same write may be accepted by this manager a moment later.
fn may_work_later(error: &ProposeError) -> bool {
    match error {
        ProposeError::Failed(_) | ProposeError::Superseded | ProposeError::Unknown => true,
        ProposeError::NotLeader { .. } | ProposeError::TooLarge { .. } | ProposeError::Stopped => false,
        _ => false,
    }
}
