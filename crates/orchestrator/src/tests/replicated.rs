//! How many slots a replicated service has, and which.

use super::{stage::Stage, *};

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
fn the_surplus_goes_from_the_fullest_node_down_one_by_one() {
    let tasks = "task web.1 on a; task web.2 on b; task web.3 on b; task web.4 on c; task web.5 on c; task web.6 on c";
    let world = |replicas| format!("node a; node b; node c; service web replicas={replicas}; {tasks}");
    check(&world(5), &["remove web.6"]);
    check(&world(4), &["remove web.5", "remove web.6"]);
    check(&world(3), &["remove web.3", "remove web.5", "remove web.6"]);
    check(&world(1), &["remove web.2", "remove web.4", "remove web.3", "remove web.5", "remove web.6"]);
}

#[test]
fn of_nodes_that_are_equally_full_the_one_with_the_highest_number_gives_up_first() {
    check(
        "node a; node b; service web replicas=3; task web.1 on b; task web.2 on a; task web.3 on b; task web.4 on a",
        &["remove web.4"],
    );
}

#[test]
fn tasks_of_other_services_do_not_make_a_node_full() {
    check(
        "node a; node b; service web replicas=1; service other replicas=3
         task other.1 on a; task other.2 on a; task other.3 on a; task web.1 on a; task web.2 on b",
        &["remove web.2"],
    );
}

#[test]
fn a_task_that_has_ended_for_good_keeps_its_slot_and_goes_before_those_that_run() {
    check(
        "node a; service web replicas=1 restart=none; task web.1 on a failed wants shutdown; task web.2 on a",
        &["remove web.1"],
    );
}

#[test]
fn what_was_told_to_go_further_than_that_is_left_alone() {
    check("node a; service web replicas=0; task web.1 on a wants remove", &[]);
    check("node a; service web replicas=1; task web.1 on a wants remove", &["make web.1"]);
}

/// The one task that is made of a service in a world, as it is stored.
fn made(store: &Store) -> Task {
    let mut world = World::default();
    world.absorb(&Update::Snapshot(store.view()), env().now());
    let plan = world.plan(&world.due, env().now());
    let log_driver = world.log_driver.clone();
    write(store, |tx| {
        plan.steps
            .iter()
            .try_for_each(|step| step.write(tx, &env(), log_driver.as_ref()).map(|written| assert!(written)))
    });
    let view = store.view();
    let mut tasks = view.all::<Task>();
    let task = tasks.next().unwrap();
    assert!(tasks.next().is_none(), "one");
    Task::clone(task)
}

#[test]
fn tasks_are_made_as_the_service_says() {
    let store = testing::store("cluster; service web replicas=1 image=nginx memory=64MiB version=7 label:tier=front");
    update(&store, "web", |spec| spec.endpoint = Some(wire::EndpointSpec { mode: 1, ..Default::default() }));
    let task = made(&store);
    let view = store.view();
    let service = view.get::<Service>(&"web".into()).unwrap();
    assert_eq!((task.status.state, task.status.message.as_str()), (TaskState::New, "created"));
    assert_eq!((task.desired_state, task.slot, &task.node_id), (TaskState::Running, 1, &None));
    assert_eq!((Some(&*task.spec), task.spec_version), (service.spec.task.as_ref(), service.spec_version));
    assert_eq!((task.service_id.as_ref(), task.job_iteration), (Some(&service.id), None));
    assert_eq!(task.endpoint.as_ref().unwrap().spec, service.spec.endpoint);
    assert_eq!(Some(&*task.service_annotations), service.spec.annotations.as_ref());
    assert_eq!(task.name(), format!("web.1.{}", task.id));
    assert_eq!(task.status.timestamp, task.meta.created_at);
    assert!(task.status.timestamp.is_some() && task.status.err.is_empty());
    assert!(task.networks.is_empty() && task.assigned_generic_resources.is_empty() && task.volumes.is_empty());
}

#[test]
fn a_task_has_an_endpoint_also_when_its_service_asks_for_none() {
    let endpoint = made(&testing::store("service web replicas=1")).endpoint;
    assert_eq!(*endpoint.unwrap(), wire::Endpoint::default());
}

#[test]
fn output_goes_where_the_specification_says_else_where_the_cluster_says_else_nowhere_in_particular() {
    let driver = |name: &str| Some(wire::Driver { name: name.into(), ..Default::default() });
    for (of_task, of_cluster, expected) in [
        (driver("syslog"), Some(driver("gelf")), driver("syslog")),
        (driver("syslog"), None, driver("syslog")),
        (None, Some(driver("gelf")), driver("gelf")),
        (None, Some(None), None),
        (None, None, None),
    ] {
        let store = testing::store("service web replicas=1");
        update(&store, "web", |spec| spec.task.get_or_insert_default().log_driver = of_task);
        if let Some(driver) = of_cluster {
            let mut cluster = testing::cluster();
            Arc::make_mut(&mut cluster.spec).task_defaults.get_or_insert_default().log_driver = driver;
            write(&store, |tx| tx.create(cluster).map(drop));
        }
        assert_eq!(made(&store).log_driver, expected);
    }
}

#[test]
fn a_task_of_a_global_service_has_its_node_from_the_beginning_and_no_slot() {
    let task = made(&testing::store("node a; service all global"));
    assert_eq!((task.slot, task.node_id, task.desired_state), (0, Some("a".into()), TaskState::Running));
    assert_eq!((task.status.state, task.status.message.as_str()), (TaskState::New, "created"));
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

// === Whole lives ===

#[tokio::test(start_paused = true)]
async fn services_get_their_tasks_whether_they_were_there_before_the_orchestrator_or_not() {
    let mut stage = Stage::open("node a; service web replicas=2").await;
    assert_eq!(stage.told(), ["web.1 running", "web.2 running"]);
    stage.amend("service other replicas=1").await;
    assert_eq!(stage.told(), ["other.1 running", "web.1 running", "web.2 running"]);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_removed_loses_its_tasks_and_others_are_made_for_them() {
    let mut stage = Stage::open("node a; node b; service web replicas=2 restart=any delay=3s").await;
    write(&stage.store, |tx| tx.delete::<Node>(&"a".into()).map(drop));
    stage.pass(Duration::from_millis(2_900)).await;
    let runs = |stage: &Stage| stage.told().iter().filter(|task| task.ends_with(" running")).count();
    assert_eq!(runs(&stage), 1, "{:?}", stage.told());
    stage.pass(Duration::from_millis(100)).await;
    assert_eq!(stage.told(), ["web.1 running", "web.2 running"]);
    let live = stage.tasks().into_iter().filter(|task| crate::slot::is_live(task));
    assert!(live.map(|task| task.node_id.clone()).all(|node| node == Some("b".into())));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_paused_keeps_what_it_has() {
    let mut stage = Stage::open("node a; service web replicas=3").await;
    stage.edit_node("a", |node| set_availability(node, wire::node_spec::Availability::Pause)).await;
    stage.pass(Duration::from_secs(60)).await;
    assert_eq!(stage.history(), ["web.1 running", "web.2 running", "web.3 running"]);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_comes_to_a_node_which_is_no_good_is_replaced_at_once() {
    for bad in ["drain", "down"] {
        let mut stage = Stage::open(&format!("node b {bad}; service web replicas=1 restart=any delay=0s")).await;
        assert_eq!(stage.history(), ["web.1 new"], "nobody takes it");
        let id = stage.tasks()[0].id.clone();
        edit_task(&stage.store, id.as_str(), |task| {
            task.node_id = Some("b".into());
            task.status.state = TaskState::Assigned;
        });
        testing::amend(&stage.store, "node a");
        stage.settle().await;
        assert_eq!(stage.told(), ["web.1 running"], "{bad}");
        assert_eq!(stage.tasks().last().unwrap().node_id, Some("a".into()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_without_a_node_does_not_care_what_nodes_do() {
    let mut stage = Stage::open("node a pause; service web replicas=1").await;
    let before = stage.history();
    stage.edit_node("a", |node| set_state(node, wire::node_status::State::Down)).await;
    write(&stage.store, |tx| tx.delete::<Node>(&"a".into()).map(drop));
    stage.pass(Duration::from_secs(60)).await;
    assert_eq!((before, stage.history()), (vec!["web.1 new".to_owned()], vec!["web.1 new".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn what_still_runs_outlives_the_next_look_at_a_service_that_shrank() {
    let mut stage = Stage::open("node a; service web replicas=3").await;
    stage.stubborn = vec!["image"];
    stage.update("web", set_replicas(1)).await;
    stage.update("web", set_replicas(2)).await;
    let told_to_go = |stage: &Stage| stage.history().iter().filter(|task| task.ends_with("wants remove")).count();
    assert_eq!(told_to_go(&stage), 2, "{:?}", stage.history());
    assert_eq!(stage.told(), ["web.1 running", "web.2 running"]);
    stage.stubborn = Vec::new();
    stage.settle().await;
    assert_eq!(stage.history(), ["web.1 running", "web.2 running"]);
}
