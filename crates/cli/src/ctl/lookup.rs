//! From what the user typed to an object: its exact id, else its exact name.

use swarmkit_api::wire;

use super::CtlError;
use crate::client::Control;

/// The one object that `found` holds.
fn single<T>(kind: &str, wanted: &str, mut found: Vec<T>) -> Result<T, CtlError> {
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => Err(CtlError::State(format!("{kind} {wanted} not found"))),
        count => Err(CtlError::State(format!("{kind} {wanted} is ambiguous ({count} matches found)"))),
    }
}

/// A service.
pub(super) async fn service(control: &mut Control, wanted: &str) -> Result<wire::Service, CtlError> {
    let request = wire::GetServiceRequest { service_id: wanted.to_owned(), insert_defaults: false };
    // A name that was taken for an id is refused in several ways: none of them says that the name does not exist.
    if let Ok(response) = control.get_service(request).await
        && let Some(service) = response.into_inner().service
    {
        return Ok(service);
    }
    let filters = wire::list_services_request::Filters { names: vec![wanted.to_owned()], ..Default::default() };
    let request = wire::ListServicesRequest { filters: Some(filters) };
    single("service", wanted, control.list_services(request).await?.into_inner().services)
}

/// A node, whose name is its host name.
pub(super) async fn node(control: &mut Control, wanted: &str) -> Result<wire::Node, CtlError> {
    let request = wire::GetNodeRequest { node_id: wanted.to_owned() };
    if let Ok(response) = control.get_node(request).await
        && let Some(node) = response.into_inner().node
    {
        return Ok(node);
    }
    let filters = wire::list_nodes_request::Filters { names: vec![wanted.to_owned()], ..Default::default() };
    let request = wire::ListNodesRequest { filters: Some(filters) };
    single("node", wanted, control.list_nodes(request).await?.into_inner().nodes)
}

/// A cluster.
pub(super) async fn cluster(control: &mut Control, wanted: &str) -> Result<wire::Cluster, CtlError> {
    let request = wire::GetClusterRequest { cluster_id: wanted.to_owned() };
    if let Ok(response) = control.get_cluster(request).await
        && let Some(cluster) = response.into_inner().cluster
    {
        return Ok(cluster);
    }
    let filters = wire::list_clusters_request::Filters { names: vec![wanted.to_owned()], ..Default::default() };
    let request = wire::ListClustersRequest { filters: Some(filters) };
    single("cluster", wanted, control.list_clusters(request).await?.into_inner().clusters)
}

/// A network.
pub(super) async fn network(control: &mut Control, wanted: &str) -> Result<wire::Network, CtlError> {
    let request = wire::GetNetworkRequest { network_id: wanted.to_owned(), ..Default::default() };
    if let Ok(response) = control.get_network(request).await
        && let Some(network) = response.into_inner().network
    {
        return Ok(network);
    }
    let filters = wire::list_networks_request::Filters { names: vec![wanted.to_owned()], ..Default::default() };
    let request = wire::ListNetworksRequest { filters: Some(filters), ..Default::default() };
    single("network", wanted, control.list_networks(request).await?.into_inner().networks)
}

/// A task, by its exact id only.
pub(super) async fn task(control: &mut Control, wanted: &str) -> Result<wire::Task, CtlError> {
    let request = wire::GetTaskRequest { task_id: wanted.to_owned() };
    let task = control.get_task(request).await?.into_inner().task;
    task.ok_or_else(|| CtlError::State(format!("task {wanted} not found")))
}

/// A secret, by id, name, or the beginning of its id.
pub(super) async fn secret(control: &mut Control, wanted: &str) -> Result<wire::Secret, CtlError> {
    let filters = wire::list_secrets_request::Filters {
        names: vec![wanted.to_owned()],
        id_prefixes: vec![wanted.to_owned()],
        ..Default::default()
    };
    let request = wire::ListSecretsRequest { filters: Some(filters) };
    let found = control.list_secrets(request).await?.into_inner().secrets;
    let name = |secret: &wire::Secret| Some(secret.spec.as_ref()?.annotations.as_ref()?.name.clone());
    best("secret", wanted, found, |secret| &secret.id, name)
}

/// A config, by id, name, or the beginning of its id.
pub(super) async fn config(control: &mut Control, wanted: &str) -> Result<wire::Config, CtlError> {
    let filters = wire::list_configs_request::Filters {
        names: vec![wanted.to_owned()],
        id_prefixes: vec![wanted.to_owned()],
        ..Default::default()
    };
    let request = wire::ListConfigsRequest { filters: Some(filters) };
    let found = control.list_configs(request).await?.into_inner().configs;
    let name = |config: &wire::Config| Some(config.spec.as_ref()?.annotations.as_ref()?.name.clone());
    best("config", wanted, found, |config| &config.id, name)
}

/// A volume, by id, name, or the beginning of its id.
pub(super) async fn volume(control: &mut Control, wanted: &str) -> Result<wire::Volume, CtlError> {
    let request = wire::GetVolumeRequest { volume_id: wanted.to_owned() };
    if let Ok(response) = control.get_volume(request).await
        && let Some(volume) = response.into_inner().volume
    {
        return Ok(volume);
    }
    // Filters by several things find what passes all of them, so they are asked for one after the other.
    let by_name = wire::list_volumes_request::Filters { names: vec![wanted.to_owned()], ..Default::default() };
    let by_id = wire::list_volumes_request::Filters { id_prefixes: vec![wanted.to_owned()], ..Default::default() };
    let mut found = Vec::new();
    for filters in [by_name, by_id] {
        if found.is_empty() {
            let request = wire::ListVolumesRequest { filters: Some(filters) };
            found = control.list_volumes(request).await?.into_inner().volumes;
        }
    }
    single("volume", wanted, found)
}

/// The only hit; of several the one with that id, then the one with that name.
fn best<T>(
    kind: &str,
    wanted: &str,
    mut found: Vec<T>,
    id: impl Fn(&T) -> &str,
    name: impl Fn(&T) -> Option<String>,
) -> Result<T, CtlError> {
    let exact = found.iter().position(|object| id(object) == wanted);
    let exact = exact.or_else(|| found.iter().position(|object| name(object).as_deref() == Some(wanted)));
    match exact {
        Some(index) => Ok(found.swap_remove(index)),
        None => single(kind, wanted, found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(wanted: &str, objects: &[(&'static str, &'static str)]) -> Result<&'static str, String> {
        let name = |object: &(&str, &str)| Some(object.1.to_owned());
        best("secret", wanted, objects.to_vec(), |object| object.0, name)
            .map(|object| object.0)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn an_exact_id_wins_over_an_exact_name_and_that_over_a_prefix() {
        assert_eq!(found("ab", &[("ab1", "x")]), Ok("ab1"));
        assert_eq!(found("ab", &[("ab1", "ab"), ("ab", "y")]), Ok("ab"));
        assert_eq!(found("ab", &[("ab1", "x"), ("c", "ab")]), Ok("c"));
        assert_eq!(
            found("ab", &[("ab1", "x"), ("ab2", "y")]),
            Err("secret ab is ambiguous (2 matches found)".to_owned())
        );
        assert_eq!(found("ab", &[]), Err("secret ab not found".to_owned()));
    }
}
