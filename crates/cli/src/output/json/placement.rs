//! Which of the nodes that can run a task gets it.

use serde::Serialize;
use swarmkit_api::wire::{
    ServiceSpec,
    swarmkit::scheduling::v1::{self, ServiceScheduling},
};

use crate::output::{placement::strategy, preferences};

/// What a service says about it.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Placement {
    /// `null`: as the cluster says.
    strategy: Option<&'static str>,
    affinities: Vec<Affinity>,
    preferences: Vec<String>,
}

#[derive(Clone, Debug, Serialize)]
struct Affinity {
    service: String,
    /// `NEAR` or `APART`.
    direction: &'static str,
    /// A label; empty is the node.
    scope: String,
    required: bool,
}

impl Placement {
    pub(super) fn new(spec: &ServiceSpec) -> Self {
        let ServiceScheduling { strategy: number, affinities, .. } = spec.scheduling.clone().unwrap_or_default();
        Self {
            strategy: strategy(v1::Strategy::try_from(number).unwrap_or_default()),
            affinities: affinities.into_iter().map(Affinity::new).collect(),
            preferences: preferences(spec.task.as_ref().and_then(|task| task.placement.as_ref())),
        }
    }
}

impl Affinity {
    fn new(affinity: v1::Affinity) -> Self {
        let direction = affinity.direction().as_str_name();
        Self { service: affinity.service, direction, scope: affinity.scope, required: affinity.required }
    }
}
