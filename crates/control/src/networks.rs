//! Networks that tasks attach to.

use std::sync::Arc;

use swarmkit_api::{
    Network, NetworkId, Object, Service, TaskState,
    wire::{self, port_config::PublishMode},
};
use swarmkit_store::{NetworkBy, ServiceBy, TaskBy};

use crate::{
    ControlApi, ControlError, filter, removal,
    request::{missing, name_of, required},
    validate,
};

impl ControlApi {
    pub(crate) async fn create_network(
        &self,
        request: wire::CreateNetworkRequest,
    ) -> Result<wire::CreateNetworkResponse, ControlError> {
        let spec = request.spec.ok_or_else(ControlError::missing_argument)?;
        validate::network(&spec, &*self.networks)?;
        let name = name_of(&spec.annotations).to_owned();
        let mut network = Network::new(NetworkId::from(self.env.new_id()));
        network.spec = Arc::new(spec);
        let created = self
            .store
            .update(|tx| {
                if network.spec.ingress
                    && let Some(present) = tx.all::<Network>().find(|network| network.spec.ingress)
                {
                    return Err(ControlError::AlreadyPresent(format!(
                        "ingress network ({}) is already present",
                        present.id
                    )));
                }
                tx.create(network).map_err(|error| removal::network_name_taken(tx, error, &name))
            })
            .await?;
        Ok(wire::CreateNetworkResponse { network: Some(created.value.to_wire()) })
    }

    pub(crate) fn get_network(
        &self,
        request: wire::GetNetworkRequest,
    ) -> Result<wire::GetNetworkResponse, ControlError> {
        let id = required::<NetworkId>(request.network_id)?;
        let view = self.store.view();
        let network = view.get::<Network>(&id).ok_or_else(|| missing("network", &id))?;
        Ok(wire::GetNetworkResponse { network: Some(network.to_wire()) })
    }

    pub(crate) async fn remove_network(
        &self,
        request: wire::RemoveNetworkRequest,
    ) -> Result<wire::RemoveNetworkResponse, ControlError> {
        let id = required::<NetworkId>(request.network_id)?;
        self.store
            .update(|tx| {
                let view = &**tx;
                let network = view.get::<Network>(&id).ok_or_else(|| missing("network", &id))?;
                let labels = network.spec.annotations.as_ref().map(|annotations| &annotations.labels);
                if labels.and_then(|labels| labels.get(validate::PREDEFINED_LABEL)).is_some_and(|value| value == "true")
                {
                    return Err(ControlError::Precondition(format!(
                        "network {} ({id}) is a swarm predefined network and cannot be removed",
                        name_of(&network.spec.annotations)
                    )));
                }
                if request.deferred {
                    return removal::defer_network(tx, &id);
                }
                if network.spec.ingress {
                    let user = view.all::<Service>().find(|service| publishes_through_ingress(service));
                    if let Some(service) = user {
                        return Err(ControlError::Precondition(format!(
                            "ingress network cannot be removed because service {} depends on it",
                            service.id
                        )));
                    }
                } else if let Some(service) = view.find(ServiceBy::Network(&id)).next() {
                    return Err(ControlError::Precondition(format!(
                        "network {id} is in use by service {}",
                        service.id
                    )));
                } else if let Some(task) = view
                    .find(TaskBy::Network(&id))
                    .find(|task| task.desired_state <= TaskState::Running && task.status.state <= TaskState::Running)
                {
                    return Err(ControlError::Precondition(format!("network {id} is in use by task {}", task.id)));
                }
                tx.delete::<Network>(&id)?;
                Ok(())
            })
            .await?;
        Ok(wire::RemoveNetworkResponse {})
    }

    pub(crate) fn list_networks(&self, request: wire::ListNetworksRequest) -> wire::ListNetworksResponse {
        let filters = request.filters.unwrap_or_default();
        let view = self.store.view();
        let candidates = if !filters.names.is_empty() {
            filter::union(filters.names.iter().flat_map(|name| view.find(NetworkBy::Name(name))))
        } else if !filters.name_prefixes.is_empty() {
            filter::union(filters.name_prefixes.iter().flat_map(|prefix| view.find(NetworkBy::NamePrefix(prefix))))
        } else if !filters.id_prefixes.is_empty() {
            filter::union(filters.id_prefixes.iter().flat_map(|prefix| view.find(NetworkBy::IdPrefix(prefix))))
        } else {
            view.all::<Network>().cloned().collect()
        };
        let name = |network: &Network| name_of(&network.spec.annotations).to_owned();
        let [a, b, c] = filter::by_identity(&filters.names, &filters.name_prefixes, &filters.id_prefixes, name);
        let tests = [a, b, c, filter::by_labels(&filters.labels)];
        let networks = candidates
            .iter()
            .filter(|network| filter::all_pass(&tests, network))
            .map(|network| network.to_wire())
            .collect();
        wire::ListNetworksResponse { networks }
    }
}

fn publishes_through_ingress(service: &Service) -> bool {
    let ports = service.spec.endpoint.iter().flat_map(|endpoint| &endpoint.ports);
    ports.into_iter().any(|port| port.publish_mode() == PublishMode::Ingress)
}
