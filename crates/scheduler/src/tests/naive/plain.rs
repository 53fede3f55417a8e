//! What one task asks for, what one node has, and what is said: read off the objects.

use swarmkit_api::{Node, Task, TaskState, wire};
use wire::{generic_resource::Resource, placement_preference::Preference, port_config::PublishMode};

use super::Filter;

/// Whether a task waits to be placed or confirmed, and is still wanted.
pub(in crate::tests) fn waits(task: &Task) -> bool {
    task.status.state == TaskState::Pending && is_wanted(task)
}

pub(super) fn is_wanted(task: &Task) -> bool {
    task.desired_state <= TaskState::Complete
}

pub(super) fn is_open(node: &Node) -> bool {
    node.status.state() == wire::node_status::State::Ready
        && node.spec.availability() == wire::node_spec::Availability::Active
}

pub(super) fn described(node: &Node) -> wire::Resources {
    node.description.as_ref().and_then(|description| description.resources.clone()).unwrap_or_default()
}

pub(super) fn reserved(task: &Task) -> wire::Resources {
    task.spec.resources.clone().and_then(|resources| resources.reservations).unwrap_or_default()
}

pub(super) fn kind(unit: &wire::GenericResource) -> &str {
    match unit.resource.as_ref().expect("a unit is something") {
        Resource::NamedResourceSpec(unit) => &unit.kind,
        Resource::DiscreteResourceSpec(unit) => &unit.kind,
    }
}

pub(super) fn count(unit: &wire::GenericResource) -> i64 {
    match unit.resource.as_ref().expect("a unit is something") {
        Resource::NamedResourceSpec(_) => 1,
        Resource::DiscreteResourceSpec(unit) => unit.value,
    }
}

pub(super) fn name(unit: &wire::GenericResource) -> Option<&str> {
    match unit.resource.as_ref().expect("a unit is something") {
        Resource::NamedResourceSpec(unit) => Some(&unit.value),
        Resource::DiscreteResourceSpec(_) => None,
    }
}

pub(super) fn mounts(spec: &wire::TaskSpec) -> Vec<wire::Mount> {
    match &spec.runtime {
        Some(wire::task_spec::Runtime::Container(container)) => container.mounts.clone(),
        _ => Vec::new(),
    }
}

pub(super) fn host_ports(task: &Task) -> Vec<(i32, u32)> {
    let ports = task.endpoint.iter().flat_map(|endpoint| &endpoint.ports);
    let ports = ports.filter(|port| port.publish_mode() == PublishMode::Host && port.published_port != 0);
    ports.map(|port| (port.protocol, port.published_port)).collect()
}

pub(super) fn has_plugins(task: &Task, node: &Node) -> bool {
    let mut wanted = Vec::new();
    for mount in mounts(&task.spec).iter().filter(|mount| mount.r#type() == wire::mount::Type::Volume) {
        let driver = mount.volume_options.as_ref().and_then(|options| options.driver_config.as_ref());
        wanted.extend(
            driver
                .filter(|driver| !["", "local"].contains(&&*driver.name))
                .map(|driver| ("Volume", driver.name.clone())),
        );
    }
    for network in task.networks.iter().filter_map(|attachment| attachment.network.as_ref()) {
        wanted.extend(network.driver_state.iter().map(|driver| ("Network", driver.name.clone())));
    }
    let logs = task.spec.log_driver.iter().filter(|driver| !["", "none"].contains(&&*driver.name));
    wanted.extend(logs.map(|driver| ("Log", driver.name.clone())));
    let Some(engine) = node.description.as_ref().and_then(|description| description.engine.as_ref()) else {
        return true;
    };
    let offers = |class: &str, name: &str| {
        engine
            .plugins
            .iter()
            .any(|plugin| plugin.r#type == class && (plugin.name == name || plugin.name == format!("{name}:latest")))
    };
    let lists_logs = engine.plugins.iter().any(|plugin| plugin.r#type == "Log");
    wanted.iter().all(|(class, name)| (*class == "Log" && !lists_logs) || offers(class, name))
}

/// A node that lists no executors runs containers.
pub(super) fn runs_kind(spec: &wire::TaskSpec, node: &Node) -> bool {
    let plugins =
        node.description.iter().flat_map(|description| &description.engine).flat_map(|engine| &engine.plugins);
    let kinds: Vec<&str> = plugins.filter(|plugin| plugin.r#type == "Executor").map(|plugin| &*plugin.name).collect();
    let Some(wanted) = kind_of(spec) else { return true };
    if kinds.is_empty() { wanted == "container" } else { kinds.contains(&wanted) }
}

fn kind_of(spec: &wire::TaskSpec) -> Option<&'static str> {
    match &spec.runtime {
        Some(wire::task_spec::Runtime::Container(spec)) if spec.image.starts_with("swarmkit.process/host") => {
            Some("process")
        }
        Some(wire::task_spec::Runtime::Container(_)) => Some("container"),
        _ => None,
    }
}

pub(super) fn is_on_platform(wanted: &[wire::Platform], node: &Node) -> bool {
    let same = |a: &str, b: &str| {
        let one_name = |name: &str| name.replace("x86_64", "amd64").replace("aarch64", "arm64");
        one_name(a) == one_name(b)
    };
    let actual = node.description.as_ref().and_then(|description| description.platform.as_ref());
    wanted.is_empty()
        || wanted.iter().any(|wanted| {
            actual.is_some_and(|actual| {
                (wanted.os.is_empty() || wanted.os == actual.os)
                    && (wanted.architecture.is_empty() || same(&wanted.architecture, &actual.architecture))
            })
        })
}

/// A constraint over the keys that the random worlds use.
pub(super) fn holds(constraint: &str, node: &Node) -> bool {
    let (key, equal, value) = match (constraint.split_once("=="), constraint.split_once("!=")) {
        (Some((key, value)), _) => (key.trim(), true, value.trim()),
        (None, Some((key, value))) => (key.trim(), false, value.trim()),
        (None, None) => return false,
    };
    let description = node.description.as_deref().cloned().unwrap_or_default();
    let actual = match key {
        "node.id" => node.id.to_string(),
        "node.hostname" => description.hostname,
        "node.role" => if node.role == wire::NodeRole::Manager { "manager" } else { "worker" }.to_owned(),
        "node.platform.os" => description.platform.unwrap_or_default().os,
        _ => match Level::parse(key) {
            Some(label) => label.of(node),
            None => return false,
        },
    };
    (actual.to_lowercase() == value.to_lowercase()) == equal
}

/// A label to spread over.
pub(super) struct Level {
    of_engine: bool,
    label: String,
}

impl Level {
    fn parse(key: &str) -> Option<Self> {
        let (node, engine) = (key.strip_prefix("node.labels."), key.strip_prefix("engine.labels."));
        Some(Self { of_engine: engine.is_some(), label: node.or(engine)?.to_owned() })
    }

    pub(super) fn of(&self, node: &Node) -> String {
        let labels = if self.of_engine {
            let engine = node.description.as_ref().and_then(|description| description.engine.clone());
            engine.unwrap_or_default().labels
        } else {
            node.spec.annotations.clone().unwrap_or_default().labels
        };
        labels.get(&self.label).cloned().unwrap_or_default()
    }
}

pub(super) fn levels(task: &Task) -> Vec<Level> {
    let preferences = task.spec.placement.clone().unwrap_or_default().preferences;
    let descriptor = |preference: wire::PlacementPreference| match preference.preference {
        Some(Preference::Spread(spread)) => Level::parse(&spread.spread_descriptor),
        None => None,
    };
    preferences.into_iter().filter_map(descriptor).collect()
}

pub(super) fn text(filter: Filter, count: usize, nodes: usize, task: &Task) -> String {
    let on = if count == 1 { "1 node".to_owned() } else { format!("{count} nodes") };
    let kind = kind_of(&task.spec).unwrap_or_default();
    match filter {
        Filter::Ready => format!("{on} not available for new tasks"),
        Filter::Resources => format!("insufficient resources on {on}"),
        Filter::Plugin => format!("missing plugin on {on}"),
        Filter::Executor if count == nodes => format!("no node runs {kind} tasks"),
        Filter::Executor if count == 1 => format!("1 node does not run {kind} tasks"),
        Filter::Executor => format!("{on} do not run {kind} tasks"),
        Filter::Constraint => format!("scheduling constraints not satisfied on {on}"),
        Filter::Platform => format!("unsupported platform on {on}"),
        Filter::HostPort => format!("host-mode port already in use on {on}"),
        Filter::MaxReplicas => "max replicas per node limit exceed".to_owned(),
        Filter::Volume => format!("cannot fulfill requested CSI volume mounts on {on}"),
    }
}
