//! Jobs: so many completions, so many at a time, once per iteration.

use wire::node_spec::Availability;

use super::{stage::Stage, *};

#[test]
fn a_job_begins_as_many_slots_as_may_run_at_once() {
    check("service job job=3 concurrent=2", &["make job.0", "make job.1"]);
    check(
        "node a; service job job=5 concurrent=3; task job.0 on a wants complete; task job.3 on a wants complete",
        &["make job.1"],
    );
    check(
        "node a; service job job=2 concurrent=2; task job.0 on a wants complete; task job.1 on a wants complete; task job.2 on a wants complete",
        &[],
    );
}

#[test]
fn what_is_completed_is_not_done_again() {
    check(
        "node a; service job job=4 concurrent=2; task job.0 on a complete wants complete; task job.1 on a complete wants complete; task job.2 on a complete wants complete",
        &["make job.3"],
    );
    check("node a; service job job=1 concurrent=1 restart=any; task job.0 on a complete wants complete", &[]);
}

#[test]
fn a_task_that_fails_is_replaced_in_its_slot_and_not_besides() {
    check(
        "node a; service job job=3 concurrent=1; task job.0 on a failed wants complete",
        &["stop job.0; make job.0 on hold"],
    );
}

#[test]
fn slots_of_tasks_that_were_stopped_are_used_again() {
    check("node a; service job job=1 concurrent=1; task job.0 on a running wants shutdown", &["make job.0"]);
}

#[test]
fn tasks_of_earlier_iterations_are_removed_while_they_run() {
    let store = testing::store("node a; service job job=2 concurrent=2");
    testing::amend(&store, "task job.0 on a running wants complete; task job.1 on a complete wants complete");
    update(&store, "job", |_| ());
    assert_eq!(decisions(&store.view()), ["remove job.0", "make job.0", "make job.1"]);
}

#[test]
fn a_global_job_runs_once_on_each_node_that_is_ready_for_it() {
    check(
        "node a; node b drain; node c down; node d pause; node e unknown; node f; node g label:skip=yes
         service job global-job constraint=node.labels.skip!=yes; task job.f complete wants complete",
        &["make job.a"],
    );
    check("node a drain; service job global-job; task job.a running wants complete", &["stop job.a"]);
    check("node a drain; service job global-job; task job.a complete wants complete", &[]);
    check("node a; service job global-job; task job.a failed wants complete", &["stop job.a; make job.a on hold"]);
}

#[test]
fn all_tasks_of_a_job_that_is_gone_are_removed() {
    check(
        "node a; task job.0 on a complete wants complete; task job.1 on a wants complete
         service other job=1; task other.0 on a wants complete",
        &["remove job.0", "remove job.1"],
    );
}

#[tokio::test(start_paused = true)]
async fn the_tasks_of_a_new_job_are_wanted_to_complete_in_its_first_run() {
    let driver = wire::Driver { name: "journald".to_owned(), ..Default::default() };
    let env = env();
    let store = Store::local(env.clone());
    testing::amend(&store, "cluster; service job job=5 concurrent=3");
    write(&store, |tx| {
        let id = tx.cluster().unwrap().id.clone();
        tx.edit(&id, |cluster: &mut swarmkit_api::Cluster| {
            let defaults = &mut Arc::make_mut(&mut cluster.spec).task_defaults;
            defaults.get_or_insert_default().log_driver = Some(driver.clone());
        })
        .map(drop)
    });
    let stage = Stage::on(env, store).await;
    let tasks = stage.tasks();
    assert_eq!(tasks.iter().map(|task| task.slot).collect::<Vec<_>>(), [0, 1, 2]);
    for task in tasks {
        assert_eq!((task.desired_state, task.job_iteration), (TaskState::Complete, Some(Version(0))));
        assert_eq!(task.log_driver.as_ref(), Some(&driver));
    }
}

#[tokio::test(start_paused = true)]
async fn only_the_end_of_a_task_is_work_for_a_job() {
    let mut stage = Stage::open("node a; service job job=3 concurrent=1").await;
    assert_eq!(states(&stage), ["job.0 running"]);
    let before = stage.store.version();
    edit_task(&stage.store, stage.tasks()[0].id.clone().as_str(), |task| task.status.message = "working".to_owned());
    stage.pass(Duration::from_secs(5)).await;
    assert_eq!(stage.store.version().0, before.0 + 1, "nothing follows from what is told of a task that runs");
    complete(&mut stage).await;
    assert_eq!(states(&stage), ["job.0 complete", "job.1 running"]);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_cannot_be_read_keeps_no_other_from_running() {
    let env = env();
    let store = Store::local(env.clone());
    testing::amend(&store, "node a; service broken job=1; service job job=1; service every global-job");
    write(&store, |tx| {
        let schedule = wire::swarmkit::orchestration::v1::Schedule { cron: "never".to_owned(), ..Default::default() };
        tx.edit(&ServiceId::from("broken"), |service: &mut Service| {
            Arc::make_mut(&mut service.spec).schedule = Some(schedule);
        })
        .map(drop)
    });
    let stage = Stage::on(env, store).await;
    assert_eq!(stage.told(), ["every.0 running", "job.0 running"]);
}

#[tokio::test(start_paused = true)]
async fn after_the_stop_nothing_is_done_for_a_job() {
    let stage = Stage::open("node a; service job job=2 concurrent=1").await;
    let task = stage.tasks()[0].clone();
    let (_env, store) = stage.close().await;
    edit_task(&store, task.id.as_str(), |task| task.status.state = TaskState::Complete);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(store.view().count::<Task>(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_a_job_has_finished_is_reaped_by_the_history_as_other_tasks_are() {
    let mut stage = Stage::open("cluster; node a; service job job=1").await;
    for _ in 0..8 {
        complete(&mut stage).await;
        stage.update("job", |_| ()).await;
    }
    complete(&mut stage).await;
    let iterations: Vec<_> = stage.tasks().iter().map(|task| task.job_iteration.unwrap().0).collect();
    assert!(iterations.len() <= 6 && iterations.contains(&8), "the last runs are kept: {iterations:?}");
}

/// Finishes every task of a job that runs.
async fn complete(stage: &mut Stage) {
    let running: Vec<_> = stage.tasks().into_iter().filter(|task| task.status.state == TaskState::Running).collect();
    for task in running {
        edit_task(&stage.store, task.id.as_str(), |task| task.status.state = TaskState::Complete);
    }
    stage.settle().await;
}

fn states(stage: &Stage) -> Vec<String> {
    stage.history()
}

#[tokio::test(start_paused = true)]
async fn a_job_runs_to_its_last_completion_and_then_rests() {
    let mut stage = Stage::open("node a; service job job=3 concurrent=2").await;
    assert_eq!(states(&stage), ["job.0 running", "job.1 running"]);
    complete(&mut stage).await;
    assert_eq!(states(&stage), ["job.0 complete", "job.1 complete", "job.2 running"]);
    complete(&mut stage).await;
    stage.pass(Duration::from_secs(60)).await;
    assert_eq!(states(&stage), ["job.0 complete", "job.1 complete", "job.2 complete"]);
    let iteration = stage.tasks()[0].job_iteration;
    stage.update("job", |_| ()).await;
    let again: Vec<_> = stage.tasks().into_iter().filter(|task| task.job_iteration > iteration).collect();
    assert_eq!(again.len(), 2, "any change of a job runs it again");
    complete(&mut stage).await;
    complete(&mut stage).await;
    let done = stage.tasks().iter().filter(|task| task.job_iteration > iteration).count();
    assert_eq!(done, 3);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_keeps_failing_stops_for_good_after_its_attempts() {
    let text = "node a; service job job=2 concurrent=1 restart=on-failure delay=1s attempts=3";
    let mut stage = Stage::open_with(text, |_| Some(TaskState::Failed)).await;
    stage.pass(Duration::from_secs(60)).await;
    let counts = [0, 1].map(|slot| stage.tasks().iter().filter(|task| task.slot == slot).count());
    assert_eq!(counts, [4, 4], "each slot is tried four times, one after the other, and not again");

    let mut stage = Stage::open_with("node a; service job job=1 restart=none", |_| Some(TaskState::Failed)).await;
    stage.pass(Duration::from_secs(60)).await;
    assert_eq!(stage.tasks().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_global_job_that_keeps_failing_stops_for_good_after_its_attempts() {
    let text = "node a; service job global-job restart=any delay=1s attempts=2";
    let mut stage = Stage::open_with(text, |_| Some(TaskState::Failed)).await;
    stage.pass(Duration::from_secs(60)).await;
    assert_eq!(stage.tasks().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_replacement_of_a_task_of_a_job_is_wanted_to_complete() {
    let mut stage = Stage::open("node a; service job job=1 restart=any delay=5s").await;
    let task = stage.tasks()[0].clone();
    edit_task(&stage.store, task.id.as_str(), |task| task.status.state = TaskState::Failed);
    stage.settle().await;
    assert_eq!(stage.told(), ["job.0 ready wants ready"]);
    stage.pass(Duration::from_secs(5)).await;
    assert_eq!(stage.told(), ["job.0 running"]);
    assert_eq!(stage.tasks()[1].desired_state, TaskState::Complete);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_joins_runs_global_jobs_and_one_that_is_drained_gives_them_up() {
    let mut stage = Stage::open("node a; service job global-job").await;
    complete(&mut stage).await;
    stage.amend("node b").await;
    assert_eq!(states(&stage), ["job.0 complete", "job.0 running"]);
    stage.edit_node("b", |node| set_availability(node, Availability::Drain)).await;
    assert_eq!(states(&stage), ["job.0 complete", "job.0 shutdown wants shutdown"]);
    stage.edit_node("b", |node| set_availability(node, Availability::Active)).await;
    complete(&mut stage).await;
    assert_eq!(stage.told(), ["job.0 complete", "job.0 complete"]);
}

#[tokio::test(start_paused = true)]
async fn a_task_of_a_job_on_a_lost_node_is_done_elsewhere() {
    let mut stage = Stage::open("node a; node b; service job job=1 restart=on-failure delay=1s").await;
    let node = stage.tasks()[0].node_id.clone().unwrap();
    stage.edit_node(node.as_str(), |node| set_state(node, wire::node_status::State::Down)).await;
    stage.pass(Duration::from_secs(1)).await;
    assert_eq!(stage.told(), ["job.0 running"]);
    assert_ne!(stage.tasks().last().unwrap().node_id, Some(node));
}

#[tokio::test(start_paused = true)]
async fn a_slot_that_a_lost_task_has_completed_is_not_done_again() {
    let mut stage = Stage::open("node a; node b; service job job=1 restart=on-failure delay=10s").await;
    let lost = stage.tasks()[0].clone();
    let node = lost.node_id.clone().unwrap();
    stage.edit_node(node.as_str(), |node| set_state(node, wire::node_status::State::Down)).await;
    assert_eq!(stage.told(), ["job.0 ready wants ready"]);
    edit_task(&stage.store, lost.id.as_str(), |task| task.status.state = TaskState::Complete);
    stage.pass(Duration::from_secs(60)).await;
    assert_eq!(states(&stage), ["job.0 complete wants shutdown", "job.0 shutdown wants shutdown"]);
}

#[tokio::test(start_paused = true)]
async fn failures_are_reaped_and_completions_are_kept() {
    let mut stage = Stage::open("node a; service job job=2 concurrent=2 restart=any delay=1s").await;
    let second = stage.tasks()[1].clone();
    edit_task(&stage.store, second.id.as_str(), |task| task.status.state = TaskState::Complete);
    stage.cast(|_| Some(TaskState::Failed));
    let first = stage.tasks()[0].clone();
    edit_task(&stage.store, first.id.as_str(), |task| task.status.state = TaskState::Failed);
    stage.pass(Duration::from_secs(60)).await;
    assert!(stage.tasks().iter().any(|task| task.id == second.id), "what is completed counts");
    let tries = stage.tasks().iter().filter(|task| task.slot == 0).count();
    assert!((5..=7).contains(&tries), "{tries} tries are kept");
}
