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

/// What [`Reserved::share`] says of something of which nothing is left.
const WHOLE: u64 = 1 << 20;

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

/// Something of which more is wanted than a node has left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shortage {
    /// [`MEMORY`] in bytes, [`CPU`] in billionths of a processor, or the kind of a generic resource.
    pub resource: String,
    /// How much is wanted.
    pub wanted: i64,
    /// How much is left: less than nothing if more is reserved than there is.
    pub free: i64,
}

/// What a shortage calls memory.
pub const MEMORY: &str = "memory";

/// What a shortage calls processors.
pub const CPU: &str = "cpu";

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
            // Tasks may not ask for named units; one that does all the same waits.
            && kinds(wanted).is_some_and(|kinds| kinds.into_iter().all(|(kind, count)| self.has(described, kind, count)))
    }

    /// The units that a task gets of each kind it asks for: a count where the node has a count, the first free names
    /// where it has names. Ask [`Reserved::fits`] first; what is missing is left out here.
    #[must_use]
    pub fn choose(&self, described: &Resources, wanted: &Resources) -> Vec<GenericResource> {
        let mut given = Vec::new();
        for (kind, count) in kinds(wanted).unwrap_or_default().into_iter().filter(|(_, count)| *count > 0) {
            if discrete(described, kind).is_some() {
                let unit = DiscreteGenericResource { kind: kind.to_owned(), value: count };
                given.push(GenericResource { resource: Some(Resource::DiscreteResourceSpec(unit)) });
            } else {
                let count = usize::try_from(count).unwrap_or(usize::MAX);
                given.extend(self.free_names(described, kind).take(count).map(|name| named(kind, name)));
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

    /// Of what a node that has `described` has too little left for `wanted`: nothing exactly if it [fits](Self::fits).
    #[must_use]
    pub fn shortages(&self, described: &Resources, wanted: &Resources) -> Vec<Shortage> {
        let short = |resource: &str, wanted, free| Shortage { resource: resource.to_owned(), wanted, free };
        let room = |resource: &str, wanted: i64, described: i64, taken: i64| {
            let free = described.saturating_sub(taken);
            (wanted != 0 && wanted > free).then(|| short(resource, wanted, free))
        };
        let cpu = room(CPU, wanted.nano_cpus, described.nano_cpus, self.nano_cpus);
        let memory = room(MEMORY, wanted.memory_bytes, described.memory_bytes, self.memory_bytes);
        let mut sums = BTreeMap::<&str, (i64, bool)>::new();
        for wanted in wanted.generic.iter().filter_map(|wanted| wanted.resource.as_ref()) {
            let (kind, count, by_name) = match wanted {
                Resource::DiscreteResourceSpec(unit) => (&unit.kind, unit.value, false),
                Resource::NamedResourceSpec(unit) => (&unit.kind, 1, true),
            };
            let (sum, named) = sums.entry(kind).or_default();
            (*sum, *named) = (sum.saturating_add(count), *named || by_name);
        }
        let generic = sums.into_iter().filter_map(|(kind, (wanted, by_name))| {
            let free = discrete(described, kind).map_or_else(
                || i64::try_from(self.free_names(described, kind).count()).unwrap_or(i64::MAX),
                |count| count.saturating_sub(self.taken(kind)),
            );
            (by_name || !self.has(described, kind, wanted)).then(|| short(kind, wanted, free))
        });
        cpu.into_iter().chain(memory).chain(generic).collect()
    }

    /// The largest part that is taken of anything that a node which has `described` counts: processor time, memory, or a
    /// kind of generic resource, in parts of 1,048,576. What is taken without being described is all taken.
    #[must_use]
    pub fn share(&self, described: &Resources) -> u64 {
        let part = |taken: i64, described: i64| match (u64::try_from(taken), u64::try_from(described)) {
            (Ok(0) | Err(_), _) => 0,
            (Ok(taken), Ok(described)) if taken < described => {
                u64::try_from(u128::from(taken) * u128::from(WHOLE) / u128::from(described)).unwrap_or(WHOLE)
            }
            _ => WHOLE,
        };
        let kinds = self.generic.iter().map(|(kind, units)| {
            let names = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
            match discrete(described, kind) {
                Some(count) => part(units.count, count),
                None => {
                    let taken = names(units.names.len()).saturating_add(units.count);
                    part(taken, names(named_units(described, kind).count()))
                }
            }
        });
        let plain = [part(self.nano_cpus, described.nano_cpus), part(self.memory_bytes, described.memory_bytes)];
        kinds.chain(plain).max().unwrap_or(0)
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

/// How much is wanted of each kind, in the order in which they are asked for. A kind that is asked for twice is asked for
/// in sum: else each half would be found in the same units. `None` if a unit is asked for by its name.
fn kinds(wanted: &Resources) -> Option<Vec<(&str, i64)>> {
    let mut kinds = Vec::<(&str, i64)>::with_capacity(wanted.generic.len());
    for wanted in wanted.generic.iter().filter_map(|wanted| wanted.resource.as_ref()) {
        let Resource::DiscreteResourceSpec(wanted) = wanted else { return None };
        match kinds.iter_mut().find(|(kind, _)| *kind == wanted.kind) {
            Some((_, count)) => *count = count.saturating_add(wanted.value),
            None => kinds.push((&wanted.kind, wanted.value)),
        }
    }
    Some(kinds)
}

/// What a task is told of what it was given: `DOCKER_RESOURCE_<KIND>`, in capitals, is the names of its units, separated
/// by commas in the order in which they were given, or its count. As upstream.
///
/// ```
/// use swarmkit_api::{resources, wire::{DiscreteGenericResource, GenericResource, generic_resource::Resource}};
///
/// let given = DiscreteGenericResource { kind: "licence".into(), value: 2 };
/// let given = GenericResource { resource: Some(Resource::DiscreteResourceSpec(given)) };
/// assert_eq!(resources::environment(&[given])["DOCKER_RESOURCE_LICENCE"], "2");
/// ```
#[must_use]
pub fn environment(given: &[GenericResource]) -> BTreeMap<String, String> {
    let mut env = BTreeMap::<String, String>::new();
    for resource in given.iter().filter_map(|given| given.resource.as_ref()) {
        let (kind, value) = match resource {
            Resource::NamedResourceSpec(unit) => (&unit.kind, unit.value.clone()),
            Resource::DiscreteResourceSpec(unit) => (&unit.kind, unit.value.to_string()),
        };
        let values = env.entry(format!("DOCKER_RESOURCE_{}", kind.to_uppercase())).or_default();
        if !values.is_empty() {
            values.push(',');
        }
        values.push_str(&value);
    }
    env
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
mod tests;
