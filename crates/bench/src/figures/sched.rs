//! What it costs to give tasks their nodes, on a store without replication.
//!
//! The cases of upstream are re-done as they are: the scheduler waits already; one transaction makes all nodes and tasks; the
//! clock starts when that is about to be committed and stops when as many tasks were seen to be assigned. Tasks have no service
//! and no version. With constraints each has a network, whose plugin every third node has.

mod growth;
mod placements;
mod setting;
mod upstream;

pub(crate) use self::placements::Placements;
use crate::figure::{Figure, Run, Unit};

const fn of(id: &'static str, meaning: &'static str, unit: Unit, limit: Option<f64>, repeats: u32, run: Run) -> Figure {
    Figure { id, meaning, unit, limit, upstream: None, repeats, for_information: limit.is_none(), run }
}

/// The same of upstream, from its own measurement.
const fn beside(figure: Figure, upstream: &'static str) -> Figure {
    Figure { upstream: Some(upstream), ..figure }
}

/// A case of upstream's own benchmark, in milliseconds.
const fn case(id: &'static str, meaning: &'static str, limit: f64, repeats: u32, run: Run) -> Figure {
    of(id, meaning, Unit::Milliseconds, Some(limit), repeats, run)
}

const WITH_CONSTRAINTS: &str = "the same, each task with a network whose plugin every third node has";
const SINGLE: &str =
    "a task created, to its being assigned: 99 of 100 take less; beside a million others on 10,000 nodes";
const DECIDED: &str = "a group of 1,000 tasks without constraints, created, to the last one assigned, for each task";

/// The figures of the scheduler.
pub(crate) static FIGURES: &[Figure] = &[
    beside(
        case("sched.1kx1k", "1,000 tasks onto 1,000 nodes, as upstream measures it", 8.0, 20, upstream::plain::<1, 1>),
        "275 ms",
    ),
    beside(case("sched.1kx10k", "10,000 tasks onto 1,000 nodes", 60.0, 10, upstream::plain::<1, 10>), "2,840 ms"),
    beside(case("sched.1kx100k", "100,000 tasks onto 1,000 nodes", 800.0, 3, upstream::plain::<1, 100>), "43 s"),
    beside(case("sched.100kx1k", "1,000 tasks onto 100,000 nodes", 300.0, 5, upstream::plain::<100, 1>), "56 s"),
    beside(
        case("sched.100kx100k", "100,000 tasks onto 100,000 nodes", 3000.0, 3, upstream::plain::<100, 100>),
        "no result in 100 s",
    ),
    case("sched.100kx1m", "a million tasks onto 100,000 nodes", 20_000.0, 1, upstream::plain::<100, 1000>),
    case("sched.1kx1k_constraints", WITH_CONSTRAINTS, 12.0, 20, upstream::constrained::<1, 1>),
    case("sched.1kx10k_constraints", WITH_CONSTRAINTS, 90.0, 10, upstream::constrained::<1, 10>),
    case("sched.1kx100k_constraints", WITH_CONSTRAINTS, 1200.0, 3, upstream::constrained::<1, 100>),
    of(
        "sched.5kx100k_constraints",
        "the same of 100,000 tasks and 5,000 nodes",
        Unit::Milliseconds,
        None,
        3,
        upstream::constrained::<5, 100>,
    ),
    of(
        "sched.placements",
        "a million tasks of 1,000 services, with constraints, a platform and reservations, onto 10,000 nodes: tasks created \
         beforehand, ten times 100,000, to all of them assigned, in the slowest of the ten",
        Unit::PerSecond,
        Some(100_000.0),
        1,
        placements::slowest,
    ),
    of("sched.placements_first", "the same in the first of the ten", Unit::PerSecond, None, 1, placements::first),
    of("sched.placements_last", "the same in the last of the ten", Unit::PerSecond, None, 1, placements::last),
    of("sched.single_p99", SINGLE, Unit::Milliseconds, Some(1.0), 1, placements::single_p99),
    of("sched.single_p50", "half of them take less", Unit::Milliseconds, None, 1, placements::single_p50),
    of(
        "sched.grouped",
        "100,000 tasks of one service onto 10,000 nodes, otherwise as upstream's cases",
        Unit::Milliseconds,
        None,
        3,
        growth::grouped,
    ),
    of("sched.tree", "the same, spread over ten zones of ten racks each", Unit::Milliseconds, None, 3, growth::tree),
    of(
        "sched.packed",
        "100,000 tasks of 100 services onto 10,000 nodes, which are filled one after the other",
        Unit::Milliseconds,
        None,
        3,
        growth::packed,
    ),
    of(
        "sched.churn",
        "a node's record changes while 10,000 tasks wait that no node can run, and then a task is created, to its being assigned; \
         1,000 nodes, with as many needs as services: 1",
        Unit::Milliseconds,
        None,
        50,
        growth::churn::<1>,
    ),
    of("sched.churn_needs", "the same with 1,000 different needs", Unit::Milliseconds, None, 50, growth::churn::<1000>),
    of("sched.growth_nodes_1k", DECIDED, Unit::Microseconds, None, 20, growth::by_nodes::<1>),
    of("sched.growth_nodes_10k", "the same with 10,000 nodes", Unit::Microseconds, None, 20, growth::by_nodes::<10>),
    of("sched.growth_nodes_100k", "the same with 100,000", Unit::Microseconds, None, 20, growth::by_nodes::<100>),
    of(
        "sched.growth_tasks_1k",
        "the same with 1,000 nodes and 1,000 tasks there already",
        Unit::Microseconds,
        None,
        20,
        growth::by_tasks::<1>,
    ),
    of("sched.growth_tasks_10k", "with 10,000 tasks there", Unit::Microseconds, None, 20, growth::by_tasks::<10>),
    of("sched.growth_tasks_100k", "with 100,000 tasks there", Unit::Microseconds, None, 20, growth::by_tasks::<100>),
    of(
        "sched.growth_services_1",
        "10,000 tasks onto 1,000 nodes, of 1 service, for each task",
        Unit::Microseconds,
        None,
        5,
        growth::by_services::<1>,
    ),
    of("sched.growth_services_100", "of 100 services", Unit::Microseconds, None, 5, growth::by_services::<100>),
    of("sched.growth_services_10k", "of 10,000 services", Unit::Microseconds, None, 5, growth::by_services::<10_000>),
    of(
        "sched.growth_needs_1",
        "of 10,000 services, all of one constraint",
        Unit::Microseconds,
        None,
        5,
        growth::by_needs::<1>,
    ),
    of("sched.growth_needs_100", "of a hundred constraints", Unit::Microseconds, None, 5, growth::by_needs::<100>),
    of(
        "sched.growth_needs_1k",
        "of a thousand constraints, each with a hundredth of the nodes",
        Unit::Microseconds,
        None,
        5,
        growth::by_needs::<1000>,
    ),
];
