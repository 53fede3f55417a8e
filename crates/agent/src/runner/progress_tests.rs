//! A task that takes long to prepare, and says how far it is.

use swarmkit_api::wire;
use swarmkit_executor::{Assignment, Controller, Executor};
use swarmkit_runtime::Crew;
use tokio::time::{Instant, sleep};

use super::*;
use crate::database::Database;

/// An executor whose tasks take ten seconds to prepare, count the milliseconds of it, and fail at first.
#[derive(Clone, Default)]
struct Slow {
    fails: bool,
}

impl Executor for Slow {
    type Controller = Self;

    async fn describe(&self) -> Result<wire::NodeDescription, ExecError> {
        Ok(wire::NodeDescription::default())
    }

    async fn controller(&self, _: Assignment) -> Result<Self, ExecError> {
        Ok(self.clone())
    }
}

impl Controller for Slow {
    async fn prepare(&self) -> Result<(), ExecError> {
        sleep(Duration::from_secs(10)).await;
        if self.fails { Err(ExecError::rejected("no such image")) } else { Ok(()) }
    }

    async fn start(&self) -> Result<(), ExecError> {
        Ok(())
    }

    async fn wait(&self) -> Result<(), ExecError> {
        std::future::pending().await
    }

    async fn terminate(&self) -> Result<(), ExecError> {
        Ok(())
    }

    async fn remove(&self) -> Result<(), ExecError> {
        Ok(())
    }

    async fn close(&self) -> Result<(), ExecError> {
        Ok(())
    }

    async fn progress(&self) -> String {
        sleep(Duration::from_millis(1)).await;
        "x".repeat(1000)
    }
}

/// What is reported of a task until it is in a state, each with the time since the beginning.
async fn reported(executor: Slow, until: TaskState) -> Vec<(Duration, TaskStatus)> {
    let reports = Reports::default();
    let tools = Tools {
        env: swarmkit_testing::env(),
        executor: Arc::new(executor),
        payloads: Payloads::default(),
        records: Records::new(Database::in_memory().expect("memory")),
        reports: reports.clone(),
        roster: Roster::default(),
    };
    let task = swarmkit_testing::task("w.1").on("a").state(TaskState::Assigned).desired(TaskState::Running).build();
    let task = Arc::new(task);
    let cell = ControllerCell::new(Arc::clone(&tools.executor), Payloads::default(), Arc::clone(&task));
    let (_wanted, receiver) = watch::channel(Wanted::Task(Arc::clone(&task)));
    let mut runner = Runner::new(tools, cell, task, receiver);
    let stop = CancellationToken::new();
    let crew = Crew::under(&stop);
    let stopped = stop.clone();
    drop(crew.spawner().spawn("runner", async move { runner.run(stopped).await }));
    let begin = Instant::now();
    let mut told = Vec::new();
    while told.last().is_none_or(|(_, status): &(_, TaskStatus)| status.state != until) {
        let taken = tokio::time::timeout(Duration::from_secs(3600), reports.take(10)).await;
        let batch = taken.expect("there is more to come");
        told.extend(batch.statuses().iter().map(|(_, status)| (begin.elapsed(), status.clone())));
        batch.told();
    }
    stop.cancel();
    crew.join().await;
    told
}

#[tokio::test(start_paused = true)]
async fn what_a_preparation_is_doing_is_told_now_and_then_until_it_is_done() {
    let told = reported(Slow::default(), TaskState::Running).await;
    let doing: Vec<_> = told.iter().filter(|(_, status)| status.message.starts_with("preparing: x")).collect();
    assert!(doing.len() == 4 && doing.iter().all(|(_, status)| status.state == TaskState::Preparing), "{told:?}");
    assert!(doing.windows(2).all(|pair| pair[1].0 - pair[0].0 >= Duration::from_secs(2)), "{told:?}");
    assert!(doing.iter().all(|(_, status)| status.message.len() == "preparing: ".len() + 200), "it is cut off");
    let (_, last) = told.last().expect("it runs");
    assert_eq!(last.message, "started");
}

#[tokio::test(start_paused = true)]
async fn a_preparation_that_fails_leaves_nothing_of_what_it_said() {
    let told = reported(Slow { fails: true }, TaskState::Rejected).await;
    let (_, last) = told.last().expect("it was rejected");
    assert_eq!((last.message.as_str(), last.err.as_str()), ("preparing", "no such image"));
}
