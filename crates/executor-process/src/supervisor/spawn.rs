//! Starting the process of a task.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    os::{
        fd::OwnedFd,
        unix::{net::UnixStream, process::CommandExt as _},
    },
    process::{Command, Stdio},
};

use rustix::process::Pid;
use tokio::process::{ChildStderr, ChildStdout};

use super::{Host, LAUNCH, family::Family, inside::RUNS};
use crate::{plan::Plan, task_dir::TaskDir};

/// A process that runs, and the pipes that it writes to.
pub(super) struct Spawned {
    pub(super) family: Family,
    pub(super) stdout: ChildStdout,
    pub(super) stderr: ChildStderr,
    /// What tells about its end, if it has an init.
    pub(super) init: Option<Init>,
}

/// The connection to the init of a process.
pub(super) struct Init {
    connection: UnixStream,
    /// What it has told already, after saying that the process runs.
    told: String,
}

impl Init {
    /// The signal that has ended the process, if one has. After its end.
    pub(super) fn signal(mut self) -> Option<i32> {
        self.connection.read_to_string(&mut self.told).ok()?;
        self.told.parse().ok()
    }
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
    let (mut report, end) = UnixStream::pair()?;
    let mut command = Command::new(own_program());
    command.arg0("swarmkit-launch").arg(LAUNCH).arg(dir.path()).env_clear();
    let mut spawned = spawn_piped(command.stdin(Stdio::from(OwnedFd::from(end))), Host::Own)?;
    // The launcher's end must be the only one, or the report would never end.
    drop(command);
    let (mut told, mut buffer) = (Vec::new(), [0; 1024]);
    let mut launcher_runs = true;
    let trouble = loop {
        let read = match report.read(&mut buffer) {
            // The other end was closed before it has read what we wrote.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => 0,
            read => read?,
        };
        told.extend_from_slice(&buffer[..read]);
        let (successor, trouble) = handover(&String::from_utf8_lossy(&told));
        if let Some(successor) = successor.filter(|_| launcher_runs) {
            spawned.family.give_way_to(successor)?;
            launcher_runs = false;
            // It waits for its new parent. If it is gone already it has said why.
            report.write_all(b"\n").ok();
        }
        if let Some(told) = trouble.strip_prefix(RUNS) {
            spawned.init = Some(Init { connection: report, told: told.to_owned() });
            return Ok(spawned);
        }
        if read == 0 {
            break trouble;
        }
    };
    if trouble.is_empty() { Ok(spawned) } else { Err(SpawnError::Refused(trouble)) }
}

/// What a launcher and its successor have told: the id of the successor between zero bytes, if there is one, and why the
/// program does not run, if it does not.
fn handover(text: &str) -> (Option<Pid>, String) {
    let mut parts = text.split('\0');
    let before = parts.next().unwrap_or_default();
    // A second zero byte has come too, or the number may go on.
    match (parts.next(), parts.next()) {
        (Some(pid), Some(after)) => (Pid::from_raw(pid.parse().unwrap_or_default()), before.to_owned() + after),
        _ => (None, before.to_owned()),
    }
}

/// Starts the process without a launcher, with what the standard library can do.
fn directly(plan: &Plan) -> Result<Spawned, SpawnError> {
    let beyond = [
        ("ulimits", !plan.rlimits.is_empty()),
        ("groups", plan.identity.as_ref().is_some_and(|identity| !identity.groups.is_empty())),
        ("an OOM score", plan.oom_score_adj != 0),
        ("isolation", plan.isolation.is_some()),
        ("capabilities", plan.capabilities.is_some()),
        ("giving up new privileges", plan.no_new_privileges),
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
    Ok(Spawned { family, stdout: ChildStdout::from_std(stdout)?, stderr: ChildStderr::from_std(stderr)?, init: None })
}

/// This very program, also when its file was replaced meanwhile.
pub(crate) fn own_program() -> &'static str {
    "/proc/self/exe"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_successor_is_told_from_what_it_complains_of() {
        assert_eq!(handover(""), (None, String::new()));
        assert_eq!(handover("no such file"), (None, "no such file".to_owned()));
        assert_eq!(handover("\x0017\0"), (Pid::from_raw(17), String::new()));
        assert_eq!(handover("\x0017"), (None, String::new()), "the number may go on");
        assert_eq!(handover("no such file\x0017\0"), (Pid::from_raw(17), "no such file".to_owned()), "in either order");
        assert_eq!(handover("\x0017\0no such file"), (Pid::from_raw(17), "no such file".to_owned()));
    }
}
