//! To which services one may need to be near, given the services that there are.

use swarmkit_api::wire::{ServiceSpec, swarmkit::scheduling::v1::affinity::Direction};
use swarmkit_store::State;

use crate::{ControlError, depends::cycle, request::name_of};

/// Somebody comes first: services that need to be near each other in a circle would all wait for one another. Tasks of
/// one service may need to be near each other, for the first of them may go anywhere.
pub(crate) fn somebody_comes_first(view: &State, spec: &ServiceSpec) -> Result<(), ControlError> {
    match cycle(view, spec, &needed_near) {
        Some(cycle) => Err(ControlError::invalid(format!(
            "services cannot all need to be near each other, since none of them could come first: {cycle}"
        ))),
        None => Ok(()),
    }
}

/// The other services that the tasks of one have to be near to.
fn needed_near(spec: &ServiceSpec) -> Vec<String> {
    let own = name_of(&spec.annotations);
    let affinities = spec.scheduling.iter().flat_map(|scheduling| &scheduling.affinities);
    let needed = affinities.filter(|affinity| affinity.required && affinity.direction() == Direction::Near);
    let others = needed.filter(|affinity| !affinity.service.eq_ignore_ascii_case(own));
    others.map(|affinity| affinity.service.clone()).collect()
}

#[cfg(test)]
mod tests {
    use swarmkit_testing::{service, world};

    use super::*;

    /// What is said of a service `a` that needs to be near those, beside what there is.
    fn check(there: &str, near: &[&str]) -> Result<(), String> {
        let spec = near.iter().fold(service("a"), |service, name| service.must_be_near(name)).build().spec;
        somebody_comes_first(&world(there), &spec).map_err(|error| error.to_string())
    }

    #[test]
    fn services_that_need_to_be_near_each_other_in_a_circle_are_refused() {
        let refused = |cycle: &str| {
            let why = "services cannot all need to be near each other, since none of them could come first";
            Err(format!("{why}: {cycle}"))
        };
        assert_eq!(check("service b must-near=a", &["b"]), refused("a -> b -> a"));
        assert_eq!(check("service b must-near=c; service c must-near=A", &["b"]), refused("a -> b -> c -> a"));
    }

    #[test]
    fn wishes_oneself_and_being_apart_close_no_circle() {
        assert_eq!(check("service b near=a", &["b"]), Ok(()));
        assert_eq!(check("service b must-apart=a", &["b"]), Ok(()));
        assert_eq!(check("service b must-near=b", &["a", "b"]), Ok(()));
        assert_eq!(check("service c must-near=a", &["b"]), Ok(()));
    }
}
