//! What exactly a node lacks that refuses a task: which need, and how much of it is there.
//!
//! That a node refuses is decided by the filters alone. This looks at such a node again, for the reason that it gave, and
//! asks the same questions one by one.

use std::fmt;

use swarmkit_api::{
    Node, ServiceId, Task, TaskId,
    constraint::Constraint,
    resources::{CPU, MEMORY, Reserved, Shortage},
    wire::{
        Resources, node_spec::Availability, node_status, port_config::Protocol,
        swarmkit::scheduling::v1::affinity::Direction,
    },
};
use swarmkit_store::{State, TaskBy};

use crate::{
    affinity::Tie,
    books::{host_ports, wanted},
    filter::{has_plugin, kind, plugins},
    reasons::Reason,
    volumes::{Volumes, cluster_mounts},
    world::is_placed,
};

/// One thing that a node lacks. Its text completes "the node …".
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lack {
    /// It is in this state, and takes no new tasks.
    Condition {
        /// What it was last known to be.
        state: node_status::State,
        /// What it is to be used for.
        availability: Availability,
    },
    /// It has too little of something left.
    Resource(Shortage),
    /// It has no such plugin.
    Plugin {
        /// `Volume`, `Network` or `Log`.
        class: &'static str,
        /// Its name.
        name: String,
    },
    /// It does not run tasks of this kind.
    Kind(String),
    /// It does not satisfy this placement constraint.
    Constraint {
        /// As it was written.
        expression: String,
        /// Why it cannot be read, if so.
        error: Option<String>,
    },
    /// It is of this platform, which is not among those listed. What it did not tell is empty.
    Platform {
        /// Operating system.
        os: String,
        /// Architecture.
        architecture: String,
    },
    /// A port of it is taken.
    Port {
        /// Of which protocol.
        protocol: Protocol,
        /// Which port.
        port: u32,
        /// The task that has it, and that one's service.
        held_by: Option<(TaskId, Option<ServiceId>)>,
    },
    /// It has as many tasks of the service as it may have.
    MaxReplicas(u64),
    /// It cannot mount this cluster volume.
    Volume {
        /// The name of a volume, or `group:` and that of a group.
        source: String,
        /// Where it is to be mounted.
        target: String,
    },
    /// It is not where tasks have to be that are near to, or apart from, those of a service.
    Affinity {
        /// Name of the service.
        service: String,
        /// Near, or apart.
        direction: Direction,
        /// The label by which places are told apart; empty is the node.
        scope: String,
        /// Whether it is the other service that has to be apart.
        is_asked_of: bool,
    },
}

impl Lack {
    /// What a node does not give of what binds tasks to others.
    pub(crate) fn of_tie(tie: &Tie<'_>) -> Self {
        let scope = tie.affinity.scope.as_ref().map(ToString::to_string).unwrap_or_default();
        let direction = tie.affinity.direction;
        Self::Affinity { service: tie.name.to_owned(), direction, scope, is_asked_of: tie.is_asked_of }
    }

    /// Whether two nodes lack the same, however much of it each has.
    #[must_use]
    pub fn is_alike(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Resource(one), Self::Resource(other)) => {
                (&one.resource, one.wanted) == (&other.resource, other.wanted)
            }
            (Self::Port { protocol, port, .. }, Self::Port { protocol: other_protocol, port: other_port, .. }) => {
                (protocol, port) == (other_protocol, other_port)
            }
            (one, other) => one == other,
        }
    }
}

/// What a node that refuses a task for a reason lacks; each thing, not only the first.
pub(crate) fn lacks(state: &State, volumes: &Volumes, task: &Task, node: &Node, reason: Reason) -> Vec<Lack> {
    match reason {
        Reason::Unavailable => {
            vec![Lack::Condition { state: node.status.state(), availability: node.spec.availability() }]
        }
        Reason::Resources => wanted(task).map_or_else(Vec::new, |wanted| shortages(state, node, wanted)),
        Reason::Plugin => {
            let missing = plugins(task).into_iter().filter(|(class, name)| !has_plugin(node, class, name));
            missing.map(|(class, name)| Lack::Plugin { class, name }).collect()
        }
        Reason::Executor => kind(&task.spec).map(Lack::Kind).into_iter().collect(),
        Reason::Constraint => constraints(task, node),
        Reason::Platform => {
            let description = node.description.as_deref();
            let platform = description.and_then(|description| description.platform.clone()).unwrap_or_default();
            vec![Lack::Platform { os: platform.os, architecture: platform.architecture }]
        }
        Reason::HostPort => ports(state, task, node),
        Reason::MaxReplicas => {
            let most = task.spec.placement.as_ref().map_or(0, |placement| placement.max_replicas);
            vec![Lack::MaxReplicas(most)]
        }
        // Who asks knows what binds the task.
        Reason::Affinity(_) => Vec::new(),
        Reason::Volume => {
            let mounts: Vec<_> = cluster_mounts(&task.spec).collect();
            let lack = volumes
                .choose(&mounts, node)
                .err()
                .map(|mount| Lack::Volume { source: mount.source.to_string(), target: mount.target.clone() });
            lack.into_iter().collect()
        }
    }
}

/// The tasks that are booked on a node.
fn on<'s>(state: &'s State, node: &'s Node) -> impl Iterator<Item = &'s Task> {
    state.find(TaskBy::Node(Some(&node.id))).map(AsRef::as_ref).filter(|task| is_placed(task))
}

fn shortages(state: &State, node: &Node, wanted: &Resources) -> Vec<Lack> {
    let mut reserved = Reserved::default();
    on(state, node).for_each(|task| reserved.add(task));
    let nothing = Resources::default();
    let described = node.description.as_deref().and_then(|description| description.resources.as_ref());
    reserved.shortages(described.unwrap_or(&nothing), wanted).into_iter().map(Lack::Resource).collect()
}

/// If one of the constraints cannot be read, that is what all nodes lack.
fn constraints(task: &Task, node: &Node) -> Vec<Lack> {
    let expressions = task.spec.placement.iter().flat_map(|placement| &placement.constraints);
    let read: Vec<_> = expressions.map(|expression| (expression, Constraint::parse(expression))).collect();
    let lack = |expression: &String, error| Lack::Constraint { expression: expression.clone(), error };
    let unread =
        read.iter().filter_map(|(expression, read)| Some(lack(expression, Some(read.as_ref().err()?.to_string()))));
    let unread: Vec<_> = unread.collect();
    if !unread.is_empty() {
        return unread;
    }
    let fails = |constraint: &Constraint| !constraint.matches(node);
    let failing = read.iter().filter(|(_, read)| read.as_ref().is_ok_and(fails));
    failing.map(|(expression, _)| lack(expression, None)).collect()
}

fn ports(state: &State, task: &Task, node: &Node) -> Vec<Lack> {
    let holder = |port| on(state, node).find(|other| host_ports(other).any(|theirs| theirs == port));
    host_ports(task)
        .filter_map(|port| {
            let holder = holder(port)?;
            let held_by = Some((holder.id.clone(), holder.service_id.clone()));
            Some(Lack::Port { protocol: port.0, port: port.1, held_by })
        })
        .collect()
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Condition { state: node_status::State::Ready, availability: Availability::Drain } => {
                f.write_str("is drained")
            }
            Self::Condition { state: node_status::State::Ready, .. } => f.write_str("is paused"),
            Self::Condition { state: node_status::State::Unknown, .. } => f.write_str("was not heard of yet"),
            Self::Condition { state: node_status::State::Down, .. } => f.write_str("is down"),
            Self::Condition { state: node_status::State::Disconnected, .. } => f.write_str("is disconnected"),
            Self::Resource(short) => {
                let Shortage { resource, wanted, free } = short;
                write!(
                    f,
                    "has {} left of the {} that a task reserves",
                    amount(resource, *free),
                    amount(resource, *wanted)
                )
            }
            Self::Plugin { class, name } => write!(f, "has no {} plugin {name}", class.to_lowercase()),
            Self::Kind(kind) => write!(f, "does not run {kind} tasks"),
            Self::Constraint { expression, error: None } => write!(f, "does not satisfy {expression}"),
            Self::Constraint { expression, error: Some(error) } => {
                write!(f, "cannot satisfy what cannot be read: {expression}: {error}")
            }
            Self::Platform { os, architecture } => {
                let known = |part: &'_ str| if part.is_empty() { "?".to_owned() } else { part.to_owned() };
                write!(f, "is {}/{}", known(os), known(architecture))
            }
            Self::Port { protocol, port, held_by } => {
                write!(f, "has port {port}/{} taken", protocol.as_str_name().to_lowercase())?;
                held_by.as_ref().map_or(Ok(()), |(task, _)| write!(f, " by task {task}"))
            }
            Self::MaxReplicas(1) => f.write_str("has a task of the service, and may have 1"),
            Self::MaxReplicas(most) => write!(f, "has as many tasks of the service as it may have: {most}"),
            Self::Affinity { service, direction, scope, is_asked_of } => {
                match (direction, scope.as_str()) {
                    (Direction::Near, "") => write!(f, "has no task of service {service}"),
                    (Direction::Near, label) => write!(f, "shares no {label} with a task of service {service}"),
                    (Direction::Apart, "") => write!(f, "has a task of service {service}"),
                    (Direction::Apart, label) => write!(f, "shares its {label} with a task of service {service}"),
                }?;
                if *is_asked_of { f.write_str(", which has to be apart") } else { Ok(()) }
            }
            Self::Volume { source, target } => write!(f, "cannot mount {source} at {target}"),
        }
    }
}

/// So much of a resource, in the unit that people use for it.
fn amount(resource: &str, of: i64) -> String {
    const STEPS: [(&str, i64); 4] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

    match resource {
        MEMORY => match STEPS.iter().find(|(_, step)| of.saturating_abs() >= *step) {
            Some((unit, step)) => format!("{} {unit} of memory", tenths(of, *step)),
            None => format!("{of} B of memory"),
        },
        CPU => format!("{} processors", thousandths(of)),
        kind => format!("{of} {kind}"),
    }
}

/// A quotient with one decimal, rounded towards zero, without it when it is 0.
fn tenths(of: i64, step: i64) -> String {
    let tenths = (i128::from(of) * 10) / i128::from(step);
    let sign = if tenths < 0 { "-" } else { "" };
    match tenths.abs() % 10 {
        0 => format!("{}", tenths / 10),
        tenth => format!("{sign}{}.{tenth}", tenths.abs() / 10),
    }
}

/// Processors, from billionths of one.
fn thousandths(nano: i64) -> String {
    let milli = nano / 1_000_000;
    let sign = if milli < 0 { "-" } else { "" };
    let text = format!("{sign}{}.{:03}", milli.abs() / 1000, milli.abs() % 1000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
