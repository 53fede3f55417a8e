//! The ResourceAllocator service: networks for containers that a node starts by itself.

use std::sync::Arc;

use swarmkit_api::{
    Network, NetworkId, NodeId, Task, TaskId, TaskState,
    wire::{self, resource_allocator_server::ResourceAllocator, task_spec::Runtime},
};
use swarmkit_rpc::{Peer, ServiceError as _};
use swarmkit_runtime::Env;
use swarmkit_store::{NetworkBy, State, Store};
use tonic::{Request, Response, Status};

use crate::{
    ControlError,
    request::{missing, name_of, required},
};

/// The ResourceAllocator service. An attachment is a task that runs nothing: it stands for the container, on the node that
/// asks, and holds its addresses until it is deleted. Clones share the store.
#[derive(Clone, Debug)]
pub struct AttachmentApi {
    env: Env,
    store: Store,
}

impl AttachmentApi {
    /// Serves a store.
    #[must_use]
    pub fn new(env: Env, store: Store) -> Self {
        Self { env, store }
    }

    async fn attach(
        &self,
        node: NodeId,
        request: wire::AttachNetworkRequest,
    ) -> Result<wire::AttachNetworkResponse, ControlError> {
        let config = request.config.ok_or_else(ControlError::missing_argument)?;
        let container_id = required::<String>(request.container_id)?;
        let id = TaskId::from(self.env.new_id());
        self.store
            .update(|tx| {
                let network = attachable(tx, &config.target)?;
                let asked = wire::NetworkAttachmentConfig { target: network.to_string(), ..config };
                let spec = wire::TaskSpec {
                    runtime: Some(Runtime::Attachment(wire::NetworkAttachmentSpec { container_id })),
                    networks: vec![asked],
                    ..Default::default()
                };
                let mut task = Task::new(id.clone(), spec);
                task.node_id = Some(node);
                task.desired_state = TaskState::Running;
                task.status.message = "created".to_owned();
                task.status.timestamp = Some(tx.now());
                Ok::<_, ControlError>(tx.create(task)?)
            })
            .await?;
        tracing::info!(attachment = %id, "a container is attached to a network");
        Ok(wire::AttachNetworkResponse { attachment_id: id.to_string() })
    }

    async fn detach(
        &self,
        node: &NodeId,
        request: wire::DetachNetworkRequest,
    ) -> Result<wire::DetachNetworkResponse, ControlError> {
        let id: TaskId = required(request.attachment_id)?;
        self.store
            .update(|tx| {
                // Other tasks of the node are no business of this service.
                let is_attachment = |task: &&Arc<Task>| matches!(task.spec.runtime, Some(Runtime::Attachment(_)));
                let task = tx.get::<Task>(&id).filter(is_attachment).ok_or_else(|| missing("attachment", &id))?;
                if task.node_id.as_ref() != Some(node) {
                    return Err(ControlError::Denied(format!("attachment {id} doesn't belong to this node")));
                }
                Ok(tx.delete::<Task>(&id)?)
            })
            .await?;
        tracing::info!(attachment = %id, "a container is detached from a network");
        Ok(wire::DetachNetworkResponse {})
    }
}

/// The network with that id, or with that name, if containers may be attached to it.
fn attachable(view: &State, target: &str) -> Result<NetworkId, ControlError> {
    let by_id = view.get::<Network>(&NetworkId::from(target));
    let network = by_id.or_else(|| view.find(NetworkBy::Name(target)).next());
    let network = network.filter(|_| !target.is_empty()).ok_or_else(|| missing("network", &target))?;
    if !network.spec.attachable {
        return Err(ControlError::Denied(format!("network {target} not manually attachable")));
    }
    if network.pending_delete {
        let name = name_of(&network.spec.annotations);
        return Err(ControlError::Precondition(format!("network {name} is to be deleted")));
    }
    Ok(network.id.clone())
}

fn caller<T>(request: &Request<T>) -> Result<NodeId, Status> {
    Ok(Peer::of(request)?.identity()?.node.clone())
}

#[tonic::async_trait]
impl ResourceAllocator for AttachmentApi {
    async fn attach_network(
        &self,
        request: Request<wire::AttachNetworkRequest>,
    ) -> Result<Response<wire::AttachNetworkResponse>, Status> {
        let node = caller(&request)?;
        self.attach(node, request.into_inner()).await.map(Response::new).map_err(|error| error.to_status())
    }

    async fn detach_network(
        &self,
        request: Request<wire::DetachNetworkRequest>,
    ) -> Result<Response<wire::DetachNetworkResponse>, Status> {
        let node = caller(&request)?;
        self.detach(&node, request.into_inner()).await.map(Response::new).map_err(|error| error.to_status())
    }
}
