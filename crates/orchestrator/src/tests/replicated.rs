//! How many slots a replicated service has, and which.

use super::*;

#[test]
fn a_service_gets_as_many_tasks_as_it_has_replicas() {
    check("service web replicas=3", &["make web.1", "make web.2", "make web.3"]);
}

#[test]
fn only_what_is_missing_is_made_in_the_lowest_free_numbers() {
    check("node a; service web replicas=4; task web.2 on a; task web.5 on a", &["make web.1", "make web.3"]);
    check("node a; service web replicas=1; task web.1 new", &[]);
}

#[test]
fn tasks_of_no_service_are_left_alone() {
    let store = testing::store("node a");
    write(&store, |tx| tx.create(testing::task("alone").on("a").with(|task| task.service_id = None).build()).map(drop));
    assert_eq!(decisions(&store.view()), [""; 0]);
}

#[test]
fn tasks_of_a_service_that_is_gone_are_removed() {
    check(
        "node a; task web.1 on a; task web.2 failed wants shutdown; task web.3 on a wants remove",
        &["remove web.1", "remove web.2"],
    );
}

#[test]
fn when_there_are_too_many_higher_numbers_go_first() {
    check(
        "node a; service web replicas=2; task web.1 on a; task web.2 on a; task web.3 on a; task web.4 on a",
        &["remove web.3", "remove web.4"],
    );
}

#[test]
fn a_task_without_a_node_goes_before_any_that_has_one() {
    check("node a; service web replicas=1; task web.1 pending; task web.2 on a", &["remove web.1"]);
}

#[test]
fn a_slot_with_two_tasks_goes_before_those_with_one() {
    check(
        "node a; service web replicas=1; task web.1 on a; task web.1.b on a; task web.2 on a",
        &["remove web.1; remove web.1.b"],
    );
}

#[test]
fn the_surplus_comes_from_the_fullest_node() {
    check(
        "node a; node b; node c; service web replicas=3; service other replicas=1
         task web.1 on a; task web.2 on b; task web.3 on b; task web.4 on c; task web.5 on c; task web.6 on c
         task other.1 on a",
        &["remove web.3", "remove web.5", "remove web.6"],
    );
}

#[test]
fn a_task_that_runs_stays_before_one_that_does_not() {
    check("node a; service web replicas=1; task web.1 on a starting; task web.2 on a", &["remove web.1"]);
}

#[test]
fn the_order_is_the_same_for_a_thousand_slots() {
    let tasks: String = (1..=1000).map(|slot| format!("task web.{slot} on n{};", slot % 3)).collect();
    let plan = decisions(&testing::world(&format!("node n0; node n1; node n2; service web replicas=996; {tasks}")));
    assert_eq!(plan, ["remove web.997", "remove web.998", "remove web.999", "remove web.1000"]);
}

#[test]
fn scaling_to_zero_removes_everything_with_its_history() {
    check(
        "node a; service web replicas=0; task web.1 on a failed wants shutdown; task web.1.b on a",
        &["remove web.1; remove web.1.b"],
    );
}

#[test]
fn history_of_slots_that_are_no_more_is_forgotten_once_it_has_stopped() {
    check(
        "node a; service web replicas=1; task web.1 on a
         task web.2 on a failed wants shutdown; task web.3 on a wants shutdown; task web.4 on a wants remove",
        &["forget web.2"],
    );
}

#[test]
fn a_number_that_is_used_again_keeps_its_history() {
    check(
        "node a; service web replicas=2; task web.1 on a; task web.2 on a failed wants shutdown; task web.3 on a failed wants shutdown",
        &["make web.2", "forget web.3"],
    );
}

#[test]
fn tasks_are_made_as_the_service_says() {
    let text = "cluster; service web replicas=1 image=nginx memory=64MiB version=7 label:tier=front";
    let store = testing::store(text);
    update(&store, "web", |spec| spec.endpoint = Some(wire::EndpointSpec { mode: 1, ..Default::default() }));
    let world = {
        let mut world = World::default();
        world.absorb(&Update::Snapshot(store.view()), env().now());
        world
    };
    let plan = world.plan(&world.due, env().now());
    let driver = wire::Driver { name: "gelf".into(), ..Default::default() };
    write(&store, |tx| plan.steps.iter().try_for_each(|step| step.write(tx, &env(), Some(&driver)).map(drop)));
    let view = store.view();
    let service = view.get::<Service>(&"web".into()).unwrap();
    let task = view.all::<Task>().next().unwrap();
    assert_eq!((task.status.state, task.status.message.as_str()), (TaskState::New, "created"));
    assert_eq!((task.desired_state, task.slot, &task.node_id), (TaskState::Running, 1, &None));
    assert_eq!((Some(&*task.spec), task.spec_version), (service.spec.task.as_ref(), service.spec_version));
    assert_eq!(task.endpoint.as_ref().unwrap().spec, service.spec.endpoint);
    assert_eq!(Some(&*task.service_annotations), service.spec.annotations.as_ref());
    assert_eq!(task.log_driver.as_ref().unwrap().name, "gelf");
    assert_eq!(task.name(), format!("web.1.{}", task.id));
    assert!(task.status.timestamp.is_some());
}

#[test]
fn a_plan_for_a_service_that_was_changed_meanwhile_makes_nothing() {
    let store = testing::store("service web replicas=1");
    let mut world = World::default();
    world.absorb(&Update::Snapshot(store.view()), env().now());
    let plan = world.plan(&world.due, env().now());
    update(&store, "web", set_image("other"));
    write(&store, |tx| {
        assert!(!plan.steps[0].write(tx, &env(), None)?, "the step no longer applies");
        Ok(())
    });
    assert_eq!(store.view().count::<Task>(), 0);
}
