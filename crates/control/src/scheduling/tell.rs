//! What the scheduler says, in the words of the wire.

use swarmkit_api::wire::swarmkit::scheduling::v1::{
    self as wire, Filter, explanation,
    need::{self, Condition, Constraint, HostPort, Platform, Plugin, Shortage, Volume},
};
use swarmkit_scheduler::{Explanation, Lack, Need, NodeRefusal, Reason, Refusal, Standing};

/// All that is said of a task.
pub(super) fn explanation(told: Explanation) -> wire::Explanation {
    let left_out = (told.nodes - told.open).saturating_sub(told.refused.len());
    wire::Explanation {
        standing: standing(told.standing).into(),
        message: told.message,
        nodes: told.nodes as u64,
        open: told.open as u64,
        refusals: told.refusals.into_iter().map(refusal).collect(),
        refused: told.refused.into_iter().map(of_node).collect(),
        refused_left_out: left_out as u64,
    }
}

fn standing(standing: Standing) -> explanation::Standing {
    match standing {
        Standing::Unallocated => explanation::Standing::Unallocated,
        Standing::Waiting => explanation::Standing::Waiting,
        Standing::Bound => explanation::Standing::Bound,
        Standing::Placed => explanation::Standing::Placed,
        Standing::Stopped => explanation::Standing::Stopped,
        Standing::Over => explanation::Standing::Over,
    }
}

fn filter(reason: Reason) -> Filter {
    match reason {
        Reason::Unavailable => Filter::Ready,
        Reason::Resources => Filter::Resources,
        Reason::Plugin => Filter::Plugin,
        Reason::Executor => Filter::Executor,
        Reason::Constraint => Filter::Constraint,
        Reason::Platform => Filter::Platform,
        Reason::HostPort => Filter::HostPort,
        Reason::MaxReplicas => Filter::MaxReplicas,
        Reason::Volume => Filter::Volume,
        Reason::Affinity(_) => Filter::Affinity,
    }
}

fn refusal(refusal: Refusal) -> wire::Refusal {
    wire::Refusal {
        filter: filter(refusal.reason).into(),
        nodes: refusal.nodes as u64,
        message: refusal.message,
        needs: refusal.needs.into_iter().map(need).collect(),
        needs_left_out: refusal.needs_left_out as u64,
    }
}

fn of_node(refusal: NodeRefusal) -> wire::NodeRefusal {
    let lacks: Vec<_> = refusal.lacks.iter().map(ToString::to_string).collect();
    wire::NodeRefusal {
        node_id: refusal.node.to_string(),
        filter: filter(refusal.reason).into(),
        message: lacks.join("; "),
    }
}

fn need(told: Need) -> wire::Need {
    let message = told.lack.to_string();
    let need = match told.lack {
        Lack::Condition { state, availability } => need::Need::Condition(Condition {
            state: state.as_str_name().to_owned(),
            availability: availability.as_str_name().to_owned(),
        }),
        Lack::Resource(short) => need::Need::Shortage(Shortage {
            resource: short.resource,
            asked: short.wanted,
            most_free: short.free,
            node_id: told.node.to_string(),
        }),
        Lack::Plugin { class, name } => need::Need::Plugin(Plugin { r#type: class.to_owned(), name }),
        Lack::Kind(kind) => need::Need::Executor(kind),
        Lack::Constraint { expression, error } => {
            need::Need::Constraint(Constraint { expression, error: error.unwrap_or_default() })
        }
        Lack::Platform { os, architecture } => need::Need::Platform(Platform { os, architecture }),
        Lack::Port { protocol, port, held_by } => {
            let (task, service) = held_by.map_or_else(Default::default, |(task, service)| {
                (task.to_string(), service.map(|service| service.to_string()).unwrap_or_default())
            });
            let protocol = protocol.as_str_name().to_lowercase();
            need::Need::HostPort(HostPort { protocol, port, task_id: task, service_id: service })
        }
        Lack::MaxReplicas(most) => need::Need::MaxReplicas(most),
        Lack::Volume { source, target } => need::Need::Volume(Volume { source, target }),
        Lack::Affinity { service, direction, scope, is_asked_of: _ } => {
            need::Need::Affinity(wire::Affinity { service, direction: direction.into(), scope, required: true })
        }
    };
    wire::Need { nodes: told.nodes as u64, message, need: Some(need) }
}
