//! Tasks that are to be near to, or apart from, those of other services and of their own.

use swarmkit_api::{Task, TaskState};
use swarmkit_store::Interest;

use swarmkit_api::wire::swarmkit::scheduling::v1::affinity::Direction;

use super::*;

/// Three zones of two nodes each, and one node that is in none.
const ZONES: &str = "node a1 label:zone=a; node a2 label:zone=a; node b1 label:zone=b; node b2 label:zone=b
                     node c1 label:zone=c; node c2 label:zone=c; node lone;";

fn check_zones(text: &str, expected: &[&str]) {
    check(&format!("{ZONES}{text}"), expected);
}

#[test]
fn a_task_goes_where_a_task_of_the_service_is_that_it_has_to_be_near_to() {
    check(
        "node a; node b; node c; service db; service web must-near=db; task db.1 on b; task web.1 pending; task web.2 pending",
        &["web.1 goes to b", "web.2 goes to b"],
    );
    check_zones(
        "service db; service web must-near=db@node.labels.zone; task db.1 on b1; task web.1 pending; task web.2 pending
         task web.3 pending",
        &["web.1 goes to b2", "web.2 goes to b1", "web.3 goes to b2"],
    );
}

#[test]
fn labels_of_engines_make_places_too() {
    check(
        "node a engine:rack=1; node b engine:rack=1; node c engine:rack=2; service db
         service web must-near=db@engine.labels.rack; task db.1 on a; task db.2 on b wants shutdown; task web.1 pending",
        &["web.1 goes to b"],
    );
}

#[test]
fn names_of_services_have_no_case() {
    check(
        "node a; node b; service DB; service web must-near=db; task DB.1 on b; task web.1 pending",
        &["web.1 goes to b"],
    );
}

#[test]
fn who_has_to_be_near_to_what_is_not_there_waits_and_is_told() {
    check(
        "node a; node b; service web must-near=db; task web.1 pending",
        &["web.1 waits: no suitable node (affinity to service db, which does not exist, not satisfied on 2 nodes)"],
    );
    check(
        "node a; node b; service db; service web must-near=db; task db.1; task web.1 pending",
        &[
            "web.1 waits: no suitable node (affinity to service db, of which no task has a node, not satisfied on 2 nodes)",
        ],
    );
    check(
        "node a drain; node b; node c; service db; service web must-near=db; task db.1 on a; task web.1 pending",
        &[
            "web.1 waits: no suitable node (affinity to service db not satisfied on 2 nodes; 1 node not available for new tasks)",
        ],
    );
}

#[test]
fn tasks_that_are_asked_to_stop_are_no_company_and_keep_nobody_away() {
    check(
        "node a; service db; service web must-near=db; task db.1 on a wants shutdown; task web.1 pending",
        &[
            "web.1 waits: no suitable node (affinity to service db, of which no task has a node, not satisfied on 1 node)",
        ],
    );
    check(
        "node a; service db; service web must-apart=db; task db.1 on a wants shutdown; task web.1 pending",
        &["web.1 goes to a"],
    );
}

#[test]
fn what_comes_first_is_placed_first_and_the_others_follow_at_once() {
    check(
        "node a memory=1GiB; node b memory=1GiB; service db memory=1GiB; service api must-near=db; service web must-near=api
         task other.1 on a; task web.1 pending; task api.1 pending; task db.1 pending",
        &["db.1 goes to b", "api.1 goes to b", "web.1 goes to b"],
    );
}

#[test]
fn the_first_of_tasks_that_have_to_be_together_may_go_anywhere() {
    check(
        "node a; node b; service other; task other.1 on a; service web must-near=web
         task web.1 pending; task web.2 pending; task web.3 pending",
        &["web.1 goes to b", "web.2 goes to b", "web.3 goes to b"],
    );
    check_zones(
        "service web must-near=web@node.labels.zone; task x.1 on a1; task web.1 pending; task web.2 pending; task web.3 pending",
        &["web.1 goes to a2", "web.2 goes to a1", "web.3 goes to a2"],
    );
}

#[test]
fn those_that_have_to_be_together_and_have_no_room_wait() {
    check(
        "node a memory=1GiB; node b memory=1GiB; service web must-near=web memory=600MiB; task web.1 pending; task web.2 pending",
        &[
            "web.1 goes to a",
            "web.2 waits: no suitable node (insufficient resources on 1 node; affinity to service web not satisfied on 1 node)",
        ],
    );
}

#[test]
fn a_task_stays_away_from_the_service_that_it_has_to_be_apart_from() {
    check(
        "node a; node b; service db; service web must-apart=db; task db.1 on a; task web.1 pending; task web.2 pending",
        &["web.1 goes to b", "web.2 goes to b"],
    );
    check_zones(
        "service db; service web must-apart=db@node.labels.zone; task db.1 on a1; task db.2 on b2; task web.1 pending
         task web.2 pending; task web.3 pending; task web.4 pending",
        &["web.1 goes to c1", "web.2 goes to c2", "web.3 goes to lone", "web.4 goes to c1"],
    );
    check(
        "node a; service db; service web must-apart=db; task db.1 on a; task web.1 pending",
        &["web.1 waits: no suitable node (anti-affinity to service db not satisfied on 1 node)"],
    );
}

#[test]
fn to_be_apart_from_what_is_not_there_is_to_be_apart() {
    check("node a; service web must-apart=db; task web.1 pending", &["web.1 goes to a"]);
}

#[test]
fn being_apart_holds_for_both() {
    check(
        "node a; node b; service db; service web must-apart=db; task web.1 on a; task db.1 pending; task db.2 pending",
        &["db.1 goes to b", "db.2 goes to b"],
    );
    check(
        "node a; service db; service web must-apart=db; task web.1 on a; task db.1 pending",
        &["db.1 waits: no suitable node (anti-affinity of service web not satisfied on 1 node)"],
    );
    // Being near does not: the other one goes where it likes.
    check(
        "node a; node b; service db; service web must-near=db; task web.1 on a; task db.1 pending",
        &["db.1 goes to b"],
    );
}

#[test]
fn tasks_that_have_to_be_apart_from_each_other_have_a_place_each() {
    check(
        "node a; node b; service web must-apart=web; task web.1 pending; task web.2 pending; task web.3 pending",
        &[
            "web.1 goes to a",
            "web.2 goes to b",
            "web.3 waits: no suitable node (anti-affinity to service web not satisfied on 2 nodes)",
        ],
    );
    check_zones(
        "service web must-apart=web@node.labels.zone; task web.1 pending; task web.2 pending; task web.3 on b2
         task web.4 pending; task web.5 pending",
        &[
            "web.1 goes to a1",
            "web.2 goes to c1",
            "web.4 goes to lone",
            "web.5 waits: no suitable node (anti-affinity to service web by node.labels.zone not satisfied on 7 nodes)",
        ],
    );
}

#[test]
fn a_task_is_not_kept_apart_from_the_one_that_it_replaces() {
    // Every node has one: the replacement of a slot starts beside the task that it replaces.
    check(
        "node a; node b; service web must-apart=web start-first version=2; task web.1 on a version=1
         task web.2 on b version=1; task web.2.new pending version=2",
        &["web.2.new goes to b"],
    );
    check_zones(
        "service web must-apart=web@node.labels.zone version=2; task web.1 on a1 version=1; task web.2 on b1 version=1
         task web.3 on c1 version=1; task web.4 on lone version=1; task web.3.new pending version=2",
        &["web.3.new goes to c2"],
    );
    // Another one waits that replaces nobody, and needs the same.
    check(
        "node a; node b; service web must-apart=web start-first version=2; task web.1 on a version=1
         task web.2 on b version=1; task web.3 pending version=1; task web.1.new pending version=2",
        &["web.1.new goes to a"],
    );
    // Where there is a place that nobody has, that is better.
    check(
        "node a; node b; service web must-apart=web version=2; task web.1 on a version=1; task web.1.new pending version=2",
        &["web.1.new goes to b"],
    );
}

#[test]
fn a_service_may_need_both_the_same_zone_and_another_node() {
    check_zones(
        "service db; service web must-near=db@node.labels.zone must-apart=db; task db.1 on b1; task web.1 pending
         task web.2 pending",
        &["web.1 goes to b2", "web.2 goes to b2"],
    );
}

#[test]
fn a_node_without_the_label_is_near_to_nobody_and_apart_from_all_but_its_own() {
    let nodes = "node a; node b; node c label:zone=";
    check(
        &format!("{nodes}; service db; service web must-near=db@node.labels.zone; task db.1 on a; task web.1 pending"),
        &["web.1 waits: no suitable node (affinity to service db by node.labels.zone not satisfied on 3 nodes)"],
    );
    check(
        &format!("{nodes}; service web must-near=web@node.labels.zone; task web.1 pending"),
        &["web.1 waits: no suitable node (affinity to service web by node.labels.zone not satisfied on 3 nodes)"],
    );
    check(
        &format!(
            "{nodes}; service web must-apart=web@node.labels.zone; task web.1 pending; task web.2 pending; task web.3 pending
             task web.4 pending"
        ),
        &[
            "web.1 goes to a",
            "web.2 goes to b",
            "web.3 goes to c",
            "web.4 waits: no suitable node (anti-affinity to service web by node.labels.zone not satisfied on 3 nodes)",
        ],
    );
}

#[test]
fn a_wish_decides_before_load_and_is_given_up_where_there_is_no_room() {
    let near = "service db; service web near=db memory=1GiB; task db.1 on b; task x.1 on b; task x.2 on b";
    let nodes = "node a memory=2GiB; node b memory=2GiB; node c memory=2GiB";
    check(
        &format!("{nodes}; {near}; task web.1 pending; task web.2 pending; task web.3 pending"),
        &["web.1 goes to b", "web.2 goes to b", "web.3 goes to a"],
    );
    let apart =
        "service db; service web apart=db memory=2GiB; task db.1 on b; task x.1 on a; task x.2 on a; task x.3 on c";
    check(
        &format!("{nodes}; {apart}; task web.1 pending; task web.2 pending; task web.3 pending"),
        &["web.1 goes to c", "web.2 goes to a", "web.3 goes to b"],
    );
}

#[test]
fn a_wish_to_be_apart_holds_for_both_too() {
    check(
        "node a; node b; service db; service web apart=db; task web.1 on a; task x.1 on b; task x.2 on b; task db.1 pending",
        &["db.1 goes to b"],
    );
}

#[test]
fn of_several_wishes_the_node_that_fulfills_most_is_taken() {
    check(
        "node a; node b; node c; service db; service cache; service noisy; service web near=db near=cache apart=noisy
         task db.1 on a; task cache.1 on a; task noisy.1 on a; task db.2 on b; task cache.2 on b; task x.1 on b; task x.2 on b
         task db.3 on c; task web.1 pending",
        &["web.1 goes to b"],
    );
}

#[test]
fn tasks_that_wish_to_be_together_fill_a_zone_before_they_go_to_the_next() {
    check_zones(
        "service web near=web@node.labels.zone replicas=3; task x.1 on a1; task web.1 pending; task web.2 pending; task web.3 pending",
        &["web.1 goes to a2", "web.2 goes to a1", "web.3 goes to a2"],
    );
}

#[test]
fn tasks_that_wish_to_be_apart_have_a_zone_each_while_there_is_one() {
    check_zones(
        "service web apart=web@node.labels.zone; task x.1 on lone; task x.2 on lone; task x.3 on b1; task x.4 on b2; task x.5 on b2
         task web.1 pending; task web.2 pending; task web.3 pending; task web.4 pending; task web.5 pending",
        &["web.1 goes to a1", "web.2 goes to c1", "web.3 goes to b1", "web.4 goes to lone", "web.5 goes to a2"],
    );
}

#[test]
fn wishes_come_after_failures_and_within_preferences() {
    let failed = (1..=5).map(|n| format!("task web.1.{n} on b failed wants shutdown; ")).collect::<String>();
    check(
        &format!("node a; node b; service db; service web near=db; task db.1 on b; {failed}task web.1 pending"),
        &["web.1 goes to a"],
    );
    check_zones(
        "service db; service web near=db spread=node.labels.zone; task db.1 on a2; task web.1 pending; task web.2 pending
         task web.3 pending; task web.4 pending; task web.5 pending",
        &["web.1 goes to lone", "web.2 goes to a2", "web.3 goes to b1", "web.4 goes to c1", "web.5 goes to lone"],
    );
}

#[test]
fn wishes_come_before_the_strategy() {
    let nodes = "node a memory=8GiB; node b memory=8GiB; node c memory=8GiB";
    let tasks = "service big memory=4GiB; task big.1 on a; service db; task db.1 on b";
    check(
        &format!("{nodes}; {tasks}; service web strategy=bin-pack near=db memory=4GiB; task web.1 pending; task web.2 pending
                  task web.3 pending"),
        &["web.1 goes to b", "web.2 goes to b", "web.3 goes to a"],
    );
    check(
        &format!("{nodes}; {tasks}; service web strategy=bin-pack apart=web memory=1GiB; task web.1 pending; task web.2 pending
                  task web.3 pending; task web.4 pending"),
        &["web.1 goes to a", "web.2 goes to b", "web.3 goes to c", "web.4 goes to a"],
    );
}

#[test]
fn tasks_of_global_services_wait_on_nodes_that_are_not_near() {
    check(
        "node a; node b; service db; service side global must-near=db; task db.1 on b; task side.a on a pending
         task side.b on b pending",
        &["side.a waits: affinity to service db not satisfied on 1 node", "side.b goes to b"],
    );
}

#[test]
fn a_task_of_a_global_service_is_not_kept_apart_from_the_one_on_its_node() {
    check(
        "node a label:zone=x; node b label:zone=x; service side global must-apart=side@node.labels.zone version=2
         task side.a on a version=1; task side.new on a pending version=2; task side.b on b pending version=2",
        &[
            "side.new goes to a",
            "side.b waits: anti-affinity to service side by node.labels.zone not satisfied on 1 node",
        ],
    );
}

#[test]
fn other_reasons_are_told_before_company() {
    check(
        "node a memory=1MiB; node b memory=1GiB; node c drain; service db; service web must-near=db memory=1GiB; task db.1 on c
         task web.1 pending",
        &["web.1 waits: no suitable node (1 node not available for new tasks; insufficient resources on 1 node; \
             affinity to service db not satisfied on 1 node)"],
    );
}

/// What is decided in a world after something has happened to it, that was decided about before.
#[track_caller]
fn then(text: &str, happens: impl FnOnce(&Store), expected: &[&str]) {
    let store = testing::store(text);
    let mut updates = store.watch(Interest::all());
    let mut world = World::default();
    let now = env().now();
    let mut absorb = |world: &mut World| {
        while let Some(update) = updates.try_next().unwrap() {
            world.absorb(&update, now);
        }
    };
    absorb(&mut world);
    let due = std::mem::take(&mut world.due);
    let plan = world.plan(&due, now);
    write(&store, |tx| plan.decisions.iter().try_for_each(|decision| decision.write(tx).map(drop)));
    world.note(plan.blocked);
    absorb(&mut world);
    // What was written makes nothing due that there is something to say about.
    let due = std::mem::take(&mut world.due);
    assert_eq!(told(&world.plan(&due, now)), [""; 0]);
    happens(&store);
    absorb(&mut world);
    let due = std::mem::take(&mut world.due);
    assert_eq!(told(&world.plan(&due, now)), expected);
    assert_eq!(told(&learned(&store.view()).1), expected, "as for somebody who has just learned it");
}

fn edit(store: &Store, task: &str, change: impl FnOnce(&mut Task)) {
    write(store, |tx| tx.edit::<Task>(&task.into(), change).map(drop));
}

#[test]
fn who_waits_for_company_is_looked_at_when_it_comes() {
    let world = "node a; node b; service db; service web must-near=db; task web.1 pending";
    then(world, |store| testing::amend(store, "task db.1 on b assigned"), &["web.1 goes to b"]);
    then(world, |store| testing::amend(store, "task db.1 pending"), &["db.1 goes to a", "web.1 goes to a"]);
    let world = "node a; node b; service web must-near=db; task web.1 pending";
    then(world, |store| testing::amend(store, "service db; task db.1 on a"), &["web.1 goes to a"]);
    let world = "node a; node b; service db; service side global must-near=db; task side.a on a pending";
    then(world, |store| testing::amend(store, "task db.1 on a"), &["side.a goes to a"]);
}

#[test]
fn who_has_to_be_apart_is_looked_at_when_others_go() {
    // It goes from a node that takes no tasks: the other node of the zone is open now.
    let nodes = "node a label:zone=x drain; node b label:zone=x";
    let world =
        format!("{nodes}; service db; service web must-apart=db@node.labels.zone; task db.1 on a; task web.1 pending");
    let stopped = |store: &Store| edit(store, "db.1", |task| task.desired_state = TaskState::Shutdown);
    then(&world, stopped, &["web.1 goes to b"]);
    let world =
        format!("{nodes}; service db; service web must-apart=db@node.labels.zone; task web.1 on a; task db.1 pending");
    then(&world, |store| edit(store, "web.1", |task| task.status.state = TaskState::Failed), &["db.1 goes to b"]);
    let world = format!("{nodes}; service web must-apart=web@node.labels.zone; task web.1 on a; task web.2 pending");
    then(&world, |store| edit(store, "web.1", |task| task.desired_state = TaskState::Remove), &["web.2 goes to b"]);
}

#[test]
fn who_has_to_be_together_is_looked_at_when_the_last_has_gone() {
    let world = "node a drain; node b; service web must-near=web; task web.1 on a; task web.2 pending";
    then(world, |store| edit(store, "web.1", |task| task.desired_state = TaskState::Shutdown), &["web.2 goes to b"]);
}

#[test]
fn a_change_of_what_is_asked_is_looked_at_and_moves_nothing() {
    let ask = |name: &'static str, change: fn(&mut wire::ServiceSpec)| {
        move |store: &Store| {
            write(store, |tx| {
                tx.edit::<Service>(&ServiceId::from(name), |service| {
                    change(std::sync::Arc::make_mut(&mut service.spec));
                })
                .map(drop)
            });
        }
    };
    let nothing = ask("web", |spec| spec.scheduling = None);
    let world = "node a; service db; service web must-apart=db; task db.1 on a; task web.1 pending";
    then(world, nothing, &["web.1 goes to a"]);
    // The other one has asked.
    let nothing = ask("web", |spec| spec.scheduling = None);
    let world = "node a; service db; service web must-apart=db; task web.1 on a; task db.1 pending";
    then(world, nothing, &["db.1 goes to a"]);
    let apart = ask("web", |spec| {
        let asked = testing::service("web").must_be_near("db").build();
        spec.scheduling.clone_from(&asked.spec.scheduling);
    });
    then("node a; node b; service db; service web; task db.1 on a; task web.1 on b", apart, &[]);
}

#[test]
fn another_label_on_a_node_is_looked_at() {
    let world =
        "node a label:zone=x drain; node b; service db; service web must-near=db@node.labels.zone; task db.1 on a
                 task web.1 pending";
    let labelled = |store: &Store| {
        write(store, |tx| {
            tx.edit::<swarmkit_api::Node>(&"b".into(), |node| {
                let node_with = testing::node("b").label("zone", "x").build();
                node.spec = node_with.spec;
            })
            .map(drop)
        });
    };
    then(world, labelled, &["web.1 goes to b"]);
}

#[test]
fn who_is_on_a_node_with_another_label_is_elsewhere_now() {
    // The node itself takes no tasks: others share its place now.
    let nodes = "node a label:zone=x drain; node b label:zone=y; service db; task db.1 on a";
    let relabelled = |zone: &'static str| {
        move |store: &Store| {
            write(store, |tx| {
                let node = testing::node("a").label("zone", zone).drain().build();
                tx.edit::<swarmkit_api::Node>(&"a".into(), |stored| stored.spec = node.spec).map(drop)
            });
        }
    };
    let near = "service web must-near=db@node.labels.zone; task web.1 pending";
    then(&format!("{nodes}; {near}"), relabelled("y"), &["web.1 goes to b"]);
    let side = "service side global must-near=db@node.labels.zone; task side.b on b pending";
    then(&format!("{nodes}; {side}"), relabelled("y"), &["side.b goes to b"]);
    let nodes = nodes.replace("zone=x", "zone=y");
    let apart = "service web must-apart=db@node.labels.zone; task web.1 pending";
    then(&format!("{nodes}; {apart}"), relabelled("z"), &["web.1 goes to b"]);
}

#[test]
fn room_is_made_only_where_the_company_is_right() {
    let nodes = "node a memory=1GiB; node b memory=1GiB; node c memory=1GiB; service low memory=1GiB; service db";
    let low = "task low.1 on a; task low.2 on b; task low.3 on c";
    check(
        &format!(
            "{nodes}; {low}; task db.1 on b; service vip priority=10 memory=1GiB must-near=db; task vip.1 pending"
        ),
        &["vip.1 waits for 1 task of lower priority to leave node b (priority 10 over 0): [low.2] go"],
    );
    check(
        &format!(
            "{nodes}; {low}; task db.1 on b; task db.2 on c; service vip priority=10 memory=1GiB must-apart=db
             task vip.1 pending; task vip.2 pending"
        ),
        &[
            "vip.1 waits for 1 task of lower priority to leave node a (priority 10 over 0): [low.1] go",
            "vip.2 waits: no suitable node (insufficient resources on 3 nodes)",
        ],
    );
    // What waits for room counts as if it was there.
    check(
        "node a memory=2GiB; node b memory=2GiB; service low memory=1GiB; task low.1 on a; task low.2 on a; task low.3 on b
         task low.4 on b; service vip priority=10 memory=1GiB must-apart=vip; task vip.1 pending; task vip.2 pending",
        &[
            "vip.1 waits for 1 task of lower priority to leave node a (priority 10 over 0): [low.2] go",
            "vip.2 waits for 1 task of lower priority to leave node b (priority 10 over 0): [low.4] go",
        ],
    );
}

#[test]
fn whoever_asks_where_a_task_would_go_is_told_with_its_company() {
    let would_go = |text: &str, task: &str| {
        let view = testing::world(text);
        let task = Task::clone(view.get::<Task>(&task.into()).unwrap());
        crate::prospect(&view, &task, env().now()).node.map(|node| node.to_string())
    };
    let nodes = "node a; node b; node c; service db; task db.1 on b";
    let goes =
        |asks: &str| would_go(&format!("{nodes}; service web {asks}; task web.1 on a; task web.2 on a"), "web.1");
    assert_eq!(goes("").as_deref(), Some("c"));
    assert_eq!(goes("must-near=db").as_deref(), Some("b"));
    assert_eq!(goes("near=db").as_deref(), Some("b"));
    assert_eq!(goes("must-near=web").as_deref(), Some("a"));
    assert_eq!(
        would_go(
            "node a; node b; service db must-apart=web; task db.1 on b; service web; task web.1 on a
                         task web.2 on a",
            "web.1"
        )
        .as_deref(),
        Some("a")
    );
    assert_eq!(goes("must-near=cache"), None);
}

#[test]
fn what_company_a_node_lacks_is_told() {
    let lacks = |text: &str| {
        let view = testing::world(text);
        let told = crate::explain(&view, view.get::<Task>(&"web.1".into()).unwrap(), env().now(), 10);
        let of_node = |node: &crate::NodeRefusal| format!("{} {}", node.node, node.lacks[0]);
        (told.message, told.refused.iter().map(of_node).collect::<Vec<_>>())
    };
    let (message, nodes) = lacks(
        "node a; node b; service db; service web must-near=db; task db.1 on b wants shutdown; task web.1 pending",
    );
    assert_eq!(
        message,
        "no suitable node (affinity to service db, of which no task has a node, not satisfied on 2 nodes)"
    );
    assert_eq!(nodes, ["a has no task of service db", "b has no task of service db"]);
    let (message, nodes) = lacks(
        "node a label:z=1; service db must-apart=web@node.labels.z; service web; task db.1 on a; task web.1 pending",
    );
    assert_eq!(message, "no suitable node (anti-affinity of service db by node.labels.z not satisfied on 1 node)");
    assert_eq!(nodes, ["a shares its node.labels.z with a task of service db, which has to be apart"]);
}

#[test]
fn a_service_that_comes_to_ask_for_distance_knows_who_replaces_whom() {
    let world = "node a; node b; service web; task web.1 on a version=1; task web.2 on b version=1";
    let ask = |store: &Store| {
        write(store, |tx| {
            tx.edit::<Service>(&ServiceId::from("web"), |service| {
                let asked = testing::service("web").affinity("web", Direction::Apart, "", true).build();
                std::sync::Arc::make_mut(&mut service.spec).scheduling.clone_from(&asked.spec.scheduling);
            })
            .map(drop)
        });
        testing::amend(store, "task web.2.new pending");
    };
    then(world, ask, &["web.2.new goes to b"]);
}
