//! Nodes: the machines of the cluster.

use std::sync::Arc;

use swarmkit_api::{
    Node, NodeId, NodeRole, Object, Task, TaskState, TaskStatus,
    wire::{self, node_status::State as NodeState},
};
use swarmkit_store::{NodeBy, State, TaskBy};

use crate::{
    ControlApi, ControlError, filter,
    request::{cluster_of, missing, required},
};

/// What the tasks of a deleted node say.
const NODE_DELETED: &str = "Task belonged to a node that has been deleted";

impl ControlApi {
    pub(crate) fn get_node(&self, request: wire::GetNodeRequest) -> Result<wire::GetNodeResponse, ControlError> {
        let id = required::<NodeId>(request.node_id)?;
        let view = self.store.view();
        let node = view.get::<Node>(&id).ok_or_else(|| missing("node", &id))?;
        Ok(wire::GetNodeResponse { node: Some(self.with_manager_status(node)) })
    }

    pub(crate) fn list_nodes(&self, request: wire::ListNodesRequest) -> wire::ListNodesResponse {
        let filters = request.filters.unwrap_or_default();
        let view = self.store.view();
        let roles: Vec<_> = filters.roles.iter().filter_map(|&role| NodeRole::try_from(role).ok()).collect();
        let memberships: Vec<_> = filters
            .memberships
            .iter()
            .filter_map(|&membership| wire::node_spec::Membership::try_from(membership).ok())
            .collect();
        let candidates = if !filters.names.is_empty() {
            filter::union(filters.names.iter().flat_map(|name| view.find(NodeBy::Name(name))))
        } else if !filters.name_prefixes.is_empty() {
            filter::union(filters.name_prefixes.iter().flat_map(|prefix| view.find(NodeBy::NamePrefix(prefix))))
        } else if !filters.id_prefixes.is_empty() {
            filter::union(filters.id_prefixes.iter().flat_map(|prefix| view.find(NodeBy::IdPrefix(prefix))))
        } else if !filters.roles.is_empty() {
            filter::union(roles.iter().flat_map(|&role| view.find(NodeBy::Role(role))))
        } else if !filters.memberships.is_empty() {
            filter::union(memberships.iter().flat_map(|&membership| view.find(NodeBy::Membership(membership))))
        } else {
            view.all::<Node>().cloned().collect()
        };
        let hostname = |node: &Node| node.hostname().to_owned();
        let [a, b, c] = filter::by_identity(&filters.names, &filters.name_prefixes, &filters.id_prefixes, hostname);
        let engine_labels = |node: &Node| {
            let engine = node.description.as_ref().and_then(|description| description.engine.as_ref());
            engine.map(|engine| engine.labels.clone()).unwrap_or_default()
        };
        let tests = [
            a,
            b,
            c,
            filter::by_labels(&filters.node_labels),
            filter::any(&filters.roles, |&role, node: &Node| i32::from(node.role) == role),
            filter::any(&filters.memberships, |&membership, node: &Node| node.spec.membership == membership),
        ];
        let nodes = candidates
            .iter()
            .filter(|node| filter::all_pass(&tests, node))
            .filter(|node| filters.labels.is_empty() || filter::labels(&filters.labels, &engine_labels(node)))
            .map(|node| self.with_manager_status(node))
            .collect();
        wire::ListNodesResponse { nodes }
    }

    pub(crate) async fn update_node(
        &self,
        request: wire::UpdateNodeRequest,
    ) -> Result<wire::UpdateNodeResponse, ControlError> {
        let id = required::<NodeId>(request.node_id)?;
        let version = request.node_version.ok_or_else(ControlError::missing_argument)?.into();
        let spec = request.spec.ok_or_else(ControlError::missing_argument)?;
        let updated = self
            .store
            .update(|tx| {
                let view = &**tx;
                let stored = view.get::<Node>(&id).ok_or_else(|| missing("node", &id))?;
                if stored.spec.desired_role() == NodeRole::Manager && spec.desired_role() == NodeRole::Worker {
                    self.may_demote(view, stored)?;
                }
                let mut node = stored.as_ref().clone();
                node.meta.version = version;
                node.spec = Arc::new(spec);
                tx.update(node).map_err(ControlError::from)
            })
            .await?;
        Ok(wire::UpdateNodeResponse { node: Some(self.with_manager_status(&updated.value)) })
    }

    /// Refuses a demotion that would leave nobody to agree on what is stored. Managers that are on their way out do not
    /// count, nor do nodes that are to become managers and are none yet.
    fn may_demote(&self, state: &State, node: &Node) -> Result<(), ControlError> {
        let stays = |other: &&Arc<Node>| other.id != node.id && other.spec.desired_role() == NodeRole::Manager;
        if node.role == NodeRole::Manager && !state.find(NodeBy::Role(NodeRole::Manager)).any(|other| stays(&other)) {
            let text = "attempting to demote the last manager of the swarm";
            return Err(ControlError::Precondition(text.to_owned()));
        }
        self.members.may_remove(&node.id)
    }

    pub(crate) async fn remove_node(
        &self,
        request: wire::RemoveNodeRequest,
    ) -> Result<wire::RemoveNodeResponse, ControlError> {
        let id = required::<NodeId>(request.node_id)?;
        let now = self.timestamp();
        let is_member = self.members.status(&id).is_some();
        let expiry_of = &self.certificate_expiry;
        self.store
            .update(|tx| {
                let node = tx.get::<Node>(&id).ok_or_else(|| missing("node", &id))?.clone();
                if node.spec.desired_role() == NodeRole::Manager && is_member {
                    return Err(ControlError::Precondition(format!(
                        "node {id} is a cluster manager and is a member of the raft cluster. It must be demoted to worker \
                         before removal"
                    )));
                }
                if !request.force && node.status.state() == NodeState::Ready {
                    return Err(ControlError::Precondition(format!("node {id} is not down and can't be removed")));
                }
                let mut cluster = cluster_of(tx)?.as_ref().clone();
                cluster.blacklisted_certificates.insert(
                    id.to_string(),
                    wire::BlacklistedCertificate { expiry: expiry_of(&node.certificate.certificate) },
                );
                crate::clusters::prune_blacklist(&mut cluster, now);
                tx.update(cluster)?;
                let unfinished = |task: &&Arc<Task>| task.status.state < TaskState::Complete;
                let tasks: Vec<_> = tx.find(TaskBy::Node(Some(&id))).filter(unfinished).map(|task| Task::clone(task)).collect();
                for mut task in tasks {
                    task.status = TaskStatus {
                        timestamp: Some(now),
                        state: TaskState::Orphaned,
                        message: NODE_DELETED.to_owned(),
                        ..Default::default()
                    };
                    tx.update(task)?;
                }
                tx.delete::<Node>(&id)?;
                Ok::<_, ControlError>(())
            })
            .await?;
        Ok(wire::RemoveNodeResponse {})
    }

    /// The node as clients see it: with its place in raft, if it has one.
    fn with_manager_status(&self, node: &Node) -> wire::Node {
        let mut wire = node.to_wire();
        wire.manager_status = self.members.status(&node.id);
        wire
    }
}
