//! What tasks have reserved of a node, and whether more fits.
//!
//! A node describes what it has; every task on it reserves some. What is left is the difference, computed when asked
//! for, so that a node's new description needs no correction of the books.
//!
//! Generic resources are *discrete* (a count of a kind) or *named* (single units of a kind). Tasks ask for counts only;
//! which named units they get is chosen by the scheduler and recorded on the task.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    Task,
    wire::{
        DiscreteGenericResource, GenericResource, NamedGenericResource, Resources, TaskSpec, generic_resource::Resource,
    },
};

/// What is reserved of one node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reserved {
    nano_cpus: i64,
    memory_bytes: i64,
    generic: BTreeMap<String, Units>,
}

/// What is taken of one kind of generic resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Units {
    count: i64,
    /// Each named unit, and how many tasks hold it: more than one only after a node was described anew.
    names: BTreeMap<String, u32>,
}

/// What a task reserves, absent parts being nothing.
#[must_use]
pub fn reservations(spec: &TaskSpec) -> Option<&Resources> {
    spec.resources.as_ref()?.reservations.as_ref()
}

/// Whether anything is asked for at all.
#[must_use]
pub fn is_nothing(wanted: &Resources) -> bool {
    wanted.nano_cpus == 0 && wanted.memory_bytes == 0 && wanted.generic.is_empty()
}

// === impl Reserved ===

impl Reserved {
    /// Books what a task reserves and the units that it was given.
    pub fn add(&mut self, task: &Task) {
        self.book(reservations(&task.spec), &task.assigned_generic_resources);
    }

    /// Books a reservation, and the units that were [chosen](Self::choose) for it.
    pub fn book(&mut self, wanted: Option<&Resources>, given: &[GenericResource]) {
        if let Some(wanted) = wanted {
            self.nano_cpus = self.nano_cpus.saturating_add(wanted.nano_cpus);
            self.memory_bytes = self.memory_bytes.saturating_add(wanted.memory_bytes);
        }
        for resource in given.iter().filter_map(|given| given.resource.as_ref()) {
            match resource {
                Resource::DiscreteResourceSpec(unit) => {
                    let units = self.generic.entry(unit.kind.clone()).or_default();
                    units.count = units.count.saturating_add(unit.value);
                }
                Resource::NamedResourceSpec(unit) => {
                    let units = self.generic.entry(unit.kind.clone()).or_default();
                    *units.names.entry(unit.value.clone()).or_default() += 1;
                }
            }
        }
    }

    /// Takes back what [`Reserved::add`] booked for the same task.
    pub fn remove(&mut self, task: &Task) {
        if let Some(wanted) = reservations(&task.spec) {
            self.nano_cpus = self.nano_cpus.saturating_sub(wanted.nano_cpus);
            self.memory_bytes = self.memory_bytes.saturating_sub(wanted.memory_bytes);
        }
        for resource in task.assigned_generic_resources.iter().filter_map(|given| given.resource.as_ref()) {
            let kind = match resource {
                Resource::DiscreteResourceSpec(unit) => &unit.kind,
                Resource::NamedResourceSpec(unit) => &unit.kind,
            };
            let Some(units) = self.generic.get_mut(kind) else { continue };
            match resource {
                Resource::DiscreteResourceSpec(unit) => units.count = units.count.saturating_sub(unit.value),
                Resource::NamedResourceSpec(unit) => {
                    if let Some(holders) = units.names.get_mut(&unit.value) {
                        *holders -= 1;
                        if *holders == 0 {
                            units.names.remove(&unit.value);
                        }
                    }
                }
            }
            if *units == Units::default() {
                self.generic.remove(kind);
            }
        }
    }

    /// Whether a node that has `described` still has room for `wanted`. An exact fit is a fit. What is not asked for
    /// is not looked at, so a node that is over-committed in memory still takes a task that asks for none.
    #[must_use]
    pub fn fits(&self, described: &Resources, wanted: &Resources) -> bool {
        let room = |wanted: i64, described: i64, taken: i64| wanted == 0 || wanted <= described.saturating_sub(taken);
        room(wanted.nano_cpus, described.nano_cpus, self.nano_cpus)
            && room(wanted.memory_bytes, described.memory_bytes, self.memory_bytes)
            && wanted.generic.iter().filter_map(|wanted| wanted.resource.as_ref()).all(|wanted| match wanted {
                Resource::DiscreteResourceSpec(wanted) => self.has(described, &wanted.kind, wanted.value),
                // Tasks may not ask for named units; one that does all the same waits.
                Resource::NamedResourceSpec(_) => false,
            })
    }

    /// The units that a task gets of each kind it asks for: a count where the node has a count, the first free names
    /// where it has names. Ask [`Reserved::fits`] first; what is missing is left out here.
    #[must_use]
    pub fn choose(&self, described: &Resources, wanted: &Resources) -> Vec<GenericResource> {
        let mut given = Vec::new();
        for wanted in wanted.generic.iter().filter_map(|wanted| wanted.resource.as_ref()) {
            let Resource::DiscreteResourceSpec(wanted) = wanted else { continue };
            if wanted.value <= 0 {
                continue;
            }
            let count = usize::try_from(wanted.value).unwrap_or(usize::MAX);
            let mut names = self.free_names(described, &wanted.kind).peekable();
            if names.peek().is_some() {
                given.extend(names.take(count).map(|name| named(&wanted.kind, name)));
            } else {
                let unit = DiscreteGenericResource { kind: wanted.kind.clone(), value: wanted.value };
                given.push(GenericResource { resource: Some(Resource::DiscreteResourceSpec(unit)) });
            }
        }
        given
    }

    /// Whether a node that has `described` can honour what was given to one more task: names that it still has and
    /// nobody else holds, counts of which enough are left.
    #[must_use]
    pub fn honours(&self, described: &Resources, given: &[GenericResource]) -> bool {
        given.iter().filter_map(|given| given.resource.as_ref()).all(|given| match given {
            Resource::DiscreteResourceSpec(unit) => discrete(described, &unit.kind)
                .is_some_and(|count| unit.value <= count.saturating_sub(self.taken(&unit.kind))),
            Resource::NamedResourceSpec(unit) => self.free_names(described, &unit.kind).any(|name| *name == unit.value),
        })
    }

    fn has(&self, described: &Resources, kind: &str, wanted: i64) -> bool {
        match discrete(described, kind) {
            Some(count) => wanted <= count.saturating_sub(self.taken(kind)),
            None => {
                let has_kind = named_units(described, kind).next().is_some();
                let free = i64::try_from(self.free_names(described, kind).count()).unwrap_or(i64::MAX);
                has_kind && wanted <= free
            }
        }
    }

    fn taken(&self, kind: &str) -> i64 {
        self.generic.get(kind).map_or(0, |units| units.count)
    }

    fn free_names<'d>(&self, described: &'d Resources, kind: &'d str) -> impl Iterator<Item = &'d String> {
        let taken: BTreeSet<String> =
            self.generic.get(kind).map(|units| units.names.keys().cloned().collect()).unwrap_or_default();
        named_units(described, kind).filter(move |name| !taken.contains(*name))
    }
}

fn named(kind: &str, value: &str) -> GenericResource {
    let unit = NamedGenericResource { kind: kind.to_owned(), value: value.to_owned() };
    GenericResource { resource: Some(Resource::NamedResourceSpec(unit)) }
}

/// How many of a kind a node has, when it counts that kind.
fn discrete(described: &Resources, kind: &str) -> Option<i64> {
    let mut counts = described.generic.iter().filter_map(|resource| match resource.resource.as_ref()? {
        Resource::DiscreteResourceSpec(unit) if unit.kind == kind => Some(unit.value),
        _ => None,
    });
    let first = counts.next()?;
    Some(counts.fold(first, i64::saturating_add))
}

/// The units of a kind that a node names, in its order.
fn named_units<'d>(described: &'d Resources, kind: &'d str) -> impl Iterator<Item = &'d String> {
    described.generic.iter().filter_map(move |resource| match resource.resource.as_ref()? {
        Resource::NamedResourceSpec(unit) if unit.kind == kind => Some(&unit.value),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{TaskId, wire::ResourceRequirements};

    fn count(kind: &str, value: i64) -> GenericResource {
        let unit = DiscreteGenericResource { kind: kind.into(), value };
        GenericResource { resource: Some(Resource::DiscreteResourceSpec(unit)) }
    }

    fn resources(nano_cpus: i64, memory_bytes: i64, generic: &[GenericResource]) -> Resources {
        Resources { nano_cpus, memory_bytes, generic: generic.to_vec() }
    }

    fn task(wanted: Resources, given: &[GenericResource]) -> Task {
        let requirements = ResourceRequirements { reservations: Some(wanted), ..Default::default() };
        let mut task = Task::new(TaskId::from("t"), TaskSpec { resources: Some(requirements), ..Default::default() });
        task.assigned_generic_resources = given.to_vec();
        task
    }

    #[test]
    fn an_exact_fit_fits_and_one_unit_more_does_not() {
        let node = resources(2_000_000_000, 1000, &[]);
        let mut reserved = Reserved::default();
        reserved.add(&task(resources(500_000_000, 400, &[]), &[]));
        assert!(reserved.fits(&node, &resources(1_500_000_000, 600, &[])));
        assert!(!reserved.fits(&node, &resources(1_500_000_001, 600, &[])));
        assert!(!reserved.fits(&node, &resources(1_500_000_000, 601, &[])));
    }

    #[test]
    fn adding_and_removing_a_task_leaves_the_books_as_they_were() {
        let given = [count("gpu", 2), named("port", "a"), named("port", "b")];
        let some = task(resources(1, 2, &[]), &given);
        let mut reserved = Reserved::default();
        reserved.add(&some);
        let once = reserved.clone();
        reserved.add(&some);
        reserved.remove(&some);
        assert_eq!(reserved, once);
        reserved.remove(&some);
        assert_eq!(reserved, Reserved::default());
    }

    #[test]
    fn an_over_committed_node_takes_what_asks_for_nothing() {
        let mut reserved = Reserved::default();
        reserved.add(&task(resources(0, 100, &[]), &[]));
        let smaller = resources(5, 50, &[]);
        assert!(reserved.fits(&smaller, &resources(5, 0, &[])));
        assert!(!reserved.fits(&smaller, &resources(0, 1, &[])));
        assert!(reserved.fits(&resources(5, 101, &[]), &resources(0, 1, &[])), "later growth recovers");
    }

    #[test]
    fn counted_kinds_are_taken_by_count_until_none_is_left() {
        let node = resources(0, 0, &[count("gpu", 3), count("fpga", 1)]);
        let wanted = resources(0, 0, &[count("gpu", 2), count("fpga", 1)]);
        let mut reserved = Reserved::default();
        assert!(reserved.fits(&node, &wanted));
        let given = reserved.choose(&node, &wanted);
        assert_eq!(given, [count("gpu", 2), count("fpga", 1)]);
        reserved.book(Some(&wanted), &given);
        assert!(reserved.fits(&node, &resources(0, 0, &[count("gpu", 1)])));
        assert!(!reserved.fits(&node, &resources(0, 0, &[count("gpu", 2)])));
        assert!(!reserved.fits(&node, &resources(0, 0, &[count("fpga", 1)])));
        assert!(!reserved.fits(&node, &resources(0, 0, &[count("tpu", 0)])), "the kind is absent");
    }

    #[test]
    fn named_kinds_are_taken_in_the_order_of_the_node() {
        let node = resources(0, 0, &[named("gpu", "c"), named("gpu", "a"), named("gpu", "b")]);
        let mut reserved = Reserved::default();
        let two = resources(0, 0, &[count("gpu", 2)]);
        let given = reserved.choose(&node, &two);
        assert_eq!(given, [named("gpu", "c"), named("gpu", "a")]);
        reserved.book(Some(&two), &given);
        assert!(!reserved.fits(&node, &two));
        assert_eq!(reserved.choose(&node, &resources(0, 0, &[count("gpu", 1)])), [named("gpu", "b")]);
        assert!(!reserved.fits(&node, &resources(0, 0, &[named("gpu", "b")])), "tasks do not ask by name");
    }

    #[test]
    fn what_was_given_is_honoured_while_the_node_still_has_it() {
        let reserved = Reserved::default();
        let given = [named("gpu", "a"), count("port", 2)];
        assert!(reserved.honours(&resources(0, 0, &[named("gpu", "a"), count("port", 2)]), &given));
        assert!(!reserved.honours(&resources(0, 0, &[named("gpu", "b"), count("port", 2)]), &given));
        assert!(!reserved.honours(&resources(0, 0, &[named("gpu", "a"), count("port", 1)]), &given));
        assert!(!reserved.honours(&resources(0, 0, &[count("gpu", 9), count("port", 2)]), &given), "another type");
        let mut taken = Reserved::default();
        taken.book(None, &[named("gpu", "a")]);
        assert!(!taken.honours(&resources(0, 0, &[named("gpu", "a"), count("port", 2)]), &given));
    }
}
