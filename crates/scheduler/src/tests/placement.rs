//! Which of the nodes that can run a task gets it.

use swarmkit_api::wire::{
    self, DiscreteGenericResource, GenericResource, NamedGenericResource, PlacementPreference, SpreadOver,
    generic_resource::Resource, placement_preference::Preference,
};
use swarmkit_testing::{node, store};

use super::*;

#[test]
fn tasks_of_a_service_go_to_nodes_that_have_none_of_it() {
    check(
        "node a; node b; node c; service web; service other
         task web.1 on a; task other.1 on b; task other.2 on b; task web.2 pending; task web.3 pending",
        &["web.2 goes to c", "web.3 goes to b"],
    );
}

#[test]
fn among_equals_the_node_with_the_fewest_tasks_gets_the_next() {
    check(
        "node a; node b; service web; service other; task other.1 on a; task web.1 pending; task web.2 pending; task web.3 pending",
        &["web.1 goes to b", "web.2 goes to a", "web.3 goes to b"],
    );
}

#[test]
fn eighteen_tasks_over_five_nodes_differ_by_at_most_one() {
    let tasks: String = (1..=18).map(|slot| format!("task web.{slot} pending;")).collect();
    let plan = decisions(&testing::world(&format!("node a; node b; node c; node d; node e; service web; {tasks}")));
    for node in ["a", "b", "c", "d", "e"] {
        let count = plan.iter().filter(|line| line.ends_with(&format!(" goes to {node}"))).count();
        assert!((3..=4).contains(&count), "{count} tasks on {node}");
    }
}

#[test]
fn tasks_that_are_asked_to_stop_no_longer_count() {
    check(
        "node a; node b; service web; task web.1 on a running wants shutdown; task web.2 on b; task web.3 pending",
        &["web.3 goes to a"],
    );
}

#[test]
fn lower_slots_are_placed_first() {
    check(
        "node a memory=1GiB; service web memory=1GiB; task web.10 pending; task web.2 pending",
        &["web.2 goes to a", "web.10 waits: no suitable node (insufficient resources on 1 node)"],
    );
}

#[test]
fn tasks_without_a_version_are_placed_one_by_one_and_as_evenly() {
    let store = store("node a; node b; node c");
    write(&store, |tx| {
        (0..6).try_for_each(|n| {
            let task = swarmkit_testing::task(&format!("loose{n}")).state(swarmkit_api::TaskState::Pending);
            tx.create(task.with(|task| (task.service_id, task.spec_version) = (None, None)).build()).map(drop)
        })
    });
    assert_eq!(
        decisions(&store.view()),
        [
            "loose0 goes to a",
            "loose1 goes to b",
            "loose2 goes to c",
            "loose3 goes to a",
            "loose4 goes to b",
            "loose5 goes to c"
        ]
    );
}

/// So many failures of `web` on node `a`, that long ago.
fn failures(count: u64, minutes_ago: u64, state: &str) -> Vec<String> {
    let store = store("node a; node b; service web; service other; task other.1 on b; task other.2 on b");
    let at = testing::env().now() - std::time::Duration::from_secs(60 * minutes_ago);
    let state = swarmkit_api::TaskState::from_str_name(state).unwrap();
    write(&store, |tx| {
        (0..count).try_for_each(|n| {
            let task = swarmkit_testing::task(&format!("web.1.{n}")).on("a").state(state);
            let task = task.desired(swarmkit_api::TaskState::Shutdown);
            tx.create(task.with(|task| task.status.timestamp = Some(at.into())).build()).map(drop)
        })
    });
    testing::amend(&store, "task web.1 pending; task other.3 pending");
    decisions(&store.view())
}

#[test]
fn a_node_where_a_service_failed_five_times_of_late_is_tried_last_for_it() {
    assert_eq!(failures(5, 1, "FAILED"), ["other.3 goes to a", "web.1 goes to b"]);
    assert_eq!(failures(5, 1, "REJECTED"), ["other.3 goes to a", "web.1 goes to b"]);
    for (count, minutes_ago, state) in [(4, 1, "FAILED"), (5, 6, "FAILED"), (5, 1, "COMPLETE"), (5, 1, "SHUTDOWN")] {
        let plan = failures(count, minutes_ago, state);
        assert_eq!(plan, ["other.3 goes to a", "web.1 goes to a"], "{count} {state} {minutes_ago} minutes ago");
    }
}

fn preferring(nodes: &str, descriptors: &[&str], tasks: &str) -> Vec<String> {
    let preferences = descriptors.iter().map(|descriptor| PlacementPreference {
        preference: Some(Preference::Spread(SpreadOver { spread_descriptor: (*descriptor).to_owned() })),
    });
    let change = |spec: &mut wire::ServiceSpec| {
        spec.task.get_or_insert_default().placement.get_or_insert_default().preferences = preferences.collect();
    };
    decisions(&with_service(&format!("{nodes}; service web"), "web", change, tasks).view())
}

fn pending(slots: std::ops::RangeInclusive<u64>) -> String {
    slots.map(|slot| format!("task web.{slot} pending;")).collect()
}

fn on(plan: &[String], nodes: &[&str]) -> usize {
    plan.iter().filter(|line| nodes.iter().any(|node| line.ends_with(&format!(" goes to {node}")))).count()
}

#[test]
fn tasks_spread_evenly_over_the_values_of_a_label_whatever_the_number_of_nodes() {
    let nodes = "node a label:dc=x; node b label:dc=y; node c label:dc=y; node d label:dc=y";
    let plan = preferring(nodes, &["NODE.labels.dc"], &pending(1..=6));
    assert_eq!((on(&plan, &["a"]), on(&plan, &["b", "c", "d"])), (3, 3));
}

#[test]
fn nodes_without_the_label_are_a_branch_of_their_own() {
    let plan = preferring("node a label:dc=x; node b; node c", &["node.labels.dc"], &pending(1..=4));
    assert_eq!((on(&plan, &["a"]), on(&plan, &["b", "c"])), (2, 2));
}

#[test]
fn engine_labels_count_and_what_is_unknown_is_passed_over() {
    let nodes = "node a engine:dc=x; node b engine:dc=y; node c engine:dc=y";
    let plan = preferring(nodes, &["node.colour", "engine.labels.dc"], &pending(1..=4));
    assert_eq!((on(&plan, &["a"]), on(&plan, &["b", "c"])), (2, 2));
}

#[test]
fn tasks_spread_over_other_properties_of_nodes_too() {
    let nodes = "node a os=linux; node b os=linux; node c os=linux; node d os=windows manager";
    for property in ["node.platform.os", "node.role"] {
        let plan = preferring(nodes, &[property], &pending(1..=6));
        assert_eq!((on(&plan, &["a", "b", "c"]), on(&plan, &["d"])), (3, 3), "{property}");
    }
    let plan = preferring(nodes, &["node.platform.os", "node.id"], &pending(1..=6));
    assert_eq!([on(&plan, &["a"]), on(&plan, &["b"]), on(&plan, &["c"]), on(&plan, &["d"])], [1, 1, 1, 3]);
}

#[test]
fn the_second_label_divides_what_the_first_has_given() {
    let nodes = "node a label:dc=x label:rack=1; node b label:dc=x label:rack=2
                 node c label:dc=y label:rack=1; node d label:dc=y label:rack=1; node e label:dc=y label:rack=2";
    let plan = preferring(nodes, &["node.labels.dc", "node.labels.rack"], &pending(1..=8));
    assert_eq!([on(&plan, &["a"]), on(&plan, &["b"]), on(&plan, &["c", "d"]), on(&plan, &["e"])], [2, 2, 2, 2]);
}

#[test]
fn tasks_that_run_already_count_in_their_branch_also_on_nodes_that_take_no_more() {
    let nodes = "node a label:dc=x; node b label:dc=y; node c label:dc=y drain";
    let tasks = format!("task web.8 on c; task web.9 on c; {}", pending(1..=2));
    assert_eq!(on(&preferring(nodes, &["node.labels.dc"], &tasks), &["a"]), 2);
}

#[test]
fn a_branch_without_room_leaves_its_share_to_the_others() {
    let nodes = "node a label:dc=x memory=1GiB; node b label:dc=y";
    let store = with_service(
        &format!("{nodes}; service web memory=1GiB"),
        "web",
        |spec| {
            let spread = SpreadOver { spread_descriptor: "node.labels.dc".into() };
            spec.task.get_or_insert_default().placement.get_or_insert_default().preferences =
                vec![PlacementPreference { preference: Some(Preference::Spread(spread)) }];
        },
        &pending(1..=6),
    );
    let plan = decisions(&store.view());
    assert_eq!((on(&plan, &["a"]), on(&plan, &["b"])), (1, 5));
}

#[test]
fn generic_resources_are_given_out_and_recorded() {
    let named = |value: &str| GenericResource {
        resource: Some(Resource::NamedResourceSpec(NamedGenericResource { kind: "gpu".into(), value: value.into() })),
    };
    let wanted = |kind: &str, value: i64| GenericResource {
        resource: Some(Resource::DiscreteResourceSpec(DiscreteGenericResource { kind: kind.into(), value })),
    };
    let two_gpus = node("a").ready().generic("ports", 4).description(|description| {
        description.resources.get_or_insert_default().generic.extend([named("left"), named("right")]);
    });
    let store = store("service web");
    write(&store, |tx| {
        tx.create(two_gpus.build())?;
        (1..=3).try_for_each(|slot| {
            let task = swarmkit_testing::task(&format!("web.{slot}")).state(swarmkit_api::TaskState::Pending);
            let task = task.spec(|spec| {
                let resources = spec.resources.get_or_insert_default().reservations.get_or_insert_default();
                resources.generic = vec![wanted("gpu", 1), wanted("ports", 2)];
            });
            tx.create(task.build()).map(drop)
        })
    });
    assert_eq!(
        decisions(&store.view()),
        [
            "web.1 goes to a with gpu=left with 2 ports",
            "web.2 goes to a with gpu=right with 2 ports",
            "web.3 waits: no suitable node (insufficient resources on 1 node)"
        ]
    );
}
