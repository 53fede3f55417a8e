//! The supervisor of one task: starts its process, keeps its output, stops it when told, and notes its end.
//!
//! It is a process of its own, so that tasks, their output and their exit codes outlive the program that asked for
//! them. It is this same program, started again with a special first argument: [`run_if_requested`] is the door. The
//! supervisor starts the program a third time as the launcher, which becomes the user, enters the limits, and turns
//! into the task's program. So everything that must happen between fork and exec happens in an ordinary program.
//!
//! A program whose `main` does not open that door gets supervisors inside itself, which end with it.

mod enter;
mod family;
mod inherited;
mod inside;
mod launch;
mod leftovers;
mod namespaces;
mod probe;
mod spawn;
mod watch;

use std::{
    ffi::OsStr,
    fmt,
    io::{self, Write as _},
    path::PathBuf,
    process::exit,
    sync::atomic::{AtomicBool, Ordering},
};

use serde::{Deserialize, Serialize};
use swarmkit_runtime::Env;

use crate::{exec, task_dir::TaskDir};

pub(crate) use enter::{enter_task, entering};
pub(crate) use family::Family;
pub(crate) use inside::{Child, start_watched};
pub(crate) use launch::{become_user, limit as enter_limits};
pub(crate) use leftovers::kill_leftovers;
pub(crate) use probe::{own_map, probe};
pub(crate) use spawn::own_program;
pub(crate) use watch::supervise;

/// The first argument of a supervisor; the second is the task's directory.
pub(crate) const SUPERVISE: &str = "--swarmkit-supervise-task";
/// The first argument of a launcher; the second is the task's directory.
const LAUNCH: &str = "--swarmkit-launch-task";

/// Whether `main` has called [`run_if_requested`].
static OFFERED: AtomicBool = AtomicBool::new(false);

/// Where a supervisor runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    /// In a process of its own, where all children are the task's.
    Own,
    /// Inside the program that runs the executor.
    Shared,
}

/// What a supervisor answers to who started it, once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    /// The process runs, and that is on record.
    Started,
    /// The process could not be started, and that is on record.
    Refused,
    /// Somebody else has the task, or had it.
    Taken,
    /// Something of our own went wrong; nothing was started.
    Trouble(String),
}

/// What this program can be, for a task; gives its exit code.
type Role = fn(&TaskDir) -> i32;

/// Runs a task's supervisor and does not return, if this process was started to be one. Otherwise returns at once.
///
/// To be called first thing in `main`, before anything else is set up, by programs that use
/// [`ProcessExecutor`](crate::ProcessExecutor): without it their tasks cannot outlive them.
///
/// ```
/// // The first line of main.
/// swarmkit_executor_process::run_if_requested();
/// ```
pub fn run_if_requested() {
    let mut arguments = std::env::args_os().skip(1);
    let door = arguments.next().unwrap_or_default();
    let doors: [(&str, Role); 7] = [
        (SUPERVISE, run),
        (LAUNCH, launch::run),
        (inside::INSIDE, inside::run),
        (enter::ENTER, enter::run),
        (probe::PROBE, probe::run),
        (exec::HELP, exec::help),
        (exec::LAUNCH, exec::launch),
    ];
    if let Some((_, run)) = doors.into_iter().find(|(name, _)| door == OsStr::new(name))
        && let Some(dir) = arguments.next()
    {
        exit(run(&TaskDir::new(PathBuf::from(dir))));
    }
    OFFERED.store(true, Ordering::Relaxed);
}

/// Whether this program can be started as a supervisor.
pub(crate) fn is_offered() -> bool {
    OFFERED.load(Ordering::Relaxed)
}

/// A supervisor's life. Its standard output goes to who started it, until the answer is given.
fn run(dir: &TaskDir) -> i32 {
    let done = prepare_process().and_then(|()| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(supervise(dir, Host::Own, &Env::real(), |answer| tell(&answer)))
    });
    match done {
        Ok(()) => 0,
        Err(error) => {
            tell(&Answer::Trouble(error.to_string()));
            complain(&error);
            1
        }
    }
}

/// Leaves the terminal and session of whoever started us, and adopts what the task leaves behind.
pub(crate) fn prepare_process() -> io::Result<()> {
    inherited::close()?;
    rustix::process::setsid()?;
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    // For those who look at the list of processes. Nothing depends on it.
    rustix::thread::set_name(c"swarmkit-task").ok();
    Ok(())
}

/// Answers, and lets go of the pipe so that it ends. Whoever asked may be gone already; that changes nothing.
fn tell(answer: &Answer) {
    let text = serde_json::to_vec(answer).expect("invariant: an answer can be written");
    let mut stdout = io::stdout().lock();
    let told = stdout.write_all(&text).and_then(|()| stdout.flush());
    let closed =
        std::fs::File::options().write(true).open("/dev/null").and_then(|null| Ok(rustix::stdio::dup2_stdout(null)?));
    if let Err(error) = told.and(closed) {
        complain(&error);
    }
}

/// Standard error is a file in the task's directory.
fn complain(what: &dyn fmt::Display) {
    writeln!(io::stderr(), "{what}").ok();
}
