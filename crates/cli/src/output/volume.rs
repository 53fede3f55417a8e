//! Cluster volumes, and what services and tasks have of them.

use std::{collections::BTreeMap, time::SystemTime};

use swarmkit_api::wire::{self, volume_access_mode::AccessType};

use super::{Columns, Names, absolute, relative};
use crate::units::format_memory;

/// The table of `volume ls`, by name.
#[must_use]
pub fn list_volumes(volumes: &[wire::Volume]) -> Columns {
    let name = |volume: &wire::Volume| annotations(volume).name;
    let mut volumes: Vec<_> = volumes.iter().map(|volume| (name(volume), volume)).collect();
    volumes.sort_by_key(|(name, volume)| (name.clone(), volume.id.clone()));
    let mut columns = Columns::spaced(4).titled(&["ID", "Name", "Group", "Driver", "Availability", "Status"]);
    for (name, volume) in volumes {
        let spec = volume.spec.clone().unwrap_or_default();
        let availability = spec.availability().as_str_name().to_owned();
        let driver = spec.driver.unwrap_or_default().name;
        columns.row([volume.id.clone(), name, spec.group, driver, availability, standing(volume)]);
    }
    columns
}

/// How far a volume has come, as existing tools say it.
fn standing(volume: &wire::Volume) -> String {
    let is_made = volume.volume_info.as_ref().is_some_and(|info| !info.volume_id.is_empty());
    match (volume.pending_delete, is_made, volume.publish_status.len()) {
        (true, ..) => "removing".to_owned(),
        (false, false, _) => "pending creation".to_owned(),
        (false, true, 0) => "created".to_owned(),
        (false, true, 1) => "in use (1 node)".to_owned(),
        (false, true, nodes) => format!("in use ({nodes} nodes)"),
    }
}

/// The layout of `volume inspect`.
#[must_use]
pub fn inspect_volume(volume: &wire::Volume, names: &Names, now: SystemTime) -> Columns {
    let (spec, annotations) = (volume.spec.clone().unwrap_or_default(), annotations(volume));
    let mut columns = Columns::labelled();
    columns.field("ID", &volume.id);
    columns.field("Name", annotations.name);
    pairs(&mut columns, "Labels", &annotations.labels);
    columns.field_if_any("Group", &spec.group);
    let driver = spec.driver.clone().unwrap_or_default();
    columns.field("Driver", driver.name);
    pairs(&mut columns, "Options", &driver.options);
    columns.field("Availability", spec.availability().as_str_name());
    columns.field("Status", standing(volume));
    if let Some(waiting) = &volume.waiting {
        columns.section("Waiting");
        columns.field_if_any(" Since", relative(waiting.since.as_ref(), now));
        columns.field_if_any(" Message", &waiting.message);
    }
    access(&mut columns, spec.access_mode.clone().unwrap_or_default());
    if let Some(range) = spec.capacity_range {
        let size = |bytes| if bytes == 0 { String::new() } else { format_memory(bytes) };
        columns.field_if_any("At Least", size(range.required_bytes));
        columns.field_if_any("At Most", size(range.limit_bytes));
    }
    if let Some(info) = &volume.volume_info {
        columns.field_if_any("Volume", &info.volume_id);
        columns.field_if_any(
            "Capacity",
            Some(info.capacity_bytes).filter(|size| *size > 0).map(format_memory).unwrap_or_default(),
        );
        columns.field_if_any("Reached From", info.accessible_topology.iter().map(place).collect::<Vec<_>>().join("; "));
    }
    if !volume.publish_status.is_empty() {
        columns.section("Nodes");
    }
    for entry in &volume.publish_status {
        let message = if entry.message.is_empty() { String::new() } else { format!(" ({})", entry.message) };
        columns
            .field(&format!("  {}", names.node(&entry.node_id)), format!("{}{message}", entry.state().as_str_name()));
    }
    let meta = volume.meta.unwrap_or_default();
    columns.field_if_any("Created", absolute(meta.created_at.as_ref()));
    columns
}

fn access(columns: &mut Columns, mode: wire::VolumeAccessMode) {
    columns.field("Scope", mode.scope().as_str_name());
    columns.field("Sharing", mode.sharing().as_str_name());
    match mode.access_type {
        Some(AccessType::Mount(mount)) => {
            columns.field("Type", "mount");
            columns.field_if_any("File System", mount.fs_type);
            columns.field_if_any("Mount Flags", mount.mount_flags.join(","));
        }
        Some(AccessType::Block(_)) => columns.field("Type", "block"),
        None => {}
    }
}

fn pairs(columns: &mut Columns, title: &str, pairs: &BTreeMap<String, String>) {
    if !pairs.is_empty() {
        columns.section(title);
    }
    for (key, value) in pairs {
        columns.field(&format!("  {key}"), value);
    }
}

fn place(place: &wire::Topology) -> String {
    place.segments.iter().map(|(segment, value)| format!("{segment}={value}")).collect::<Vec<_>>().join(",")
}

fn annotations(volume: &wire::Volume) -> wire::Annotations {
    volume.spec.clone().unwrap_or_default().annotations.unwrap_or_default()
}

/// The cluster volumes that a task was given.
pub(super) fn task_fields(columns: &mut Columns, task: &wire::Task) {
    let given: Vec<_> = task.volumes.iter().map(|given| format!("{}:{}", given.id, given.target)).collect();
    columns.field_if_any("Volumes", given.join(", "));
}

#[cfg(test)]
#[path = "volume_tests.rs"]
mod tests;
