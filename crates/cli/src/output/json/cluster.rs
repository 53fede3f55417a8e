//! The cluster.

use serde::Serialize;
use swarmkit_api::wire::{self, swarmkit::exec::v1::exec_settings::Policy};
use swarmkit_issuer::{Laggard, Progress};

use super::{Rebalance, millis, time};
use crate::output::placement::strategy;

/// The cluster. Join tokens are part of it: whoever may call the control socket may read them.
#[derive(Clone, Serialize)]
pub struct Cluster {
    id: String,
    name: String,
    task_history_limit: i64,
    rebalance: Option<Rebalance>,
    /// `null`: spread.
    strategy: Option<&'static str>,
    /// Whether commands may be run in tasks: `allow` or `deny`.
    exec: &'static str,
    heartbeat_period_ms: Option<u64>,
    node_cert_expiry_ms: Option<u64>,
    auto_lock: bool,
    worker_join_token: String,
    manager_join_token: String,
    root_rotation: Option<Rotation>,
    version: u64,
    created_at: Option<String>,
    updated_at: Option<String>,
}

impl Cluster {
    /// The JSON form of the cluster. How far a replacement of its root has got is told where it is inspected.
    #[must_use]
    pub fn new(cluster: &wire::Cluster, rotation: Option<&Progress>) -> Self {
        let spec = cluster.spec.clone().unwrap_or_default();
        let tokens = cluster.root_ca.as_ref().and_then(|root| root.join_tokens.clone()).unwrap_or_default();
        let orchestration = spec.orchestration.unwrap_or_default();
        let meta = cluster.meta.unwrap_or_default();
        Self {
            id: cluster.id.clone(),
            name: spec.annotations.unwrap_or_default().name,
            task_history_limit: orchestration.task_history_retention_limit,
            rebalance: orchestration.rebalance.as_ref().map(Rebalance::new),
            strategy: spec.scheduling.and_then(|scheduling| strategy(scheduling.strategy())),
            exec: match spec.exec.unwrap_or_default().policy() {
                Policy::Allow => "allow",
                Policy::Deny => "deny",
            },
            heartbeat_period_ms: millis(spec.dispatcher.unwrap_or_default().heartbeat_period.as_ref()),
            node_cert_expiry_ms: millis(spec.ca_config.unwrap_or_default().node_cert_expiry.as_ref()),
            auto_lock: spec.encryption_config.unwrap_or_default().auto_lock_managers,
            worker_join_token: tokens.worker,
            manager_join_token: tokens.manager,
            root_rotation: rotation.map(Rotation::new),
            version: meta.version.unwrap_or_default().index,
            created_at: time(meta.created_at.as_ref()),
            updated_at: time(meta.updated_at.as_ref()),
        }
    }
}

/// How far a replacement of the root has got. Nodes are named by their ids.
#[derive(Clone, Serialize)]
struct Rotation {
    nodes: usize,
    converged: usize,
    waiting: Vec<String>,
    down: Vec<String>,
}

impl Rotation {
    fn new(progress: &Progress) -> Self {
        let ids = |of: &[Laggard]| of.iter().map(|laggard| laggard.id.clone()).collect();
        Self {
            nodes: progress.total(),
            converged: progress.converged,
            waiting: ids(&progress.waiting),
            down: ids(&progress.down),
        }
    }
}

/// What opens the keys of locked managers.
#[derive(Serialize)]
pub struct UnlockKey {
    auto_lock: bool,
    unlock_key: Option<String>,
}

impl UnlockKey {
    /// The JSON form of the key; without one managers are not locked.
    #[must_use]
    pub fn new(key: Option<&swarmkit_ca::UnlockKey>) -> Self {
        Self { auto_lock: key.is_some(), unlock_key: key.map(|key| key.to_text().as_str().to_owned()) }
    }
}
