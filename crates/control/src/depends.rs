//! What a service may depend on, given the services that there are.

use std::collections::BTreeSet;

use swarmkit_api::{
    Service,
    wire::{ServiceSpec, swarmkit::orchestration::v1::dependency::Condition},
};
use swarmkit_store::State;

use crate::{ControlError, request::name_of, services::is_job};

/// Of how many services in a cycle names are told.
const CYCLE_TOLD_MAX: usize = 16;

/// No service waits for itself through others, and none waits for what never ends to complete. What does not exist yet
/// is nothing to say about: whoever creates it is asked then.
pub(crate) fn can_be_waited_for(view: &State, spec: &ServiceSpec) -> Result<(), ControlError> {
    for dependency in spec.depends_on.iter().filter(|dependency| dependency.condition() == Condition::Completed) {
        if let Some(service) = there_is(view, &dependency.service)
            && !is_job(&service.spec)
        {
            return Err(ControlError::invalid(format!(
                "service {} is no job and never completes: wait for it to run or to be healthy",
                service.name()
            )));
        }
    }
    let names = |spec: &ServiceSpec| spec.depends_on.iter().map(|dependency| dependency.service.clone()).collect();
    match cycle(view, spec, &names) {
        Some(cycle) => Err(ControlError::invalid(format!("services cannot wait for each other: {cycle}"))),
        None => Ok(()),
    }
}

/// The way along the names that services give by which one comes back to itself, it first and last, as a line.
pub(crate) fn cycle(view: &State, spec: &ServiceSpec, names: &dyn Fn(&ServiceSpec) -> Vec<String>) -> Option<String> {
    let own = name_of(&spec.annotations);
    // How far each service on the way has been followed, the first name last.
    let names = |spec: &ServiceSpec| names(spec).into_iter().rev().collect::<Vec<_>>();
    let mut way = vec![(own.to_owned(), names(spec))];
    let mut seen = BTreeSet::new();
    while let Some((_, left)) = way.last_mut() {
        let Some(next) = left.pop() else {
            way.pop();
            continue;
        };
        if next.eq_ignore_ascii_case(own) {
            return Some(told(way.into_iter().map(|(name, _)| name).chain([own.to_owned()]).collect()));
        }
        if seen.insert(next.to_ascii_lowercase())
            && let Some(service) = there_is(view, &next)
        {
            way.push((service.name().to_owned(), names(&service.spec)));
        }
    }
    None
}

/// A cycle of any length, as a line that can be read.
fn told(mut cycle: Vec<String>) -> String {
    if cycle.len() > CYCLE_TOLD_MAX {
        let half = CYCLE_TOLD_MAX / 2;
        cycle.splice(half..cycle.len() - half, ["...".to_owned()]);
    }
    cycle.join(" -> ")
}

/// The service of a name, unless it is being removed: then nobody waits for it any more.
fn there_is<'v>(view: &'v State, name: &str) -> Option<&'v Service> {
    view.service_by_name(name).map(AsRef::as_ref).filter(|service| !service.pending_delete)
}

#[cfg(test)]
mod tests {
    use swarmkit_testing::{service, world};

    use super::*;

    /// What is said of a service `a` with those dependencies, beside what there is.
    fn check(there: &str, depends_on: &[&str]) -> Result<(), String> {
        let condition = Condition::Running;
        let spec = depends_on.iter().fold(service("a"), |service, name| service.after(name, condition)).build().spec;
        can_be_waited_for(&world(there), &spec).map_err(|error| error.to_string())
    }

    fn refused(cycle: &str) -> Result<(), String> {
        Err(format!("services cannot wait for each other: {cycle}"))
    }

    #[test]
    fn a_cycle_is_refused_and_told() {
        assert_eq!(check("service b after=a", &["b"]), refused("a -> b -> a"));
        assert_eq!(check("service b after=c; service c after=A", &["b"]), refused("a -> b -> c -> a"));
        assert_eq!(
            check("service b after=d after=c; service c after=a; service d", &["x", "b"]),
            refused("a -> b -> c -> a")
        );
    }

    #[test]
    fn what_comes_twice_is_no_cycle() {
        assert_eq!(check("service b after=d; service c after=d; service d after=e", &["b", "c", "d"]), Ok(()));
        // A cycle of others is none of its own.
        assert_eq!(check("service b after=c; service c after=b", &["b"]), Ok(()));
    }

    #[test]
    fn what_does_not_exist_or_is_being_removed_closes_no_cycle() {
        assert_eq!(check("service c after=a", &["b"]), Ok(()));
        assert_eq!(check("service b after=a leaving", &["b"]), Ok(()));
    }

    #[test]
    fn a_thousand_services_in_a_row_are_followed_to_their_end() {
        let row: String = (1..1000).map(|number| format!("service s{number} after=s{}; ", number + 1)).collect();
        assert_eq!(check(&row, &["s1"]), Ok(()));
        let why = check(&(row + "service s1000 after=a"), &["s1"]).unwrap_err();
        assert!(why.starts_with("services cannot wait for each other: a -> s1 -> s2"), "{why}");
        assert!(why.ends_with("s999 -> s1000 -> a"), "{why}");
    }
}
