//! Why tasks wait, and what would become of services.

use std::{collections::BTreeMap, fmt::Write as _};

use swarmkit_api::{
    TaskState,
    wire::{
        self,
        swarmkit::scheduling::v1::{Explanation, Need, PlanResponse, Refusal, need},
    },
};

use super::{Columns, Names};

/// Tasks of a service that wait for the same.
#[derive(Clone, Debug)]
pub struct WaitingTasks {
    /// What their status says.
    pub message: String,
    /// How many.
    pub tasks: u64,
    /// One of them.
    pub first: String,
    /// Why that one waits, if it was asked for.
    pub explanation: Option<Explanation>,
}

/// Whether a task that is wanted has no node yet, or is not yet confirmed on it.
#[must_use]
pub fn is_waiting(task: &wire::Task) -> bool {
    let state = task.status.as_ref().map_or(TaskState::New, wire::TaskStatus::state);
    state <= TaskState::Pending && task.desired_state() <= TaskState::Complete
}

/// The tasks that wait, by what their status says, the most frequent first. What has no error is on its way.
#[must_use]
pub fn waiting_tasks<'t>(tasks: impl IntoIterator<Item = &'t wire::Task>) -> Vec<WaitingTasks> {
    let mut groups = BTreeMap::<&str, WaitingTasks>::new();
    for task in tasks.into_iter().filter(|task| is_waiting(task)) {
        let message = task.status.as_ref().map_or("", |status| status.err.as_str());
        if message.is_empty() {
            continue;
        }
        let new = || WaitingTasks { message: message.to_owned(), tasks: 0, first: task.id.clone(), explanation: None };
        groups.entry(message).or_insert_with(new).tasks += 1;
    }
    let mut groups: Vec<_> = groups.into_values().collect();
    groups.sort_by_key(|group| std::cmp::Reverse(group.tasks));
    groups
}

/// The tasks that wait, service by service.
#[must_use]
pub fn waiting_by_service(tasks: &[wire::Task]) -> BTreeMap<&str, Vec<WaitingTasks>> {
    let mut services = BTreeMap::<&str, Vec<&wire::Task>>::new();
    for task in tasks.iter().filter(|task| is_waiting(task)) {
        services.entry(&task.service_id).or_default().push(task);
    }
    services.into_iter().map(|(service, tasks)| (service, waiting_tasks(tasks))).collect()
}

/// The section of `service inspect` about tasks that wait. Empty if none does.
#[must_use]
pub fn waiting_section(groups: &[WaitingTasks], names: &Names) -> String {
    let mut text = String::new();
    for group in groups {
        let _ = writeln!(text, "  {}: {}", counted(group.tasks, "task"), group.message);
        refusals(&mut text, "    ", group.explanation.as_ref(), names);
    }
    if text.is_empty() { text } else { format!("\n===> Waiting Tasks\n{text}") }
}

/// The section of `task inspect` about what the task waits for. Empty if for nothing.
#[must_use]
pub fn explanation_section(explanation: &Explanation, names: &Names) -> String {
    let mut text = String::new();
    if !explanation.message.is_empty() {
        let _ = writeln!(text, "  {}", explanation.message);
    }
    refusals(&mut text, "    ", Some(explanation), names);
    if text.is_empty() { text } else { format!("\n===> Waiting For\n{text}") }
}

/// The layout of `service plan`.
#[must_use]
pub fn plan(plan: &PlanResponse, names: &Names) -> String {
    let mut columns = Columns::labelled();
    columns.field_if_any("Waits", &plan.waits_for);
    columns.field("New tasks", plan.created);
    for (label, tasks) in [("Kept", plan.kept), ("Replaced", plan.replaced), ("Given up", plan.given_up)] {
        columns.field_if_any(label, if tasks == 0 { String::new() } else { tasks.to_string() });
    }
    let waiting: u64 = plan.waits.iter().map(|wait| wait.tasks).sum();
    columns.field("Waiting", waiting);
    let mut text = columns.to_string();
    if !plan.placements.is_empty() {
        let mut table = Columns::spaced(4).titled(&["Node", "New", "Kept"]);
        for one in &plan.placements {
            table.row([names.node(&one.node_id).to_owned(), one.created.to_string(), one.kept.to_string()]);
        }
        let _ = write!(text, "\n{table}");
        left_out(&mut text, "", plan.placements_left_out, "node");
    }
    if !plan.preempted.is_empty() {
        text.push_str("\n===> Tasks That Would Make Room\n");
        for task in &plan.preempted {
            let _ =
                writeln!(text, "  {} of service {} on {}", task.task_id, task.service_id, names.node(&task.node_id));
        }
    }
    for wait in &plan.waits {
        let Some(explanation) = &wait.explanation else { continue };
        let _ = writeln!(text, "\n===> {} Would Wait\n  {}", counted(wait.tasks, "Task"), explanation.message);
        refusals(&mut text, "    ", Some(explanation), names);
    }
    let nodes = plan.nodes.as_ref().filter(|nodes| !nodes.refusals.is_empty());
    if let Some(nodes) = nodes {
        let _ = writeln!(text, "\n===> Nodes That Refuse (of {})", nodes.nodes);
        refusals(&mut text, "  ", Some(nodes), names);
    }
    text
}

fn counted(count: u64, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// What nodes refuse for, with what they lack below, and then those nodes that are told one by one.
fn refusals(text: &mut String, indent: &str, explanation: Option<&Explanation>, names: &Names) {
    let Some(explanation) = explanation else { return };
    for refusal in &explanation.refusals {
        let _ = writeln!(text, "{indent}{}", refusal.message);
        needs(text, indent, refusal, names);
    }
    for one in &explanation.refused {
        let _ = writeln!(text, "{indent}{}: {}", names.node(&one.node_id), one.message);
    }
    if !explanation.refused.is_empty() {
        left_out(text, indent, explanation.refused_left_out, "node");
    }
}

fn needs(text: &mut String, indent: &str, refusal: &Refusal, names: &Names) {
    for need in &refusal.needs {
        let _ = writeln!(text, "{indent}  {}: {}{}", counted(need.nodes, "node"), need.message, most(need, names));
    }
    left_out(text, &format!("{indent}  "), refusal.needs_left_out, "reason");
}

/// Which of several nodes has the most left.
fn most(need: &Need, names: &Names) -> String {
    match &need.need {
        Some(need::Need::Shortage(shortage)) if need.nodes > 1 => {
            format!(", at best (on {})", names.node(&shortage.node_id))
        }
        _ => String::new(),
    }
}

fn left_out(text: &mut String, indent: &str, count: u64, what: &str) {
    if count > 0 {
        let _ = writeln!(text, "{indent}and {} more", counted(count, what));
    }
}

#[cfg(test)]
#[path = "explanation_tests.rs"]
mod tests;
