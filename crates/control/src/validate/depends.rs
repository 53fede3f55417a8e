//! What a service may depend on, as far as its specification alone tells.

use std::collections::BTreeSet;

use swarmkit_api::wire::{ServiceSpec, swarmkit::orchestration::v1::dependency::Condition};

use super::{Checked, dns_name};
use crate::{ControlError, request::name_of};

/// How many services one may depend on: more than any stack has that a person can follow.
pub(crate) const DEPENDENCIES_MAX: usize = 64;

/// Each dependency names another service, once.
pub(crate) fn depends_on(spec: &ServiceSpec) -> Checked {
    let dependencies = &spec.depends_on;
    if dependencies.len() > DEPENDENCIES_MAX {
        return Err(ControlError::invalid(format!(
            "a service may depend on at most {DEPENDENCIES_MAX} others, not {}",
            dependencies.len()
        )));
    }
    let own = name_of(&spec.annotations);
    let mut names = BTreeSet::new();
    for dependency in dependencies {
        let name = dependency.service.as_str();
        dns_name(name).map_err(|error| ControlError::invalid(format!("depends on {name:?}: {error}")))?;
        if name.eq_ignore_ascii_case(own) {
            return Err(ControlError::invalid(format!("service {own} cannot depend on itself")));
        }
        if !names.insert(name.to_ascii_lowercase()) {
            return Err(ControlError::invalid(format!("depends on {name} twice")));
        }
        if Condition::try_from(dependency.condition).is_err() {
            return Err(ControlError::invalid(format!(
                "depends on {name}: unknown condition {}",
                dependency.condition
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use swarmkit_api::wire::{Annotations, swarmkit::orchestration::v1::Dependency};

    use super::*;

    fn check(names: &[&str]) -> Result<(), String> {
        let dependency = |name: &&str| Dependency { service: (*name).to_owned(), condition: 0 };
        let annotations = Some(Annotations { name: "web".into(), ..Default::default() });
        let spec =
            ServiceSpec { annotations, depends_on: names.iter().map(dependency).collect(), ..Default::default() };
        depends_on(&spec).map_err(|error| error.to_string())
    }

    #[test]
    fn each_dependency_is_another_service_and_named_once() {
        assert_eq!(check(&[]), Ok(()));
        assert_eq!(check(&["db", "cache"]), Ok(()));
        assert_eq!(check(&["db", "WEB"]), Err("service web cannot depend on itself".to_owned()));
        assert_eq!(check(&["db", "DB"]), Err("depends on DB twice".to_owned()));
        assert_eq!(check(&[""]), Err("depends on \"\": meta: name must be provided".to_owned()));
        let invalid = "depends on \"-db\": name must be valid as a DNS name component".to_owned();
        assert_eq!(check(&["-db"]), Err(invalid));
    }

    #[test]
    fn there_are_not_too_many() {
        let names: Vec<_> = (0..=DEPENDENCIES_MAX).map(|number| format!("s{number}")).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        assert_eq!(check(&names[1..]), Ok(()));
        assert_eq!(check(&names), Err("a service may depend on at most 64 others, not 65".to_owned()));
    }

    #[test]
    fn a_condition_that_nobody_knows_is_refused() {
        let dependency = Dependency { service: "db".into(), condition: 9 };
        let why = depends_on(&ServiceSpec { depends_on: vec![dependency], ..Default::default() }).unwrap_err();
        assert_eq!(why.to_string(), "depends on db: unknown condition 9");
    }
}
