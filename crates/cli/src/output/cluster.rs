//! The cluster.

use std::time::Duration;

use swarmkit_api::wire::{self, swarmkit::exec::v1::exec_settings::Policy};
use swarmkit_ca::UnlockKey;
use swarmkit_issuer::Progress;

use super::{Columns, placement::strategy, rebalance::rebalancing, rotation_line};
use crate::units::format_duration;

/// The table of `cluster ls`.
#[must_use]
pub fn list_clusters(clusters: &[wire::Cluster]) -> Columns {
    let mut columns = Columns::spaced(2).titled(&["ID", "Name"]);
    for cluster in clusters {
        columns.row([cluster.id.clone(), name(cluster).to_owned()]);
    }
    columns
}

/// The layout of `cluster inspect`, while its root is being replaced with how far that has got.
#[must_use]
pub fn inspect_cluster(cluster: &wire::Cluster, rotation: Option<&Progress>) -> Columns {
    let spec = cluster.spec.clone().unwrap_or_default();
    let mut columns = Columns::labelled();
    columns.field("ID", &cluster.id);
    columns.field("Name", name(cluster));
    columns.line("Orchestration settings:");
    let orchestration = spec.orchestration.unwrap_or_default();
    columns.line(format!("  Task history entries: {}", orchestration.task_history_retention_limit));
    let rebalancing = rebalancing(orchestration.rebalance.as_ref(), "off for services that do not say");
    if !rebalancing.is_empty() {
        columns.line(format!("  Rebalancing: {rebalancing}"));
    }
    let strategy = spec.scheduling.and_then(|scheduling| strategy(scheduling.strategy()));
    if let Some(strategy) = strategy {
        columns.line("Scheduling settings:");
        columns.line(format!("  Strategy: {strategy}"));
    }
    if spec.exec.is_some_and(|exec| exec.policy() == Policy::Deny) {
        columns.line("Commands in tasks: deny");
    }
    if let Some(period) = spec.dispatcher.and_then(|dispatcher| dispatcher.heartbeat_period) {
        columns.line("Dispatcher settings:");
        columns.line(format!("  Dispatcher heartbeat period: {}", duration(&period)));
    }
    columns.line("Certificate Authority settings:");
    let ca = spec.ca_config.unwrap_or_default();
    if let Some(expiry) = &ca.node_cert_expiry {
        columns.line(format!("  Certificate Validity Duration: {}", duration(expiry)));
    }
    if !ca.external_cas.is_empty() {
        columns.line("  External CAs:");
    }
    for external in &ca.external_cas {
        columns.line(format!("    {}: {}", external.protocol().as_str_name(), external.url));
    }
    if let Some(progress) = rotation {
        columns.line(format!("  Root Rotation: {}", rotation_line(progress)));
    }
    if let Some(tokens) = cluster.root_ca.as_ref().and_then(|root| root.join_tokens.as_ref()) {
        columns.line("  Join Tokens:");
        columns.line(format!("    Worker: {}", tokens.worker));
        columns.line(format!("    Manager: {}", tokens.manager));
    }
    if let Some(driver) = spec.task_defaults.and_then(|defaults| defaults.log_driver) {
        columns.field("Default Log Driver", &driver.name);
        for (key, value) in &driver.options {
            columns.field(&format!("  {key}"), value);
        }
    }
    columns
}

/// The line of `cluster unlock-key`; without a key managers are not locked. As upstream, but for the end of the second.
#[must_use]
pub fn unlock_key(key: Option<&UnlockKey>) -> String {
    match key {
        Some(key) => format!("Managers auto-locked.  Unlock key: {}\n", *key.to_text()),
        None => "Managers not auto-locked\n".to_owned(),
    }
}

fn duration(duration: &prost_types::Duration) -> String {
    format_duration(Duration::try_from(*duration).unwrap_or_default())
}

fn name(cluster: &wire::Cluster) -> &str {
    let annotations = cluster.spec.as_ref().and_then(|spec| spec.annotations.as_ref());
    annotations.map(|annotations| annotations.name.as_str()).unwrap_or_default()
}
