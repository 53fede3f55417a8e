//! One task on a stage where every operation does as the test says.

use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use swarmkit_api::wire;
use swarmkit_executor::{Assignment, Controller, Executor};
use swarmkit_runtime::{Crew, Spawner};
use tokio::time::{Instant, sleep};

use super::*;
use crate::database::Database;

/// What an operation does: how long it takes, and how it ends.
type Play = Arc<dyn Fn(&str, usize) -> (Duration, Result<(), ExecError>) + Send + Sync>;

/// An executor whose operations do as a test says, and that notes what was called.
#[derive(Clone)]
struct Stage {
    play: Play,
    calls: Arc<Mutex<Vec<String>>>,
    busy: Arc<AtomicUsize>,
}

struct Actor(Stage);

impl Stage {
    fn new(play: impl Fn(&str, usize) -> (Duration, Result<(), ExecError>) + Send + Sync + 'static) -> Self {
        Self { play: Arc::new(play), calls: Arc::default(), busy: Arc::default() }
    }

    /// A stage on which everything goes well, and `wait` does not end.
    fn smooth() -> Self {
        Self::new(|call, _| (if call == "wait" { FOREVER } else { Duration::ZERO }, Ok(())))
    }

    fn calls(&self) -> Vec<String> {
        self.calls.lock().clone()
    }

    async fn perform(&self, call: &str) -> Result<(), ExecError> {
        let nth = {
            let mut calls = self.calls.lock();
            calls.push(call.to_owned());
            calls.iter().filter(|earlier| *earlier == call).count()
        };
        struct Busy<'a>(&'a AtomicUsize);
        impl Drop for Busy<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::SeqCst);
            }
        }
        assert_eq!(self.busy.fetch_add(1, Ordering::SeqCst), 0, "{call} while another operation is under way");
        let _busy = Busy(&self.busy);
        let (takes, end) = (self.play)(call, nth);
        sleep(takes).await;
        end
    }
}

impl Executor for Stage {
    type Controller = Actor;

    async fn describe(&self) -> Result<wire::NodeDescription, ExecError> {
        Ok(wire::NodeDescription::default())
    }

    async fn controller(&self, _: Assignment) -> Result<Actor, ExecError> {
        self.perform("controller").await?;
        Ok(Actor(self.clone()))
    }
}

impl Controller for Actor {
    async fn update(&self, _: Arc<Task>) -> Result<(), ExecError> {
        self.0.perform("update").await
    }

    async fn prepare(&self) -> Result<(), ExecError> {
        self.0.perform("prepare").await
    }

    async fn start(&self) -> Result<(), ExecError> {
        self.0.perform("start").await
    }

    async fn wait(&self) -> Result<(), ExecError> {
        self.0.perform("wait").await
    }

    async fn shutdown(&self) -> Result<(), ExecError> {
        self.0.perform("shutdown").await
    }

    async fn terminate(&self) -> Result<(), ExecError> {
        self.0.perform("terminate").await
    }

    async fn remove(&self) -> Result<(), ExecError> {
        self.0.perform("remove").await
    }

    async fn close(&self) -> Result<(), ExecError> {
        self.0.calls.lock().push("close".into());
        Ok(())
    }
}

const FOREVER: Duration = Duration::from_secs(1_000_000);

/// A task that runs on a stage.
struct Running {
    stage: Stage,
    reports: Reports,
    wanted: watch::Sender<Wanted>,
    stop: CancellationToken,
    crew: Crew,
    ended: tokio::task::JoinHandle<Option<Option<TaskId>>>,
}

fn task(desired: TaskState) -> Task {
    swarmkit_testing::task("w.1").on("a").state(TaskState::Assigned).desired(desired).build()
}

fn run(stage: &Stage, task: Task) -> Running {
    let env = swarmkit_testing::env();
    let tools = Tools {
        env,
        executor: Arc::new(stage.clone()),
        payloads: Payloads::default(),
        records: Records::new(Database::in_memory().expect("memory")),
        reports: Reports::default(),
        roster: Roster::default(),
    };
    let task = Arc::new(task);
    let cell = ControllerCell::new(Arc::clone(&tools.executor), Payloads::default(), Arc::clone(&task));
    let reports = tools.reports.clone();
    let (wanted, receiver) = watch::channel(Wanted::Task(Arc::clone(&task)));
    let runner = Runner::new(tools, cell, task, receiver);
    let stop = CancellationToken::new();
    let crew = Crew::under(&stop);
    let spawner: Spawner = crew.spawner();
    let (mut runner, stopped) = (runner, stop.clone());
    let ended = spawner.spawn("runner", async move { runner.run(stopped).await });
    Running { stage: stage.clone(), reports, wanted, stop, crew, ended }
}

impl Running {
    fn want(&self, task: Task) {
        self.wanted.send_replace(Wanted::Task(Arc::new(task)));
    }

    fn part(&self, within: Option<Duration>) {
        self.wanted.send_replace(Wanted::Gone { within });
    }

    /// Waits until the task is reported in a state, and gives that report.
    async fn until(&self, state: TaskState) -> TaskStatus {
        let reached = async {
            loop {
                let batch = self.reports.take(10).await;
                let reached = batch.statuses().iter().find(|(_, status)| status.state == state).cloned();
                batch.told();
                if let Some((_, status)) = reached {
                    return status;
                }
            }
        };
        tokio::time::timeout(FOREVER, reached).await.expect("the state is reached")
    }

    async fn ended(self) -> Option<TaskId> {
        let ended = self.ended.await.expect("no panic").flatten();
        self.crew.join().await;
        ended
    }
}

#[tokio::test(start_paused = true)]
async fn every_operation_is_called_once_on_the_way_to_running() {
    let running = run(&Stage::smooth(), task(TaskState::Running));
    let status = running.until(TaskState::Running).await;
    assert_eq!(status.message, "started");
    sleep(Duration::from_secs(1)).await;
    assert_eq!(running.stage.calls(), ["controller", "prepare", "start", "wait"]);
}

#[tokio::test(start_paused = true)]
async fn a_wish_that_stops_a_running_task_is_served_at_once() {
    let running = run(&Stage::smooth(), task(TaskState::Running));
    running.until(TaskState::Running).await;
    sleep(Duration::from_secs(1)).await;
    let begin = Instant::now();
    running.want(task(TaskState::Shutdown));
    running.until(TaskState::Shutdown).await;
    assert_eq!(begin.elapsed(), Duration::ZERO);
    assert_eq!(running.stage.calls()[4..], ["update", "shutdown"]);
}

#[tokio::test(start_paused = true)]
async fn changes_of_a_task_reach_its_controller_one_at_a_time_and_never_beside_an_operation() {
    let stage = Stage::new(|call, _| match call {
        "wait" => (FOREVER, Ok(())),
        _ => (Duration::from_millis(7), Ok(())),
    });
    let running = run(&stage, task(TaskState::Running));
    running.until(TaskState::Running).await;
    for n in 0..50_u64 {
        running.want(Task {
            annotations: wire::Annotations { name: n.to_string(), ..Default::default() },
            ..task(TaskState::Running)
        });
        sleep(Duration::from_millis(n % 10)).await;
    }
    sleep(Duration::from_secs(1)).await;
    let calls = running.stage.calls();
    assert_eq!(calls.last().expect("calls"), "wait");
    assert_eq!(calls[calls.len() - 2], "update");
    assert!(calls.iter().filter(|call| *call == "prepare").count() == 1);
}

#[tokio::test(start_paused = true)]
async fn what_fails_for_now_is_tried_again_and_shown_meanwhile() {
    let stage = Stage::new(|call, nth| match (call, nth) {
        ("prepare", 1..=3) => (Duration::ZERO, Err(ExecError::temporary("no space left"))),
        ("wait", _) => (FOREVER, Ok(())),
        _ => (Duration::ZERO, Ok(())),
    });
    let begin = Instant::now();
    let running = run(&stage, task(TaskState::Running));
    sleep(Duration::from_millis(1)).await;
    let status = running.until(TaskState::Preparing).await;
    assert_eq!(status.err, "no space left");
    let status = running.until(TaskState::Running).await;
    assert_eq!(status.err, "");
    let waited = begin.elapsed();
    // Three pauses of at most 250, 500 and 1000 ms, each drawn from its upper half.
    assert!((Duration::from_millis(875)..=Duration::from_millis(1751)).contains(&waited), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_pause_before_the_next_attempt_is_cut_short_by_another_wish() {
    let stage = Stage::new(|call, _| match call {
        "prepare" => (Duration::ZERO, Err(ExecError::temporary("no space left"))),
        _ => (Duration::ZERO, Ok(())),
    });
    let running = run(&stage, task(TaskState::Running));
    sleep(Duration::from_secs(300)).await;
    let begin = Instant::now();
    running.want(task(TaskState::Shutdown));
    running.until(TaskState::Shutdown).await;
    assert_eq!(begin.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn without_a_controller_the_task_is_rejected_or_waits_for_one() {
    let stage = Stage::new(|_, _| (Duration::ZERO, Err(ExecError::rejected("unsupported runtime"))));
    let running = run(&stage, task(TaskState::Running));
    let status = running.until(TaskState::Rejected).await;
    assert_eq!((status.message.as_str(), status.err.as_str()), ("resolving controller failed", "unsupported runtime"));

    let stage = Stage::new(|call, nth| match (call, nth) {
        ("controller", 1) => (Duration::ZERO, Err(ExecError::temporary("the engine is starting"))),
        ("wait", _) => (FOREVER, Ok(())),
        _ => (Duration::ZERO, Ok(())),
    });
    run(&stage, task(TaskState::Running)).until(TaskState::Running).await;
}

#[tokio::test(start_paused = true)]
async fn a_task_that_goes_is_stopped_then_removed_however_often_that_takes() {
    let stage = Stage::new(|call, nth| match (call, nth) {
        ("wait", _) => (FOREVER, Ok(())),
        ("remove", 1..=4) => (Duration::ZERO, Err(ExecError::failed("has active endpoints"))),
        _ => (Duration::ZERO, Ok(())),
    });
    let running = run(&stage, task(TaskState::Running));
    running.until(TaskState::Running).await;
    sleep(Duration::from_secs(1)).await;
    running.part(None);
    let stage = running.stage.clone();
    assert_eq!(running.ended().await, Some("w.1".into()));
    let calls = stage.calls();
    assert_eq!(calls[4..6], ["shutdown", "remove"]);
    assert_eq!(calls.iter().filter(|call| *call == "remove").count(), 5);
    assert_eq!(calls.last().expect("calls"), "close");
}

#[tokio::test(start_paused = true)]
async fn a_task_that_never_started_is_removed_without_being_stopped() {
    let running = run(&Stage::smooth(), task(TaskState::Ready));
    running.until(TaskState::Ready).await;
    running.part(None);
    let stage = running.stage.clone();
    assert_eq!(running.ended().await, Some("w.1".into()));
    assert_eq!(stage.calls(), ["controller", "prepare", "remove", "close"]);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_takes_too_long_to_go_is_ended_by_force() {
    let slow =
        |call: &str, _: usize| (if matches!(call, "wait" | "shutdown") { FOREVER } else { Duration::ZERO }, Ok(()));
    let running = run(&Stage::new(slow), task(TaskState::Running));
    running.until(TaskState::Running).await;
    let begin = Instant::now();
    running.part(Some(Duration::from_secs(4)));
    let stage = running.stage.clone();
    running.ended().await;
    assert_eq!(begin.elapsed(), Duration::from_secs(4));
    assert!(stage.calls().contains(&"terminate".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_task_that_is_going_can_be_hurried() {
    let slow =
        |call: &str, _: usize| (if matches!(call, "wait" | "shutdown") { FOREVER } else { Duration::ZERO }, Ok(()));
    let running = run(&Stage::new(slow), task(TaskState::Running));
    running.until(TaskState::Running).await;
    running.part(None);
    sleep(Duration::from_secs(100)).await;
    let begin = Instant::now();
    running.part(Some(Duration::from_secs(2)));
    running.ended().await;
    assert_eq!(begin.elapsed(), Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_ends_lets_go_of_a_task_and_does_nothing_to_it() {
    let running = run(&Stage::smooth(), task(TaskState::Running));
    running.until(TaskState::Running).await;
    sleep(Duration::from_secs(1)).await;
    running.stop.cancel();
    let stage = running.stage.clone();
    assert_eq!(running.ended().await, None);
    assert_eq!(stage.calls()[3..], ["wait", "close"]);
}

#[tokio::test(start_paused = true)]
async fn a_controller_that_refuses_a_change_goes_on_with_what_it_has() {
    let stage = Stage::new(|call, _| match call {
        "wait" => (FOREVER, Ok(())),
        "update" => (Duration::ZERO, Err(ExecError::failed("update rejected"))),
        _ => (Duration::ZERO, Ok(())),
    });
    let running = run(&stage, task(TaskState::Running));
    running.until(TaskState::Running).await;
    running.want(task(TaskState::Shutdown));
    running.until(TaskState::Shutdown).await;
}
