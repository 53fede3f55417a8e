//! Whether a task is still what its service asks for.

use swarmkit_api::{
    Node, Service, Task, TaskState,
    constraint::{self, Constraint},
    wire::{Placement, TaskSpec, task_spec::Runtime},
};

/// How far what tasks run is from what their service asks for. It says so of all tasks that run the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Likeness {
    same: bool,
    /// The same, but for the ways to fetch it.
    same_fetched: bool,
    /// The same, but for constraints and preferences.
    same_in_place: bool,
    /// The same, but for both.
    same_fetched_in_place: bool,
}

impl Likeness {
    pub(crate) fn of(has: &TaskSpec, wants: Option<&TaskSpec>) -> Self {
        let nothing = TaskSpec::default();
        let wants = wants.unwrap_or(&nothing);
        if has == wants {
            return Self { same: true, same_fetched: true, same_in_place: true, same_fetched_in_place: true };
        }
        let in_place = |has: &TaskSpec, wants: &TaskSpec| {
            differs_in_where_only(has.placement.as_ref(), wants.placement.as_ref())
                && *wants == TaskSpec { placement: wants.placement.clone(), ..has.clone() }
        };
        let (fetched, wants_fetched) = (without_pull_options(has), without_pull_options(wants));
        Self {
            same: false,
            same_fetched: fetched == wants_fetched,
            same_in_place: in_place(has, wants),
            same_fetched_in_place: in_place(&fetched, &wants_fetched),
        }
    }

    fn is_close_enough(self, has_fetched: bool, fits: impl FnOnce() -> bool) -> bool {
        let (same, same_in_place) = match has_fetched {
            true => (self.same_fetched, self.same_fetched_in_place),
            false => (self.same, self.same_in_place),
        };
        same || (same_in_place && fits())
    }
}

/// Whether a task has to be replaced for its service to be as it was asked for.
///
/// A task of the service's own version is as asked for. Of another version it is, too, if what differs does not touch
/// it: other placement constraints or preferences that its node satisfies, or other ways to fetch what it has fetched.
pub(crate) fn is_dirty(
    task: &Task,
    service: &Service,
    constraints: &[Constraint],
    node: Option<&Node>,
    likeness: impl FnOnce() -> Likeness,
) -> bool {
    if task.spec_version.is_some() && task.spec_version == service.spec_version {
        return false;
    }
    let has_fetched = (TaskState::Ready..=TaskState::Running).contains(&task.status.state)
        && task.desired_state <= TaskState::Running;
    let fits = || node.is_some_and(|node| constraint::all_match(constraints, node));
    !likeness().is_close_enough(has_fetched, fits)
        || task.endpoint.as_ref().is_some_and(|endpoint| endpoint.spec != service.spec.endpoint)
}

/// Whether a task is as its service asks for, so that it need not be replaced. `node` is the one that it is on, if it is
/// on one: what [`services`](crate::services) decides by, for whoever wants to show it.
#[must_use]
pub fn is_up_to_date(task: &Task, service: &Service, node: Option<&Node>) -> bool {
    let wants = service.spec.task.as_ref();
    let placement = wants.and_then(|task| task.placement.as_ref());
    let constraints = placement.map(|placement| constraint::parse_all(&placement.constraints));
    let constraints = constraints.and_then(Result::ok).unwrap_or_default();
    !is_dirty(task, service, &constraints, node, || Likeness::of(&task.spec, wants))
}

fn without_pull_options(spec: &TaskSpec) -> TaskSpec {
    let mut spec = spec.clone();
    if let Some(Runtime::Container(container)) = &mut spec.runtime {
        container.pull_options = None;
    }
    spec
}

/// Whether two placements differ at most in constraints and preferences. What a node must be in itself is the same.
fn differs_in_where_only(has: Option<&Placement>, wants: Option<&Placement>) -> bool {
    let nothing = Placement::default();
    let (has, wants) = (has.unwrap_or(&nothing), wants.unwrap_or(&nothing));
    has.platforms == wants.platforms && has.max_replicas == wants.max_replicas
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use swarmkit_api::wire::{self, container_spec::PullOptions};
    use swarmkit_testing::{ServiceBuilder, node, service, task};

    use super::*;

    /// Whether a running task of `web` at version 1 is dirty after the service has become what `change` says.
    fn dirty_after(change: impl FnOnce(ServiceBuilder) -> ServiceBuilder) -> bool {
        dirty_task(change, |task| task)
    }

    fn dirty_task(change: impl FnOnce(ServiceBuilder) -> ServiceBuilder, of: impl FnOnce(Task) -> Task) -> bool {
        let before = service("web").constraint("node.labels.disk == ssd");
        let mut task = task("web.1").of(&before.clone().build()).on("a").state(TaskState::Running).build();
        task.endpoint = Some(Arc::new(wire::Endpoint::default()));
        let after = change(before.spec_version(2)).build();
        let constraints = &after.spec.task.as_ref().unwrap().placement.as_ref().unwrap().constraints;
        let constraints = constraint::parse_all(constraints).unwrap();
        let node = node("a").ready().label("disk", "ssd").label("dc", "x").build();
        let task = of(task);
        let node = task.node_id.as_ref().map(|_| node);
        is_dirty(&task, &after, &constraints, node.as_ref(), || Likeness::of(&task.spec, after.spec.task.as_ref()))
    }

    fn placement(change: impl FnOnce(&mut Placement)) -> impl FnOnce(ServiceBuilder) -> ServiceBuilder {
        move |service| service.task(|task| change(task.placement.get_or_insert_default()))
    }

    #[test]
    fn what_is_shown_is_what_is_decided_by() {
        let ours = service("web").constraint("node.labels.disk == ssd");
        let task = task("web.1").of(&ours.clone().build()).on("a").state(TaskState::Running).build();
        let node = node("a").ready().label("disk", "ssd").build();
        let moved = ours.clone().constraint("node.labels.disk != hdd").spec_version(2).build();
        assert!(is_up_to_date(&task, &ours.clone().build(), None));
        assert!(is_up_to_date(&task, &moved, Some(&node)));
        assert!(!is_up_to_date(&task, &moved, None));
        assert!(!is_up_to_date(&task, &ours.image("other").spec_version(2).build(), Some(&node)));
    }

    #[test]
    fn a_task_of_the_same_version_is_clean_whatever_differs() {
        assert!(!dirty_after(|service| service.image("other").spec_version(1)));
    }

    #[test]
    fn a_task_of_another_version_is_clean_when_nothing_differs() {
        assert!(!dirty_after(|service| service));
        assert!(!dirty_after(|service| service.replicas(7)));
    }

    #[test]
    fn a_task_whose_specification_differs_is_dirty() {
        assert!(dirty_after(|service| service.image("other")));
        assert!(dirty_after(|service| service.task(|task| task.force_update = 1)));
    }

    #[test]
    fn other_constraints_leave_it_clean_only_where_its_node_satisfies_them() {
        let constrain = |constraint: &'static str| placement(move |p| p.constraints.push(constraint.to_owned()));
        assert!(!dirty_after(constrain("node.labels.dc == x")));
        assert!(dirty_after(constrain("node.labels.dc == y")));
        assert!(dirty_task(constrain("node.labels.dc == x"), |mut task| {
            task.node_id = None;
            task
        }));
        assert!(!dirty_after(placement(|p| p.preferences.push(wire::PlacementPreference::default()))));
        assert!(dirty_after(|service| constrain("node.labels.dc == x")(service).image("other")));
    }

    #[test]
    fn other_platforms_and_limits_of_a_node_make_it_dirty() {
        assert!(dirty_after(placement(|p| p.max_replicas = 1)));
        assert!(dirty_after(placement(|p| p.platforms.push(wire::Platform::default()))));
    }

    #[test]
    fn that_only_the_place_differs_is_true_of_nothing_else() {
        let spec = |constraint: &str, image: &str| {
            let mut spec = swarmkit_testing::container(image);
            spec.placement = (!constraint.is_empty())
                .then(|| Placement { constraints: vec![constraint.to_owned()], ..Placement::default() });
            spec
        };
        let only_in_place = |has: &TaskSpec, wants: &TaskSpec| {
            let likeness = Likeness::of(has, Some(wants));
            likeness.same_in_place && !likeness.same
        };
        let here = spec("node.id == a", "web");
        assert!(!only_in_place(&here, &here), "nothing differs");
        assert!(only_in_place(&here, &spec("node.id == b", "web")));
        assert!(only_in_place(&here, &spec("", "web")), "the placement was cleared");
        assert!(!only_in_place(&here, &spec("node.id == b", "other")), "something else differs, too");
        assert!(!only_in_place(&here, &spec("", "other")), "the placement was cleared, and something else differs");
        assert!(!only_in_place(&here, &TaskSpec { runtime: None, ..spec("", "web") }), "both were cleared");
    }

    #[test]
    fn how_to_fetch_does_not_matter_once_it_is_fetched() {
        let pull = |service: ServiceBuilder| {
            service.container(|container| {
                container.pull_options = Some(PullOptions { registry_auth: "token".into() });
            })
        };
        assert!(!dirty_after(pull));
        let preparing = |mut task: Task| {
            task.status.state = TaskState::Preparing;
            task
        };
        assert!(dirty_task(pull, preparing));
        assert!(dirty_after(|service| pull(service).image("other")));
    }

    #[test]
    fn other_ports_make_it_dirty_also_when_only_constraints_differ_besides() {
        let publish =
            |spec: &mut wire::ServiceSpec| spec.endpoint = Some(wire::EndpointSpec { mode: 1, ports: Vec::new() });
        assert!(dirty_after(|service| service.spec(publish)));
        assert!(dirty_after(|service| service.constraint("node.labels.dc == x").spec(publish)));
    }
}
