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
//! The checks run one after the other, each with tasks and an executor of its own, and each that fails tells with a
//! sentence what is wrong. They wait for events and bound every wait; nothing is judged by how long it took.
//!
//! An executor that does not offer everything says so, and the report says which checks were not made for it:
//!
//! ```no_run
//! # use swarmkit_executor::{InertExecutor, conformance::{self, Ability, Suite}};
//! # async fn my_executor() -> InertExecutor { InertExecutor::new() }
//! # async fn a_test() {
//! let suite = Suite::new(async || my_executor().await, conformance::shell("busybox"));
//! let report = suite.without(Ability::Usage, "functions are not accounted for").run().await;
//! println!("{report}");
//! # }
//! ```

mod adoption;
mod life;
mod measuring;
mod output;
mod stopping;
mod suite;
mod trial;

use swarmkit_api::wire::{ContainerSpec, HealthConfig, TaskSpec, task_spec::Runtime};

use crate::Executor;
pub use suite::{Ability, CHECKS, Report, Suite};

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
    /// Runs until it is stopped by `SIGUSR1`, which its specification names as its stop signal; writes the line `ready` to
    /// standard output when it is ready for it, and ends with the exit code 7 then.
    Signalled,
    /// Writes so many lines to standard output, the first of which begins with 0, and ends with the exit code 0. All
    /// together are more than pipes hold.
    Chatters(u32),
    /// Writes the line `out` to standard output, then `err` to standard error, and runs until it is stopped.
    Prints,
    /// Runs until it is stopped, and is well by its health check.
    Well,
    /// Runs until it is stopped, and fails its health check every time.
    Unwell,
    /// Cannot run here: no such program.
    Impossible,
}

/// Makes lines long, so that not too many are needed.
const LONG: &str =
    "0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqr";

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
            Act::Signalled => "trap 'exit 7' USR1; echo ready; while :; do sleep 0.05; done".to_owned(),
            Act::Chatters(lines) => format!("i=0; while [ $i -lt {lines} ]; do echo $i {LONG}; i=$((i+1)); done"),
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
        let stop_signal = if act == Act::Signalled { "SIGUSR1".to_owned() } else { String::new() };
        let image = image.clone();
        let container =
            ContainerSpec { image, command, stop_signal, stop_grace_period, healthcheck, ..Default::default() };
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

/// Runs every check. For executors that offer everything; others say what they are without by [`Suite::without`].
///
/// `open` opens an executor; each call must open it on the same machine and state, and the suite drops the earlier one
/// before. `spec` says how to make a task act in a given way.
///
/// # Panics
///
/// When the executor does not keep an obligation of [`Executor`] or [`crate::Controller`].
pub async fn all<E: Executor>(open: impl AsyncFn() -> E, spec: impl Fn(Act) -> TaskSpec) {
    Suite::new(open, spec).run().await;
}
