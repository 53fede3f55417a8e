//! What plugins are asked, put together from what the store holds.

use std::collections::BTreeMap;

use swarmkit_api::{
    Node, NodeId, Secret, SecretId, Volume,
    wire::{
        self, VolumeAccessMode,
        csi::v1::{
            CapacityRange, ControllerPublishVolumeRequest, ControllerUnpublishVolumeRequest, CreateVolumeRequest,
            DeleteVolumeRequest, Topology, TopologyRequirement, VolumeCapability,
            volume_capability::{AccessMode, AccessType, BlockVolume, MountVolume, access_mode::Mode},
        },
        volume_access_mode::{self, Scope, Sharing},
    },
};
use swarmkit_store::State;

use crate::PluginError;

/// Clients match on the text.
const NO_NODE_ID: &str = "CSI node ID not found for given Swarm node ID";

pub(crate) fn create(volume: &Volume, state: &State) -> Result<CreateVolumeRequest, PluginError> {
    let spec = &volume.spec;
    let topologies = |list: &[wire::Topology]| list.iter().map(topology).collect();
    Ok(CreateVolumeRequest {
        name: name(volume).to_owned(),
        capacity_range: spec
            .capacity_range
            .as_ref()
            .map(|range| CapacityRange { required_bytes: range.required_bytes, limit_bytes: range.limit_bytes }),
        volume_capabilities: capability(volume).into_iter().collect(),
        parameters: spec.driver.as_ref().map(|driver| driver.options.clone()).unwrap_or_default(),
        secrets: secrets(volume, state)?,
        accessibility_requirements: spec.accessibility_requirements.as_ref().map(|wanted| TopologyRequirement {
            requisite: topologies(&wanted.requisite),
            preferred: topologies(&wanted.preferred),
        }),
    })
}

pub(crate) fn delete(volume: &Volume, state: &State) -> Result<DeleteVolumeRequest, PluginError> {
    Ok(DeleteVolumeRequest { volume_id: volume_id(volume), secrets: secrets(volume, state)? })
}

pub(crate) fn publish(
    volume: &Volume,
    node: &NodeId,
    state: &State,
) -> Result<ControllerPublishVolumeRequest, PluginError> {
    let node = state.get::<Node>(node).and_then(|node| node_id(volume, node));
    Ok(ControllerPublishVolumeRequest {
        volume_id: volume_id(volume),
        node_id: node.ok_or_else(|| PluginError::Refused(NO_NODE_ID.to_owned()))?,
        volume_capability: capability(volume),
        readonly: false,
        secrets: secrets(volume, state)?,
        volume_context: volume.volume_info.as_ref().map(|info| info.volume_context.clone()).unwrap_or_default(),
    })
}

/// The plugin's name for a node goes with the node. Where that was the only one that the volume is on, the plugin is asked to
/// detach it from all.
pub(crate) fn unpublish(
    volume: &Volume,
    node: &NodeId,
    state: &State,
) -> Result<ControllerUnpublishVolumeRequest, PluginError> {
    let node_id = match state.get::<Node>(node) {
        Some(node) => node_id(volume, node).ok_or_else(|| PluginError::Refused(NO_NODE_ID.to_owned()))?,
        None if volume.publish_status.iter().all(|status| status.node_id == node.as_str()) => String::new(),
        None => {
            let why = format!("node {node} is gone; it is detached from there once no other node uses the volume");
            return Err(PluginError::Refused(why));
        }
    };
    Ok(ControllerUnpublishVolumeRequest { volume_id: volume_id(volume), node_id, secrets: secrets(volume, state)? })
}

/// The name of the plugin.
pub(crate) fn driver(volume: &Volume) -> &str {
    volume.spec.driver.as_ref().map_or("", |driver| &driver.name)
}

fn name(volume: &Volume) -> &str {
    volume.spec.annotations.as_ref().map_or("", |annotations| &annotations.name)
}

fn volume_id(volume: &Volume) -> String {
    volume.volume_info.as_ref().map(|info| info.volume_id.clone()).unwrap_or_default()
}

/// What the plugin of a volume calls a node, as the node has said. `None`: the node does not have the plugin.
fn node_id(volume: &Volume, node: &Node) -> Option<String> {
    let said = node.description.as_deref()?.csi_info.iter().find(|info| info.plugin_name == driver(volume))?;
    Some(said.node_id.clone()).filter(|id| !id.is_empty())
}

fn topology(of: &wire::Topology) -> Topology {
    Topology { segments: of.segments.clone() }
}

/// What the plugin has to know in secret, by the names that it knows. Secrets that are gone are left out, as upstream does:
/// a volume must go even when its secrets went first.
fn secrets(volume: &Volume, state: &State) -> Result<BTreeMap<String, String>, PluginError> {
    let mut found = BTreeMap::new();
    for wanted in &volume.spec.secrets {
        let Some(secret) = state.get::<Secret>(&SecretId::from(wanted.secret.as_str())) else { continue };
        let text = std::str::from_utf8(&secret.spec.data)
            .map_err(|_| PluginError::Refused(format!("secret {} is not text, which plugins need", wanted.secret)))?;
        found.insert(wanted.key.clone(), text.to_owned());
    }
    Ok(found)
}

/// How a volume will be used, in the words of plugins. The interface has no mode for several tasks on one node, since what
/// is on a node is shared there without the plugin.
fn capability(volume: &Volume) -> Option<VolumeCapability> {
    volume.spec.access_mode.as_ref().map(capability_of)
}

/// See [`capability`].
pub(crate) fn capability_of(wanted: &VolumeAccessMode) -> VolumeCapability {
    let mode = match (wanted.scope(), wanted.sharing()) {
        (Scope::SingleNode, Sharing::ReadOnly) => Mode::SingleNodeReaderOnly,
        (Scope::SingleNode, Sharing::None | Sharing::OneWriter | Sharing::All) => Mode::SingleNodeWriter,
        (Scope::MultiNode, Sharing::ReadOnly) => Mode::MultiNodeReaderOnly,
        // One task at a time, but the next one may be on another node before the first has let go. Upstream sends no mode for
        // it, which plugins refuse.
        (Scope::MultiNode, Sharing::None | Sharing::OneWriter) => Mode::MultiNodeSingleWriter,
        (Scope::MultiNode, Sharing::All) => Mode::MultiNodeMultiWriter,
    };
    let access_type = wanted.access_type.as_ref().map(|kind| match kind {
        volume_access_mode::AccessType::Block(_) => AccessType::Block(BlockVolume {}),
        volume_access_mode::AccessType::Mount(mount) => {
            AccessType::Mount(MountVolume { fs_type: mount.fs_type.clone(), mount_flags: mount.mount_flags.clone() })
        }
    });
    VolumeCapability { access_type, access_mode: Some(AccessMode { mode: mode.into() }) }
}
