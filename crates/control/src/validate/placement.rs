//! How the scheduler may choose nodes for a service, as far as its specification alone tells.

use std::collections::BTreeMap;

use swarmkit_api::{
    constraint::Label,
    wire::{
        ServiceSpec,
        service_spec::Mode,
        swarmkit::scheduling::v1::{Affinity, Strategy, affinity::Direction},
    },
};

use super::{Checked, dns_name};
use crate::{ControlError, request::name_of};

/// How many affinities a service may have: more than a person can follow, and few enough to look at for every node.
pub(crate) const AFFINITIES_MAX: usize = 32;

/// What is asked for has to be known, to make sense together, and to be something that the mode leaves open.
pub(crate) fn placement(spec: &ServiceSpec) -> Checked {
    let Some(scheduling) = &spec.scheduling else { return Ok(()) };
    strategy(scheduling.strategy)?;
    affinities(&scheduling.affinities)?;
    if !matches!(spec.mode, Some(Mode::Global(_) | Mode::GlobalJob(_))) {
        return Ok(());
    }
    if scheduling.strategy() != Strategy::Unset {
        return Err(ControlError::invalid(
            "tasks of global services run on every node: there is no strategy to choose one",
        ));
    }
    let own = name_of(&spec.annotations);
    for affinity in &scheduling.affinities {
        let told = told(affinity);
        if !affinity.required {
            return Err(ControlError::invalid(format!(
                "{told}: tasks of global services run on every node, so that this can only be required"
            )));
        }
        if affinity.direction() == Direction::Near && affinity.service.eq_ignore_ascii_case(own) {
            return Err(ControlError::invalid(format!(
                "{told}: tasks of global services run on every node and cannot be near each other"
            )));
        }
    }
    Ok(())
}

/// The strategy has to be one that is known.
pub(crate) fn strategy(number: i32) -> Checked {
    match Strategy::try_from(number) {
        Ok(_) => Ok(()),
        Err(_) => Err(ControlError::invalid(format!("unknown strategy of placement: {number}"))),
    }
}

fn affinities(affinities: &[Affinity]) -> Checked {
    if affinities.len() > AFFINITIES_MAX {
        return Err(ControlError::invalid(format!(
            "a service may have at most {AFFINITIES_MAX} affinities, not {}",
            affinities.len()
        )));
    }
    let mut seen = BTreeMap::<_, &Affinity>::new();
    for affinity in affinities {
        one(affinity)?;
        // Prefixes of labels have no case, and neither have names of services.
        let scope = Label::parse(&affinity.scope);
        if let Some(before) = seen.insert((affinity.service.to_ascii_lowercase(), scope), affinity) {
            return Err(ControlError::invalid(match before.direction == affinity.direction {
                true => format!("{} is asked for twice", told(affinity)),
                false => format!("{} contradicts {}", told(affinity), told(before)),
            }));
        }
    }
    let required = |direction| affinities.iter().filter(move |one| one.required && one.direction() == direction);
    for near in required(Direction::Near).filter(|near| near.scope.is_empty()) {
        // Nodes that share a label are more than one, and this node is among them.
        let mut apart = required(Direction::Apart);
        if let Some(apart) = apart.find(|apart| apart.service.eq_ignore_ascii_case(&near.service)) {
            return Err(ControlError::invalid(format!("{} contradicts {}", told(near), told(apart))));
        }
    }
    Ok(())
}

/// What one affinity says for itself.
fn one(affinity: &Affinity) -> Checked {
    if Direction::try_from(affinity.direction).is_err() {
        let number = affinity.direction;
        return Err(ControlError::invalid(format!("affinity to {:?}: unknown direction {number}", affinity.service)));
    }
    dns_name(&affinity.service).map_err(|error| ControlError::invalid(format!("{}: {error}", told(affinity))))?;
    if !affinity.scope.is_empty() && Label::parse(&affinity.scope).is_none() {
        return Err(ControlError::invalid(format!(
            "{}: {:?} is no scope: a label is expected, such as node.labels.zone or engine.labels.zone, or nothing for \
             the node",
            told(affinity),
            affinity.scope
        )));
    }
    Ok(())
}

fn told(affinity: &Affinity) -> String {
    let what = match affinity.direction() {
        Direction::Near => "affinity",
        Direction::Apart => "anti-affinity",
    };
    format!("{what} to {:?}", affinity.service)
}

#[cfg(test)]
mod tests {
    use swarmkit_api::wire::{self, swarmkit::scheduling::v1::ServiceScheduling};

    use super::*;

    fn near(service: &str, scope: &str, required: bool) -> Affinity {
        Affinity { service: service.into(), direction: Direction::Near.into(), scope: scope.into(), required }
    }

    fn apart(service: &str, scope: &str, required: bool) -> Affinity {
        Affinity { direction: Direction::Apart.into(), ..near(service, scope, required) }
    }

    fn of_mode(mode: Mode, scheduling: ServiceScheduling) -> Result<(), String> {
        let annotations = Some(wire::Annotations { name: "web".into(), ..Default::default() });
        let spec = ServiceSpec { annotations, mode: Some(mode), scheduling: Some(scheduling), ..Default::default() };
        placement(&spec).map_err(|error| error.to_string())
    }

    fn check(affinities: Vec<Affinity>) -> Result<(), String> {
        let mode = Mode::Replicated(wire::ReplicatedService { replicas: 3 });
        of_mode(mode, ServiceScheduling { affinities, ..Default::default() })
    }

    fn refused(why: &str) -> Result<(), String> {
        Err(why.to_owned())
    }

    #[test]
    fn a_strategy_that_nobody_knows_is_refused() {
        let mode = || Mode::Replicated(wire::ReplicatedService { replicas: 3 });
        let with = |strategy| of_mode(mode(), ServiceScheduling { strategy, ..Default::default() });
        for known in [Strategy::Unset, Strategy::Spread, Strategy::BinPack] {
            assert_eq!(with(known.into()), Ok(()));
        }
        assert_eq!(with(7), refused("unknown strategy of placement: 7"));
    }

    #[test]
    fn affinities_name_a_service_and_a_label_or_nothing() {
        let zone = "node.labels.zone";
        assert_eq!(check(vec![near("db", "", true), apart("web", zone, true), near("DB", zone, false)]), Ok(()));
        assert_eq!(check(vec![near("", "", true)]), refused("affinity to \"\": meta: name must be provided"));
        let invalid = "anti-affinity to \"-db\": name must be valid as a DNS name component";
        assert_eq!(check(vec![apart("-db", "", false)]), refused(invalid));
        for scope in ["zone", "node.labels.", "node.id", "node.labels"] {
            let why = format!(
                "affinity to \"db\": \"{scope}\" is no scope: a label is expected, such as node.labels.zone or \
                 engine.labels.zone, or nothing for the node"
            );
            assert_eq!(check(vec![near("db", scope, true)]), Err(why));
        }
        let unknown = Affinity { direction: 9, ..near("db", "", true) };
        assert_eq!(check(vec![unknown]), refused("affinity to \"db\": unknown direction 9"));
    }

    #[test]
    fn affinities_that_are_the_same_or_contradict_each_other_are_refused() {
        let (zone, shouted) = ("node.labels.zone", "NODE.Labels.zone");
        assert_eq!(
            check(vec![near("db", zone, true), near("DB", shouted, false)]),
            refused("affinity to \"DB\" is asked for twice")
        );
        assert_eq!(
            check(vec![near("db", zone, false), apart("db", zone, false)]),
            refused("anti-affinity to \"db\" contradicts affinity to \"db\"")
        );
        assert_eq!(
            check(vec![apart("db", zone, true), near("db", "", true)]),
            refused("affinity to \"db\" contradicts anti-affinity to \"db\"")
        );
        // The same zone and another node is a place; and a wish gives way.
        assert_eq!(check(vec![near("db", zone, true), apart("db", "", true)]), Ok(()));
        assert_eq!(check(vec![near("db", "", false), apart("db", zone, true)]), Ok(()));
    }

    #[test]
    fn there_are_not_too_many_affinities() {
        let affinities: Vec<_> = (0..=AFFINITIES_MAX).map(|number| near(&format!("s{number}"), "", false)).collect();
        assert_eq!(check(affinities[1..].to_vec()), Ok(()));
        assert_eq!(check(affinities), refused("a service may have at most 32 affinities, not 33"));
    }

    #[test]
    fn global_services_can_only_require_and_never_to_be_near_themselves() {
        let global = || Mode::Global(wire::GlobalService {});
        let with = |affinity| of_mode(global(), ServiceScheduling { affinities: vec![affinity], ..Default::default() });
        assert_eq!(with(near("db", "", true)), Ok(()));
        assert_eq!(with(apart("web", "node.labels.zone", true)), Ok(()));
        assert_eq!(
            with(near("db", "", false)),
            refused(
                "affinity to \"db\": tasks of global services run on every node, so that this can only be required"
            )
        );
        assert_eq!(
            with(near("WEB", "node.labels.zone", true)),
            refused("affinity to \"WEB\": tasks of global services run on every node and cannot be near each other")
        );
        let packed = ServiceScheduling { strategy: Strategy::BinPack.into(), ..Default::default() };
        assert_eq!(
            of_mode(Mode::GlobalJob(wire::GlobalJob {}), packed),
            refused("tasks of global services run on every node: there is no strategy to choose one")
        );
    }
}
