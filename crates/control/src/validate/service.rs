//! Services: mode, rollout settings and endpoint. What a task may be is in [`super::task`].

use std::collections::BTreeSet;

use swarmkit_api::wire::{self, endpoint_spec::ResolutionMode, port_config::PublishMode, service_spec::Mode};

use super::{
    Checked, depends::depends_on, dns_name, job::job, not_negative, placement::placement, priority::priority,
    rebalance::rebalance, task,
};
use crate::{ControlError, request::name_of};

/// Checks a whole service, in the order that clients of the wire know.
pub(crate) fn service(spec: &wire::ServiceSpec) -> Checked {
    dns_name(name_of(&spec.annotations))?;
    task::task(spec.task.as_ref(), spec.annotations.as_ref().unwrap_or(&wire::Annotations::default()))?;
    mode(spec)?;
    rollout("update", spec.update.as_ref())?;
    rollout("rollback", spec.rollback.as_ref())?;
    spec.endpoint.as_ref().map_or(Ok(()), endpoint)?;
    job(spec)?;
    depends_on(spec)?;
    rebalance(spec)?;
    priority(spec)?;
    placement(spec)
}

fn mode(spec: &wire::ServiceSpec) -> Checked {
    match &spec.mode {
        None => return Err(ControlError::invalid("Unrecognized service mode")),
        Some(Mode::Replicated(replicated)) => count("Number of replicas", replicated.replicas)?,
        Some(Mode::Global(_)) => {}
        Some(Mode::ReplicatedJob(job)) => {
            count("Maximum concurrent jobs", job.max_concurrent)?;
            count("Total completed jobs", job.total_completions)?;
        }
        Some(Mode::GlobalJob(_)) => {}
    }
    let is_job = matches!(spec.mode, Some(Mode::ReplicatedJob(_) | Mode::GlobalJob(_)));
    if is_job && spec.update.is_some() {
        return Err(ControlError::invalid("Jobs may not have an update config"));
    }
    Ok(())
}

/// Counts are unsigned on the wire; clients that hold them as signed numbers send negative ones as huge.
pub(super) fn count(what: &str, count: u64) -> Checked {
    if i64::try_from(count).is_err() {
        return Err(ControlError::invalid(format!("{what} must be non-negative")));
    }
    Ok(())
}

fn rollout(field: &str, config: Option<&wire::UpdateConfig>) -> Checked {
    let Some(config) = config else { return Ok(()) };
    not_negative(&format!("TaskSpec: {field}-delay"), config.delay.as_ref())?;
    not_negative(&format!("TaskSpec: {field}-monitor"), config.monitor.as_ref())?;
    not_negative(&format!("TaskSpec: {field}-progress-deadline"), config.progress_deadline.as_ref())?;
    count(&format!("TaskSpec: {field}-max-unavailable"), config.max_unavailable)?;
    if !(0.0..=1.0).contains(&config.max_failure_ratio) {
        return Err(ControlError::invalid(format!(
            "TaskSpec: {field}-maxfailureratio cannot be less than 0 or bigger than 1"
        )));
    }
    Ok(())
}

fn endpoint(spec: &wire::EndpointSpec) -> Checked {
    let ingress = |port: &wire::PortConfig| port.publish_mode() == PublishMode::Ingress;
    if spec.mode() == ResolutionMode::Dnsrr && spec.ports.iter().any(ingress) {
        return Err(ControlError::invalid(
            "EndpointSpec: port published with ingress mode can't be used with dnsrr mode",
        ));
    }
    let mut published = BTreeSet::new();
    for port in &spec.ports {
        if port.published_port > u32::from(u16::MAX) || port.target_port > u32::from(u16::MAX) {
            return Err(ControlError::invalid("EndpointSpec: a port must be at most 65535"));
        }
        if port.published_port != 0 && !published.insert((port.published_port, port.protocol)) {
            return Err(ControlError::invalid("EndpointSpec: duplicate published ports provided"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use prost_types::Duration;

    use super::*;

    fn web() -> wire::ServiceSpec {
        wire::ServiceSpec {
            annotations: Some(wire::Annotations { name: "web".into(), ..Default::default() }),
            task: Some(wire::TaskSpec {
                runtime: Some(wire::task_spec::Runtime::Container(wire::ContainerSpec {
                    image: "nginx:1.27".into(),
                    ..Default::default()
                })),
                ..Default::default()
            }),
            mode: Some(Mode::Replicated(wire::ReplicatedService { replicas: 1 })),
            ..Default::default()
        }
    }

    fn refused(change: impl FnOnce(&mut wire::ServiceSpec)) -> String {
        let mut spec = web();
        change(&mut spec);
        service(&spec).expect_err("the change is refused").to_string()
    }

    #[test]
    fn a_plain_service_passes() {
        service(&web()).unwrap();
    }

    #[test]
    fn a_service_needs_a_name_and_a_mode() {
        assert_eq!(refused(|spec| spec.annotations = None), "meta: name must be provided");
        assert_eq!(refused(|spec| spec.mode = None), "Unrecognized service mode");
    }

    #[test]
    fn counts_beyond_the_signed_range_are_refused() {
        let replicas = |replicas| Some(Mode::Replicated(wire::ReplicatedService { replicas }));
        assert_eq!(refused(|spec| spec.mode = replicas(u64::MAX)), "Number of replicas must be non-negative");
    }

    #[test]
    fn global_services_are_not_rebalanced() {
        use wire::swarmkit::orchestration::v1::{Rebalance, rebalance};
        let why = refused(|spec| {
            spec.mode = Some(Mode::Global(wire::GlobalService {}));
            spec.rebalance = Some(Rebalance { mode: rebalance::Mode::On.into(), moves_per_minute: 0 });
        });
        let told = "tasks of global services cannot be rebalanced: only those of replicated services are moved";
        assert_eq!(why, told);
    }

    #[test]
    fn jobs_have_no_rollout() {
        let why = refused(|spec| {
            spec.mode = Some(Mode::GlobalJob(wire::GlobalJob {}));
            spec.update = Some(wire::UpdateConfig::default());
        });
        assert_eq!(why, "Jobs may not have an update config");
    }

    #[test]
    fn rollout_settings_are_in_range() {
        let ratio = |ratio| Some(wire::UpdateConfig { max_failure_ratio: ratio, ..Default::default() });
        assert!(refused(|spec| spec.update = ratio(1.5)).contains("update-maxfailureratio"));
        assert!(refused(|spec| spec.rollback = ratio(f32::NAN)).contains("rollback-maxfailureratio"));
        let delay = Some(Duration { seconds: -1, nanos: 0 });
        let why = refused(|spec| spec.update = Some(wire::UpdateConfig { delay, ..Default::default() }));
        assert_eq!(why, "TaskSpec: update-delay: duration must not be negative");
        let late = |seconds| {
            Some(wire::UpdateConfig { progress_deadline: Some(Duration { seconds, nanos: 0 }), ..Default::default() })
        };
        let why = refused(|spec| spec.rollback = late(-1));
        assert_eq!(why, "TaskSpec: rollback-progress-deadline: duration must not be negative");
        let why = refused(|spec| spec.update = late(i64::MAX));
        assert_eq!(why, "TaskSpec: update-progress-deadline: duration is out of range");
        let max_unavailable = u64::MAX;
        let why = refused(|spec| spec.update = Some(wire::UpdateConfig { max_unavailable, ..Default::default() }));
        assert_eq!(why, "TaskSpec: update-max-unavailable must be non-negative");
    }

    #[test]
    fn a_published_port_appears_once() {
        let port = wire::PortConfig { target_port: 80, published_port: 8080, ..Default::default() };
        let ports = |ports: Vec<_>| Some(wire::EndpointSpec { ports, ..Default::default() });
        let twice = refused(|spec| spec.endpoint = ports(vec![port.clone(), port.clone()]));
        assert_eq!(twice, "EndpointSpec: duplicate published ports provided");

        let dynamic = wire::PortConfig { published_port: 0, ..port };
        let mut spec = web();
        spec.endpoint = ports(vec![dynamic.clone(), dynamic]);
        service(&spec).unwrap();
    }
}
