//! The flags that say which services come first.

use clap::Args;
use swarmkit_api::wire::{
    ServiceSpec,
    swarmkit::orchestration::v1::{Dependency, dependency::Condition},
};

use super::{
    CtlError,
    service_flags::{Csv, values},
};

/// The flags that `create` and `update` share.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct DependFlags {
    /// Service that has to come first, as name[:running|healthy|completed]; running unless given; replaces all (repeat, or
    /// separate with commas)
    #[arg(long, value_name = "NAME[:CONDITION]")]
    depends_on: Vec<Csv>,
}

impl DependFlags {
    /// Puts what was given into a specification.
    pub(super) fn apply(&self, spec: &mut ServiceSpec) -> Result<(), CtlError> {
        if !self.depends_on.is_empty() {
            spec.depends_on = values(&self.depends_on).map(parse).collect::<Result<_, _>>()?;
        }
        Ok(())
    }
}

/// Takes dependencies away by name.
pub(super) fn take_away(spec: &mut ServiceSpec, names: &[Csv]) -> Result<(), CtlError> {
    for name in values(names) {
        let before = spec.depends_on.len();
        spec.depends_on.retain(|dependency| !dependency.service.eq_ignore_ascii_case(name));
        if spec.depends_on.len() == before {
            return Err(CtlError::State(format!("the service does not depend on a service called {name}")));
        }
    }
    Ok(())
}

fn parse(text: &str) -> Result<Dependency, CtlError> {
    let (name, condition) = text.split_once(':').unwrap_or((text, "running"));
    let condition = match condition {
        "running" => Condition::Running,
        "healthy" => Condition::Healthy,
        "completed" => Condition::Completed,
        _ => {
            let expected = "expected running, healthy or completed after the name";
            return Err(CtlError::Usage(format!("malformed dependency {text:?}: {expected}")));
        }
    };
    Ok(Dependency { service: name.to_owned(), condition: condition.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(flags: &[&str]) -> Result<Vec<(String, Condition)>, String> {
        let depends_on = flags.iter().map(|text| text.parse().unwrap()).collect();
        let mut spec = ServiceSpec::default();
        DependFlags { depends_on }.apply(&mut spec).map_err(|error| error.to_string())?;
        Ok(spec.depends_on.iter().map(|one| (one.service.clone(), one.condition())).collect())
    }

    #[test]
    fn a_dependency_is_a_name_and_a_condition() {
        let all = [("db", Condition::Healthy), ("init", Condition::Completed), ("cache", Condition::Running)];
        let all: Vec<_> = all.map(|(name, condition)| (name.to_owned(), condition)).into();
        assert_eq!(applied(&["db:healthy,init:completed", "cache"]).unwrap(), all);
        assert_eq!(applied(&["cache:running"]).unwrap(), all[2..]);
        assert_eq!(
            applied(&["db:ready"]).unwrap_err(),
            "malformed dependency \"db:ready\": expected running, healthy or completed after the name"
        );
    }

    #[test]
    fn dependencies_are_replaced_by_others_and_taken_away_by_name() {
        let mut spec = ServiceSpec { depends_on: vec![parse("old").unwrap()], ..Default::default() };
        DependFlags::default().apply(&mut spec).unwrap();
        assert_eq!(spec.depends_on, [parse("old").unwrap()], "what is not given stays");
        DependFlags { depends_on: vec!["db:healthy,cache".parse().unwrap()] }.apply(&mut spec).unwrap();
        take_away(&mut spec, &["DB".parse().unwrap()]).unwrap();
        assert_eq!(spec.depends_on, [parse("cache").unwrap()]);
        let why = take_away(&mut spec, &["db".parse().unwrap()]).unwrap_err();
        assert_eq!(why.to_string(), "the service does not depend on a service called db");
    }
}
