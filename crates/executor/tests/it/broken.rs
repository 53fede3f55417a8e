//! Executors that are broken on purpose: the suite has to say what is wrong with each.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use futures_util::{FutureExt as _, StreamExt as _, stream};
use swarmkit_api::{Node, Task, TaskId, wire};
use swarmkit_executor::{
    Assignment, Controller, ExecError, Executor, InertController, InertExecutor, LogOptions, LogSource, LogStream,
    Machine, RuntimeStatus, Usage, conformance::Suite,
};
use swarmkit_runtime::Env;

use super::{behaviour, spec};

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Nothing,
    StartsAgain,
    LosesTheCode,
    KeepsWhatIsRemoved,
    SticksWhenDropped,
    StopsWhenAWaitIsDropped,
    StopsWhatItLetsGo,
    AnswersAfterClose,
    ForgetsAtRestart,
    NeverKills,
    ChoosesItsOwnSignal,
    DoesNotCheckHealth,
    RefusesUpdatesAfterTheEnd,
    KeepsTheProcessId,
    MixesStreams,
    ReadsFromTheBeginning,
    NeverEndsALog,
    CountsBackwards,
}

struct Broken {
    inner: InertExecutor,
    fault: Fault,
}

struct BrokenController {
    inner: InertController,
    fault: Fault,
    stuck: AtomicBool,
    samples: AtomicU32,
}

/// Does something when it is dropped before it was told not to.
struct Unless<F: FnMut()>(F, bool);

impl<F: FnMut()> Drop for Unless<F> {
    fn drop(&mut self) {
        if !self.1 {
            (self.0)();
        }
    }
}

impl Executor for Broken {
    type Controller = BrokenController;

    async fn describe(&self) -> Result<wire::NodeDescription, ExecError> {
        Executor::describe(&self.inner).await
    }

    async fn configure(&self, node: &Node) -> Result<(), ExecError> {
        Executor::configure(&self.inner, node).await
    }

    async fn controller(&self, assignment: Assignment) -> Result<BrokenController, ExecError> {
        let inner = Executor::controller(&self.inner, assignment).await?;
        Ok(BrokenController { inner, fault: self.fault, stuck: AtomicBool::new(false), samples: AtomicU32::new(0) })
    }

    async fn reconcile(&self, known: &[TaskId]) -> Result<(), ExecError> {
        Executor::reconcile(&self.inner, known).await
    }
}

impl BrokenController {
    fn is(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    async fn has_ended(&self) -> bool {
        Controller::wait(&self.inner).now_or_never().is_some()
    }
}

impl Controller for BrokenController {
    async fn update(&self, task: Arc<Task>) -> Result<(), ExecError> {
        let gone = Controller::status(&self.inner).await?.container.is_none_or(|container| container.exit_code != 0);
        if self.is(Fault::RefusesUpdatesAfterTheEnd) && self.has_ended().await && gone {
            return Err(ExecError::failed("there is nothing to update"));
        }
        Controller::update(&self.inner, task).await
    }

    async fn prepare(&self) -> Result<(), ExecError> {
        if self.stuck.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        let mut guard = Unless(|| self.stuck.store(self.is(Fault::SticksWhenDropped), Ordering::Relaxed), false);
        let done = Controller::prepare(&self.inner).await;
        guard.1 = true;
        done
    }

    async fn start(&self) -> Result<(), ExecError> {
        let before = Controller::status(&self.inner).await?.container;
        if self.is(Fault::StartsAgain) && before.is_some() && self.has_ended().await {
            Controller::remove(&self.inner).await?;
            Controller::prepare(&self.inner).await?;
        }
        match Controller::start(&self.inner).await {
            Err(ExecError::Failed(_)) if self.is(Fault::DoesNotCheckHealth) => Ok(()),
            done => done,
        }
    }

    async fn wait(&self) -> Result<(), ExecError> {
        let stop = || {
            if self.is(Fault::StopsWhenAWaitIsDropped) {
                drop(Controller::terminate(&self.inner).now_or_never());
            }
        };
        let mut guard = Unless(stop, false);
        let done = Controller::wait(&self.inner).await;
        guard.1 = true;
        match done {
            Err(ExecError::Exited { .. }) if self.is(Fault::LosesTheCode) => Err(ExecError::failed("it ended")),
            done => done,
        }
    }

    async fn shutdown(&self) -> Result<(), ExecError> {
        match self.fault {
            Fault::NeverKills => drop(tokio::time::timeout(Duration::ZERO, Controller::shutdown(&self.inner)).await),
            Fault::ChoosesItsOwnSignal => Controller::terminate(&self.inner).await?,
            _ => Controller::shutdown(&self.inner).await?,
        }
        Ok(())
    }

    async fn terminate(&self) -> Result<(), ExecError> {
        Controller::terminate(&self.inner).await
    }

    async fn remove(&self) -> Result<(), ExecError> {
        if self.is(Fault::KeepsWhatIsRemoved) {
            return Controller::terminate(&self.inner).await;
        }
        Controller::remove(&self.inner).await
    }

    async fn close(&self) -> Result<(), ExecError> {
        match self.fault {
            Fault::AnswersAfterClose => return Ok(()),
            Fault::StopsWhatItLetsGo => Controller::terminate(&self.inner).await?,
            _ => {}
        }
        Controller::close(&self.inner).await
    }

    async fn status(&self) -> Result<RuntimeStatus, ExecError> {
        let mut status = Controller::status(&self.inner).await?;
        if let Some(container) = &mut status.container
            && self.is(Fault::KeepsTheProcessId)
        {
            container.pid = 4711;
        }
        Ok(status)
    }

    async fn logs(&self, options: LogOptions) -> Result<LogStream, ExecError> {
        let options = match self.fault {
            Fault::ReadsFromTheBeginning => LogOptions { since: None, ..options },
            _ => options,
        };
        let logs = Controller::logs(&self.inner, options).await?;
        Ok(match self.fault {
            Fault::MixesStreams => {
                let mix = |record: swarmkit_executor::LogRecord| swarmkit_executor::LogRecord {
                    source: LogSource::Stdout,
                    ..record
                };
                logs.map(move |record| record.map(mix)).boxed()
            }
            Fault::NeverEndsALog if options.follow => logs.chain(stream::pending()).boxed(),
            _ => logs,
        })
    }

    async fn usage(&self) -> Result<Usage, ExecError> {
        let usage = Controller::usage(&self.inner).await?;
        if !self.is(Fault::CountsBackwards) {
            return Ok(usage);
        }
        let sample = self.samples.fetch_add(1, Ordering::Relaxed);
        Ok(Usage { cpu: usage.cpu.map(|cpu| cpu / (sample + 1)), ..usage })
    }
}

/// The checks that an executor with that fault does not pass, and what the suite says of each.
async fn failed(fault: Fault) -> Vec<(&'static str, String)> {
    let machine = Machine::new(Env::real());
    let open = async || {
        let machine = if fault == Fault::ForgetsAtRestart { Machine::new(Env::real()) } else { machine.clone() };
        Broken { inner: InertExecutor::on(machine).behaving(behaviour), fault }
    };
    Suite::new(open, spec).report().await.failed
}

/// That a check fails with a sentence that holds these words.
async fn check(fault: Fault, name: &str, words: &str) {
    let failed = failed(fault).await;
    let said = failed.iter().find(|(failed, _)| *failed == name);
    assert!(said.is_some_and(|(_, sentence)| sentence.contains(words)), "{fault:?}: {failed:#?}");
}

#[tokio::test(start_paused = true)]
async fn an_executor_in_the_same_clothes_without_a_fault_passes() {
    assert_eq!(failed(Fault::Nothing).await, []);
}

#[tokio::test(start_paused = true)]
async fn faults_in_the_life_of_a_task_are_found() {
    let exit = "an_exit_code_is_reported_also_long_after_and_again";
    check(Fault::LosesTheCode, exit, "the exit code is that of the task").await;
    check(Fault::StartsAgain, "a_task_is_started_once_in_its_life", "is not started again did not return within 60s")
        .await;
    check(Fault::DoesNotCheckHealth, "a_task_is_up_when_it_is_well", "it never was well").await;
    let update = "an_unchanged_definition_is_accepted_in_every_state";
    check(Fault::RefusesUpdatesAfterTheEnd, update, "the same definition is accepted").await;
    let status = "a_status_tells_of_nothing_before_the_start_and_of_the_end_after_it";
    check(Fault::KeepsTheProcessId, status, "what has ended has no process").await;
}

#[tokio::test(start_paused = true)]
async fn faults_of_what_is_dropped_half_way_are_found() {
    let dropped = "every_step_may_be_dropped_half_way";
    check(Fault::SticksWhenDropped, dropped, "prepare did not return within 60s").await;
    check(Fault::StopsWhenAWaitIsDropped, dropped, "dropping a wait stops nothing").await;
}

#[tokio::test(start_paused = true)]
async fn faults_in_stopping_and_letting_go_are_found() {
    let grace = "what_does_not_heed_is_killed_after_its_grace";
    check(Fault::NeverKills, grace, "wait did not return within 60s").await;
    let signal = "the_stop_signal_is_the_one_that_was_chosen";
    check(Fault::ChoosesItsOwnSignal, signal, "the signal that it was to be stopped by").await;
    let close = "a_closed_controller_refuses_and_leaves_the_task_alone";
    check(Fault::AnswersAfterClose, close, "a second close says so").await;
    check(Fault::StopsWhatItLetsGo, close, "closing a controller stops nothing").await;
}

#[tokio::test(start_paused = true)]
async fn faults_across_a_restart_are_found() {
    check(Fault::KeepsWhatIsRemoved, "a_removal_outlives_the_program", "nothing of it is left").await;
    check(Fault::ForgetsAtRestart, "an_end_that_nobody_watched_is_reported", "start succeeds").await;
}

#[tokio::test(start_paused = true)]
async fn faults_in_logs_and_measurements_are_found() {
    check(Fault::MixesStreams, "both_streams_are_kept", "each stream has what was written to it").await;
    let since = "nothing_older_than_what_was_asked_for_is_read";
    check(Fault::ReadsFromTheBeginning, since, "what was written before that moment is not read").await;
    check(Fault::NeverEndsALog, "a_follower_sees_the_end", "the end of the stream did not return within 60s").await;
    check(Fault::CountsBackwards, "what_a_task_uses_is_told_while_it_runs", "a total never goes back").await;
}
