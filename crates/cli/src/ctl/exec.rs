//! `swarmctl task exec` and `swarmctl task attach`.

mod keys;
mod local;

use std::io::{self, IsTerminal as _, Write as _};

use clap::Args;
use futures_util::stream;
use keys::{DetachKeys, parse_detach_keys};
use local::{RawMode, Signals, StandardInput, size};
use swarmkit_api::wire::swarmkit::exec::v1::{
    Attach, Call, Command, Data, End, Input, OpenRequest, call, failure, input, open_request, output,
};
use tokio::sync::mpsc;

use super::{Context, CtlError, lookup};

/// How many messages may wait for the connection: each is at most 32 KiB.
const WAITING_MESSAGES: usize = 4;

/// The exit code when there is no such program, and when it cannot be run. As shells have them.
const NOT_FOUND: u8 = 127;
const NOT_EXECUTABLE: u8 = 126;
/// What is added to the number of a signal that ends a command.
const SIGNALLED: u8 = 128;

#[derive(Clone, Debug, Args)]
pub(super) struct ExecFlags {
    /// Send standard input to the command
    #[arg(short, long)]
    interactive: bool,

    /// Give the command a terminal; standard input must be one
    #[arg(short, long, overrides_with = "no_tty")]
    tty: bool,

    /// Give the command no terminal, whatever was said before
    #[arg(short = 'T', long, overrides_with = "tty")]
    no_tty: bool,

    /// Set a variable, beside those of the task; without a value, to the one that it has here (repeat)
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    env: Vec<String>,

    /// Run as this user, by name or number; as the task does by default
    #[arg(short, long, value_name = "USER[:GROUP]", default_value = "", hide_default_value = true)]
    user: String,

    /// Run in this directory; that of the task by default
    #[arg(short, long, value_name = "DIR", default_value = "", hide_default_value = true)]
    workdir: String,

    /// Id of the task
    #[arg(value_name = "TASK")]
    task: String,

    /// Program and arguments
    #[arg(value_name = "COMMAND", required = true, last = true)]
    command: Vec<String>,
}

#[derive(Clone, Debug, Args)]
pub(super) struct AttachFlags {
    /// Send standard input to the task, which must have been made to read it
    #[arg(short, long)]
    interactive: bool,

    /// Keys that leave the task alone again, typed one after the other; empty for none
    #[arg(long, value_name = "KEYS", default_value = "ctrl-p,ctrl-q", value_parser = parse_detach_keys)]
    detach_keys: DetachKeys,

    /// Id of the task
    #[arg(value_name = "TASK")]
    task: String,
}

/// What is passed on beside the output.
struct Manner {
    stdin: bool,
    /// The terminal here is that of the other side.
    terminal: bool,
    /// What ends a session that leaves the other side alone; none: signals are passed on.
    detach: Option<DetachKeys>,
}

pub(super) async fn exec(context: &mut Context<'_>, flags: ExecFlags) -> Result<(), CtlError> {
    let terminal = flags.tty && !flags.no_tty;
    if terminal && !io::stdin().is_terminal() {
        return Err(CtlError::Usage("-t needs a terminal on standard input; leave it out, or use -T".to_owned()));
    }
    let task = lookup::task(&mut context.control, &flags.task).await?;
    let command = Command {
        args: flags.command,
        env: flags.env.into_iter().filter_map(with_value).collect(),
        user: flags.user,
        dir: flags.workdir,
        stdin: flags.interactive,
        terminal: if terminal { size() } else { None },
    };
    let call = Call { task_id: task.id, kind: Some(call::Kind::Command(command)), ..Default::default() };
    hold(context, call, Manner { stdin: flags.interactive, terminal, detach: None }).await
}

pub(super) async fn attach(context: &mut Context<'_>, flags: AttachFlags) -> Result<(), CtlError> {
    let task = lookup::task(&mut context.control, &flags.task).await?;
    let terminal = flags.interactive && io::stdin().is_terminal() && has_terminal(&task);
    let attach = Attach { stdin: flags.interactive, terminal: if terminal { size() } else { None } };
    let call = Call { task_id: task.id, kind: Some(call::Kind::Attach(attach)), ..Default::default() };
    hold(context, call, Manner { stdin: flags.interactive, terminal, detach: Some(flags.detach_keys) }).await
}

fn has_terminal(task: &swarmkit_api::wire::Task) -> bool {
    task.spec.as_ref().and_then(swarmkit_executor::container_spec).is_some_and(|spec| spec.tty)
}

/// A variable with its value; one that is not set here is left out, as upstream's clients do.
fn with_value(entry: String) -> Option<String> {
    if entry.contains('=') {
        return Some(entry);
    }
    std::env::var(&entry).ok().map(|value| format!("{entry}={value}"))
}

fn message(kind: input::Kind) -> OpenRequest {
    OpenRequest { message: Some(open_request::Message::Input(Input { kind: Some(kind) })) }
}

/// Makes the call, and passes everything on until it ends.
async fn hold(context: &mut Context<'_>, call: Call, manner: Manner) -> Result<(), CtlError> {
    let (sender, receiver) = mpsc::channel(WAITING_MESSAGES);
    let first = OpenRequest { message: Some(open_request::Message::Call(call)) };
    sender.try_send(first).expect("invariant: the queue is empty");
    let requests = stream::unfold(receiver, |mut receiver| async move { Some((receiver.recv().await?, receiver)) });
    let mut outputs = context.client.exec().open(requests).await?.into_inner();

    let mut signals = Signals::listen().map_err(CtlError::Signals)?;
    // From here on until it is dropped, however that comes about.
    let raw = if manner.terminal { Some(RawMode::enter()?) } else { None };
    let mut stdin = if manner.stdin { Some(StandardInput::open()?) } else { None };
    let mut keys = manner.detach.clone().filter(|_| manner.terminal);
    let (mut pending, mut begun) = (None::<OpenRequest>, false);
    loop {
        tokio::select! { biased; // what is told comes before what is asked
            output = outputs.message() => {
                let Some(output) = output? else {
                    return Err(CtlError::State("the call has ended without saying how".to_owned()));
                };
                match output.kind {
                    Some(output::Kind::Started(_)) => begun = true,
                    Some(output::Kind::Stdout(data)) => {
                        context.out.write_all(&data.data)?;
                        context.out.flush()?;
                    }
                    Some(output::Kind::Stderr(data)) => io::stderr().write_all(&data.data)?,
                    Some(output::Kind::Exited(0)) => return Ok(()),
                    Some(output::Kind::Exited(code)) => return Err(CtlError::Ended(exit_code(code))),
                    Some(output::Kind::Failure(failure)) => {
                        drop(raw);
                        return Err(match failure.reason() {
                            failure::Reason::NotFound => CtlError::Unrunnable(NOT_FOUND, failure.message),
                            failure::Reason::NotExecutable => CtlError::Unrunnable(NOT_EXECUTABLE, failure.message),
                            _ => CtlError::State(failure.message),
                        });
                    }
                    Some(output::Kind::Usage(_)) | None => {}
                }
            }
            signal = signals.next() => match signal {
                None => if manner.terminal && let Some(size) = size() {
                    // Only the last size counts, and there will be another one if this does not fit.
                    sender.try_send(message(input::Kind::Resize(size))).ok();
                },
                // Nothing that could take it: this is for us. Nor is anything done to a task that is attached to.
                Some(number) if !begun || manner.detach.is_some() => {
                    return Err(CtlError::Ended(SIGNALLED.saturating_add(number)));
                }
                Some(number) => drop(sender.try_send(message(input::Kind::Signal(number.into())))),
            },
            permit = sender.reserve(), if pending.is_some() => match permit {
                Ok(permit) => if let Some(message) = pending.take() { permit.send(message) },
                // The end of the call tells why.
                Err(_) => (pending, stdin) = (None, None),
            },
            read = StandardInput::next(&mut stdin), if pending.is_none() => match read {
                Some(bytes) => {
                    let (bytes, detached) = match &mut keys {
                        Some(keys) => keys.pass(bytes),
                        None => (bytes, false),
                    };
                    if detached {
                        return Ok(());
                    }
                    pending = Some(message(input::Kind::Stdin(Data { data: bytes.into() })));
                }
                None => {
                    stdin = None;
                    pending = Some(message(input::Kind::End(End {})));
                }
            },
        }
    }
}

/// What fits into the exit code of a program, as the system cuts it.
fn exit_code(code: i32) -> u8 {
    code.to_le_bytes()[0]
}
