//! Whether a service has yet to start, and whether it is about to go.

use std::time::SystemTime;

use swarmkit_api::wire::{
    self,
    swarmkit::orchestration::v1::{Dependency, dependency::Condition},
};

use super::{Columns, relative};

/// What is said of a service beside how many of its tasks run: nothing, unless it is held back or goes.
pub(super) fn standing(service: &wire::Service) -> &'static str {
    match (service.pending_delete, &service.waiting) {
        (true, _) => " (removing)",
        (false, Some(_)) => " (waiting)",
        (false, None) => "",
    }
}

/// The condition as flags have it.
fn condition(dependency: &Dependency) -> &'static str {
    match dependency.condition() {
        Condition::Running => "running",
        Condition::Healthy => "healthy",
        Condition::Completed => "completed",
    }
}

/// What it depends on, what it waits for, and that it goes.
pub(super) fn fields(columns: &mut Columns, service: &wire::Service, now: SystemTime) {
    let spec = service.spec.iter().flat_map(|spec| &spec.depends_on);
    let dependencies: Vec<_> = spec.map(|one| format!("{}:{}", one.service, condition(one))).collect();
    columns.field_if_any("Depends On", dependencies.join(", "));
    if let Some(waiting) = &service.waiting {
        columns.section("Waiting");
        columns.field_if_any(" Since", relative(waiting.since.as_ref(), now));
        columns.field_if_any(" Message", &waiting.message);
    }
    if service.pending_delete {
        columns.field("Removing", "when its tasks have stopped");
    }
}
