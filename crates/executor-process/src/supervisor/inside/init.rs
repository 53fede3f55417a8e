//! The first process of a task: passes on signals, buries orphans, and ends as the task's program does.

use std::{
    fs::File,
    future::poll_fn,
    io::{self, Write as _},
    process::Command,
    task::{Context, Poll},
};

use rustix::process::{DumpableBehavior, Pid, Signal, WaitOptions, WaitStatus};
use tokio::{
    runtime::Runtime,
    signal::unix::{Signal as SignalStream, SignalKind, signal},
};

/// The signals that are passed on: all that a program can be sent from outside and act on.
const PASSED_ON: [Signal; 21] = [
    Signal::HUP,
    Signal::INT,
    Signal::QUIT,
    Signal::ABORT,
    Signal::USR1,
    Signal::USR2,
    Signal::PIPE,
    Signal::ALARM,
    Signal::TERM,
    Signal::CONT,
    Signal::TSTP,
    Signal::TTIN,
    Signal::TTOU,
    Signal::URG,
    Signal::XCPU,
    Signal::VTALARM,
    Signal::PROF,
    Signal::WINCH,
    Signal::IO,
    Signal::POWER,
    Signal::TRAP,
];

/// What the supervisor is told when the program runs. No error begins like this.
pub(in super::super) const RUNS: &str = "\u{1}";

/// The task's program, and how we hear of it.
pub(crate) struct Child {
    pid: Pid,
    runtime: Runtime,
    ends: SignalStream,
    signals: Vec<(Signal, SignalStream)>,
}

/// Starts the program.
pub(crate) fn start(program: &mut Command) -> io::Result<Child> {
    // It runs the file of the machine, which the task must not get at by way of this process.
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let (ends, signals) = {
        let _inside = runtime.enter();
        let listen = |number: Signal| Ok((number, signal(SignalKind::from_raw(number.as_raw()))?));
        // Before the start, so that nothing is missed.
        (signal(SignalKind::child())?, PASSED_ON.into_iter().map(listen).collect::<io::Result<_>>()?)
    };
    let id = program.spawn()?.id();
    let pid = i32::try_from(id).ok().and_then(Pid::from_raw).expect("invariant: a child has a process id");
    Ok(Child { pid, runtime, ends, signals })
}

impl Child {
    /// Tells the supervisor that the program runs, waits for its end, and gives its exit code: 128 + n after the signal n,
    /// which is told too. The kernel ends everything else in the namespace when this process ends.
    pub(super) fn see_to_its_end(self, mut supervisor: &File) -> i32 {
        supervisor.write_all(RUNS.as_bytes()).ok();
        let status = self.wait();
        if let Some(signal) = status.terminating_signal() {
            supervisor.write_all(signal.to_string().as_bytes()).ok();
        }
        code(status)
    }

    /// Waits for the end of a program that leads a group of its own, ends what is left of that, and gives its exit code.
    pub(crate) fn see_to_the_end_of_its_group(self) -> i32 {
        let group = self.pid;
        let status = self.wait();
        rustix::process::kill_process_group(group, Signal::KILL).ok();
        code(status)
    }

    fn wait(mut self) -> WaitStatus {
        self.runtime.block_on(poll_fn(|context| poll_end(self.pid, &mut self.ends, &mut self.signals, context)))
    }
}

fn code(status: WaitStatus) -> i32 {
    status.exit_status().or_else(|| status.terminating_signal().map(|signal| 128 + signal)).unwrap_or(1)
}

fn poll_end(
    pid: Pid,
    ends: &mut SignalStream,
    signals: &mut [(Signal, SignalStream)],
    context: &mut Context<'_>,
) -> Poll<WaitStatus> {
    for (number, stream) in signals {
        while stream.poll_recv(context).is_ready() {
            rustix::process::kill_process(pid, *number).ok();
        }
    }
    // Listen before looking, so that an end in between wakes us up again.
    while ends.poll_recv(context).is_ready() {}
    while let Ok(Some((ended, status))) = rustix::process::wait(WaitOptions::NOHANG) {
        if ended == pid {
            return Poll::Ready(status);
        }
    }
    Poll::Pending
}
