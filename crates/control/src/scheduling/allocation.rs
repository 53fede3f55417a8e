//! What tasks are given before they are scheduled, as far as nodes are chosen by it: ports of the nodes' own addresses, and
//! networks with their drivers. No address and no other port is taken.

use std::sync::Arc;

use swarmkit_api::{
    Network, Object as _, Service, Task, TaskState,
    wire::{self, NetworkAttachment, port_config::PublishMode},
};
use swarmkit_store::State;

/// What the tasks of one service are given.
pub(super) struct Allocation {
    endpoint: Option<Arc<wire::Endpoint>>,
    networks: Result<Vec<NetworkAttachment>, String>,
}

impl Allocation {
    pub(super) fn of(state: &State, service: &Service) -> Self {
        let ports = service.spec.endpoint.iter().flat_map(|spec| &spec.ports);
        let host = ports.clone().filter(|port| port.publish_mode() == PublishMode::Host);
        let endpoint = service.spec.endpoint.as_ref().map(|spec| {
            Arc::new(wire::Endpoint { spec: Some(spec.clone()), ports: host.cloned().collect(), ..Default::default() })
        });
        let uses_ingress = ports.clone().any(|port| port.publish_mode() == PublishMode::Ingress);
        let ingress = state.all::<Network>().find(|network| uses_ingress && network.spec.ingress);
        let attached = targets(&service.spec).map(|target| {
            let network = state.get::<Network>(&target.into());
            network.map(attachment).ok_or_else(|| format!("network {target} does not exist"))
        });
        let networks = ingress.map(|network| Ok(attachment(network))).into_iter().chain(attached).collect();
        Self { endpoint, networks }
    }

    /// Brings a new task as far as it would come: to where it waits for a node, or for a network.
    pub(super) fn give(&self, task: &mut Task) {
        task.endpoint.clone_from(&self.endpoint);
        match &self.networks {
            Ok(networks) => {
                task.networks.clone_from(networks);
                task.status.state = TaskState::Pending;
            }
            Err(reason) => task.status.err.clone_from(reason),
        }
    }
}

fn attachment(network: &Arc<Network>) -> NetworkAttachment {
    NetworkAttachment { network: Some(network.to_wire()), ..Default::default() }
}

/// The ids of the networks that tasks are attached to: those of the task, or, where old clients put them, of the service.
#[allow(deprecated, reason = "services of old clusters name their networks beside the task")]
fn targets(spec: &wire::ServiceSpec) -> impl Iterator<Item = &str> {
    let of_task = spec.task.as_ref().map_or(&[][..], |task| &task.networks);
    let asked = if of_task.is_empty() { &spec.networks[..] } else { of_task };
    asked.iter().map(|network| network.target.as_str())
}
