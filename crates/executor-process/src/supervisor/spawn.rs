//! Starting the process of a task.

use std::{
    fs,
    io::{self, Read as _},
    os::{fd::OwnedFd, unix::process::CommandExt as _},
    process::{Command, Stdio},
};

use rustix::{pipe::PipeFlags, process::Pid};
use tokio::process::{ChildStderr, ChildStdout};

use super::{Host, LAUNCH, family::Family};
use crate::{plan::Plan, task_dir::TaskDir};

/// A process that runs, and the pipes that it writes to.
pub(super) struct Spawned {
    pub(super) family: Family,
    pub(super) stdout: ChildStdout,
    pub(super) stderr: ChildStderr,
}

/// Why there is no process.
pub(super) enum SpawnError {
    /// The machine will not run it.
    Refused(String),
    /// We could not even try.
    Trouble(io::Error),
}

impl From<io::Error> for SpawnError {
    fn from(error: io::Error) -> Self {
        Self::Trouble(error)
    }
}

/// Starts what `plan` says.
pub(super) fn spawn(dir: &TaskDir, plan: &Plan, host: Host) -> Result<Spawned, SpawnError> {
    match host {
        Host::Own => through_launcher(dir),
        Host::Shared => directly(plan),
    }
}

/// Starts the launcher, which turns into the process.
fn through_launcher(dir: &TaskDir) -> Result<Spawned, SpawnError> {
    let (mut report, end) = pipe()?;
    let mut command = Command::new(own_program());
    command.arg0("swarmkit-launch").arg(LAUNCH).arg(dir.path()).env_clear();
    let spawned = spawn_piped(command.stdin(Stdio::from(end)), Host::Own)?;
    // The launcher's end of the pipe must be the only one, or the report would never end.
    drop(command);
    let mut text = String::new();
    report.read_to_string(&mut text)?;
    if text.is_empty() { Ok(spawned) } else { Err(SpawnError::Refused(text)) }
}

/// Starts the process without a launcher, with what the standard library can do.
fn directly(plan: &Plan) -> Result<Spawned, SpawnError> {
    let beyond = [
        ("ulimits", !plan.rlimits.is_empty()),
        ("groups", plan.identity.as_ref().is_some_and(|identity| !identity.groups.is_empty())),
        ("an OOM score", plan.oom_score_adj != 0),
    ];
    if let Some((what, _)) = beyond.into_iter().find(|(_, asked)| *asked) {
        return Err(SpawnError::Refused(format!(
            "{what} need a supervisor process: the program does not call run_if_requested()"
        )));
    }
    let mut command = Command::new(&plan.program);
    command.arg0(&plan.argv[0]).args(&plan.argv[1..]).env_clear().envs(&plan.env).current_dir(&plan.dir);
    command.stdin(Stdio::null()).process_group(0);
    if let Some(identity) = &plan.identity {
        command.uid(identity.uid).gid(identity.gid);
    }
    let spawned = match spawn_piped(&mut command, Host::Shared) {
        Err(error) if error.kind() == io::ErrorKind::OutOfMemory => return Err(error.into()),
        Err(error) => return Err(SpawnError::Refused(format!("cannot run {}: {error}", plan.program.display()))),
        Ok(spawned) => spawned,
    };
    // A moment late, since it already runs; what it has started by then is outside.
    for cgroup in &plan.cgroups {
        fs::write(cgroup.join("cgroup.procs"), spawned.family.pid().as_raw_nonzero().to_string())?;
    }
    Ok(spawned)
}

fn spawn_piped(command: &mut Command, host: Host) -> io::Result<Spawned> {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("invariant: a child has a process id");
    // From here on it is killed if anything goes wrong.
    let family = Family::new(pid, host);
    let (stdout, stderr) = child.stdout.take().zip(child.stderr.take()).expect("invariant: both were asked for");
    Ok(Spawned { family, stdout: ChildStdout::from_std(stdout)?, stderr: ChildStderr::from_std(stderr)? })
}

/// This very program, also when its file was replaced meanwhile.
pub(super) fn own_program() -> &'static str {
    "/proc/self/exe"
}

fn pipe() -> io::Result<(fs::File, OwnedFd)> {
    let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    Ok((read.into(), write))
}
