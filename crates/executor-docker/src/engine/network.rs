//! The networks of an engine.

use std::collections::BTreeMap;

use bollard::{
    models::{EndpointSettings, NetworkConnectRequest, NetworkCreateRequest},
    query_parameters::{ListContainersOptionsBuilder, ListNetworksOptionsBuilder},
};

use super::{Engine, EngineError, QUESTION, WORK};
use crate::labels;

/// A network as the engine tells of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct EngineNetwork {
    /// The engine's id of it.
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) driver: String,
    /// The executor that made it; empty if it was somebody else.
    pub(crate) owner: String,
    /// The id of the network of the cluster that it was made for.
    pub(crate) of: String,
}

/// What an engine says when a network cannot be removed, since somebody else has put a container into it.
const IN_USE: &str = "has active endpoints";

impl Engine {
    /// Its networks that bear a label, or all.
    pub(crate) async fn networks(&self, label: Option<String>) -> Result<Vec<EngineNetwork>, EngineError> {
        let filters = label.map(|label| ("label", vec![label])).into_iter().collect();
        let options = ListNetworksOptionsBuilder::new().filters(&filters).build();
        let found = self.ask(QUESTION, async |docker| docker.list_networks(Some(options)).await).await?;
        let read = |network: bollard::models::Network| {
            let mut labels = network.labels.unwrap_or_default();
            EngineNetwork {
                id: network.id.unwrap_or_default(),
                name: network.name.unwrap_or_default(),
                driver: network.driver.unwrap_or_default(),
                owner: labels.remove(labels::OWNER).unwrap_or_default(),
                of: labels.remove(labels::NETWORK).unwrap_or_default(),
            }
        };
        Ok(found.into_iter().map(read).collect())
    }

    pub(crate) async fn create_network(&self, request: NetworkCreateRequest) -> Result<(), EngineError> {
        self.ask(WORK, async |docker| docker.create_network(request).await.map(drop)).await
    }

    /// Removes a network. One that is not there is fine; one that somebody else's container is in is left there.
    pub(crate) async fn remove_network(&self, id: &str) -> Result<(), EngineError> {
        match self.ask(WORK, async |docker| docker.remove_network(id).await).await {
            Err(EngineError::Refused(text) | EngineError::Conflict(text)) if text.contains(IN_USE) => Ok(()),
            removed => removed.or_else(EngineError::nothing),
        }
    }

    /// Puts a container into a network.
    pub(crate) async fn connect_to(
        &self,
        network: &str,
        container: &str,
        endpoint: EndpointSettings,
    ) -> Result<(), EngineError> {
        let request = NetworkConnectRequest { container: container.to_owned(), endpoint_config: Some(endpoint) };
        self.ask(WORK, async |docker| docker.connect_network(network, request).await).await
    }

    /// The ids of the cluster's networks that containers of tasks are in, running or not, of whatever executor.
    pub(crate) async fn networks_of_tasks(&self) -> Result<Vec<String>, EngineError> {
        let filters: BTreeMap<_, _> = [("label", vec![labels::OWNER.to_owned()])].into();
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters.into_iter().collect()).build();
        let found = self.ask(QUESTION, async |docker| docker.list_containers(Some(options)).await).await?;
        let labels = found.into_iter().flat_map(|container| container.labels.unwrap_or_default());
        Ok(labels.filter_map(|(name, _)| name.strip_prefix(labels::IN_NETWORK).map(str::to_owned)).collect())
    }
}
