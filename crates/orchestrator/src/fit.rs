//! Who has to leave a node that has less than its tasks have reserved.
//!
//! Few tasks leave, and no bigger ones than have to: as long as no single task makes room enough, the one that makes
//! most; and then the smallest one that does. So no fewer could leave, as long as one kind of thing is short. Among equals the newest leaves, since it has the least to
//! lose. What was chosen early and turns out to fit after all stays. So whoever leaves would not fit beside those who
//! stay, and the scheduler puts nothing like it back.

use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

use swarmkit_api::{
    Task, TaskId,
    resources::reservations,
    wire::{GenericResource, Resources, generic_resource::Resource},
};

/// Something that a node has some of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Thing<'r> {
    NanoCpus,
    MemoryBytes,
    /// A generic resource that is counted.
    Counted(&'r str),
    /// One unit of a generic resource that has a name.
    Unit(&'r str, &'r str),
}

/// How much of each thing; nothing of what is missing.
type Amounts<'r> = BTreeMap<Thing<'r>, i128>;

/// A task, and what it holds.
struct Tenant<'t> {
    task: &'t Arc<Task>,
    holds: Amounts<'t>,
    /// The largest share of the node's that it holds of anything, in [`WHOLE`]ths.
    size: i128,
}

/// What shares are fractions of.
const WHOLE: i128 = 1_000_000_000;

/// The tasks that have to leave a node that has `described`, in the order of their ids.
///
/// Looks at each task once if there is room for all, and once more for each that leaves.
pub(crate) fn overflow<'t>(described: &Resources, tasks: impl IntoIterator<Item = &'t Arc<Task>>) -> Vec<Arc<Task>> {
    let has = described_amounts(described);
    let mut staying: Vec<Tenant<'_>> = tasks.into_iter().map(|task| Tenant::new(task, &has)).collect();
    let mut held = Amounts::new();
    staying.iter().for_each(|tenant| tenant.add_to(&mut held));
    let mut leaving = Vec::new();
    loop {
        let over = excess(&held, &has);
        let Some(chosen) = choose(&staying, &over) else { break };
        let tenant = staying.swap_remove(chosen);
        tenant.take_from(&mut held);
        leaving.push(tenant);
    }
    leaving.sort_by_key(|tenant| age(tenant.task));
    leaving.retain(|tenant| {
        let fits = tenant.holds.iter().all(|(thing, own)| amount(&held, thing) + own <= amount(&has, thing));
        if fits {
            tenant.add_to(&mut held);
        }
        !fits
    });
    let mut leaving: Vec<_> = leaving.into_iter().map(|tenant| tenant.task.clone()).collect();
    leaving.sort_by(|a, b| a.id.cmp(&b.id));
    leaving
}

/// Which of those who stay leaves next. `None` when nothing is over.
fn choose(staying: &[Tenant<'_>], over: &Amounts<'_>) -> Option<usize> {
    let rank = |tenant: &Tenant<'_>| {
        let relief = |(thing, over): (&Thing<'_>, &i128)| amount(&tenant.holds, thing).min(*over) * WHOLE / over;
        let relief: i128 = over.iter().map(relief).sum();
        let cures = over.iter().all(|(thing, over)| amount(&tenant.holds, thing) >= *over);
        // Those who make room enough all make the same.
        (relief > 0).then_some((cures, relief, Reverse(tenant.size)))
    };
    let ranked =
        staying.iter().enumerate().filter_map(|(index, tenant)| Some((rank(tenant)?, age(tenant.task), index)));
    ranked.max().map(|(.., index)| index)
}

/// What is held beyond what there is.
fn excess<'r>(held: &Amounts<'r>, has: &Amounts<'r>) -> Amounts<'r> {
    let over = held.iter().map(|(thing, held)| (thing.clone(), held - amount(has, thing)));
    over.filter(|(_, over)| *over > 0).collect()
}

fn amount(amounts: &Amounts<'_>, thing: &Thing<'_>) -> i128 {
    amounts.get(thing).copied().unwrap_or(0)
}

/// Orders tasks by when they were made.
pub(crate) fn age(task: &Task) -> (u64, Option<(i64, i32)>, &TaskId) {
    (task.meta.created_version.0, task.meta.created_at.map(|at| (at.seconds, at.nanos)), &task.id)
}

// === impl Tenant ===

impl<'t> Tenant<'t> {
    fn new(task: &'t Arc<Task>, has: &Amounts<'_>) -> Self {
        let mut holds = Amounts::new();
        if let Some(wanted) = reservations(&task.spec) {
            put(&mut holds, Thing::NanoCpus, wanted.nano_cpus);
            put(&mut holds, Thing::MemoryBytes, wanted.memory_bytes);
        }
        // Generic resources are held by the units that were given, not by the wish.
        put_generic(&mut holds, &task.assigned_generic_resources);
        let share = |(thing, own): (&Thing<'_>, &i128)| own * WHOLE / amount(has, thing).max(1);
        let size = holds.iter().map(share).max().unwrap_or(0);
        Self { task, holds, size }
    }

    fn add_to(&self, held: &mut Amounts<'t>) {
        self.holds.iter().for_each(|(thing, own)| *held.entry(thing.clone()).or_default() += own);
    }

    fn take_from(&self, held: &mut Amounts<'t>) {
        self.holds.iter().for_each(|(thing, own)| *held.entry(thing.clone()).or_default() -= own);
    }
}

fn described_amounts(described: &Resources) -> Amounts<'_> {
    let mut has = Amounts::new();
    put(&mut has, Thing::NanoCpus, described.nano_cpus);
    put(&mut has, Thing::MemoryBytes, described.memory_bytes);
    put_generic(&mut has, &described.generic);
    // A unit is there once, however often it is named.
    for (_, units) in has.iter_mut().filter(|(thing, _)| matches!(thing, Thing::Unit(..))) {
        *units = 1;
    }
    has
}

fn put_generic<'r>(amounts: &mut Amounts<'r>, generic: &'r [GenericResource]) {
    for resource in generic.iter().filter_map(|generic| generic.resource.as_ref()) {
        match resource {
            Resource::DiscreteResourceSpec(unit) => put(amounts, Thing::Counted(&unit.kind), unit.value),
            Resource::NamedResourceSpec(unit) => put(amounts, Thing::Unit(&unit.kind, &unit.value), 1),
        }
    }
}

fn put<'r>(amounts: &mut Amounts<'r>, thing: Thing<'r>, amount: i64) {
    if amount > 0 {
        *amounts.entry(thing).or_default() += i128::from(amount);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use swarmkit_api::{
        resources::Reserved,
        wire::{DiscreteGenericResource, NamedGenericResource},
    };
    use swarmkit_testing::{service, task};

    use super::*;

    fn count(kind: &str, value: i64) -> GenericResource {
        let unit = DiscreteGenericResource { kind: kind.into(), value };
        GenericResource { resource: Some(Resource::DiscreteResourceSpec(unit)) }
    }

    fn unit(kind: &str, value: &str) -> GenericResource {
        let unit = NamedGenericResource { kind: kind.into(), value: value.into() };
        GenericResource { resource: Some(Resource::NamedResourceSpec(unit)) }
    }

    fn holding(number: usize, cpus: i64, memory: i64, given: Vec<GenericResource>) -> Arc<Task> {
        let service = service("web").task(|spec| {
            let reservations = Resources { nano_cpus: cpus, memory_bytes: memory, generic: Vec::new() };
            spec.resources.get_or_insert_default().reservations = Some(reservations);
        });
        let task = task(&format!("web.{number:02}")).of(&service.build()).with(|task| {
            task.meta.created_version = swarmkit_api::Version(number as u64);
            task.assigned_generic_resources = given;
        });
        Arc::new(task.build())
    }

    /// The numbers of the tasks, of those that reserve so much memory each, that have to leave a node with `memory`.
    fn leaving(memory: i64, tasks: &[i64]) -> Vec<usize> {
        let tasks: Vec<_> = tasks.iter().enumerate().map(|(number, own)| holding(number, 0, *own, vec![])).collect();
        numbers(&Resources { memory_bytes: memory, ..Default::default() }, &tasks)
    }

    fn numbers(described: &Resources, tasks: &[Arc<Task>]) -> Vec<usize> {
        overflow(described, tasks).iter().map(|task| task.id.as_str()[4..].parse().unwrap()).collect()
    }

    #[test]
    fn who_was_there_first_stays_among_equals() {
        assert_eq!(leaving(2, &[1, 1, 1]), [2]);
        assert_eq!(leaving(0, &[1, 1]), [0, 1]);
        assert_eq!(leaving(2, &[1, 1]), [0; 0], "an exact fit is a fit");
    }

    #[test]
    fn as_few_leave_as_can_be_and_no_more_than_is_needed() {
        assert_eq!(leaving(9, &[8, 2]), [1], "the small one makes room enough");
        assert_eq!(leaving(9, &[2, 8]), [0], "also when it was there first");
        assert_eq!(leaving(7, &[1, 4, 2, 3]), [3], "one of three rather than two small ones");
        assert_eq!(leaving(8, &[4, 4, 4, 1]), [2, 3]);
        assert_eq!(leaving(3, &[8, 1, 1, 1]), [0]);
    }

    #[test]
    fn what_reserves_nothing_stays_whatever_happens() {
        assert_eq!(leaving(0, &[0, 5, 0]), [1]);
    }

    #[test]
    fn one_whose_generic_resource_is_gone_leaves_and_the_others_are_looked_at_all_the_same() {
        let described =
            Resources { memory_bytes: 10, generic: vec![unit("gpu", "a"), count("slot", 2)], ..Default::default() };
        let tasks = [
            holding(0, 0, 0, vec![unit("gpu", "gone")]),
            holding(1, 0, 1, vec![unit("gpu", "a")]),
            holding(2, 0, 1, vec![count("slot", 2)]),
            holding(3, 0, 1, vec![count("slot", 1)]),
            holding(4, 0, 9, vec![]),
        ];
        // Besides the unit, a slot and some memory are short. Who helps with both leaves first, the smaller one of two.
        // Then memory is short, and the one unit of a kind is more of what there is than most of the memory.
        assert_eq!(numbers(&described, &tasks), [0, 3, 4]);
        let tasks = [holding(0, 0, 0, vec![unit("gpu", "a")]), holding(1, 0, 0, vec![unit("gpu", "a")])];
        assert_eq!(numbers(&described, &tasks), [1], "a unit belongs to one");
    }

    fn amounts() -> impl Strategy<Value = (i64, i64, i64, Option<u8>)> {
        (0..5_i64, 0..5_i64, 0..3_i64, prop::option::of(0..4_u8))
    }

    proptest! {
        #[test]
        fn who_stays_fits_and_who_leaves_would_not(
            tasks in prop::collection::vec(amounts(), 0..12), has in (0..12_i64, 0..12_i64, 0..5_i64, 0..4_u8)
        ) {
            let name = |number: u8| unit("gpu", &number.to_string());
            let described = Resources {
                nano_cpus: has.0,
                memory_bytes: has.1,
                generic: (0..has.3).map(name).chain([count("slot", has.2)]).collect(),
            };
            let tasks: Vec<_> = tasks.into_iter().enumerate().map(|(number, (cpus, memory, slots, gpu))| {
                let slots = (slots > 0).then(|| count("slot", slots));
                holding(number, cpus, memory, gpu.map(name).into_iter().chain(slots).collect())
            }).collect();
            let left = overflow(&described, &tasks);
            // The books that the scheduler keeps say the same.
            let fits = |reserved: &Reserved, task: &Task| {
                reservations(&task.spec).is_none_or(|wanted| reserved.fits(&described, wanted))
                    && reserved.honours(&described, &task.assigned_generic_resources)
            };
            let mut reserved = Reserved::default();
            for task in tasks.iter().filter(|task| !left.contains(task)) {
                prop_assert!(fits(&reserved, task), "{} stays and does not fit", task.id);
                reserved.add(task);
            }
            for task in &left {
                prop_assert!(!fits(&reserved, task), "{} leaves and would fit", task.id);
            }
            let mut backwards = tasks;
            backwards.reverse();
            prop_assert_eq!(left, overflow(&described, &backwards), "the order of asking does not matter");
        }
    }
}
