//! What a service may ask of its tasks, whatever runs them.

use std::sync::Arc;

use swarmkit_api::{
    NodeId, ServiceId, Task, TaskId,
    constraint::Constraint,
    wire::{self, generic_resource, task_spec::Runtime},
};

use super::{Checked, container, not_negative};
use crate::ControlError;

/// The least share of CPU that may be asked for: a thousandth of a core.
const NANO_CPUS_MIN: i64 = 1_000_000;

/// The least memory that may be asked for.
const MEMORY_BYTES_MIN: i64 = 4 * 1024 * 1024;

/// The shortest kind of a generic runtime.
const GENERIC_KIND_MIN: usize = 3;

pub(super) fn task(spec: Option<&wire::TaskSpec>, service: &wire::Annotations) -> Checked {
    let Some(spec) = spec else { return Err(ControlError::missing_argument()) };
    if let Some(resources) = &spec.resources {
        resources.limits.iter().chain(&resources.reservations).try_for_each(self::resources)?;
    }
    if let Some(restart) = &spec.restart {
        not_negative("TaskSpec: restart-delay", restart.delay.as_ref())?;
        not_negative("TaskSpec: restart-window", restart.window.as_ref())?;
        not_negative("TaskSpec: restart-max-delay", restart.max_delay.as_ref())?;
        not_negative("TaskSpec: restart-stable-after", restart.stable_after.as_ref())?;
        let is_zero = |delay: &prost_types::Duration| *delay == prost_types::Duration::default();
        if restart.delay.as_ref().is_some_and(is_zero) && restart.max_delay.is_some_and(|delay| !is_zero(&delay)) {
            return Err(ControlError::invalid(
                "TaskSpec: restart-max-delay: there is nothing to double, since restart-delay is 0",
            ));
        }
    }
    if let Some(placement) = &spec.placement {
        for expression in &placement.constraints {
            Constraint::parse(expression).map_err(|error| {
                ControlError::invalid(format!("invalid placement constraint {expression:?}: {error}"))
            })?;
        }
    }
    match &spec.runtime {
        None => Err(ControlError::invalid("TaskSpec: missing runtime")),
        Some(Runtime::Attachment(_)) => Err(ControlError::Unsupported("RuntimeUnimplemented: attachment".to_owned())),
        Some(Runtime::Container(_)) => match expanded(spec, service)?.runtime {
            Some(Runtime::Container(container)) => container::container(&container),
            _ => Ok(()),
        },
        Some(Runtime::Generic(spec)) => generic(spec),
    }
}

/// What the specification of some task on some node will be, once its placeholders are filled in. What a placeholder
/// gives on the real node may still turn out wrong there.
fn expanded(spec: &wire::TaskSpec, service: &wire::Annotations) -> Result<wire::TaskSpec, ControlError> {
    let mut task = Task::new(TaskId::from("taskid"), spec.clone());
    task.annotations.name = "taskname".to_owned();
    task.service_id = Some(ServiceId::from("serviceid"));
    task.service_annotations = Arc::new(service.clone());
    task.node_id = Some(NodeId::from("nodeid"));
    task.slot = 1;
    let node = wire::NodeDescription {
        hostname: "hostname".to_owned(),
        platform: Some(wire::Platform { os: "os".to_owned(), architecture: "architecture".to_owned() }),
        ..Default::default()
    };
    swarmkit_template::expand_task(&task, Some(&node))
        .map_err(|error| ControlError::invalid(format!("invalid template: {error}")))
}

fn resources(resources: &wire::Resources) -> Checked {
    if resources.nano_cpus != 0 && resources.nano_cpus < NANO_CPUS_MIN {
        return Err(ControlError::invalid(format!(
            "invalid cpu value {}: Must be at least 0.001",
            cores(resources.nano_cpus)
        )));
    }
    if resources.memory_bytes != 0 && resources.memory_bytes < MEMORY_BYTES_MIN {
        return Err(ControlError::invalid(format!(
            "invalid memory value {}: Must be at least 4MiB",
            resources.memory_bytes
        )));
    }
    resources.generic.iter().try_for_each(generic_resource)
}

/// Tasks ask for a number of a kind. Which units they get is decided when they are placed.
fn generic_resource(resource: &wire::GenericResource) -> Checked {
    use generic_resource::Resource;

    let (kind, reason) = match &resource.resource {
        Some(Resource::DiscreteResourceSpec(count)) if count.kind.trim().is_empty() => ("", "it has no name"),
        Some(Resource::DiscreteResourceSpec(count)) if count.value < 0 => (&*count.kind, "the number is negative"),
        Some(Resource::DiscreteResourceSpec(_)) => return Ok(()),
        Some(Resource::NamedResourceSpec(unit)) => (&*unit.kind, "a task asks for a number, not for a name"),
        None => ("", "it says nothing"),
    };
    Err(ControlError::invalid(format!("invalid argument for resource {kind}: {reason}")))
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn cores(nano_cpus: i64) -> f64 {
    nano_cpus as f64 / 1e9
}

fn generic(spec: &wire::GenericRuntimeSpec) -> Checked {
    let kind = spec.kind.to_lowercase();
    if kind.len() < GENERIC_KIND_MIN || kind == "container" || kind == "attachment" {
        return Err(ControlError::invalid(format!("Generic runtime: invalid name {:?}", spec.kind)));
    }
    match &spec.payload {
        None => Err(ControlError::invalid("Generic runtime is missing payload")),
        Some(payload) if payload.type_url.is_empty() => {
            Err(ControlError::invalid("Generic runtime is missing payload type"))
        }
        Some(payload) if payload.value.is_empty() => Err(ControlError::invalid("Generic runtime has an empty payload")),
        Some(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(spec: wire::TaskSpec) -> String {
        let runtime = Some(Runtime::Container(wire::ContainerSpec { image: "nginx".into(), ..Default::default() }));
        let spec = wire::TaskSpec { runtime: spec.runtime.clone().or(runtime), ..spec };
        task(Some(&spec), &wire::Annotations { name: "web".into(), ..Default::default() })
            .map_or_else(|error| error.to_string(), |()| "ok".into())
    }

    fn limits(nano_cpus: i64, memory_bytes: i64) -> wire::TaskSpec {
        let limits = Some(wire::Resources { nano_cpus, memory_bytes, ..Default::default() });
        wire::TaskSpec {
            resources: Some(wire::ResourceRequirements { limits, ..Default::default() }),
            ..Default::default()
        }
    }

    #[test]
    fn resources_have_a_least_amount() {
        assert_eq!(of(limits(0, 0)), "ok");
        assert_eq!(of(limits(NANO_CPUS_MIN, MEMORY_BYTES_MIN)), "ok");
        assert_eq!(of(limits(1000, 0)), "invalid cpu value 0.000001: Must be at least 0.001");
        assert_eq!(of(limits(0, -1)), "invalid memory value -1: Must be at least 4MiB");
    }

    #[test]
    fn restart_policies_are_in_range() {
        let told = |change: fn(&mut wire::RestartPolicy)| {
            let mut restart = wire::RestartPolicy::default();
            change(&mut restart);
            of(wire::TaskSpec { restart: Some(restart), ..Default::default() })
        };
        fn seconds(seconds: i64) -> Option<prost_types::Duration> {
            Some(prost_types::Duration { seconds, nanos: 0 })
        }
        assert_eq!(told(|restart| restart.max_delay = seconds(60)), "ok", "the delay is 5 s if nothing is said");
        let negative = "duration must not be negative";
        assert_eq!(told(|restart| restart.max_delay = seconds(-1)), format!("TaskSpec: restart-max-delay: {negative}"));
        let why = format!("TaskSpec: restart-stable-after: {negative}");
        assert_eq!(told(|restart| restart.stable_after = seconds(-1)), why);
        let why = told(|restart| (restart.delay, restart.max_delay) = (seconds(0), seconds(60)));
        assert_eq!(why, "TaskSpec: restart-max-delay: there is nothing to double, since restart-delay is 0");
        assert_eq!(told(|restart| (restart.delay, restart.max_delay) = (seconds(0), seconds(0))), "ok");
    }

    #[test]
    fn a_bad_constraint_is_refused() {
        let placement = |text: &str| wire::TaskSpec {
            placement: Some(wire::Placement { constraints: vec![text.into()], ..Default::default() }),
            ..Default::default()
        };
        assert_eq!(of(placement("node.role == manager")), "ok");
        assert_ne!(of(placement("node.role = manager")), "ok");
    }

    #[test]
    fn placeholders_must_make_sense() {
        let with_env = |env: &str| wire::TaskSpec {
            runtime: Some(Runtime::Container(wire::ContainerSpec {
                image: "nginx".into(),
                env: vec![env.into()],
                ..Default::default()
            })),
            ..Default::default()
        };
        for good in ["A={{.Service.Name}}-{{.Task.Slot}}", "A={{.Node.Hostname}}", "A={{", "A=}}"] {
            let told = of(with_env(good));
            assert_eq!(told == "ok", good != "A={{", "{good}: {told}");
        }
        let told = of(with_env("A={{.Service.Nmae}}"));
        assert!(told.starts_with("invalid template: ") && told.contains("Nmae"), "{told}");
    }

    #[test]
    fn a_generic_runtime_has_a_kind_of_its_own_and_a_payload() {
        let payload = prost_types::Any { type_url: "x".into(), value: vec![1] };
        let generic = |kind: &str, payload| wire::TaskSpec {
            runtime: Some(Runtime::Generic(wire::GenericRuntimeSpec { kind: kind.into(), payload })),
            ..Default::default()
        };
        assert_eq!(of(generic("batch", Some(payload.clone()))), "ok");
        assert_eq!(of(generic("Container", Some(payload.clone()))), "Generic runtime: invalid name \"Container\"");
        assert_eq!(of(generic("ab", Some(payload))), "Generic runtime: invalid name \"ab\"");
        assert_eq!(of(generic("batch", None)), "Generic runtime is missing payload");
    }
}
