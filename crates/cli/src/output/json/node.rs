//! Nodes.

use std::collections::BTreeMap;

use serde::Serialize;
use swarmkit_api::wire;

use super::{
    generic::{Units, generic},
    time,
};

/// A node.
#[derive(Clone, Debug, Serialize)]
pub struct Node {
    id: String,
    hostname: String,
    name: String,
    labels: BTreeMap<String, String>,
    role: &'static str,
    desired_role: &'static str,
    membership: &'static str,
    availability: &'static str,
    state: &'static str,
    message: String,
    address: String,
    /// `null` for workers.
    manager: Option<Manager>,
    os: String,
    architecture: String,
    nano_cpus: i64,
    memory_bytes: i64,
    generic_resources: BTreeMap<String, Units>,
    /// Names by type. The type `Executor` says which kinds of task run here.
    plugins: BTreeMap<String, Vec<String>>,
    engine_labels: BTreeMap<String, String>,
    /// What the storage plugins of the node call it.
    storage: Vec<Storage>,
    version: u64,
    created_at: Option<String>,
    updated_at: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
struct Storage {
    plugin: String,
    node_id: String,
    /// 0: it does not say.
    max_volumes: i64,
    topology: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Serialize)]
struct Manager {
    address: String,
    leader: bool,
    reachability: &'static str,
}

impl Node {
    /// The JSON form of a node.
    #[must_use]
    pub fn new(node: &wire::Node) -> Self {
        let spec = node.spec.clone().unwrap_or_default();
        let status = node.status.clone().unwrap_or_default();
        let description = node.description.clone().unwrap_or_default();
        let annotations = spec.annotations.clone().unwrap_or_default();
        let platform = description.platform.unwrap_or_default();
        let resources = description.resources.unwrap_or_default();
        let engine = description.engine.unwrap_or_default();
        let mut plugins: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for plugin in engine.plugins {
            plugins.entry(plugin.r#type).or_default().push(plugin.name);
        }
        let meta = node.meta.unwrap_or_default();
        Self {
            id: node.id.clone(),
            hostname: description.hostname,
            name: annotations.name,
            labels: annotations.labels,
            role: node.role().as_str_name(),
            desired_role: spec.desired_role().as_str_name(),
            membership: spec.membership().as_str_name(),
            availability: spec.availability().as_str_name(),
            state: status.state().as_str_name(),
            message: status.message,
            address: status.addr,
            manager: node.manager_status.as_ref().map(|manager| Manager {
                address: manager.addr.clone(),
                leader: manager.leader,
                reachability: manager.reachability().as_str_name(),
            }),
            os: platform.os,
            architecture: platform.architecture,
            nano_cpus: resources.nano_cpus,
            memory_bytes: resources.memory_bytes,
            generic_resources: generic(&resources.generic),
            plugins,
            storage: description.csi_info.into_iter().map(Storage::new).collect(),
            engine_labels: engine.labels,
            version: meta.version.unwrap_or_default().index,
            created_at: time(meta.created_at.as_ref()),
            updated_at: time(meta.updated_at.as_ref()),
        }
    }
}

impl Storage {
    fn new(plugin: wire::NodeCsiInfo) -> Self {
        Self {
            plugin: plugin.plugin_name,
            node_id: plugin.node_id,
            max_volumes: plugin.max_volumes_per_node,
            topology: plugin.accessible_topology.unwrap_or_default().segments,
        }
    }
}
