//! The `deploy` section of a service.

use std::{collections::BTreeMap, time::Duration};

use swarmkit_api::wire::{
    self,
    endpoint_spec::ResolutionMode,
    restart_policy::RestartCondition,
    service_spec,
    update_config::{FailureAction, UpdateOrder},
};

use super::{
    reader::{Fields, Reader},
    service::string_map,
    tree::{Node, Value},
};
use crate::units::{parse_duration, parse_memory, parse_processors, to_wire_duration};

/// What the section says, by where it goes in the specification.
#[derive(Debug, Default)]
pub(super) struct Deploy {
    pub(super) mode: Option<service_spec::Mode>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) resources: Option<wire::ResourceRequirements>,
    pub(super) pids_limit: i64,
    pub(super) restart: Option<wire::RestartPolicy>,
    pub(super) update: Option<wire::UpdateConfig>,
    pub(super) rollback: Option<wire::UpdateConfig>,
    pub(super) placement: Option<wire::Placement>,
    pub(super) endpoint_mode: Option<ResolutionMode>,
}

#[derive(Clone, Copy, Default, PartialEq)]
enum Mode {
    #[default]
    Replicated,
    Global,
    ReplicatedJob,
    GlobalJob,
}

const MODES: [(&str, Mode); 4] = [
    ("replicated", Mode::Replicated),
    ("global", Mode::Global),
    ("replicated-job", Mode::ReplicatedJob),
    ("global-job", Mode::GlobalJob),
];

pub(super) fn read(reader: &mut Reader<'_>, node: Node, path: &str) -> Deploy {
    let mut fields = reader.fields(node, path);
    let mut deploy = Deploy { mode: Some(read_mode(reader, &mut fields)), ..Deploy::default() };
    if let Some((node, path)) = fields.take("labels") {
        deploy.labels = string_map(reader, node, &path);
    }
    if let Some((node, path)) = fields.take("resources") {
        (deploy.resources, deploy.pids_limit) = read_resources(reader, node, &path);
    }
    deploy.restart = fields.take("restart_policy").map(|(node, path)| read_restart(reader, node, &path));
    deploy.update = fields.take("update_config").map(|(node, path)| read_update(reader, node, &path, true));
    deploy.rollback = fields.take("rollback_config").map(|(node, path)| read_update(reader, node, &path, false));
    deploy.placement = fields.take("placement").map(|(node, path)| read_placement(reader, node, &path));
    deploy.endpoint_mode = fields.take("endpoint_mode").and_then(|(node, path)| {
        reader.word(&node, &path, &[("vip", ResolutionMode::Vip), ("dnsrr", ResolutionMode::Dnsrr)])
    });
    reader.finish(fields, &[]);
    deploy
}

fn read_mode(reader: &mut Reader<'_>, fields: &mut Fields) -> service_spec::Mode {
    let mode = fields.take("mode").and_then(|(node, path)| reader.word(&node, &path, &MODES)).unwrap_or_default();
    let replicas = fields.take_entry("replicas").and_then(|entry| {
        if matches!(mode, Mode::Global | Mode::GlobalJob) {
            let path = &fields.path;
            reader.error(entry.at, format!("{path}.replicas has no meaning when {path}.mode is global"));
        }
        reader.value(&entry.node, &fields.path_of("replicas"), parse_count)
    });
    let replicas = replicas.unwrap_or(1);
    if matches!(mode, Mode::ReplicatedJob | Mode::GlobalJob)
        && let Some(at) = fields.place_of("update_config")
    {
        reader.error(at, format!("{} has no meaning for a job", fields.path_of("update_config")));
    }
    match mode {
        Mode::Replicated => service_spec::Mode::Replicated(wire::ReplicatedService { replicas }),
        Mode::Global => service_spec::Mode::Global(wire::GlobalService {}),
        Mode::ReplicatedJob => service_spec::Mode::ReplicatedJob(wire::ReplicatedJob {
            max_concurrent: replicas,
            total_completions: replicas,
        }),
        Mode::GlobalJob => service_spec::Mode::GlobalJob(wire::GlobalJob {}),
    }
}

fn read_resources(reader: &mut Reader<'_>, node: Node, path: &str) -> (Option<wire::ResourceRequirements>, i64) {
    let mut fields = reader.fields(node, path);
    let mut pids_limit = 0;
    let limits = fields.take("limits").map(|(node, path)| {
        let mut fields = reader.fields(node, &path);
        let resources = read_amounts(reader, &mut fields);
        let pids = fields.take("pids").and_then(|(node, path)| reader.value(&node, &path, parse_count));
        pids_limit = pids.and_then(|pids| i64::try_from(pids).ok()).unwrap_or_default();
        reader.finish(fields, &[]);
        resources
    });
    let reservations = fields.take("reservations").map(|(node, path)| {
        let mut fields = reader.fields(node, &path);
        let mut resources = read_amounts(reader, &mut fields);
        if let Some((node, path)) = fields.take("generic_resources") {
            resources.generic = read_generic(reader, node, &path);
        }
        reader.finish(fields, &["devices"]);
        resources
    });
    reader.finish(fields, &[]);
    (Some(wire::ResourceRequirements { limits, reservations, ..Default::default() }), pids_limit)
}

fn read_amounts(reader: &mut Reader<'_>, fields: &mut Fields) -> wire::Resources {
    let nano_cpus = fields.take("cpus").and_then(|(node, path)| reader.value(&node, &path, parse_processors));
    let memory_bytes = fields.take("memory").and_then(|(node, path)| reader.value(&node, &path, parse_memory));
    wire::Resources {
        nano_cpus: nano_cpus.unwrap_or_default(),
        memory_bytes: memory_bytes.unwrap_or_default(),
        ..wire::Resources::default()
    }
}

fn read_generic(reader: &mut Reader<'_>, node: Node, path: &str) -> Vec<wire::GenericResource> {
    let mut resources = Vec::new();
    for (index, item) in reader.list(node, path).into_iter().enumerate() {
        let mut fields = reader.fields(item, &format!("{path}[{index}]"));
        if let Some((node, path)) = fields.take("discrete_resource_spec") {
            let mut fields = reader.fields(node, &path);
            let kind = fields.take("kind").and_then(|(node, path)| reader.text(&node, &path)).unwrap_or_default();
            let value = fields.take("value").and_then(|(node, path)| {
                reader.value(&node, &path, |text| text.parse().map_err(|_| "expected a whole number".to_owned()))
            });
            reader.finish(fields, &[]);
            let spec = wire::DiscreteGenericResource { kind, value: value.unwrap_or_default() };
            let spec = wire::generic_resource::Resource::DiscreteResourceSpec(spec);
            resources.push(wire::GenericResource { resource: Some(spec) });
        }
        reader.finish(fields, &[]);
    }
    resources
}

fn read_restart(reader: &mut Reader<'_>, node: Node, path: &str) -> wire::RestartPolicy {
    const CONDITIONS: [(&str, RestartCondition); 3] =
        [("none", RestartCondition::None), ("on-failure", RestartCondition::OnFailure), ("any", RestartCondition::Any)];
    let mut fields = reader.fields(node, path);
    let condition = fields.take("condition").and_then(|(node, path)| reader.word(&node, &path, &CONDITIONS));
    let delay = take_duration(reader, &mut fields, "delay");
    let attempts = fields.take("max_attempts").and_then(|(node, path)| reader.value(&node, &path, parse_count));
    let window = take_duration(reader, &mut fields, "window");
    reader.finish(fields, &[]);
    wire::RestartPolicy {
        condition: condition.unwrap_or(RestartCondition::Any).into(),
        delay: delay.map(to_wire_duration),
        max_attempts: attempts.unwrap_or_default(),
        window: window.map(to_wire_duration),
        ..Default::default()
    }
}

fn read_update(reader: &mut Reader<'_>, node: Node, path: &str, may_roll_back: bool) -> wire::UpdateConfig {
    const ACTIONS: [(&str, FailureAction); 3] =
        [("pause", FailureAction::Pause), ("continue", FailureAction::Continue), ("rollback", FailureAction::Rollback)];
    const ORDERS: [(&str, UpdateOrder); 2] =
        [("stop-first", UpdateOrder::StopFirst), ("start-first", UpdateOrder::StartFirst)];
    let actions = if may_roll_back { &ACTIONS[..] } else { &ACTIONS[..2] };
    let mut fields = reader.fields(node, path);
    let parallelism = fields.take("parallelism").and_then(|(node, path)| reader.value(&node, &path, parse_count));
    let delay = take_duration(reader, &mut fields, "delay");
    let action = fields.take("failure_action").and_then(|(node, path)| reader.word(&node, &path, actions));
    let monitor = take_duration(reader, &mut fields, "monitor");
    let ratio = fields.take("max_failure_ratio").and_then(|(node, path)| reader.value(&node, &path, parse_ratio));
    let order = fields.take("order").and_then(|(node, path)| reader.word(&node, &path, &ORDERS));
    reader.finish(fields, &[]);
    wire::UpdateConfig {
        parallelism: parallelism.unwrap_or(1),
        delay: delay.map(to_wire_duration),
        failure_action: action.unwrap_or(FailureAction::Pause).into(),
        monitor: monitor.map(to_wire_duration),
        max_failure_ratio: ratio.unwrap_or_default(),
        order: order.unwrap_or(UpdateOrder::StopFirst).into(),
        ..Default::default()
    }
}

fn read_placement(reader: &mut Reader<'_>, node: Node, path: &str) -> wire::Placement {
    let mut fields = reader.fields(node, path);
    let mut placement = wire::Placement::default();
    if let Some((node, path)) = fields.take("constraints") {
        for (index, item) in reader.list(node, &path).into_iter().enumerate() {
            placement.constraints.extend(reader.text(&item, &format!("{path}[{index}]")));
        }
    }
    if let Some((node, path)) = fields.take("preferences") {
        placement.preferences = read_preferences(reader, node, &path);
    }
    let most = fields.take("max_replicas_per_node");
    let most = most.and_then(|(node, path)| reader.value(&node, &path, parse_count));
    placement.max_replicas = most.unwrap_or_default();
    reader.finish(fields, &[]);
    placement
}

fn read_preferences(reader: &mut Reader<'_>, node: Node, path: &str) -> Vec<wire::PlacementPreference> {
    let mut preferences = Vec::new();
    for (index, item) in reader.list(node, path).into_iter().enumerate() {
        if let Value::Scalar(_) = item.value {
            reader.wrong_kind(item.at, &format!("{path}[{index}]"), "a mapping with the key spread", &item.value);
            continue;
        }
        let mut fields = reader.fields(item, &format!("{path}[{index}]"));
        let descriptor = fields.take("spread").and_then(|(node, path)| reader.text(&node, &path));
        reader.finish(fields, &[]);
        preferences.extend(descriptor.map(|spread_descriptor| wire::PlacementPreference {
            preference: Some(wire::placement_preference::Preference::Spread(wire::SpreadOver { spread_descriptor })),
        }));
    }
    preferences
}

pub(super) fn take_duration(reader: &mut Reader<'_>, fields: &mut Fields, key: &'static str) -> Option<Duration> {
    fields.take(key).and_then(|(node, path)| reader.value(&node, &path, parse_duration))
}

pub(super) fn parse_count(text: &str) -> Result<u64, String> {
    // As upstream, where counts are signed.
    text.parse()
        .ok()
        .filter(|count| i64::try_from(*count).is_ok())
        .ok_or_else(|| "expected a whole number, not negative".to_owned())
}

fn parse_ratio(text: &str) -> Result<f32, String> {
    let ratio = text.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
    ratio.ok_or_else(|| "expected a number from 0 to 1".to_owned())
}
