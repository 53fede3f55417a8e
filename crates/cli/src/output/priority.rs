//! How important tasks are, and which make room for which.

use swarmkit_api::wire::{
    self,
    swarmkit::scheduling::v1::{ServiceScheduling, preemption::Side},
};

use super::{Columns, Names, task_name};

/// What a service says about it, if anything.
pub(super) fn fields(columns: &mut Columns, scheduling: Option<&ServiceScheduling>) {
    let Some(scheduling) = scheduling else { return };
    columns.field_if_any("Priority", scheduling.priority.map(|priority| priority.to_string()).unwrap_or_default());
    let limit = scheduling.max_disrupted.map(|tasks| match tasks {
        0 => "no task may be made to go".to_owned(),
        1 => "at most 1 task missing".to_owned(),
        tasks => format!("at most {tasks} tasks missing"),
    });
    columns.field_if_any("Disruption", limit.unwrap_or_default());
}

/// What a task has to do with room that some make for others.
pub(super) fn task_fields(columns: &mut Columns, task: &wire::Task, names: &Names) {
    match side(task) {
        Some(Side::Claim(claim)) => {
            columns.field("  Room On", names.node(&claim.node_id));
            columns.field_if_any("  Made By", claim.tasks.join(", "));
        }
        Some(Side::Yield(given)) => {
            columns.field("  Made Room", &given.message);
            columns.field("  Room For", &given.task_id);
        }
        None => {}
    }
}

/// Tasks that made room for others, and for whom: a line for each.
pub(super) fn yields(tasks: &[wire::Task], names: &Names) -> String {
    let of_task = |task: &wire::Task| match side(task) {
        Some(Side::Yield(given)) => Some(format!("  {} ({}): {}\n", task.id, task_name(task, names), given.message)),
        Some(Side::Claim(_)) | None => None,
    };
    let lines: String = tasks.iter().filter_map(of_task).collect();
    if lines.is_empty() { lines } else { format!("\nTasks that made room:\n{lines}") }
}

pub(super) fn side(task: &wire::Task) -> Option<&Side> {
    task.preemption.as_ref()?.side.as_ref()
}
