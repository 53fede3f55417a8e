//! Jobs with a schedule: when runs begin, what becomes of those before, and that no leader forgets or repeats one.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::SystemTime,
};

use proptest::prelude::*;
use swarmkit_runtime::{Clock, Env};
use tokio::time::Instant;
use wire::swarmkit::orchestration::v1::{
    JobLimits, Schedule,
    job_run::Outcome,
    schedule::{Concurrency, Missed},
};

use super::{stage::Stage, *};

const MINUTE: Duration = Duration::from_secs(60);

/// A clock that tests can set. It starts at noon.
struct Adjustable(Instant, Arc<AtomicI64>);

impl Clock for Adjustable {
    fn now(&self) -> SystemTime {
        let noon = SystemTime::UNIX_EPOCH + Duration::from_secs(testing::EPOCH_SECONDS);
        let shown = noon + self.0.elapsed();
        match self.1.load(Ordering::SeqCst) {
            ahead @ 0.. => shown + Duration::from_secs(ahead.unsigned_abs()),
            behind => shown - Duration::from_secs(behind.unsigned_abs()),
        }
    }
}

fn schedule(cron: &str) -> Schedule {
    Schedule { cron: cron.to_owned(), ..Schedule::default() }
}

/// A store with a service `job`, which has been given a schedule just now.
fn store_with(env: &Env, text: &str, schedule: Schedule) -> Store {
    let store = Store::local(env.clone());
    testing::amend(&store, text);
    edit_job(&store, |service| {
        service.decided_until = Some(env.now().into());
        Arc::make_mut(&mut service.spec).schedule = Some(schedule);
    });
    store
}

fn edit_job(store: &Store, change: impl FnOnce(&mut Service)) {
    write(store, |tx| tx.edit(&ServiceId::from("job"), change).map(drop));
}

async fn open(text: &str, schedule: Schedule) -> Stage {
    let env = env();
    let store = store_with(&env, text, schedule);
    Stage::on(env, store).await
}

/// The runs on record: number, for when in minutes after noon, outcome.
fn runs(store: &Store) -> Vec<String> {
    let view = store.view();
    let service = view.get::<Service>(&"job".into()).expect("the job is there");
    service.runs.iter().map(tell).collect()
}

fn tell(run: &JobRun) -> String {
    let minutes = run.scheduled_for.map(|at| (at.seconds - testing::EPOCH_SECONDS as i64) / 60);
    let minutes = minutes.map_or("asked".to_owned(), |minutes| format!("at {minutes}"));
    format!("{} {minutes} {}", run.iteration, run.outcome().as_str_name().to_lowercase())
}

fn message(store: &Store) -> String {
    let view = store.view();
    view.get::<Service>(&"job".into()).and_then(|service| service.runs.last().cloned()).unwrap_or_default().message
}

async fn end_all(stage: &mut Stage, state: TaskState) {
    for task in stage.tasks().into_iter().filter(|task| task.status.state == TaskState::Running) {
        edit_task(&stage.store, task.id.as_str(), |task| task.status.state = state);
    }
    stage.settle().await;
}

#[tokio::test(start_paused = true)]
async fn a_scheduled_job_runs_when_it_is_time_and_not_before() {
    let mut stage = open("node a; service job job=2 concurrent=1", schedule("*/10 * * * *")).await;
    stage.pass(MINUTE * 9).await;
    assert_eq!((stage.history(), runs(&stage.store)), (vec![], vec![]));
    stage.pass(MINUTE).await;
    assert_eq!(stage.told(), ["job.0 running"]);
    assert_eq!(runs(&stage.store), ["1 at 10 running"]);
    end_all(&mut stage, TaskState::Complete).await;
    assert_eq!(stage.told(), ["job.0 complete", "job.1 running"]);
    end_all(&mut stage, TaskState::Complete).await;
    assert_eq!(runs(&stage.store), ["1 at 10 succeeded"]);
    let status = stage.store.view().get::<Service>(&"job".into()).unwrap().job_status.unwrap();
    assert_eq!(status.job_iteration.unwrap().index, 1);
    stage.pass(MINUTE * 10).await;
    assert_eq!(runs(&stage.store), ["1 at 10 succeeded", "2 at 20 running"]);
}

#[tokio::test(start_paused = true)]
async fn a_change_of_a_scheduled_job_does_not_run_it() {
    let mut stage = open("node a; service job job=1", schedule("*/10 * * * *")).await;
    edit_job(&stage.store, |service| {
        service.spec_version = Some(Version(7));
        Arc::make_mut(&mut service.spec).task = Some(testing::container("other"));
    });
    stage.pass(MINUTE).await;
    assert_eq!(stage.history(), [""; 0]);
    stage.pass(MINUTE * 9).await;
    assert_eq!(stage.history(), ["job.0 other running"]);
}

#[tokio::test(start_paused = true)]
async fn where_it_is_allowed_several_runs_go_on_side_by_side() {
    let mut stage = open("node a; service job job=1 restart=on-failure delay=1s", schedule("*/10 * * * *")).await;
    stage.pass(MINUTE * 20).await;
    assert_eq!(stage.told(), ["job.0 running", "job.0 running"]);
    assert_eq!(runs(&stage.store), ["1 at 10 running", "2 at 20 running"]);
    let first = stage.tasks()[0].clone();
    edit_task(&stage.store, first.id.as_str(), |task| task.status.state = TaskState::Failed);
    stage.pass(MINUTE).await;
    assert_eq!(stage.told(), ["job.0 running", "job.0 running"], "what fails is done again in its own run");
    let again: Vec<_> = stage.tasks().iter().map(|task| task.job_iteration.unwrap().0).collect();
    assert_eq!(again, [1, 2, 1]);
    let second = stage.tasks()[1].clone();
    edit_task(&stage.store, second.id.as_str(), |task| task.status.state = TaskState::Complete);
    stage.settle().await;
    assert_eq!(runs(&stage.store), ["1 at 10 running", "2 at 20 succeeded"]);
}

#[tokio::test(start_paused = true)]
async fn where_it_is_forbidden_a_run_is_left_out_while_the_one_before_goes_on() {
    let forbid = Schedule { concurrency: Concurrency::Forbid.into(), ..schedule("*/10 * * * *") };
    let mut stage = open("node a; service job job=1", forbid).await;
    stage.pass(MINUTE * 25).await;
    assert_eq!(runs(&stage.store), ["1 at 10 running"]);
    assert_eq!(message(&stage.store), "left out meanwhile: 2026-08-01T12:20:00Z");
    end_all(&mut stage, TaskState::Complete).await;
    stage.pass(MINUTE).await;
    assert_eq!(runs(&stage.store), ["1 at 10 succeeded"], "what was left out is not made up for");
    stage.pass(MINUTE * 4).await;
    assert_eq!(runs(&stage.store), ["1 at 10 succeeded", "2 at 30 running"]);
}

#[tokio::test(start_paused = true)]
async fn where_it_replaces_the_run_before_is_stopped() {
    let replace = Schedule { concurrency: Concurrency::Replace.into(), ..schedule("*/10 * * * *") };
    let mut stage = open("node a; service job job=1", replace).await;
    stage.pass(MINUTE * 20).await;
    assert_eq!(runs(&stage.store), ["1 at 10 replaced", "2 at 20 running"]);
    assert_eq!(stage.history(), ["job.0 shutdown wants shutdown", "job.0 running"]);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_was_asked_for_goes_on_beside_the_schedule() {
    let mut stage = open("node a; service job job=1", schedule("*/10 * * * *")).await;
    edit_job(&stage.store, |service| {
        service.runs.push(JobRun { iteration: 1, started_at: Some(env().now().into()), ..JobRun::default() });
        service.job_status.get_or_insert_default().job_iteration = Some(wire::Version { index: 1 });
    });
    stage.settle().await;
    assert_eq!(stage.told(), ["job.0 running"]);
    end_all(&mut stage, TaskState::Complete).await;
    stage.pass(MINUTE * 10).await;
    assert_eq!(runs(&stage.store), ["1 asked succeeded", "2 at 10 running"]);
}

/// What is on record after nobody led for 35 minutes, in which it was time three times.
async fn after_an_absence(change: impl FnOnce(&mut Schedule)) -> Vec<String> {
    let mut schedule = schedule("*/10 * * * *");
    change(&mut schedule);
    let (env, store) = open("node a; service job job=1", schedule).await.close().await;
    tokio::time::sleep(MINUTE * 35).await;
    let stage = Stage::on(env, store).await;
    runs(&stage.store)
}

#[tokio::test(start_paused = true)]
async fn of_the_runs_that_were_missed_the_last_one_begins_late() {
    assert_eq!(after_an_absence(|_| ()).await, ["1 at 30 running"]);
}

#[tokio::test(start_paused = true)]
async fn runs_that_were_missed_are_left_out_where_the_schedule_says_so() {
    assert_eq!(after_an_absence(|schedule| schedule.set_missed(Missed::Skip)).await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_would_begin_too_late_is_left_out() {
    let deadline = |seconds| {
        move |schedule: &mut Schedule| {
            schedule.starting_deadline = Some(prost_types::Duration { seconds, nanos: 0 });
        }
    };
    assert_eq!(after_an_absence(deadline(299)).await, [""; 0]);
    assert_eq!(after_an_absence(deadline(300)).await, ["1 at 30 running"]);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_comes_a_moment_after_the_time_is_not_late() {
    let skip = Schedule { missed: Missed::Skip.into(), ..schedule("*/10 * * * *") };
    let mut stage = open("node a; service job job=1", skip).await;
    stage.pass(MINUTE * 9).await;
    let (env, store) = stage.close().await;
    tokio::time::sleep(Duration::from_secs(75)).await;
    let stage = Stage::on(env, store).await;
    assert_eq!(runs(&stage.store), ["1 at 10 running"]);
}

#[tokio::test(start_paused = true)]
async fn no_run_begins_while_the_schedule_is_suspended() {
    for (missed, after) in [(Missed::RunOnce, vec!["1 at 20 running"]), (Missed::Skip, vec![])] {
        let suspended = Schedule { suspended: true, missed: missed.into(), ..schedule("*/10 * * * *") };
        let mut stage = open("node a; service job job=1", suspended).await;
        stage.pass(MINUTE * 20 + Duration::from_secs(5)).await;
        assert_eq!(runs(&stage.store), [""; 0]);
        edit_job(&stage.store, |service| {
            Arc::make_mut(&mut service.spec).schedule.as_mut().unwrap().suspended = false;
        });
        stage.settle().await;
        assert_eq!(runs(&stage.store), after, "{missed:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn so_many_runs_are_kept_as_the_schedule_says_and_their_tasks_with_them() {
    let keep = Schedule { succeeded_history: Some(2), failed_history: Some(1), ..schedule("*/10 * * * *") };
    let mut stage = open("node a; service job job=1 restart=none", keep).await;
    for state in [TaskState::Failed, TaskState::Complete, TaskState::Complete, TaskState::Complete, TaskState::Failed] {
        stage.pass(MINUTE * 10).await;
        end_all(&mut stage, state).await;
    }
    assert_eq!(runs(&stage.store), ["3 at 30 succeeded", "4 at 40 succeeded", "5 at 50 failed"]);
    let kept: Vec<_> = stage.tasks().iter().map(|task| task.job_iteration.unwrap().0).collect();
    assert_eq!(kept, [3, 4, 5]);
}

#[tokio::test(start_paused = true)]
async fn a_schedule_that_keeps_nothing_still_runs_each_time_once() {
    let keep = Schedule { succeeded_history: Some(0), failed_history: Some(0), ..schedule("*/10 * * * *") };
    let mut stage = open("node a; service job job=1", keep).await;
    stage.pass(MINUTE * 10).await;
    end_all(&mut stage, TaskState::Complete).await;
    assert_eq!((stage.history(), runs(&stage.store)), (vec![], vec![]));
    stage.pass(MINUTE * 9).await;
    let (env, store) = stage.close().await;
    let mut stage = Stage::on(env, store).await;
    assert_eq!((stage.history(), runs(&stage.store)), (vec![], vec![]));
    stage.pass(MINUTE).await;
    assert_eq!(runs(&stage.store), ["2 at 20 running"]);
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_back_repeats_no_run_and_one_that_is_set_forward_makes_up_for_one() {
    let set = Arc::new(AtomicI64::new(0));
    let env = Env::seeded(7, Adjustable(Instant::now(), set.clone()));
    let store = store_with(&env, "node a; service job job=1", schedule("*/10 * * * *"));
    let mut stage = Stage::on(env, store).await;
    stage.pass(MINUTE * 10).await;
    end_all(&mut stage, TaskState::Complete).await;
    set.store(-300, Ordering::SeqCst);
    stage.pass(MINUTE * 14).await;
    assert_eq!(runs(&stage.store), ["1 at 10 succeeded"], "it is 12:19, and was 12:10 twice");
    stage.pass(MINUTE).await;
    assert_eq!(runs(&stage.store), ["1 at 10 succeeded", "2 at 20 running"]);
    set.store(3600 * 3 - 300, Ordering::SeqCst);
    stage.pass(MINUTE * 2).await;
    assert_eq!(runs(&stage.store), ["1 at 10 succeeded", "2 at 20 running", "3 at 200 running"], "it is 15:22");
}

#[tokio::test(start_paused = true)]
async fn a_scheduled_global_job_runs_on_the_nodes_that_are_there() {
    let mut stage = open("node a; service job global-job", schedule("*/10 * * * *")).await;
    stage.amend("node b").await;
    stage.pass(MINUTE * 10).await;
    assert_eq!(stage.told(), ["job.0 running", "job.0 running"]);
    end_all(&mut stage, TaskState::Complete).await;
    assert_eq!(runs(&stage.store), ["1 at 10 succeeded"]);
    stage.amend("node c").await;
    assert_eq!(stage.told().len(), 2, "the run is over, and the next one is for the new node, too");
    stage.pass(MINUTE * 10).await;
    assert_eq!(stage.told().iter().filter(|told| told.ends_with("running")).count(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_run_of_which_all_attempts_are_used_up_has_failed() {
    let text = "node a; service job job=2 concurrent=2 restart=on-failure delay=1s attempts=1";
    let env = env();
    let store = store_with(&env, text, schedule("*/10 * * * *"));
    let mut stage = Stage::on(env, store).await;
    stage.cast(|task| (task.slot == 0).then_some(TaskState::Failed));
    stage.pass(MINUTE * 11).await;
    assert_eq!(runs(&stage.store), ["1 at 10 running"], "the other slot goes on");
    end_all(&mut stage, TaskState::Complete).await;
    assert_eq!(runs(&stage.store), ["1 at 10 failed"]);
    assert_eq!(message(&stage.store), "1 slot failed as often as the restart policy lets them");
}

/// A job without a schedule that has limits.
async fn limited(text: &str, limits: JobLimits) -> Stage {
    let env = env();
    let store = Store::local(env.clone());
    testing::amend(&store, text);
    edit_job(&store, |service| Arc::make_mut(&mut service.spec).job_limits = Some(limits));
    Stage::on(env, store).await
}

fn seconds(seconds: i64) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds, nanos: 0 })
}

#[tokio::test(start_paused = true)]
async fn a_run_that_takes_longer_than_its_deadline_is_stopped_and_has_failed() {
    let limits = JobLimits { deadline: seconds(60), ..JobLimits::default() };
    let mut stage = limited("node a; service job job=2 concurrent=1", limits).await;
    end_all(&mut stage, TaskState::Complete).await;
    stage.pass(Duration::from_secs(59)).await;
    assert_eq!(runs(&stage.store), ["0 asked running"]);
    let (env, store) = stage.close().await;
    let mut stage = Stage::on(env, store).await;
    assert_eq!(stage.told(), ["job.0 complete", "job.1 running"], "another leader goes on with the same run");
    stage.pass(Duration::from_secs(1)).await;
    assert_eq!(runs(&stage.store), ["0 asked failed"]);
    assert_eq!(message(&stage.store), "took longer than its deadline");
    assert_eq!(stage.history(), ["job.0 complete", "job.1 shutdown wants shutdown"]);
    stage.pass(MINUTE * 10).await;
    assert_eq!(stage.tasks().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_run_of_which_more_tasks_failed_than_may_is_stopped_and_has_failed() {
    let limits = JobLimits { max_failures: 8, ..JobLimits::default() };
    let env = env();
    let store = Store::local(env.clone());
    testing::amend(&store, "cluster; node a; service job job=3 concurrent=3 restart=any delay=1s");
    edit_job(&store, |service| Arc::make_mut(&mut service.spec).job_limits = Some(limits));
    let mut stage = Stage::on(env, store).await;
    stage.cast(|task| (task.slot == 1).then_some(TaskState::Failed));
    let failing = stage.tasks()[1].clone();
    edit_task(&stage.store, failing.id.as_str(), |task| task.status.state = TaskState::Failed);
    stage.pass(MINUTE).await;
    assert_eq!(runs(&stage.store), ["0 asked failed"]);
    assert_eq!(message(&stage.store), "9 tasks failed, and 8 may");
    let running = stage.tasks().iter().filter(|task| task.status.state == TaskState::Running).count();
    assert_eq!(running, 0, "the other slots are stopped, too");
    let kept = stage.tasks().iter().filter(|task| task.slot == 1).count();
    assert_eq!(kept, 5, "what was kept to be counted goes when it is no more");
}

#[tokio::test(start_paused = true)]
async fn the_tasks_of_a_run_go_when_their_time_after_its_end_has_passed() {
    let limits = JobLimits { time_to_live: seconds(60), ..JobLimits::default() };
    let mut stage = limited("node a; service job job=2 concurrent=2", limits).await;
    end_all(&mut stage, TaskState::Complete).await;
    stage.pass(Duration::from_secs(59)).await;
    assert_eq!(stage.history(), ["job.0 complete", "job.1 complete"]);
    stage.pass(Duration::from_secs(1)).await;
    assert_eq!(stage.history(), [""; 0]);
    assert_eq!(runs(&stage.store), ["0 asked succeeded"]);
    let (env, store) = stage.close().await;
    let mut stage = Stage::on(env, store).await;
    stage.pass(MINUTE).await;
    assert_eq!(stage.history(), [""; 0], "what is done is not done again because nothing is left of it");
}

#[tokio::test(start_paused = true)]
async fn a_job_with_limits_runs_again_when_it_is_changed() {
    let limits = JobLimits { time_to_live: seconds(60), ..JobLimits::default() };
    let mut stage = limited("node a; service job job=1", limits).await;
    stage.update("job", |_| ()).await;
    assert_eq!(runs(&stage.store), ["1 asked running"]);
    assert_eq!(stage.history(), ["job.0 running"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    /// Leaders come and go at any moment, and in between nobody leads.
    #[test]
    fn whatever_leaders_come_and_go_no_time_is_run_twice_and_the_last_one_is_never_forgotten(
        turns in prop::collection::vec((0..900_u64, 0..900_u64), 1..6),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let keep = Schedule { succeeded_history: Some(1000), ..schedule("*/5 * * * *") };
            let env = env();
            let mut store = store_with(&env, "node a; service job job=1", keep);
            let noon = env.now();
            for (with, without) in turns {
                let mut stage = Stage::on(env.clone(), store).await;
                let mut left = with;
                while left > 0 {
                    let step = left.min(120);
                    stage.pass(Duration::from_secs(step)).await;
                    end_all(&mut stage, TaskState::Complete).await;
                    left -= step;
                }
                let passed = env.now().duration_since(noon).unwrap().as_secs();
                store = stage.close().await.1;
                let view = store.view();
                let service = view.get::<Service>(&"job".into()).unwrap();
                let times: Vec<_> = service.runs.iter().map(|run| run.scheduled_for.unwrap().seconds).collect();
                assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "twice, or in disorder: {times:?}");
                let last = passed / 300 * 300;
                let expected = (last > 0).then_some((testing::EPOCH_SECONDS + last) as i64);
                assert_eq!(times.last().copied(), expected, "forgotten after {passed} seconds");
                assert!(service.runs.iter().all(|run| run.outcome() == Outcome::Succeeded || with == 0));
                tokio::time::sleep(Duration::from_secs(without)).await;
            }
        });
    }
}
