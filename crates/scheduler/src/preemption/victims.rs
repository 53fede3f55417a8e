//! Which tasks of a node make room.

use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

use swarmkit_api::{ServiceId, Task, TaskId, TaskState, resources};

/// A task that may have to go.
#[derive(Clone, Debug)]
pub(crate) struct Tenant {
    pub(crate) task: Arc<Task>,
    pub(crate) service: ServiceId,
    /// Of its service; lower than that of the task that needs the room.
    pub(crate) priority: i32,
    /// Whether its service limits how many of its tasks may be missing.
    pub(crate) is_limited: bool,
}

/// How much harm is done where some tasks go; the least is chosen.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Harm {
    /// How many of them use up what their services can spare.
    limited: usize,
    /// The highest of their priorities.
    highest: Option<i32>,
    tasks: usize,
    /// When the oldest of them was made: the later, the less work is lost.
    oldest: Reverse<Option<Made>>,
}

/// When a task was made: by the count of the store, and by clocks where nobody has counted.
type Made = (u64, Option<(i64, i32)>);

// === impl Tenant ===

impl Tenant {
    /// Whether its service has one task less that runs when it goes.
    pub(crate) fn is_missed(&self) -> bool {
        self.task.status.state == TaskState::Running
    }
}

// === impl Harm ===

impl Harm {
    pub(crate) fn of(gone: &[Tenant]) -> Self {
        Self {
            limited: gone.iter().filter(|tenant| tenant.is_limited).count(),
            highest: gone.iter().map(|tenant| tenant.priority).max(),
            tasks: gone.len(),
            oldest: Reverse(gone.iter().map(|tenant| made(&tenant.task)).min()),
        }
    }
}

/// Where it is tried who has to go. Everybody is there at first.
pub(crate) trait Trial {
    /// One who is there goes.
    fn leave(&mut self, tenant: &Tenant);
    /// One who went comes back.
    fn come_back(&mut self, tenant: &Tenant);
    /// Whether the other one fits as it is.
    fn fits(&self) -> bool;
}

/// The tasks that go so that another one fits, if their going helps at all: of as low a priority as can be, then few, and
/// no more than have to: none of them could stay. Of equals the youngest go.
///
/// `spare` is how many tasks more of a service may be missing; of services that are not in it none may go. Lets each tenant
/// leave and come back four times at most.
pub(crate) fn choose(
    mut tenants: Vec<Tenant>,
    spare: &BTreeMap<ServiceId, u64>,
    trial: &mut impl Trial,
) -> Option<Vec<Tenant>> {
    tenants.sort_by_cached_key(|tenant| (tenant.priority, Reverse(age(&tenant.task))));
    keep_spared(&mut tenants, spare);
    let mut enough = 0;
    for level in tenants.chunk_by(|one, next| one.priority == next.priority) {
        level.iter().for_each(|tenant| trial.leave(tenant));
        enough += level.len();
        if trial.fits() {
            break;
        }
    }
    tenants.truncate(enough);
    if tenants.is_empty() || !trial.fits() {
        return None;
    }
    tenants.iter().for_each(|tenant| trial.come_back(tenant));
    let alone = tenants.iter().find(|tenant| {
        trial.leave(tenant);
        let fits = trial.fits();
        trial.come_back(tenant);
        fits
    });
    if let Some(alone) = alone {
        return Some(vec![alone.clone()]);
    }
    // Whoever matters more stays first: by priority; then the small ones, so that few go, or those that have been there
    // for long.
    let by_size = spared(&tenants, |tenant| (Reverse(tenant.priority), size(&tenant.task), age(&tenant.task)), trial);
    let by_age = spared(&tenants, |tenant| (Reverse(tenant.priority), age(&tenant.task)), trial);
    [by_size, by_age].into_iter().min_by_key(|gone| Harm::of(gone))
}

/// Leaves out those that their services cannot spare.
fn keep_spared(tenants: &mut Vec<Tenant>, spare: &BTreeMap<ServiceId, u64>) {
    let mut spare = spare.clone();
    tenants.retain(|tenant| match spare.get_mut(&tenant.service) {
        Some(0) => !tenant.is_missed(),
        Some(left) => {
            *left -= u64::from(tenant.is_missed());
            true
        }
        None => false,
    });
}

/// Those that go when everybody stays who can, in some order. In the end everybody is back.
fn spared<K: Ord>(tenants: &[Tenant], order: impl Fn(&Tenant) -> K, trial: &mut impl Trial) -> Vec<Tenant> {
    tenants.iter().for_each(|tenant| trial.leave(tenant));
    let mut gone = tenants.to_vec();
    gone.sort_by_cached_key(order);
    gone.retain(|tenant| {
        trial.come_back(tenant);
        let stays = trial.fits();
        if !stays {
            trial.leave(tenant);
        }
        !stays
    });
    gone.iter().for_each(|tenant| trial.come_back(tenant));
    // The order in which they were looked at is nobody's business.
    gone.sort_by_cached_key(|tenant| (tenant.priority, Reverse(age(&tenant.task))));
    gone
}

/// How much a task holds: what makes room most is more.
fn size(task: &Task) -> (i64, i64) {
    resources::reservations(&task.spec).map_or((0, 0), |wanted| (wanted.memory_bytes, wanted.nano_cpus))
}

fn made(task: &Task) -> Made {
    (task.meta.created_version.0, task.meta.created_at.map(|at| (at.seconds, at.nanos)))
}

/// Orders tasks by when they were made.
fn age(task: &Task) -> (Made, TaskId) {
    (made(task), task.id.clone())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use swarmkit_api::Version;
    use swarmkit_testing::{service, task};

    use super::*;

    fn tenant(number: usize, priority: i32, memory: i64) -> Tenant {
        let name = format!("s{priority}");
        let service = service(&name).reserve_memory(memory).build();
        let task = task(&format!("{name}.{number}")).of(&service).on("a").state(TaskState::Running);
        let task = task.with(|task| task.meta.created_version = Version(number as u64)).build();
        Tenant { task: Arc::new(task), service: service.id, priority, is_limited: false }
    }

    fn tenants(described: &[(i32, i64)]) -> Vec<Tenant> {
        described.iter().enumerate().map(|(number, (priority, memory))| tenant(number, *priority, *memory)).collect()
    }

    fn held(gone: &[Tenant]) -> i64 {
        gone.iter().map(|tenant| size(&tenant.task).0).sum()
    }

    /// How much room those make that are gone, and how much is wanted.
    struct Room {
        made: i64,
        wanted: i64,
    }

    impl Trial for Room {
        fn leave(&mut self, tenant: &Tenant) {
            self.made += size(&tenant.task).0;
        }

        fn come_back(&mut self, tenant: &Tenant) {
            self.made -= size(&tenant.task).0;
        }

        fn fits(&self) -> bool {
            self.made >= self.wanted
        }
    }

    /// Those that go to make so much room, after which everybody is back.
    fn chosen(tenants: &[Tenant], spare: &BTreeMap<ServiceId, u64>, wanted: i64) -> Option<Vec<Tenant>> {
        let mut room = Room { made: 0, wanted };
        let gone = choose(tenants.to_vec(), spare, &mut room);
        assert!(gone.is_none() || room.made == 0, "everybody is back");
        gone
    }

    fn plenty(tenants: &[Tenant]) -> BTreeMap<ServiceId, u64> {
        tenants.iter().map(|tenant| (tenant.service.clone(), u64::MAX)).collect()
    }

    /// The numbers of those, of tasks of these priorities and sizes, the oldest first, that make so much room.
    fn check(wanted: i64, described: &[(i32, i64)], expected: Option<&[u64]>) {
        let tenants = tenants(described);
        let gone = chosen(&tenants, &plenty(&tenants), wanted);
        let numbers = gone.map(|gone| {
            let mut numbers: Vec<_> = gone.iter().map(|tenant| tenant.task.meta.created_version.0).collect();
            numbers.sort_unstable();
            numbers
        });
        assert_eq!(numbers.as_deref(), expected);
    }

    #[test]
    fn the_least_important_go_and_of_equals_the_youngest() {
        check(1, &[(0, 1), (0, 1), (0, 1)], Some(&[2]));
        check(2, &[(0, 1), (0, 1), (0, 1)], Some(&[1, 2]));
        check(1, &[(-5, 1), (0, 1), (3, 1)], Some(&[0]));
        check(2, &[(3, 9), (-5, 1), (0, 1)], Some(&[1, 2]));
        check(3, &[(3, 9), (-5, 1), (0, 1)], Some(&[0]));
        check(9, &[(0, 1), (0, 1)], None);
    }

    #[test]
    fn few_go_rather_than_many_and_none_that_could_stay() {
        check(4, &[(0, 4), (0, 1), (0, 1), (0, 1), (0, 1)], Some(&[0]));
        check(6, &[(0, 4), (0, 2), (0, 1), (0, 1), (0, 1), (0, 1), (0, 1), (0, 1)], Some(&[0, 1]));
        check(5, &[(-1, 1), (0, 5)], Some(&[1]));
    }

    #[test]
    fn a_service_spares_no_more_tasks_that_run_than_it_can() {
        let all = tenants(&[(0, 1), (0, 1), (0, 1)]);
        let spare = |tasks: u64| BTreeMap::from([(all[0].service.clone(), tasks)]);
        let gone = |wanted: i64, tasks: u64| chosen(&all, &spare(tasks), wanted);
        assert_eq!(gone(2, 2).map(|gone| gone.len()), Some(2));
        assert!(gone(2, 1).is_none());
        assert!(chosen(&all, &BTreeMap::new(), 1).is_none(), "of services that nobody knows none goes");
        // One that does not run is missing already.
        let mut starting = all.clone();
        Arc::make_mut(&mut starting[0].task).status.state = TaskState::Starting;
        let gone = chosen(&starting, &spare(0), 1).unwrap();
        assert_eq!(gone.iter().map(|tenant| tenant.task.id.as_str()).collect::<Vec<_>>(), ["s0.0"]);
    }

    #[test]
    fn the_least_harm_is_by_limits_then_priorities_then_count_then_age() {
        let harm = |limited: usize, described: &[(i32, i64)]| {
            let mut gone = tenants(described);
            gone.iter_mut().take(limited).for_each(|tenant| tenant.is_limited = true);
            Harm::of(&gone)
        };
        let order = [harm(0, &[(0, 1)]), harm(0, &[(0, 1), (0, 1)]), harm(0, &[(1, 1)]), harm(1, &[(0, 1)])];
        assert!(order.is_sorted());
        let young = Harm::of(&[tenant(9, 0, 1)]);
        assert!(young < harm(0, &[(0, 1)]), "the younger has done less");
    }

    proptest! {
        #[test]
        fn whoever_goes_had_to_and_nobody_more_important_goes_than_has_to(
            described in prop::collection::vec((-2..3_i32, 0..5_i64), 0..10), wanted in 1..15_i64, spare in 0..4_u64
        ) {
            let all = tenants(&described);
            let spare: BTreeMap<_, _> = all.iter().map(|tenant| (tenant.service.clone(), spare)).collect();
            let fits = |gone: &[Tenant]| held(gone) >= wanted;
            let Some(gone) = chosen(&all, &spare, wanted) else { return Ok(()) };
            prop_assert!(fits(&gone));
            for tenant in &gone {
                let without: Vec<_> = gone.iter().filter(|other| other.task.id != tenant.task.id).cloned().collect();
                prop_assert!(!fits(&without), "{} could have stayed", tenant.task.id);
                let of_service = gone.iter().filter(|other| other.service == tenant.service).count() as u64;
                prop_assert!(of_service <= spare[&tenant.service]);
            }
            if let Some(highest) = gone.iter().map(|tenant| tenant.priority).max() {
                let mut lower: Vec<_> = all.iter().filter(|tenant| tenant.priority < highest).cloned().collect();
                lower.sort_by_key(|tenant| (tenant.priority, Reverse(age(&tenant.task))));
                keep_spared(&mut lower, &spare);
                prop_assert!(!fits(&lower), "those of lower priority would have made room enough");
            }
        }
    }
}
