//! Running something more in a task that runs: in its namespaces and groups, as its user, with its environment.

use std::{
    os::unix::process::ExitStatusExt as _,
    path::Path,
    process::{Command, Stdio},
};

use super::launch;
use crate::{
    plan::Plan,
    task_dir::{self, TaskDir},
};

/// The first argument of this program; then the task's directory, and the command with its arguments.
pub(super) const ENTER: &str = "--swarmkit-enter-task";

/// The exit code when the command could not be run.
const NOT_RUN: i32 = 126;

/// A command whose arguments, yet to be added, run in the isolated task of `dir`. `program` is the one that supervisors
/// are started from. It ends as what it runs does: with its exit code, or 128 + n after the signal n.
pub(crate) fn entering(program: &Path, dir: &TaskDir) -> Command {
    let mut command = Command::new(program);
    command.arg(ENTER).arg(dir.path()).env_clear();
    command
}

/// Returns when the command has ended.
pub(super) fn run(dir: &TaskDir) -> i32 {
    match run_inside(dir) {
        Ok(code) => code,
        Err(reason) => {
            super::complain(&reason);
            NOT_RUN
        }
    }
}

fn run_inside(dir: &TaskDir) -> Result<i32, String> {
    let plan = dir.plan().map_err(|error| error.to_string())?.ok_or("there is no plan")?;
    launch::enter_cgroups(&plan)?;
    enter_task(dir, &plan)?;
    launch::become_user(&plan)?;
    rustix::process::chdir(&plan.dir).map_err(|error| format!("directory {}: {error}", plan.dir.display()))?;
    // The door and the directory come first.
    let mut arguments = std::env::args_os().skip(3);
    let name = arguments.next().ok_or("there is no command")?;
    let mut command = Command::new(find(&plan, &name.to_string_lossy())?);
    command.args(arguments).env_clear().envs(&plan.env).stdin(Stdio::null());
    let status = command.status().map_err(|error| format!("{}: {error}", name.to_string_lossy()))?;
    Ok(status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(NOT_RUN))
}

/// Enters the namespaces of the task of `dir`, if it has its own. That of its processes is for those that this program
/// starts.
pub(crate) fn enter_task(dir: &TaskDir, plan: &Plan) -> Result<(), String> {
    let started = dir.started().map_err(|error| error.to_string())?.ok_or("the task does not run")?;
    if task_dir::start_ticks(started.pid) != Some(started.ticks) {
        return Err("the task does not run any more".to_owned());
    }
    let Some(isolation) = &plan.isolation else { return Ok(()) };
    super::namespaces::enter(started.pid, isolation.map)
        .map_err(|error| format!("entering the namespaces of the task: {error}"))
}

fn find(plan: &Plan, name: &str) -> Result<std::path::PathBuf, String> {
    let path = plan.env.get("PATH").map_or("", String::as_str);
    crate::plan::find_program(name, path, &plan.dir).map_err(|error| error.to_string())
}
