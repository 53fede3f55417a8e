//! Jobs: what begins a run.

use swarmkit_api::wire::{
    self,
    swarmkit::orchestration::v1::{Schedule, job_run::Outcome, schedule::Concurrency},
};
use swarmkit_testing::service;
use tonic::Code;

use crate::{
    services::spec,
    world::{World, spec_of},
};

fn nightly() -> wire::ServiceSpec {
    let schedule = Schedule { cron: "0 3 * * *".to_owned(), ..Schedule::default() };
    spec_of(service("nightly").job(1, 1).spec(|spec| spec.schedule = Some(schedule)))
}

fn force(service: &mut wire::Service) {
    spec(service).task.as_mut().unwrap().force_update += 1;
}

#[tokio::test]
async fn a_job_with_a_schedule_does_not_run_because_it_was_created_or_changed() {
    let world = World::new();
    let made = world.create(nightly()).await;
    let status = made.job_status.unwrap();
    assert_eq!((status.job_iteration.unwrap().index, status.last_execution), (0, None));
    assert!(made.decided_until.is_some() && made.runs.is_empty());
    let mut changed = made.clone();
    spec(&mut changed).task = Some(swarmkit_testing::container("other"));
    let changed = world.update(&changed).await;
    assert_eq!((changed.job_status, changed.decided_until), (made.job_status, made.decided_until));
    assert!(changed.runs.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_schedule_that_is_changed_counts_from_then_on() {
    let world = World::new();
    let made = world.create(nightly()).await;
    tokio::time::sleep(std::time::Duration::from_secs(60)).await;
    let mut suspended = made.clone();
    spec(&mut suspended).schedule.as_mut().unwrap().suspended = true;
    let suspended = world.update(&suspended).await;
    assert_eq!(suspended.decided_until, made.decided_until, "the times are the same");
    let mut moved = suspended.clone();
    spec(&mut moved).schedule.as_mut().unwrap().cron = "0 5 * * *".to_owned();
    let moved = world.update(&moved).await;
    assert_eq!(moved.decided_until.unwrap().seconds, made.decided_until.unwrap().seconds + 60);
    assert!(moved.runs.is_empty());
}

#[tokio::test]
async fn a_forced_update_of_a_scheduled_job_asks_for_a_run_and_a_rollback_does_not() {
    let world = World::new();
    let mut made = world.create(nightly()).await;
    force(&mut made);
    let asked = world.update(&made).await;
    assert_eq!(asked.job_status.unwrap().job_iteration.unwrap().index, 1);
    let [run] = asked.runs.as_slice() else { panic!("one run: {:?}", asked.runs) };
    assert_eq!((run.iteration, run.scheduled_for, run.outcome()), (1, None, Outcome::Running));
    assert!(run.started_at.is_some());
    let back = world.control().update_service(World::back(&asked)).await.unwrap().into_inner().service.unwrap();
    assert_eq!((back.runs, back.job_status), (asked.runs, asked.job_status));
}

#[tokio::test]
async fn a_run_is_refused_while_another_goes_on_where_the_schedule_forbids_it() {
    let world = World::new();
    let mut forbidding = nightly();
    forbidding.schedule.as_mut().unwrap().set_concurrency(Concurrency::Forbid);
    let mut made = world.create(forbidding).await;
    force(&mut made);
    let mut made = world.update(&made).await;
    force(&mut made);
    let text = "a run of service nightly goes on, and its schedule allows one at a time";
    assert_eq!(world.update_refused(&made).await, (Code::FailedPrecondition, text.to_owned()));
}

#[tokio::test]
async fn a_job_that_loses_its_schedule_runs_at_once() {
    let world = World::new();
    let mut made = world.create(nightly()).await;
    force(&mut made);
    let mut made = world.update(&made).await;
    spec(&mut made).schedule = None;
    let plain = world.update(&made).await;
    assert_eq!(plain.job_status.unwrap().job_iteration.unwrap().index, 2);
    assert!(plain.runs.is_empty() && plain.decided_until.is_none());
}

#[tokio::test]
async fn a_schedule_that_cannot_be_read_changes_nothing() {
    let world = World::new();
    let mut made = world.create(nightly()).await;
    spec(&mut made).schedule.as_mut().unwrap().time_zone = "Mars/Olympus".to_owned();
    let (code, text) = world.update_refused(&made).await;
    assert_eq!(code, Code::InvalidArgument);
    assert!(text.starts_with("schedule: \"Mars/Olympus\" is no time zone"), "{text}");
}
