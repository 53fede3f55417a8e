//! Tasks.

use std::{cmp::Reverse, time::SystemTime};

use swarmkit_api::{TaskState, wire};
use swarmkit_executor::container_spec;

use super::{Columns, Names, absolute, priority, relative, spec, volume};

/// The table of `task ls`, in the order given.
#[must_use]
pub fn list_tasks(tasks: &[wire::Task], names: &Names, now: SystemTime) -> Columns {
    let mut columns = Columns::spaced(2).titled(&["ID", "Service", "Desired State", "Last State", "Node"]);
    for task in tasks {
        columns.row([
            task.id.clone(),
            task_name(task, names),
            task.desired_state().as_str_name().to_owned(),
            last_state(task, now),
            names.node(&task.node_id).to_owned(),
        ]);
    }
    columns
}

/// The table of tasks below an inspected object: by slot, the newest first.
#[must_use]
pub fn task_table(tasks: &[wire::Task], names: &Names, now: SystemTime) -> Columns {
    let mut tasks: Vec<_> = tasks.iter().collect();
    tasks.sort_by_key(|task| (names.service(task), task.slot, Reverse(created_at(task)), &task.id));
    let titles = ["Task ID", "Service", "Slot", "Image", "Desired State", "Last State", "Node"];
    let mut columns = Columns::spaced(4).titled(&titles);
    for task in tasks {
        columns.row([
            task.id.clone(),
            names.service(task).to_owned(),
            slot(task),
            image(task).to_owned(),
            task.desired_state().as_str_name().to_owned(),
            last_state(task, now),
            names.node(&task.node_id).to_owned(),
        ]);
    }
    columns
}

/// The layout of `task inspect`; `parents` are the tasks of the same slot, itself included.
#[must_use]
pub fn inspect_task(task: &wire::Task, parents: &[wire::Task], names: &Names, now: SystemTime) -> String {
    let mut columns = Columns::labelled();
    columns.field("ID", &task.id);
    columns.field_if_any("Slot", slot(task));
    columns.field("Service", names.service(task));
    let status = task.status.clone().unwrap_or_default();
    columns.section("Status");
    columns.field("  Desired State", task.desired_state().as_str_name());
    columns.field("  Last State", status.state().as_str_name());
    columns.field_if_any("  Timestamp", absolute(status.timestamp.as_ref()));
    columns.field_if_any("  Message", &status.message);
    columns.field_if_any("  Error", &status.err);
    if let Some(origin) = &task.origin {
        columns.field_if_any("  Origin", &origin.message);
        columns.field_if_any("  Replaces", &origin.replaces);
    }
    priority::task_fields(&mut columns, task, names);
    if let Some(container) = container_status(&status) {
        columns.field_if_any("  ContainerID:", &container.container_id);
        if container.pid != 0 {
            columns.field("  Pid", container.pid);
        }
        if status.state() > TaskState::Running {
            columns.field("  ExitCode", container.exit_code);
        }
    }
    let ports = status.port_status.unwrap_or_default().ports;
    let ports: Vec<_> = ports
        .iter()
        .map(|port| {
            let protocol = port.protocol().as_str_name().to_lowercase();
            format!("0.0.0.0:{}->{}/{protocol}", port.published_port, port.target_port)
        })
        .collect();
    columns.field_if_any("Ports", ports.join(", "));
    for attachment in &task.networks {
        let network = attachment.network.clone().unwrap_or_default();
        let name = network.spec.and_then(|spec| spec.annotations).unwrap_or_default().name;
        columns.field("Network", [&[name], &attachment.addresses[..]].concat().join(" "));
    }
    columns.field_if_any("Node", names.node(&task.node_id));
    columns.field_if_any("Generic Resources", spec::generic_terms(&task.assigned_generic_resources));
    volume::task_fields(&mut columns, task);
    columns.section("Spec");
    if let Some(container) = task.spec.as_ref().and_then(container_spec) {
        spec::container_fields(&mut columns, "  ", container);
        spec::file_refs(&mut columns, "  ", container, false);
    }
    format!("{columns}\n===> Task Parents\n{}", task_table(parents, names, now))
}

/// `service.slot`; the service alone where tasks have no slots.
#[must_use]
pub fn task_name(task: &wire::Task, names: &Names) -> String {
    match task.slot {
        0 => names.service(task).to_owned(),
        slot => format!("{}.{slot}", names.service(task)),
    }
}

/// Whether the cluster still wants this task to run, or to complete.
#[must_use]
pub fn is_current(task: &wire::Task) -> bool {
    let state = task.status.as_ref().map_or(TaskState::New, wire::TaskStatus::state);
    match task.desired_state() {
        // What has completed stays wanted so.
        TaskState::Complete => state <= TaskState::Running,
        desired => desired <= TaskState::Running,
    }
}

pub(super) fn container_status(status: &wire::TaskStatus) -> Option<&wire::ContainerStatus> {
    status.runtime_status.as_ref().map(|wire::task_status::RuntimeStatus::Container(container)| container)
}

fn last_state(task: &wire::Task, now: SystemTime) -> String {
    let status = task.status.clone().unwrap_or_default();
    let state = status.state().as_str_name();
    match relative(status.timestamp.as_ref(), now) {
        when if when.is_empty() => state.to_owned(),
        when => format!("{state} {when}"),
    }
}

fn slot(task: &wire::Task) -> String {
    if task.slot == 0 { String::new() } else { task.slot.to_string() }
}

fn image(task: &wire::Task) -> &str {
    task.spec.as_ref().and_then(container_spec).map(|container| container.image.as_str()).unwrap_or_default()
}

fn created_at(task: &wire::Task) -> Option<(i64, i32)> {
    let created = task.meta.as_ref()?.created_at.as_ref()?;
    Some((created.seconds, created.nanos))
}
