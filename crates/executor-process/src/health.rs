//! Asking a task whether it is well, by the command that its specification gives.

use std::{io, path::PathBuf, process::Stdio, time::Duration};

use rustix::{
    fs::OFlags,
    pipe::PipeFlags,
    process::{Pid, Signal},
};
use swarmkit_api::wire;
use swarmkit_executor::Cause;
use tokio::{
    io::AsyncReadExt as _,
    net::unix::pipe,
    process::{Child, Command},
    time::Instant,
};

use crate::{plan::Plan, supervisor, task_dir::TaskDir};

/// What applies where the specification says nothing. As container engines have it.
const INTERVAL: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(30);
const START_INTERVAL: Duration = Duration::from_secs(5);
const RETRIES: u32 = 3;
/// Checks do not come closer after each other than this, whatever the specification says.
const INTERVAL_MIN: Duration = Duration::from_millis(10);
/// How much of what a check writes is kept for the error.
const OUTPUT_BYTES_MAX: usize = 4096;

/// How to ask a task whether it is well.
#[derive(Clone, Debug)]
pub(crate) struct HealthCheck {
    argv: Vec<String>,
    interval: Duration,
    timeout: Duration,
    /// So many failures one after the other make a task unhealthy.
    retries: u32,
    /// Failures within this time after the start do not count.
    start_period: Duration,
    /// How often to ask within that time, until the task is well.
    start_interval: Duration,
    /// How to get to where the command runs, if it is not where we are.
    entrance: Option<Entrance>,
}

/// The way into an isolated task.
#[derive(Clone, Debug)]
pub(crate) struct Entrance {
    /// The program that supervisors are started from.
    pub(crate) program: PathBuf,
    pub(crate) dir: TaskDir,
}

/// What the checks of a task have told so far.
#[derive(Clone, Debug)]
pub(crate) struct Health {
    /// When we first saw it run.
    since: Instant,
    /// When to ask next.
    next: Instant,
    was_well: bool,
    failures: u32,
    /// It was found unhealthy. That stands, whatever comes after.
    verdict: Option<Unhealthy>,
}

/// A task is not well, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Unhealthy(String);

impl HealthCheck {
    /// The check that a specification asks for, if any.
    pub(crate) fn of(spec: &wire::ContainerSpec) -> Result<Option<Self>, Cause> {
        let Some(check) = &spec.healthcheck else { return Ok(None) };
        let (kind, rest) = match check.test.split_first() {
            None => return Ok(None),
            Some((kind, rest)) => (kind.as_str(), rest),
        };
        let argv = match (kind, rest) {
            ("NONE", _) => return Ok(None),
            ("CMD", [_, ..]) => rest.to_vec(),
            ("CMD-SHELL", [script]) => vec!["/bin/sh".to_owned(), "-c".to_owned(), script.clone()],
            ("CMD" | "CMD-SHELL", _) => return Err(format!("the health check {kind} needs a command").into()),
            _ => return Err(format!("unknown kind of health check {kind:?}: there are CMD, CMD-SHELL and NONE").into()),
        };
        let period = |period: &Option<prost_types::Duration>, default| match period {
            None => Ok(default),
            Some(period) => match Duration::try_from(*period) {
                Ok(Duration::ZERO) => Ok(default),
                Ok(period) => Ok(period),
                Err(_) => Err(Cause::from("a period of the health check is negative")),
            },
        };
        Ok(Some(Self {
            argv,
            interval: period(&check.interval, INTERVAL)?.max(INTERVAL_MIN),
            timeout: period(&check.timeout, TIMEOUT)?,
            retries: u32::try_from(check.retries).ok().filter(|retries| *retries > 0).unwrap_or(RETRIES),
            start_period: period(&check.start_period, Duration::ZERO)?,
            start_interval: period(&check.start_interval, START_INTERVAL)?.max(INTERVAL_MIN),
            entrance: None,
        }))
    }

    /// The same check, within an isolated task.
    pub(crate) fn within(self, entrance: Option<Entrance>) -> Self {
        Self { entrance, ..self }
    }

    /// Asks until the task is well. An error is the verdict that it is not.
    pub(crate) async fn until_well(&self, plan: &Plan, health: &mut Health) -> Result<(), Unhealthy> {
        while !health.was_well {
            self.ask(plan, health).await?;
        }
        Ok(())
    }

    /// Asks until the task is no longer well.
    pub(crate) async fn until_unhealthy(&self, plan: &Plan, health: &mut Health) -> Unhealthy {
        loop {
            if let Err(verdict) = self.ask(plan, health).await {
                return verdict;
            }
        }
    }

    /// Waits until it is time, asks once, and takes note. May be dropped: then it is asked anew.
    async fn ask(&self, plan: &Plan, health: &mut Health) -> Result<(), Unhealthy> {
        tokio::time::sleep_until(health.next).await;
        let asked = self.run(plan).await;
        // The very first question comes at once, so that who is well at once is known to be; its failure tells nothing.
        let is_first = health.next == health.since;
        let starting = !health.was_well && health.since.elapsed() < self.start_period;
        health.next = Instant::now() + if starting { self.start_interval.min(self.interval) } else { self.interval };
        match asked {
            Ok(()) => {
                (health.was_well, health.failures) = (true, 0);
                Ok(())
            }
            Err(_) if is_first || starting => Ok(()),
            Err(complaint) => {
                health.failures += 1;
                tracing::debug!(task = plan.task, failures = health.failures, complaint, "a health check failed");
                if health.failures < self.retries {
                    return Ok(());
                }
                let verdict = Unhealthy(format!("unhealthy: {} checks failed: {complaint}", health.failures));
                health.verdict = Some(verdict.clone());
                Err(verdict)
            }
        }
    }

    /// Runs the command once, as the user, in the directory and with the environment of the task.
    async fn run(&self, plan: &Plan) -> Result<(), String> {
        let mut command = match &self.entrance {
            // It does all the rest by itself.
            Some(Entrance { program, dir }) => {
                let mut command = Command::from(supervisor::entering(program, dir));
                command.args(&self.argv);
                command
            }
            None => {
                let mut command = Command::new(&self.argv[0]);
                command.args(&self.argv[1..]).env_clear().envs(&plan.env).current_dir(&plan.dir);
                if let Some(identity) = &plan.identity {
                    command.uid(identity.uid).gid(identity.gid);
                }
                command
            }
        };
        command.stdin(Stdio::null()).process_group(0);
        let mut check = Running::start(command).map_err(|error| format!("{}: {error}", self.argv[0]))?;
        match tokio::time::timeout(self.timeout, check.end()).await {
            Err(_) => Err(format!("no answer within {:?}", self.timeout)),
            Ok(Err(error)) => Err(error.to_string()),
            Ok(Ok((Some(0), _))) => Ok(()),
            Ok(Ok((code, output))) => {
                let code = code.map_or_else(|| "killed".to_owned(), |code| format!("exit code {code}"));
                let output = output.trim();
                Err(if output.is_empty() { code } else { format!("{code}: {output}") })
            }
        }
    }
}

impl Health {
    /// Whether it was found unhealthy.
    pub(crate) fn verdict(&self) -> Option<&Unhealthy> {
        self.verdict.as_ref()
    }

    /// Of a task that was just seen to run.
    pub(crate) fn new() -> Self {
        let now = Instant::now();
        Self { since: now, next: now, was_well: false, failures: 0, verdict: None }
    }
}

/// A check that runs; everything that it has started is killed when it is dropped.
struct Running {
    child: Child,
    group: Option<Pid>,
    output: pipe::Receiver,
}

impl Running {
    fn start(mut command: Command) -> io::Result<Self> {
        let (output, end) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // The check itself expects a pipe that waits.
        rustix::fs::fcntl_setfl(&end, OFlags::WRONLY)?;
        let child = command.stdout(end.try_clone()?).stderr(end).spawn()?;
        let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        Ok(Self { child, group, output: pipe::Receiver::from_owned_fd(output)? })
    }

    /// The exit code, and the beginning of what was written.
    async fn end(&mut self) -> io::Result<(Option<i32>, String)> {
        let mut kept = Vec::new();
        let mut buffer = [0; 1024];
        let mut open = true;
        let mut keep = |read: &[u8]| kept.extend_from_slice(&read[..read.len().min(OUTPUT_BYTES_MAX - kept.len())]);
        let status = loop {
            tokio::select! { biased; // what is left in the pipe can be read after the end too
                status = self.child.wait() => break status?,
                read = self.output.read(&mut buffer), if open => match read? {
                    0 => open = false,
                    read => keep(&buffer[..read]),
                },
            }
        };
        while let Ok(read @ 1..) = self.output.try_read(&mut buffer) {
            keep(&buffer[..read]);
        }
        Ok((status.code(), String::from_utf8_lossy(&kept).into_owned()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(group) = self.group {
            rustix::process::kill_process_group(group, Signal::KILL).ok();
        }
    }
}

#[cfg(test)]
mod tests;
