//! Cluster volumes, and what services and tasks have of them.

use std::collections::BTreeMap;

use serde::Serialize;
use swarmkit_api::wire::{self, volume_access_mode::AccessType};

use super::time;

/// A cluster volume.
#[derive(Clone, Debug, Serialize)]
pub struct Volume {
    id: String,
    name: String,
    labels: BTreeMap<String, String>,
    group: String,
    driver: String,
    options: BTreeMap<String, String>,
    availability: &'static str,
    scope: &'static str,
    sharing: &'static str,
    /// `mount` or `block`; `null` when it does not say.
    r#type: Option<&'static str>,
    required_bytes: i64,
    limit_bytes: i64,
    /// What the driver calls it; `null` until it has made it.
    volume_id: Option<String>,
    capacity_bytes: Option<i64>,
    /// From where it can be reached; nothing is from everywhere.
    accessible_topology: Vec<BTreeMap<String, String>>,
    nodes: Vec<Entry>,
    waiting: Option<Waiting>,
    removing: bool,
    version: u64,
    created_at: Option<String>,
    updated_at: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
struct Entry {
    node_id: String,
    state: &'static str,
    message: String,
}

/// Why it is not made, or not deleted, yet.
#[derive(Clone, Debug, Serialize)]
struct Waiting {
    since: Option<String>,
    message: String,
}

impl Volume {
    /// The JSON form of a volume.
    #[must_use]
    pub fn new(volume: &wire::Volume) -> Self {
        let spec = volume.spec.clone().unwrap_or_default();
        let annotations = spec.annotations.clone().unwrap_or_default();
        let driver = spec.driver.clone().unwrap_or_default();
        let mode = spec.access_mode.clone().unwrap_or_default();
        let range = spec.capacity_range.unwrap_or_default();
        let info = volume.volume_info.as_ref().filter(|info| !info.volume_id.is_empty());
        let places = info.iter().flat_map(|info| &info.accessible_topology);
        let meta = volume.meta.unwrap_or_default();
        let entry = |entry: &wire::VolumePublishStatus| Entry {
            node_id: entry.node_id.clone(),
            state: entry.state().as_str_name(),
            message: entry.message.clone(),
        };
        Self {
            id: volume.id.clone(),
            name: annotations.name,
            labels: annotations.labels,
            driver: driver.name,
            options: driver.options,
            availability: spec.availability().as_str_name(),
            group: spec.group,
            scope: mode.scope().as_str_name(),
            sharing: mode.sharing().as_str_name(),
            r#type: mode.access_type.map(|class| match class {
                AccessType::Mount(_) => "mount",
                AccessType::Block(_) => "block",
            }),
            required_bytes: range.required_bytes,
            limit_bytes: range.limit_bytes,
            volume_id: info.map(|info| info.volume_id.clone()),
            capacity_bytes: info.map(|info| info.capacity_bytes),
            accessible_topology: places.map(|place| place.segments.clone()).collect(),
            nodes: volume.publish_status.iter().map(entry).collect(),
            waiting: volume
                .waiting
                .as_ref()
                .map(|waiting| Waiting { since: time(waiting.since.as_ref()), message: waiting.message.clone() }),
            removing: volume.pending_delete,
            version: meta.version.unwrap_or_default().index,
            created_at: time(meta.created_at.as_ref()),
            updated_at: time(meta.updated_at.as_ref()),
        }
    }
}

/// Part of [`Service`](super::Service): what its tasks have mounted.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Mount {
    r#type: &'static str,
    source: String,
    target: String,
    readonly: bool,
}

impl Mount {
    pub(super) fn all(container: &wire::ContainerSpec) -> Vec<Self> {
        let mount = |mount: &wire::Mount| Self {
            r#type: mount.r#type().as_str_name(),
            source: mount.source.clone(),
            target: mount.target.clone(),
            readonly: mount.readonly,
        };
        container.mounts.iter().map(mount).collect()
    }
}

/// Part of [`Task`](super::Task): a cluster volume that it was given.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Given {
    id: String,
    source: String,
    target: String,
}

impl Given {
    pub(super) fn all(task: &wire::Task) -> Vec<Self> {
        let given = |given: &wire::VolumeAttachment| Self {
            id: given.id.clone(),
            source: given.source.clone(),
            target: given.target.clone(),
        };
        task.volumes.iter().map(given).collect()
    }
}
