//! Why tasks wait, and what would become of services.

use serde::Serialize;
use swarmkit_api::wire::swarmkit::scheduling::v1::{self as wire, need};

use crate::output::{Names, WaitingTasks};

/// Why a task waits.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    standing: &'static str,
    message: String,
    nodes: u64,
    open: u64,
    refusals: Vec<Refusal>,
    refused: Vec<NodeRefusal>,
    refused_left_out: u64,
}

#[derive(Clone, Debug, Serialize)]
struct Refusal {
    filter: &'static str,
    nodes: u64,
    message: String,
    needs: Vec<Need>,
    needs_left_out: u64,
}

#[derive(Clone, Debug, Serialize)]
struct Need {
    nodes: u64,
    message: String,
    #[serde(flatten)]
    detail: Option<Detail>,
}

/// What the need is, under a key of its kind.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Detail {
    Condition { state: String, availability: String },
    Shortage { resource: String, asked: i64, most_free: i64, node_id: String },
    Plugin { r#type: String, name: String },
    Executor { kind: String },
    Constraint { expression: String, error: String },
    Platform { os: String, architecture: String },
    HostPort { protocol: String, port: u32, task_id: String, service_id: String },
    MaxReplicas { limit: u64 },
    Volume { source: String, target: String },
    Affinity { service: String, direction: &'static str, scope: String },
}

#[derive(Clone, Debug, Serialize)]
struct NodeRefusal {
    node_id: String,
    node: String,
    filter: &'static str,
    message: String,
}

/// Tasks of a service that wait for the same.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Waiting {
    tasks: u64,
    message: String,
    explanation: Option<Explanation>,
}

/// What would become of a service.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    waits_for: String,
    created: u64,
    kept: u64,
    replaced: u64,
    given_up: u64,
    placements: Vec<Placement>,
    placements_left_out: u64,
    waits: Vec<Waiting>,
    nodes: Option<Explanation>,
    preempted: Vec<Preempted>,
    version: u64,
}

#[derive(Clone, Debug, Serialize)]
struct Placement {
    node_id: String,
    node: String,
    created: u64,
    kept: u64,
}

#[derive(Clone, Debug, Serialize)]
struct Preempted {
    task_id: String,
    service_id: String,
    node_id: String,
}

impl Explanation {
    /// The JSON form of an explanation.
    #[must_use]
    pub fn new(told: &wire::Explanation, names: &Names) -> Self {
        let refused = told.refused.iter().map(|one| NodeRefusal {
            node_id: one.node_id.clone(),
            node: names.node(&one.node_id).to_owned(),
            filter: one.filter().as_str_name(),
            message: one.message.clone(),
        });
        Self {
            standing: told.standing().as_str_name(),
            message: told.message.clone(),
            nodes: told.nodes,
            open: told.open,
            refusals: told.refusals.iter().map(Refusal::new).collect(),
            refused: refused.collect(),
            refused_left_out: told.refused_left_out,
        }
    }
}

impl Refusal {
    fn new(refusal: &wire::Refusal) -> Self {
        let need = |need: &wire::Need| Need {
            nodes: need.nodes,
            message: need.message.clone(),
            detail: need.need.clone().map(Detail::new),
        };
        Self {
            filter: refusal.filter().as_str_name(),
            nodes: refusal.nodes,
            message: refusal.message.clone(),
            needs: refusal.needs.iter().map(need).collect(),
            needs_left_out: refusal.needs_left_out,
        }
    }
}

impl Detail {
    fn new(need: need::Need) -> Self {
        match need {
            need::Need::Condition(one) => Self::Condition { state: one.state, availability: one.availability },
            need::Need::Shortage(one) => Self::Shortage {
                resource: one.resource,
                asked: one.asked,
                most_free: one.most_free,
                node_id: one.node_id,
            },
            need::Need::Plugin(one) => Self::Plugin { r#type: one.r#type, name: one.name },
            need::Need::Executor(kind) => Self::Executor { kind },
            need::Need::Constraint(one) => Self::Constraint { expression: one.expression, error: one.error },
            need::Need::Platform(one) => Self::Platform { os: one.os, architecture: one.architecture },
            need::Need::HostPort(one) => Self::HostPort {
                protocol: one.protocol,
                port: one.port,
                task_id: one.task_id,
                service_id: one.service_id,
            },
            need::Need::MaxReplicas(limit) => Self::MaxReplicas { limit },
            need::Need::Volume(one) => Self::Volume { source: one.source, target: one.target },
            need::Need::Affinity(one) => {
                let direction = one.direction().as_str_name();
                Self::Affinity { service: one.service, direction, scope: one.scope }
            }
        }
    }
}

impl Waiting {
    pub(super) fn new(group: &WaitingTasks, names: &Names) -> Self {
        let explanation = group.explanation.as_ref().map(|told| Explanation::new(told, names));
        Self { tasks: group.tasks, message: group.message.clone(), explanation }
    }
}

impl Plan {
    /// The JSON form of a plan.
    #[must_use]
    pub fn new(plan: &wire::PlanResponse, names: &Names) -> Self {
        let placement = |one: &wire::Placement| Placement {
            node_id: one.node_id.clone(),
            node: names.node(&one.node_id).to_owned(),
            created: one.created,
            kept: one.kept,
        };
        let wait = |one: &wire::Wait| Waiting {
            tasks: one.tasks,
            message: one.explanation.as_ref().map(|told| told.message.clone()).unwrap_or_default(),
            explanation: one.explanation.as_ref().map(|told| Explanation::new(told, names)),
        };
        let preempted = |one: &wire::Preempted| Preempted {
            task_id: one.task_id.clone(),
            service_id: one.service_id.clone(),
            node_id: one.node_id.clone(),
        };
        Self {
            waits_for: plan.waits_for.clone(),
            created: plan.created,
            kept: plan.kept,
            replaced: plan.replaced,
            given_up: plan.given_up,
            placements: plan.placements.iter().map(placement).collect(),
            placements_left_out: plan.placements_left_out,
            waits: plan.waits.iter().map(wait).collect(),
            nodes: plan.nodes.as_ref().map(|told| Explanation::new(told, names)),
            preempted: plan.preempted.iter().map(preempted).collect(),
            version: plan.version,
        }
    }
}
