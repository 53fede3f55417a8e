//! A supervisor between its start and its answer.

use std::{fs::File, io, process::Stdio};

use swarmkit_executor::ExecError;
use tokio::{
    io::AsyncReadExt as _,
    process::{Child, ChildStdout, Command},
    sync::oneshot,
};

use crate::{
    executor::{Shared, Supervision},
    supervisor::{self, Answer, Host},
    task_dir::TaskDir,
};

/// A supervisor that was started and has not yet answered.
pub(super) enum Starting {
    /// A process: the answer comes from its standard output.
    Process { child: Box<Child>, stdout: ChildStdout, read: Vec<u8> },
    /// A part of this program.
    Inside(oneshot::Receiver<Answer>),
}

impl Starting {
    /// Starts a supervisor for the task in `dir`.
    pub(super) fn new(shared: &Shared, dir: &TaskDir) -> Result<Self, ExecError> {
        match &shared.supervision {
            Supervision::Inside => Ok(Self::Inside(inside(shared, dir))),
            Supervision::Processes(program) => {
                let mut command = Command::new(program);
                command.arg0("swarmkit-task").arg(supervisor::SUPERVISE).arg(dir.path());
                let started = process(&mut command, dir);
                started.map_err(|error| ExecError::temporary(format!("starting a supervisor: {error}")))
            }
        }
    }

    /// The answer. May be dropped and called again.
    pub(super) async fn answer(&mut self) -> Answer {
        match self {
            Self::Inside(answer) => {
                answer.await.unwrap_or_else(|_| Answer::Trouble("the executor is closing".to_owned()))
            }
            Self::Process { stdout, read, .. } => loop {
                match stdout.read_buf(read).await {
                    Ok(0) => {
                        let answer = serde_json::from_slice(read);
                        return answer.unwrap_or_else(|_| Answer::Trouble("the supervisor did not answer".to_owned()));
                    }
                    Ok(_) => {}
                    Err(error) => return Answer::Trouble(error.to_string()),
                }
            },
        }
    }

    /// Ends a supervisor that does not answer, and what it was about to start with it.
    pub(super) async fn kill(&mut self) {
        if let Self::Process { child, .. } = self
            && let Err(error) = child.kill().await
        {
            tracing::warn!(%error, "a supervisor that does not answer cannot be killed");
        }
    }
}

/// Starts a supervisor that outlives us. Its process is buried by the runtime, if we are still there when it ends.
fn process(command: &mut Command, dir: &TaskDir) -> io::Result<Starting> {
    command.env_clear().current_dir("/").stdin(Stdio::null()).stdout(Stdio::piped());
    command.stderr(File::options().append(true).create(true).open(dir.complaints())?);
    let mut child = command.spawn()?;
    let stdout = child.stdout.take().expect("invariant: it was asked for");
    Ok(Starting::Process { child: Box::new(child), stdout, read: Vec::new() })
}

/// Starts a supervisor that ends with this program.
fn inside(shared: &Shared, dir: &TaskDir) -> oneshot::Receiver<Answer> {
    let (answer, answered) = oneshot::channel();
    let (dir, env) = (dir.clone(), shared.env.clone());
    shared.crew.spawner().spawn("supervisor", async move {
        let mut answer = Some(answer);
        let mut tell = |told| answer.take().map(|answer| answer.send(told));
        let done = supervisor::supervise(&dir, Host::Shared, &env, |told| drop(tell(told))).await;
        if let Err(error) = done {
            tracing::warn!(dir = %dir.path().display(), %error, "a supervisor failed");
            tell(Answer::Trouble(error.to_string()));
        }
    });
    answered
}
