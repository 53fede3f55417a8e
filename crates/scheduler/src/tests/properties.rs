//! What holds for every cluster: the engine decides what the [plainest reading](super::naive) allows, and forgets nothing.

use std::collections::BTreeMap;

use proptest::{collection::vec, prelude::*};
use swarmkit_api::Node;

use super::{
    held::{Reasons, are_allowed, nothing_is_left_out, outcomes},
    lives::{Life, event},
    naive::Naive,
    worlds::*,
    *,
};

/// How many tasks of the first service are on the nodes that share a value of its first label.
fn per_branch(naive: &Naive, preferences: &[&str]) -> Vec<usize> {
    let Some(task) = naive.tasks.values().next() else { return Vec::new() };
    let level = preferences.iter().find_map(|descriptor| swarmkit_api::constraint::Label::parse(descriptor));
    let mut branches = BTreeMap::<String, usize>::new();
    for node in naive.nodes.values() {
        let value = level.as_ref().map_or(node.id.as_str(), |level| level.of(node));
        *branches.entry(value.to_owned()).or_default() += naive.of_service(task, &node.id);
    }
    let mut counts: Vec<_> = branches.into_values().collect();
    counts.sort_unstable();
    counts
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..Default::default() })]

    #[test]
    fn what_is_decided_about_a_whole_cluster_is_what_the_plainest_reading_allows(
        nodes in vec(node_shape(), 0..usize::from(NODES)),
        services in vec(service_shape(true), usize::from(SERVICES)),
        tasks in vec(task_shape(true), 0..40),
        failed in vec(failures(), 0..4),
        strategy in strategy(),
    ) {
        let tasks = [tasks, failed.concat()].concat();
        let store = testing::store("");
        write(&store, |tx| {
            tx.create(cluster(strategy))?;
            put(tx, &nodes, &services, &tasks)
        });
        let view = store.view();
        let (world, plan) = learned(&view);
        prop_assert_eq!(told(&plan), told(&world.plan(&world.due, env().now())), "the same world, the same plan");
        let mut naive = Naive::of(&view, env().now());
        let outcomes = outcomes(&plan);
        are_allowed(&mut naive, &outcomes, Reasons::Now);
        nothing_is_left_out(&naive, &outcomes);
    }

    #[test]
    fn one_service_is_placed_as_far_and_as_evenly_as_it_can_be(
        nodes in vec(node_shape(), 0..usize::from(NODES)),
        service in plain_service(),
        tasks in vec(plain_task(), 1..30),
    ) {
        let store = testing::store("");
        write(&store, |tx| put(tx, &nodes, std::slice::from_ref(&service), &tasks));
        let view = store.view();
        let waiting = Naive::of(&view, env().now()).waiting();
        // How many more each node can take does not depend on the others.
        let room = |node: &Node| {
            let mut alone = Naive::of(&view, env().now());
            let taken = waiting.iter().take_while(|task| {
                let fits = alone.refusal(task, node).is_none();
                if fits {
                    alone.place(&task.id, &node.id, &[]);
                }
                fits
            });
            taken.count()
        };
        let most = view.all::<Node>().map(|node| room(node)).sum::<usize>().min(waiting.len());

        let (mut engine, mut plain) = (Naive::of(&view, env().now()), Naive::of(&view, env().now()));
        let outcomes = outcomes(&learned(&view).1);
        are_allowed(&mut engine, &outcomes, Reasons::Now);
        prop_assert_eq!(engine.waiting().len(), waiting.len() - most, "as many as there is room for");
        for task in &waiting {
            if let Some(node) = plain.best(task).pop_first() {
                plain.place(&task.id, &node, &[]);
            }
        }
        prop_assert_eq!(per_branch(&engine, &service.preferences), per_branch(&plain, &service.preferences));
        prop_assert_eq!(waiting.len(), tasks.iter().filter(|task| task.waits()).count());
    }

    #[test]
    fn whatever_happens_every_decision_is_allowed_and_nothing_that_fits_is_left_waiting(
        services in vec(service_shape(false), usize::from(SERVICES)),
        events in vec(event(), 1..60),
    ) {
        let mut life = Life::begin(services);
        for batch in events.chunks(3) {
            batch.iter().for_each(|event| life.happen(event));
            life.decide();
            // Whatever waits now, waits as well for someone who looks at everything afresh.
            let (_, afresh) = learned(&life.store.view());
            let moved = afresh.decisions.iter().find(|decision| matches!(decision, Decision::Assign { .. }));
            prop_assert!(moved.is_none(), "a task that could be placed was left waiting: {}", moved.map(tell).unwrap_or_default());
        }
    }
}
