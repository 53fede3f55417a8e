//! How many tasks more of a service may be missing.

use std::collections::BTreeMap;

use swarmkit_api::{
    Node, NodeId, Service, ServiceId, Task, TaskState,
    wire::{service_spec::Mode, swarmkit::orchestration::v1::job_run::Outcome},
};
use swarmkit_store::{State, TaskBy};

use super::{max_disrupted, yields};
use crate::books::is_active;

/// What services can spare, looked up once for each that is asked about, and used up by what is decided.
#[derive(Debug, Default)]
pub(crate) struct Budgets(BTreeMap<ServiceId, u64>);

/// How it stands with one slot of a service, or with its place on one node.
#[derive(Debug, Default)]
struct Place<'t> {
    /// A task that is wanted there runs.
    is_up: bool,
    /// A task is wanted there, and has not ended.
    is_wanted: bool,
    newest: Option<&'t Task>,
}

// === impl Budgets ===

impl Budgets {
    /// How many tasks more of a service may go that run. `None` if none of its tasks may go at all, since too many are
    /// missing already.
    pub(crate) fn spare(&mut self, state: &State, service: &Service) -> Option<u64> {
        let Some(limit) = max_disrupted(service) else { return Some(u64::MAX) };
        let missing = self.0.entry(service.id.clone()).or_insert_with(|| missing(state, service));
        limit.checked_sub(*missing)
    }

    /// Tasks of a service go that run.
    pub(crate) fn take(&mut self, service: &ServiceId, tasks: u64) {
        if let Some(missing) = self.0.get_mut(service) {
            *missing += tasks;
        }
    }
}

/// How many tasks of a service are wanted and do not run, for whatever reason. One that makes room is missing until what
/// replaces it runs, also while nothing replaces it yet.
pub(crate) fn missing(state: &State, service: &Service) -> u64 {
    let mut places = BTreeMap::<(Option<&NodeId>, u64, u64), Place<'_>>::new();
    let is_per_node = matches!(service.spec.mode, Some(Mode::Global(_) | Mode::GlobalJob(_)));
    for task in state.find(TaskBy::Service(&service.id)).filter(|task| task.desired_state < TaskState::Remove) {
        let node = task.node_id.as_ref().filter(|_| is_per_node);
        let run = task.job_iteration.map_or(0, |iteration| iteration.0);
        let place = places.entry((node, task.slot, run)).or_default();
        place.is_up |= is_active(task) && task.status.state == TaskState::Running;
        place.is_wanted |= is_active(task) && task.status.state <= TaskState::Running;
        let age = |task: &Task| (task.meta.created_version, task.meta.created_at.map(|at| (at.seconds, at.nanos)));
        if place.newest.is_none_or(|newest| age(newest) <= age(task)) {
            place.newest = Some(task);
        }
    }
    if let Some(Mode::Replicated(replicated)) = &service.spec.mode {
        let up = places.values().filter(|place| place.is_up).count() as u64;
        return replicated.replicas.saturating_sub(up);
    }
    let is_missing = |place: &&Place<'_>| {
        !place.is_up && (place.is_wanted || place.newest.is_some_and(|newest| is_owed(state, service, newest)))
    };
    places.values().filter(is_missing).count() as u64
}

/// Whether what made room, and is the last of its place, is about to be replaced.
fn is_owed(state: &State, service: &Service, task: &Task) -> bool {
    let has_node = || {
        let node = task.node_id.as_ref().and_then(|node| state.get::<Node>(node));
        node.is_some_and(|node| crate::books::takes_tasks(node))
    };
    let goes_on = match (task.job_iteration, &service.spec.mode) {
        (Some(iteration), _) if service.runs.is_empty() => {
            service.job_status.and_then(|status| status.job_iteration).unwrap_or_default().index == iteration.0
        }
        (Some(iteration), _) => {
            service.runs.iter().any(|run| run.iteration == iteration.0 && run.outcome() == Outcome::Running)
        }
        (None, Some(Mode::Global(_))) => has_node(),
        (None, _) => false,
    };
    yields(task) && task.status.state != TaskState::Complete && goes_on
}

#[cfg(test)]
mod tests {
    use swarmkit_testing as testing;

    use super::*;

    #[track_caller]
    fn check(text: &str, expected: u64) {
        let view = testing::world(text);
        let service = view.all::<Service>().next().expect("there is a service");
        assert_eq!(missing(&view, service), expected, "{text}");
    }

    #[test]
    fn what_is_wanted_and_does_not_run_is_missing() {
        check("node a; service web replicas=3; task web.1 on a; task web.2 on a; task web.3 on a", 0);
        check("node a; service web replicas=3; task web.1 on a; task web.2 on a starting", 2);
        check("node a; service web replicas=1; task web.1 on a; task web.2 on a", 0);
        check("node a; service web replicas=2; task web.1 on a; task web.2.old on a; task web.2.new on a starting", 0);
        check("node a; service web replicas=2; task web.1 on a; task web.2 on a failed wants shutdown", 1);
        check("node a; service all global; task all.a starting", 1);
        check("node a; node b; service all global; task all.a; task all.b running wants shutdown", 0);
        check("node a; service job job=9 concurrent=3; task job.0 on a running wants complete", 0);
        check("node a; service job job=9 concurrent=3; task job.0 on a ready wants complete", 1);
        check("node a; service job job=9 concurrent=3; task job.0 on a complete wants complete", 0);
    }

    #[test]
    fn what_makes_room_is_missing_until_what_replaces_it_runs() {
        let gone = "wants shutdown makes-room-for=vip.1";
        check(&format!("node a; service web replicas=1; task web.1 on a {gone}"), 1);
        check(&format!("node a; service all global; task all.a running {gone}"), 1);
        check(&format!("node a drain; service all global; task all.a running {gone}"), 0);
        check(&format!("node a; service job job=2 concurrent=1; task job.0 on a {gone}"), 1);
        check(&format!("node a; service job job=2 concurrent=1; task job.0 on a complete {gone}"), 0);
        let both = |new: &str| format!("node a; service all global; task all.a.1 shutdown {gone}; task all.a.2 {new}");
        check(&both("pending"), 1);
        check(&both("running"), 0);
    }
}
