//! Services.

use std::{collections::BTreeMap, time::SystemTime};

use swarmkit_api::{TaskState, wire};
use swarmkit_executor::container_spec;

use super::{
    Columns, Names,
    job::{job_fields, next_run_in_short},
    placement, priority,
    rebalance::{origins, rebalancing},
    rollout, spec, start, task_table,
};

/// How many tasks of each service run on nodes that are not down, and how many have completed, of a job in its last run.
#[must_use]
pub fn running_on_live_nodes(tasks: &[wire::Task], nodes: &[wire::Node]) -> BTreeMap<String, (u64, u64)> {
    use wire::node_status::State;

    let is_down = |node: &wire::Node| node.status.as_ref().is_some_and(|status| status.state() == State::Down);
    let live: std::collections::BTreeSet<_> =
        nodes.iter().filter(|node| !is_down(node)).map(|node| node.id.as_str()).collect();
    let mut counts: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    let run = |task: &wire::Task| task.job_iteration.map(|iteration| iteration.index);
    let mut last = BTreeMap::new();
    for task in tasks {
        let last = last.entry(&task.service_id).or_insert_with(|| run(task));
        *last = run(task).max(*last);
    }
    for task in tasks {
        let (running, completed) = counts.entry(task.service_id.clone()).or_default();
        let is_of_last = last.get(&task.service_id) == Some(&run(task));
        match task.status.as_ref().map(wire::TaskStatus::state) {
            Some(TaskState::Running) if live.contains(task.node_id.as_str()) => *running += 1,
            Some(TaskState::Complete) if is_of_last => *completed += 1,
            _ => {}
        }
    }
    counts
}

/// `running/wanted`, `global`, or for a job how much of it is done.
#[must_use]
pub fn replicas(spec: &wire::ServiceSpec, running: u64, completed: u64) -> String {
    use wire::service_spec::Mode;

    match &spec.mode {
        Some(Mode::Replicated(replicated)) => format!("{running}/{}", replicated.replicas),
        Some(Mode::Global(_)) => "global".to_owned(),
        Some(Mode::ReplicatedJob(job)) => format!("{completed}/{} completed", job.total_completions),
        Some(Mode::GlobalJob(_)) => format!("{completed} completed"),
        None => String::new(),
    }
}

/// The table of `service ls`, in the order given. When jobs run next is told if any of them has a schedule.
#[must_use]
pub fn list_services(services: &[wire::Service], counts: &BTreeMap<String, (u64, u64)>, now: SystemTime) -> Columns {
    let is_scheduled = |service: &wire::Service| service.spec.as_ref().is_some_and(|spec| spec.schedule.is_some());
    let any_scheduled = services.iter().any(is_scheduled);
    let titles = ["ID", "Name", "Image", "Replicas", "Next Run"];
    let mut columns = Columns::spaced(2).titled(if any_scheduled { &titles } else { &titles[..4] });
    for service in services {
        let spec = service.spec.clone().unwrap_or_default();
        let (running, completed) = counts.get(&service.id).copied().unwrap_or_default();
        let cells = [
            service.id.clone(),
            name(&spec).to_owned(),
            container(&spec).map(|container| container.image.clone()).unwrap_or_default(),
            replicas(&spec, running, completed) + standing(service),
        ];
        columns.row(cells.into_iter().chain(any_scheduled.then(|| next_run_in_short(service, now))));
    }
    columns
}

/// What keeps a service from being as it was asked for, if anything does.
fn standing(service: &wire::Service) -> &'static str {
    match start::standing(service) {
        "" => rollout::standing(service),
        standing => standing,
    }
}

/// The layout of `service inspect`; `tasks` are those to show below.
#[must_use]
pub fn inspect_service(
    service: &wire::Service,
    (running, completed): (u64, u64),
    tasks: &[wire::Task],
    names: &Names,
    now: SystemTime,
) -> String {
    let spec = service.spec.clone().unwrap_or_default();
    let mut columns = Columns::labelled();
    columns.field("ID", &service.id);
    columns.field("Name", name(&spec));
    let labels = spec.annotations.as_ref().map(|annotations| annotations.labels.clone()).unwrap_or_default();
    if !labels.is_empty() {
        columns.section("Labels");
        for (key, value) in &labels {
            columns.field(&format!("  {key}"), value);
        }
    }
    columns.field_if_any("Replicas", replicas(&spec, running, completed));
    start::fields(&mut columns, service, now);
    rollout::fields(&mut columns, service, now);
    job_fields(&mut columns, service, now);
    columns.field_if_any("Rebalancing", rebalancing(spec.rebalance.as_ref(), "as the cluster says"));
    placement::fields(&mut columns, spec.scheduling.as_ref());
    priority::fields(&mut columns, spec.scheduling.as_ref());
    columns.section("Template");
    template(&mut columns, spec.task.as_ref().unwrap_or(&wire::TaskSpec::default()), service.endpoint.as_ref());
    let mut text = columns.to_string();
    if !tasks.is_empty() {
        text += &format!("\n{}{}", task_table(tasks, names, now), origins(tasks, names));
        text += &priority::yields(tasks, names);
    }
    text
}

fn template(columns: &mut Columns, task: &wire::TaskSpec, endpoint: Option<&wire::Endpoint>) {
    columns.section(" Container");
    let container = container_spec(task);
    if let Some(container) = container {
        spec::container_fields(columns, "  ", container);
    }
    let constraints = task.placement.as_ref().map(|placement| spec::bracketed(&placement.constraints));
    columns.field_if_any("  Constraints", constraints.unwrap_or_default());
    columns.field_if_any("  Preferences", spec::bracketed(&placement::preferences(task.placement.as_ref())));
    if let Some(requirements) = &task.resources {
        spec::resources(columns, requirements);
    }
    if !task.networks.is_empty() {
        let networks: Vec<_> = task.networks.iter().map(|network| network.target.as_str()).collect();
        columns.field("  Networks", networks.join(" "));
    }
    if let Some(endpoint) = endpoint.filter(|endpoint| !endpoint.ports.is_empty()) {
        columns.line("");
        columns.line("Ports:");
        for port in &endpoint.ports {
            columns.field("    - Name", &port.name);
            columns.field("      Protocol", port.protocol().as_str_name());
            columns.field("      Port", port.target_port);
            columns.field("      SwarmPort", port.published_port);
        }
    }
    if let Some(container) = container {
        if !container.mounts.is_empty() {
            columns.line("  Mounts:");
        }
        for mount in &container.mounts {
            columns.field("    - target", &mount.target);
            columns.field_if_any("      source", &mount.source);
            columns.field("      readonly", mount.readonly);
            columns.field("      type", mount.r#type().as_str_name().to_lowercase());
        }
        spec::file_refs(columns, "  ", container, true);
    }
    if let Some(driver) = &task.log_driver {
        columns.field("  LogDriver", &driver.name);
        for (key, value) in &driver.options {
            columns.field(&format!("    {key}"), value);
        }
    }
}

fn name(spec: &wire::ServiceSpec) -> &str {
    spec.annotations.as_ref().map(|annotations| annotations.name.as_str()).unwrap_or_default()
}

fn container(spec: &wire::ServiceSpec) -> Option<&wire::ContainerSpec> {
    spec.task.as_ref().and_then(container_spec)
}
