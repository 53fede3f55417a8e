//! Nodes.

use std::{collections::BTreeMap, time::SystemTime};

use swarmkit_api::{NodeRole, wire};

use super::{Columns, Names, spec, task_table};
use crate::units::format_memory;

/// The table of `node ls`, in the order given.
#[must_use]
pub fn list_nodes(nodes: &[wire::Node]) -> Columns {
    let titles = ["ID", "Name", "Membership", "Status", "Availability", "Manager Status"];
    let mut columns = Columns::spaced(2).titled(&titles);
    for node in nodes {
        let spec = node.spec.clone().unwrap_or_default();
        let name = spec.annotations.as_ref().map(|annotations| annotations.name.as_str()).unwrap_or_default();
        columns.row([
            node.id.clone(),
            if name.is_empty() { hostname(node) } else { name }.to_owned(),
            spec.membership().as_str_name().to_owned(),
            node.status.clone().unwrap_or_default().state().as_str_name().to_owned(),
            spec.availability().as_str_name().to_owned(),
            manager_status(node),
        ]);
    }
    columns
}

/// Reachability, with a star for the leader; `UNKNOWN` for who is to be a manager and is none yet; empty for workers.
#[must_use]
pub fn manager_status(node: &wire::Node) -> String {
    let wants_manager = node.spec.as_ref().is_some_and(|spec| spec.desired_role() == NodeRole::Manager);
    match &node.manager_status {
        Some(status) => {
            let leader = if status.leader { " *" } else { "" };
            format!("{}{leader}", status.reachability().as_str_name())
        }
        None if wants_manager => "UNKNOWN".to_owned(),
        None => String::new(),
    }
}

/// The layout of `node inspect`; `tasks` are those to show below.
#[must_use]
pub fn inspect_node(node: &wire::Node, tasks: &[wire::Task], names: &Names, now: SystemTime) -> String {
    let node_spec = node.spec.clone().unwrap_or_default();
    let status = node.status.clone().unwrap_or_default();
    let description = node.description.clone().unwrap_or_default();
    let mut columns = Columns::labelled();
    columns.field("ID", &node.id);
    columns.field_if_any("Hostname", &description.hostname);
    columns.field_if_any("Node Labels", key_values(node_spec.annotations.iter().flat_map(|a| &a.labels)));
    columns.section("Status:");
    columns.field("  State", status.state().as_str_name());
    columns.field_if_any("  Message", &status.message);
    columns.field("  Availability", node_spec.availability().as_str_name());
    columns.field_if_any("  Address", &status.addr);
    if let Some(manager) = &node.manager_status {
        columns.section("Manager status:");
        columns.field("  Address", &manager.addr);
        columns.field("  Raft status", manager.reachability().as_str_name());
        columns.field("  Leader", if manager.leader { "yes" } else { "no" });
    }
    if let Some(platform) = &description.platform {
        columns.section("Platform:");
        columns.field("  Operating System", &platform.os);
        columns.field("  Architecture", &platform.architecture);
    }
    if let Some(resources) = &description.resources {
        columns.section("Resources:");
        columns.field("  CPUs", resources.nano_cpus / 1_000_000_000);
        columns.field("  Memory", format_memory(resources.memory_bytes));
        let mut kinds: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (kind, value) in spec::generic(&resources.generic) {
            kinds.entry(kind).or_default().push(value);
        }
        if !kinds.is_empty() {
            columns.section("  Generic Resources:");
        }
        for (kind, values) in kinds {
            columns.field(&format!("    {kind}"), values.join(", "));
        }
    }
    if let Some(engine) = &description.engine {
        let mut plugins: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for plugin in &engine.plugins {
            plugins.entry(&plugin.r#type).or_default().push(&plugin.name);
        }
        if !plugins.is_empty() {
            columns.section("Plugins:");
        }
        for (kind, names) in plugins {
            columns.field(&format!("  {kind}"), format!("[{}]", names.join(", ")));
        }
        columns.field_if_any("Engine Version", &engine.engine_version);
        columns.field_if_any("Engine Labels", key_values(&engine.labels));
    }
    if !description.csi_info.is_empty() {
        columns.section("Storage:");
    }
    for plugin in &description.csi_info {
        columns.field(&format!("  {}", plugin.plugin_name), storage(plugin));
    }
    let mut text = columns.to_string();
    if !tasks.is_empty() {
        text += &format!("\n{}", task_table(tasks, names, now));
    }
    text
}

/// What a storage plugin calls a node, how many volumes it can mount there, and from where these have to be reachable.
fn storage(plugin: &wire::NodeCsiInfo) -> String {
    let mut parts = vec![plugin.node_id.clone()];
    if plugin.max_volumes_per_node > 0 {
        parts.push(format!("at most {} volumes", plugin.max_volumes_per_node));
    }
    let segments = key_values(plugin.accessible_topology.iter().flat_map(|topology| &topology.segments));
    parts.extend(Some(segments).filter(|segments| !segments.is_empty()));
    parts.join(", ")
}

fn hostname(node: &wire::Node) -> &str {
    node.description.as_ref().map(|description| description.hostname.as_str()).unwrap_or_default()
}

fn key_values<'a>(labels: impl IntoIterator<Item = (&'a String, &'a String)>) -> String {
    labels.into_iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ")
}
