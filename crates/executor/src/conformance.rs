//! What every executor must do, as checks that anyone can run against theirs.
//!
//! ```no_run
//! # use swarmkit_executor::{InertExecutor, conformance};
//! # async fn my_executor() -> InertExecutor { InertExecutor::new() }
//! # async fn a_test() {
//! // Each call must open an executor on the same state, as a restarted program would.
//! conformance::all(async || my_executor().await, conformance::shell("busybox")).await;
//! # }
//! ```
//!
//! The checks run one after the other, each with tasks and an executor of its own, and panic with a sentence that says
//! what is wrong. They wait for events and bound every wait; nothing is judged by how long it took.

mod adoption;
mod life;
mod output;
mod stopping;
mod trial;

use swarmkit_api::wire::{ContainerSpec, HealthConfig, TaskSpec, task_spec::Runtime};

use crate::Executor;
use trial::Bench;

/// How a task of the suite must act. The caller says which specification makes his executor do that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Act {
    /// Runs until it is stopped, and stops soon when asked politely.
    Runs,
    /// Ends at once with that exit code.
    Exits(u8),
    /// Ends by itself with that exit code, so many milliseconds after it was started.
    ExitsAfter(u32, u8),
    /// Runs until it is stopped, and does not heed being asked politely. Its stop grace is to be one second.
    Stubborn,
    /// Writes the line `out` to standard output, then `err` to standard error, and runs until it is stopped.
    Prints,
    /// Runs until it is stopped, and is well by its health check.
    Well,
    /// Runs until it is stopped, and fails its health check every time.
    Unwell,
    /// Cannot run here: no such program.
    Impossible,
}

/// Specifications for executors that can run a POSIX shell, in `image`.
pub fn shell(image: &str) -> impl Fn(Act) -> TaskSpec + use<> {
    let image = image.to_owned();
    move |act| {
        let script = match act {
            Act::Runs | Act::Well | Act::Unwell => "exec sleep 3600".to_owned(),
            Act::Exits(code) => format!("exit {code}"),
            Act::ExitsAfter(milliseconds, code) => {
                format!("sleep {}.{:03}; exit {code}", milliseconds / 1000, milliseconds % 1000)
            }
            Act::Stubborn => "trap '' TERM INT; while :; do sleep 1; done".to_owned(),
            Act::Prints => "echo out; echo err >&2; exec sleep 3600".to_owned(),
            Act::Impossible => String::new(),
        };
        let command = match act {
            Act::Impossible => vec!["/nonexistent/program".to_owned()],
            _ => vec!["/bin/sh".to_owned(), "-c".to_owned(), script],
        };
        let stop_grace_period = (act == Act::Stubborn).then_some(prost_types::Duration { seconds: 1, nanos: 0 });
        let healthcheck = match act {
            Act::Well => Some(health("exit 0")),
            Act::Unwell => Some(health("exit 1")),
            _ => None,
        };
        let container =
            ContainerSpec { image: image.clone(), command, stop_grace_period, healthcheck, ..Default::default() };
        TaskSpec { runtime: Some(Runtime::Container(container)), ..Default::default() }
    }
}

/// A health check that is asked often, and fails for good the second time.
fn health(script: &str) -> HealthConfig {
    HealthConfig {
        test: vec!["CMD-SHELL".to_owned(), script.to_owned()],
        interval: Some(prost_types::Duration { seconds: 0, nanos: 50_000_000 }),
        retries: 2,
        ..Default::default()
    }
}

/// Runs every check.
///
/// `open` opens an executor; each call must open it on the same machine and state, and the suite drops the earlier one
/// before. `spec` says how to make a task act in a given way.
///
/// # Panics
///
/// When the executor does not keep an obligation of [`Executor`] or [`crate::Controller`].
pub async fn all<E: Executor>(open: impl AsyncFn() -> E, spec: impl Fn(Act) -> TaskSpec) {
    let bench = Bench::new(open, spec);
    life::a_description_says_what_the_node_can_run(&bench).await;
    life::a_task_that_ends_well_is_success(&bench).await;
    life::an_exit_code_is_reported_also_long_after_and_again(&bench).await;
    life::every_step_may_be_repeated(&bench).await;
    life::every_step_may_be_dropped_half_way(&bench).await;
    life::a_task_is_started_once_in_its_life(&bench).await;
    life::what_cannot_run_is_refused_before_or_at_its_start(&bench).await;
    life::a_task_is_up_when_it_is_well(&bench).await;
    life::an_unchanged_definition_is_accepted(&bench).await;
    life::many_tasks_run_side_by_side(&bench).await;
    life::a_closed_controller_refuses_and_leaves_the_task_alone(&bench).await;
    stopping::shutdown_works_in_every_state(&bench).await;
    stopping::what_does_not_heed_is_killed_after_its_grace(&bench).await;
    stopping::terminate_does_not_ask(&bench).await;
    stopping::a_stop_that_was_dropped_can_be_repeated(&bench).await;
    stopping::remove_works_in_every_state(&bench).await;
    adoption::a_running_task_is_adopted(&bench).await;
    adoption::an_end_that_nobody_watched_is_reported(&bench).await;
    adoption::a_task_that_was_prepared_can_be_started(&bench).await;
    adoption::what_nobody_knows_any_more_is_removed(&bench).await;
    adoption::a_removal_outlives_the_program(&bench).await;
    output::both_streams_are_kept(&bench).await;
    output::a_follower_sees_the_end(&bench).await;
}
