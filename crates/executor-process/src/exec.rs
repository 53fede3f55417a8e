//! Commands in tasks that run.
//!
//! Each has a helper: this program, started again, which starts the command as the task's launcher starts the task (in its
//! groups, as its user, with its limits), passes on what goes back and forth, and ends everything that the command has started
//! when it ends, when its task ends, or when nobody wants it any more. It is a process of its own, so that a command does not
//! outlive the program that asked for it, whatever ends that.

mod frames;
mod helper;
mod launch;
mod stdio;

use std::{path::Path, process::Stdio};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use rustix::process::{Pid, Signal};
use serde::{Deserialize, Serialize};
use swarmkit_executor::{ExecCommand, ExecError, ExecInput, ExecInputs, ExecOutput, ExecOutputs, TerminalSize};
use tokio::{
    io::AsyncWriteExt as _,
    process::{Child, ChildStdin, ChildStdout, Command},
};

use crate::task_dir::TaskDir;
use frames::{Frame, Frames, PIECE_BYTES};

pub(crate) use helper::run as help;
pub(crate) use launch::run as launch;

/// The first argument of a helper; the second is the task's directory.
pub(crate) const HELP: &str = "--swarmkit-exec-in-task";
/// The first argument of a helper's launcher; the second is the task's directory.
pub(crate) const LAUNCH: &str = "--swarmkit-launch-exec";

/// What a helper is to run.
#[derive(Debug, Serialize, Deserialize)]
struct Order {
    args: Vec<String>,
    env: Vec<String>,
    user: String,
    dir: String,
    stdin: bool,
    terminal: Option<(u16, u16)>,
}

impl Order {
    fn size(&self) -> Option<TerminalSize> {
        self.terminal.map(|(rows, columns)| TerminalSize { rows, columns })
    }
}

/// A helper that runs. When it is dropped, the helper is told to end the command.
struct Helper {
    child: Child,
    frames: Frames<ChildStdout>,
    over: bool,
}

/// Starts a command in the task of `dir`. `program` is the one that supervisors are started from.
pub(crate) fn start(
    program: &Path,
    dir: &TaskDir,
    command: ExecCommand,
    inputs: ExecInputs,
) -> Result<ExecOutputs, ExecError> {
    let ExecCommand { args, env, user, dir: cwd, stdin, terminal } = command;
    let terminal = terminal.map(|size| (size.rows, size.columns));
    let order = Order { args, env, user, dir: cwd, stdin, terminal };
    let order = Frame::Order(Bytes::from(serde_json::to_vec(&order).map_err(ExecError::failed)?));
    let mut helper = Command::new(program);
    helper.arg0("swarmkit-exec").arg(HELP).arg(dir.path()).env_clear();
    helper.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child =
        helper.spawn().map_err(|error| ExecError::temporary(format!("starting a helper for the command: {error}")))?;
    let (stdin, stdout) = child.stdin.take().zip(child.stdout.take()).expect("invariant: both were asked for");
    let helper = Helper { child, frames: Frames::new(stdout), over: false };
    let outputs = stream::unfold(helper, |mut helper| async move {
        let output = helper.next().await?;
        Some((output, helper))
    });
    // Polled with the output, so that both end together. Its end is none of the command.
    let pump = async move {
        let _stdin = pump(stdin, order, inputs).await;
        std::future::pending::<()>().await;
    };
    Ok(outputs.take_until(Box::pin(pump)).boxed())
}

/// Hands the helper its order, and what comes from the client. The pipe is given back open: its end would mean that the client
/// has gone.
async fn pump(mut stdin: ChildStdin, order: Frame, mut inputs: ExecInputs) -> ChildStdin {
    if stdin.write_all(&order.encode()).await.is_err() {
        return stdin;
    }
    while let Some(input) = inputs.next().await {
        let mut rest = match input {
            ExecInput::Stdin(data) => data,
            input => {
                if stdin.write_all(&Frame::Input(input).encode()).await.is_err() {
                    return stdin;
                }
                continue;
            }
        };
        while !rest.is_empty() {
            let piece = rest.split_to(rest.len().min(PIECE_BYTES));
            if stdin.write_all(&Frame::Input(ExecInput::Stdin(piece)).encode()).await.is_err() {
                return stdin;
            }
        }
    }
    stdin
}

impl Helper {
    async fn next(&mut self) -> Option<Result<ExecOutput, ExecError>> {
        if self.over {
            return None;
        }
        let output = match self.frames.next().await {
            Ok(Some(Frame::Output(output))) => Ok(output),
            Ok(Some(Frame::NoProgram { is_there, reason })) => {
                Err(ExecError::NoProgram { is_there, reason: reason.into() })
            }
            Ok(Some(Frame::Failed(reason))) => Err(ExecError::failed(reason)),
            Ok(Some(Frame::Order(_) | Frame::Input(_))) => Err(ExecError::failed("the helper says nonsense")),
            Ok(None) => Err(ExecError::failed("the helper of the command was ended, and the command with it")),
            Err(error) => Err(ExecError::failed(error)),
        };
        self.over = matches!(output, Err(_) | Ok(ExecOutput::Exited(_)));
        if self.over {
            // It ends by itself now, and has nothing to say any more.
            self.child.wait().await.ok();
        }
        Some(output)
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        // None once it has been waited for, so the id is still its own.
        let pid = self.child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        if let Some(pid) = pid {
            rustix::process::kill_process(pid, Signal::TERM).ok();
        }
    }
}
