//! Generic resources: by kind, a number or names.

use std::collections::BTreeMap;

use serde::Serialize;
use swarmkit_api::wire::{self, generic_resource::Resource};

/// What there is of one kind: a number, or the names of its units.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Units {
    Count(i64),
    Names(Vec<String>),
}

/// The JSON form of a list of generic resources.
pub(super) fn generic(resources: &[wire::GenericResource]) -> BTreeMap<String, Units> {
    let mut kinds = BTreeMap::<String, Units>::new();
    for resource in resources.iter().filter_map(|resource| resource.resource.clone()) {
        match resource {
            Resource::DiscreteResourceSpec(unit) => drop(kinds.insert(unit.kind, Units::Count(unit.value))),
            Resource::NamedResourceSpec(unit) => match kinds.entry(unit.kind).or_insert(Units::Names(Vec::new())) {
                Units::Names(names) => names.push(unit.value),
                Units::Count(_) => {}
            },
        }
    }
    kinds
}
