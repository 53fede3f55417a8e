//! The kinds that tests need little of.

use std::sync::Arc;

use bytes::Bytes;
use swarmkit_api::{Cluster, ClusterId, Config, ConfigId, Network, NetworkId, Secret, SecretId, wire};
use swarmkit_store::DEFAULT_CLUSTER;

/// Annotations with that name.
#[must_use]
pub fn named(name: &str) -> wire::Annotations {
    wire::Annotations { name: name.to_owned(), ..Default::default() }
}

/// The cluster, with empty settings.
#[must_use]
pub fn cluster() -> Cluster {
    let mut cluster = Cluster::new(ClusterId::from(DEFAULT_CLUSTER));
    cluster.spec = Arc::new(wire::ClusterSpec { annotations: Some(named(DEFAULT_CLUSTER)), ..Default::default() });
    cluster
}

/// A network that was not allocated yet.
#[must_use]
pub fn network(name: &str) -> Network {
    let mut network = Network::new(NetworkId::from(name));
    network.spec = Arc::new(wire::NetworkSpec { annotations: Some(named(name)), ..Default::default() });
    network
}

/// A secret with that content.
#[must_use]
pub fn secret(name: &str, data: &str) -> Secret {
    let mut secret = Secret::new(SecretId::from(name));
    let data = Bytes::copy_from_slice(data.as_bytes());
    secret.spec = Arc::new(wire::SecretSpec { annotations: Some(named(name)), data, ..Default::default() });
    secret
}

/// A config with that content.
#[must_use]
pub fn config(name: &str, data: &str) -> Config {
    let mut config = Config::new(ConfigId::from(name));
    let data = Bytes::copy_from_slice(data.as_bytes());
    config.spec = Arc::new(wire::ConfigSpec { annotations: Some(named(name)), data, ..Default::default() });
    config
}
