//! What is left of a node, story by story.

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
fn what_is_short_is_told_with_what_is_left_and_nothing_is_short_where_it_fits() {
    let node = resources(2000, 100, &[count("gpu", 3), named("port", "a"), named("port", "b")]);
    let mut reserved = Reserved::default();
    reserved.book(Some(&resources(500, 160, &[])), &[count("gpu", 1), named("port", "a")]);
    let short = |wanted: &Resources| {
        let shortages = reserved.shortages(&node, wanted);
        assert_eq!(shortages.is_empty(), reserved.fits(&node, wanted));
        shortages.into_iter().map(|one| (one.resource, one.wanted, one.free)).collect::<Vec<_>>()
    };
    let told = |resource: &str, wanted, free| (resource.to_owned(), wanted, free);
    assert_eq!(short(&resources(1500, 0, &[count("gpu", 2), count("port", 1)])), []);
    assert_eq!(short(&resources(1501, 1, &[])), [told("cpu", 1501, 1500), told("memory", 1, -60)]);
    assert_eq!(short(&resources(0, 0, &[count("gpu", 3), count("port", 2)])), [told("gpu", 3, 2), told("port", 2, 1)]);
    assert_eq!(short(&resources(0, 0, &[count("gpu", 1), count("gpu", 2)])), [told("gpu", 3, 2)], "asked for in sum");
    assert_eq!(short(&resources(0, 0, &[count("tpu", 0)])), [told("tpu", 0, 0)], "the kind is absent");
    assert_eq!(short(&resources(0, 0, &[named("port", "b")])), [told("port", 1, 1)], "tasks do not ask by name");
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
fn a_kind_that_is_asked_for_twice_is_asked_for_in_sum() {
    let wanted = resources(0, 0, &[count("gpu", 1), count("fpga", 1), count("gpu", 1)]);
    let named_units = resources(0, 0, &[named("gpu", "a"), named("fpga", "f"), named("gpu", "b")]);
    let counted = resources(0, 0, &[count("gpu", 2), count("fpga", 1)]);
    let reserved = Reserved::default();
    assert!(reserved.fits(&named_units, &wanted) && reserved.fits(&counted, &wanted));
    let given = reserved.choose(&named_units, &wanted);
    assert_eq!(given, [named("gpu", "a"), named("gpu", "b"), named("fpga", "f")]);
    assert_eq!(reserved.choose(&counted, &wanted), [count("gpu", 2), count("fpga", 1)]);
    assert!(!reserved.fits(&resources(0, 0, &[count("gpu", 1), count("fpga", 1)]), &wanted));
    assert!(!reserved.fits(&resources(0, 0, &[named("gpu", "a"), named("fpga", "f")]), &wanted));
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

#[test]
fn the_share_of_a_node_is_that_of_what_is_taken_most() {
    let has = resources(4000, 1000, &[count("gpu", 4), named("port", "a"), named("port", "b")]);
    let share = |wanted: Resources, given: &[GenericResource]| {
        let mut reserved = Reserved::default();
        reserved.add(&task(wanted, given));
        reserved.share(&has)
    };
    assert_eq!(share(resources(0, 0, &[]), &[]), 0);
    assert_eq!(share(resources(1000, 500, &[]), &[]), WHOLE / 2);
    assert_eq!(share(resources(3000, 500, &[]), &[]), WHOLE / 4 * 3);
    assert_eq!(share(resources(0, 0, &[]), &[count("gpu", 1)]), WHOLE / 4);
    assert_eq!(share(resources(0, 0, &[]), &[named("port", "b")]), WHOLE / 2);
    assert_eq!(share(resources(5000, 0, &[]), &[]), WHOLE, "more is not more than all");
    assert_eq!(
        share(resources(0, 0, &[]), &[count("fpga", 1)]),
        WHOLE,
        "what it does not have, it has nothing left of"
    );
}

/// The units that a task is given of a node, with what others hold.
fn given(reserved: &Reserved, node: &Resources, wanted: &[GenericResource]) -> Vec<GenericResource> {
    reserved.choose(node, &resources(0, 0, wanted))
}

fn holding(given: &[&[GenericResource]]) -> Reserved {
    let mut reserved = Reserved::default();
    given.iter().for_each(|given| reserved.book(None, given));
    reserved
}

#[test]
fn units_that_the_node_no_longer_names_stay_with_their_tasks_and_do_not_come_back() {
    let reserved = holding(&[&[named("gpu", "a"), named("gpu", "b")]]);
    let fewer = resources(0, 0, &[named("gpu", "b"), named("gpu", "c")]);
    let one = [count("gpu", 1)];
    // `a` is gone and still held; `b` is held; `c` is new.
    assert_eq!(given(&reserved, &fewer, &one), [named("gpu", "c")]);
    assert!(!reserved.fits(&fewer, &resources(0, 0, &[count("gpu", 2)])));
    let mut reserved = reserved;
    reserved.remove(&task(resources(0, 0, &[]), &[named("gpu", "a"), named("gpu", "b")]));
    assert_eq!(given(&reserved, &fewer, &[count("gpu", 2)]), [named("gpu", "b"), named("gpu", "c")], "`a` is no more");
    let more = resources(0, 0, &[named("gpu", "z"), named("gpu", "a"), named("gpu", "b")]);
    assert_eq!(given(&holding(&[&[named("gpu", "a")]]), &more, &one), [named("gpu", "z")]);
}

#[test]
fn a_count_that_the_node_lowers_is_what_there_is_when_everything_was_given_back() {
    let mut reserved = holding(&[&[count("gpu", 3)]]);
    let lower = resources(0, 0, &[count("gpu", 2)]);
    assert!(!reserved.fits(&lower, &resources(0, 0, &[count("gpu", 1)])), "one more is held than there is");
    reserved.remove(&task(resources(0, 0, &[]), &[count("gpu", 3)]));
    assert!(reserved.fits(&lower, &resources(0, 0, &[count("gpu", 2)])));
    assert!(
        !reserved.fits(&lower, &resources(0, 0, &[count("gpu", 3)])),
        "what was given back is not more than there is"
    );
}

#[test]
fn a_kind_of_which_all_was_given_is_there_again_when_it_is_given_back() {
    let (counted, by_name) = (resources(0, 0, &[count("gpu", 2)]), resources(0, 0, &[named("gpu", "a")]));
    let mut reserved = holding(&[&[count("gpu", 2)]]);
    assert!(!reserved.fits(&counted, &resources(0, 0, &[count("gpu", 1)])));
    reserved.remove(&task(resources(0, 0, &[]), &[count("gpu", 2)]));
    assert_eq!(given(&reserved, &counted, &[count("gpu", 2)]), [count("gpu", 2)]);
    let mut reserved = holding(&[&[named("gpu", "a")]]);
    assert!(!reserved.fits(&by_name, &resources(0, 0, &[count("gpu", 1)])));
    reserved.remove(&task(resources(0, 0, &[]), &[named("gpu", "a")]));
    assert_eq!(given(&reserved, &by_name, &[count("gpu", 1)]), [named("gpu", "a")]);
}

#[test]
fn several_kinds_are_given_and_given_back_each_by_itself() {
    let node = resources(0, 0, &[named("gpu", "a"), count("port", 5), named("gpu", "b"), count("fpga", 2)]);
    let first = given(&Reserved::default(), &node, &[count("port", 2), count("gpu", 1), count("fpga", 2)]);
    assert_eq!(first, [count("port", 2), named("gpu", "a"), count("fpga", 2)]);
    let mut reserved = holding(&[&first]);
    assert!(reserved.fits(&node, &resources(0, 0, &[count("port", 3), count("gpu", 1)])));
    assert!(!reserved.fits(&node, &resources(0, 0, &[count("port", 3), count("gpu", 1), count("fpga", 1)])));
    reserved.remove(&task(resources(0, 0, &[]), &first));
    assert_eq!(reserved, Reserved::default());
}

#[test]
fn a_node_that_comes_to_count_what_it_named_has_what_it_counts() {
    let reserved = holding(&[&[named("gpu", "a"), named("gpu", "b")]]);
    let counts = resources(0, 0, &[count("gpu", 2)]);
    assert_eq!(given(&reserved, &counts, &[count("gpu", 2)]), [count("gpu", 2)], "names are not of that count");
}

#[test]
fn what_is_asked_of_a_node_without_a_description_does_not_fit() {
    let nothing = Resources::default();
    let reserved = Reserved::default();
    assert!(!reserved.fits(&nothing, &resources(1, 0, &[])) && !reserved.fits(&nothing, &resources(0, 1, &[])));
    assert!(!reserved.fits(&nothing, &resources(0, 0, &[count("gpu", 1)])));
    assert!(reserved.fits(&nothing, &nothing));
}

#[test]
fn a_task_is_told_what_it_was_given_in_capitals_and_joined_by_commas() {
    let given = [named("gpu", "u2"), count("licence", 3), named("gpu", "u1"), named("Fpga", "x,y")];
    let told: Vec<_> = environment(&given).into_iter().collect();
    let expected =
        [("DOCKER_RESOURCE_FPGA", "x,y"), ("DOCKER_RESOURCE_GPU", "u2,u1"), ("DOCKER_RESOURCE_LICENCE", "3")];
    assert_eq!(told, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert!(environment(&[]).is_empty());
}
