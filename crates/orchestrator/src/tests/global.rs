//! Global services: one task on each node that may have it.

use wire::{node_spec::Availability, node_status::State, update_status::UpdateState};

use super::{stage::Stage, *};

#[test]
fn every_node_that_may_have_one_gets_a_task() {
    check(
        "node a; node b drain; node c down; node d pause; node e unknown; node f disconnected; service all global",
        &["make all.a", "make all.e", "make all.f"],
    );
    check(
        "node a label:disk=ssd; node b; service all global constraint=node.labels.disk==ssd; service any global",
        &["make all.a", "make any.a", "make any.b"],
    );
}

#[test]
fn tasks_on_nodes_that_are_drained_or_down_are_stopped_and_not_replaced() {
    check("node a drain; service all global; task all.a running", &["stop all.a"]);
    check("node a down; service all global; task all.a running", &["stop all.a"]);
    check("node a pause; service all global; task all.a running", &[]);
    check("node a drain; service all global; task all.a rejected", &["stop all.a"]);
}

#[test]
fn tasks_of_nodes_that_are_no_more_are_forgotten() {
    check(
        "service all global; task all.a running; task all.b orphaned wants shutdown",
        &["forget all.a", "forget all.b"],
    );
}

#[test]
fn a_node_that_was_not_heard_from_for_a_moment_keeps_what_it_has() {
    check("node a unknown; node b disconnected; service all global; task all.a running; task all.b running", &[]);
}

#[test]
fn tasks_of_a_service_that_is_no_more_shall_go() {
    check(
        "node a; node b drain; task all.a running; task all.b failed wants shutdown",
        &["remove all.b; remove all.a"],
    );
}

#[test]
fn a_task_that_fails_is_replaced_on_its_node_unless_that_is_paused() {
    check("node a; service all global; task all.a failed", &["stop all.a; make all.a on hold"]);
    check("node a; service all global; task all.a rejected", &["stop all.a; make all.a on hold"]);
    check("node a pause; service all global; task all.a failed", &["stop all.a"]);
    check("node a; service all global restart=none; task all.a failed", &["stop all.a"]);
    check("node a; service all global restart=none; task all.a failed wants shutdown", &[]);
}

#[test]
fn beside_a_task_that_is_well_one_that_failed_is_only_stopped() {
    let view = testing::world("node a; service all global; task all.a.old failed; task all.a.well running");
    assert_eq!(decisions(&view)[0], "stop all.a.old");
}

#[test]
fn a_change_of_the_service_that_shuts_out_a_node_stops_its_task() {
    let store =
        testing::store("node a; node b label:disk=ssd; service all global; task all.a running; task all.b running");
    update(&store, "all", |spec| {
        let placement = spec.task.as_mut().unwrap().placement.get_or_insert_default();
        placement.constraints.push("node.labels.disk == ssd".into());
    });
    assert_eq!(decisions(&store.view()), ["stop all.a"]);
}

#[test]
fn a_change_of_the_node_that_shuts_out_a_task_is_left_to_the_enforcer() {
    let text = "node a; service all global constraint=node.labels.disk==ssd; task all.a running";
    check(text, &[]);
    check(&text.replace("running", "rejected"), &["stop all.a"]);
}

#[tokio::test(start_paused = true)]
async fn tasks_come_and_go_with_nodes() {
    let mut stage = Stage::open("node a; service all global; service more global").await;
    assert_eq!(stage.told(), ["all.a running", "more.a running"]);
    stage.amend("node b").await;
    assert_eq!(stage.told(), ["all.a running", "all.b running", "more.a running", "more.b running"]);
    stage.edit_node("b", |node| set_availability(node, Availability::Drain)).await;
    assert_eq!(stage.told(), ["all.a running", "more.a running"]);
    stage.update("all", set_image("new")).await;
    assert_eq!(stage.told(), ["all.a new running", "more.a running"], "a drained node gets nothing new");
    stage.edit_node("b", |node| set_availability(node, Availability::Active)).await;
    assert_eq!(stage.told(), ["all.a new running", "all.b new running", "more.a running", "more.b running"]);
    stage.edit_node("b", |node| set_state(node, State::Down)).await;
    assert_eq!(stage.told(), ["all.a new running", "more.a running"]);
    stage.edit_node("b", |node| set_state(node, State::Ready)).await;
    assert_eq!(stage.told(), ["all.a new running", "all.b new running", "more.a running", "more.b running"]);
    write(&stage.store, |tx| tx.delete::<Node>(&"b".into()).map(drop));
    stage.settle().await;
    assert!(stage.tasks().iter().all(|task| task.node_id == Some("a".into())), "with their history");
    write(&stage.store, |tx| tx.delete::<Service>(&"all".into()).map(drop));
    stage.settle().await;
    assert_eq!(stage.history(), ["more.a running"]);
}

#[tokio::test(start_paused = true)]
async fn an_update_goes_node_by_node() {
    let mut stage = Stage::open("node a; node b; node c; service all global").await;
    stage.most_in_flight = 0;
    stage
        .update("all", |spec| {
            set_image("new")(spec);
            let delay = Some(prost_types::Duration { seconds: 10, nanos: 0 });
            spec.update = Some(wire::UpdateConfig { parallelism: 1, delay, ..Default::default() });
        })
        .await;
    assert_eq!(stage.told(), ["all.a new running", "all.b running", "all.c running"]);
    stage.pass(Duration::from_secs(20)).await;
    assert_eq!(stage.told(), ["all.a new running", "all.b new running", "all.c new running"]);
    assert_eq!(stage.most_in_flight, 1);
    stage.pass(Duration::from_secs(30)).await;
    assert_eq!(stage.status("all").unwrap().0, UpdateState::Completed);
}

#[tokio::test(start_paused = true)]
async fn what_a_paused_node_missed_it_gets_when_it_is_active_again_and_the_status_stays() {
    let mut stage = Stage::open("node a; node b; service all global").await;
    stage.edit_node("b", |node| set_availability(node, Availability::Pause)).await;
    stage.update("all", set_image("new")).await;
    stage.pass(Duration::from_secs(6)).await;
    assert_eq!(stage.told(), ["all.a new running", "all.b running"]);
    let status = stage.store.view().get::<Service>(&"all".into()).unwrap().update_status.clone();
    assert_eq!(stage.status("all").unwrap().0, UpdateState::Completed);
    stage.pass(Duration::from_secs(1)).await;
    stage.edit_node("b", |node| set_availability(node, Availability::Active)).await;
    stage.pass(Duration::from_secs(20)).await;
    assert_eq!(stage.told(), ["all.a new running", "all.b new running"]);
    assert_eq!(stage.store.view().get::<Service>(&"all".into()).unwrap().update_status, status);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_has_failed_waits_for_its_delay_on_its_own_node() {
    let mut stage = Stage::open("node a; node b; service all global restart=any delay=5s").await;
    let on_b = stage.tasks().into_iter().find(|task| task.node_id == Some("b".into())).unwrap();
    edit_task(&stage.store, on_b.id.as_str(), |task| task.status.state = TaskState::Failed);
    stage.settle().await;
    assert_eq!(stage.told(), ["all.a running", "all.b ready wants ready"]);
    stage.pass(Duration::from_secs(5)).await;
    assert_eq!(stage.told(), ["all.a running", "all.b running"]);
}

/// Of each service and node that has any: how many tasks run and are wanted to, and how many there are.
fn per_node(stage: &Stage) -> std::collections::BTreeMap<String, (usize, usize)> {
    let mut counts = std::collections::BTreeMap::<_, (usize, usize)>::new();
    for task in stage.tasks() {
        let count =
            counts.entry(format!("{}.{}", task.service_annotations.name, task.node_id.as_ref().unwrap())).or_default();
        count.0 += usize::from(crate::slot::is_live(&task) && task.status.state == TaskState::Running);
        count.1 += 1;
    }
    counts
}

#[tokio::test(start_paused = true)]
async fn a_node_that_flaps_a_hundred_times_has_one_task_of_each_service_in_the_end_and_no_more_history_than_is_kept() {
    let text = "node a; node b label:disk=ssd; node c pause; service all global; service more global
                service some global constraint=node.labels.disk==ssd";
    let mut stage = Stage::open(text).await;
    for flap in 0..100_u32 {
        stage.edit_node("b", |node| set_state(node, State::Down)).await;
        assert!(stage.told().iter().all(|told| !told.contains(".b ")), "{:?}", stage.told());
        if flap % 7 == 0 {
            let (env, store) = stage.close().await;
            stage = Stage::on(env, store).await;
        }
        if flap % 3 == 0 {
            stage.pass(Duration::from_secs(1)).await;
        }
        let state = if flap % 2 == 0 { State::Ready } else { State::Unknown };
        stage.edit_node("b", |node| set_state(node, state)).await;
        stage.edit_node("b", |node| set_state(node, State::Ready)).await;
    }
    let counts = per_node(&stage);
    assert_eq!(counts.keys().collect::<Vec<_>>(), ["all.a", "all.b", "more.a", "more.b", "some.b"]);
    assert!(counts.values().all(|(running, all)| *running == 1 && *all <= 5), "{counts:?}");
    let before = stage.store.version();
    stage.pass(Duration::from_secs(600)).await;
    assert_eq!(stage.store.version(), before, "and then there is nothing to do");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_flaps_and_never_answers_is_not_given_a_task_each_time() {
    let mut stage = Stage::open("node a; service all global").await;
    stage.stubborn = vec!["image"];
    for _ in 0..100 {
        stage.edit_node("a", |node| set_state(node, State::Down)).await;
        stage.edit_node("a", |node| set_state(node, State::Ready)).await;
    }
    assert_eq!(stage.history(), ["all.a running wants shutdown"; 2], "two are on their way out");
    let (env, store) = stage.close().await;
    let mut stage = Stage::on(env, store).await;
    stage.settle().await;
    assert_eq!(stage.told(), ["all.a running"], "as soon as one of them has stopped there is another one");
    assert_eq!(per_node(&stage)["all.a"], (1, 3));
}

#[tokio::test(start_paused = true)]
async fn what_happens_to_one_service_leaves_the_others_on_the_node_as_they_are() {
    let mut stage = Stage::open("node a; node b; service all global; service none global restart=none").await;
    let before: Vec<_> = stage.tasks().into_iter().filter(|task| task.service_annotations.name == "none").collect();
    let task = stage.tasks()[0].clone();
    edit_task(&stage.store, task.id.as_str(), |task| task.status.state = TaskState::Failed);
    stage.settle().await;
    stage.update("all", set_image("new")).await;
    stage.pass(Duration::from_secs(20)).await;
    assert_eq!(stage.told(), ["all.a new running", "all.b new running", "none.a running", "none.b running"]);
    let after: Vec<_> = stage.tasks().into_iter().filter(|task| task.service_annotations.name == "none").collect();
    assert_eq!(before, after, "not so much as looked at");
}

#[tokio::test(start_paused = true)]
async fn what_ended_for_good_comes_back_with_another_specification_only() {
    let mut stage = Stage::open("node a; service all global restart=none").await;
    let task = stage.tasks()[0].clone();
    edit_task(&stage.store, task.id.as_str(), |task| task.status.state = TaskState::Complete);
    stage.pass(Duration::from_secs(60)).await;
    assert_eq!(stage.told(), [""; 0]);
    stage.update("all", |_| ()).await;
    stage.pass(Duration::from_secs(60)).await;
    assert_eq!(stage.told(), [""; 0], "an update that asks for the same does not do it again");
    stage.update("all", set_image("new")).await;
    stage.pass(Duration::from_secs(60)).await;
    assert_eq!(stage.told(), ["all.a new running"]);
}

#[tokio::test(start_paused = true)]
async fn a_rollout_does_not_wait_for_a_task_that_went_with_its_node() {
    let mut stage = Stage::open("node a; node b; service all global").await;
    stage.cast(|task| {
        (super::stage::image(task) == "new" && task.node_id == Some("a".into())).then_some(TaskState::Preparing)
    });
    stage.update("all", set_image("new")).await;
    stage.pass(Duration::from_secs(10)).await;
    assert_eq!(stage.told(), ["all.a new ready", "all.b running"]);
    write(&stage.store, |tx| tx.delete::<Node>(&"a".into()).map(drop));
    stage.pass(Duration::from_secs(20)).await;
    assert_eq!(stage.told(), ["all.b new running"]);
    assert_eq!(stage.status("all").unwrap().1, "update completed");
}
