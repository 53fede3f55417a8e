//! A supervisor at work.

use std::{io, time::Duration};

use bytes::BytesMut;
use futures_util::FutureExt as _;
use rustix::process::WaitStatus;
use swarmkit_executor::LogSource;
use swarmkit_runtime::Env;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    net::unix::pipe,
    signal::unix::{SignalKind, signal},
    time::Instant,
};

use super::{
    Answer, Host,
    spawn::{self, Init, SpawnError, Spawned},
};
use crate::{
    alive::ShowAlive,
    cgroups,
    logs::{Capture, LogWriter},
    order::Order,
    plan::Plan,
    signals,
    task_dir::{self, Ended, Started, TaskDir},
};

/// How much is read from a task's output at a time.
const READ_BYTES: usize = 16 * 1024;
/// How often to look whether the task's directory is still there. Without it nobody could stop the task any more.
const CHECK_DIR: Duration = Duration::from_secs(30);
/// How long to read on after the process has ended, should something that it left behind hold the pipes open.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Runs a task from its start to its end, and answers `answer` as soon as it is clear whether it starts.
///
/// An error before the answer means that nothing was started. When this is dropped, the process is killed.
pub(crate) async fn supervise(dir: &TaskDir, host: Host, env: &Env, answer: impl FnOnce(Answer)) -> io::Result<()> {
    let Some(_claim) = dir.claim()? else {
        answer(Answer::Taken);
        return Ok(());
    };
    let Some(plan) = dir.plan()?.filter(|_| matches!((dir.started(), dir.ended()), (Ok(None), Ok(None)))) else {
        answer(Answer::Taken);
        return Ok(());
    };
    // Held from before the start until after the last record, so that who sees it end finds the record.
    let _alive = ShowAlive::new(&dir.alive())?;
    let orders = Orders::open(dir)?;
    let logs = LogWriter::create(&dir.logs(), plan.logs)?;
    // Before the start, so that no end is missed.
    let children = signal(SignalKind::child())?;
    let spawned = match spawn::spawn(dir, &plan, host) {
        Ok(spawned) => spawned,
        Err(SpawnError::Trouble(error)) => return Err(error),
        Err(SpawnError::Refused(reason)) => {
            dir.put_ended(&Ended::NotStarted { reason })?;
            answer(Answer::Refused);
            return Ok(());
        }
    };
    let pid = spawned.family.pid().as_raw_nonzero().get();
    let ticks = task_dir::start_ticks(pid).unwrap_or_default();
    dir.put_started(&Started { pid, ticks, supervisor: std::process::id(), boot: task_dir::boot()? })?;
    answer(Answer::Started);
    let ended = Watch { dir, plan: &plan, env, orders, logs, children }.run(spawned).await?;
    dir.put_ended(&ended)
}

/// What a supervisor deals with while the process runs.
struct Watch<'a> {
    dir: &'a TaskDir,
    plan: &'a Plan,
    env: &'a Env,
    orders: Orders,
    logs: LogWriter,
    children: tokio::signal::unix::Signal,
}

impl Watch<'_> {
    async fn run(mut self, spawned: Spawned) -> io::Result<Ended> {
        let Spawned { family, stdout, stderr, init } = spawned;
        let mut output =
            Output { stdout: Stream::new(stdout, LogSource::Stdout), stderr: Stream::new(stderr, LogSource::Stderr) };
        let mut kill_at = None::<Instant>;
        let mut check_dir = tokio::time::interval(CHECK_DIR);
        loop {
            let due = async {
                match kill_at {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! { biased; // orders before output, or a task that writes without end could not be stopped
                _ = self.children.recv() => if family.has_ended()? { break },
                () = due => {
                    family.kill(self.plan);
                    kill_at = None;
                }
                order = self.orders.next() => match order? {
                    Order::Kill => family.kill(self.plan),
                    Order::Stop(stop) => {
                        family.signal(stop.signal);
                        let due = Instant::now() + stop.grace;
                        kill_at = Some(kill_at.map_or(due, |earlier| earlier.min(due)));
                    }
                },
                _ = check_dir.tick() => if !self.dir.path().exists() { family.kill(self.plan) },
                read = output.read(&mut self.logs, self.env), if output.is_open() => read?,
            }
        }
        let status = family.bury(self.plan, &mut self.children).await?;
        let last_words = async {
            while output.is_open() {
                output.read(&mut self.logs, self.env).await?;
            }
            Ok::<_, io::Error>(())
        };
        if let Ok(read) = tokio::time::timeout(LAST_WORDS, last_words).await {
            read?;
        }
        output.finish(&mut self.logs, self.env);
        Ok(ended(status, self.plan, init))
    }
}

/// What a process' end means for its task.
fn ended(status: WaitStatus, plan: &Plan, init: Option<Init>) -> Ended {
    let killed = |signal: i32| {
        let name = signals::name(signal);
        let memory = cgroups::ran_out_of_memory(&plan.cgroups);
        let reason = if memory { format!("killed by {name}: out of memory") } else { format!("killed by {name}") };
        Ended::Exited { code: 128 + signal, reason: Some(reason) }
    };
    match (status.exit_status(), status.terminating_signal()) {
        // An init ends well, whatever has ended the program, and tells the signal.
        (Some(code), _) => match init.and_then(Init::signal).filter(|signal| code == 128 + signal) {
            Some(signal) => killed(signal),
            None => Ended::Exited { code, reason: None },
        },
        (None, Some(signal)) => killed(signal),
        (None, None) => Ended::Lost { reason: "it ended in an unknown way".to_owned() },
    }
}

/// The orders that come in through the pipe.
struct Orders {
    pipe: pipe::Receiver,
    read: Vec<u8>,
}

impl Orders {
    fn open(dir: &TaskDir) -> io::Result<Self> {
        // For writing too, so that it does not end when whoever gave an order closes it.
        let pipe = pipe::OpenOptions::new().read_write(true).open_receiver(dir.control())?;
        Ok(Self { pipe, read: Vec::new() })
    }

    /// The next order. May be dropped and called again: what was read is kept.
    async fn next(&mut self) -> io::Result<Order> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.read.drain(..=end).collect();
                if let Some(order) = std::str::from_utf8(&line).ok().and_then(Order::parse) {
                    return Ok(order);
                }
                continue;
            }
            self.pipe.read_buf(&mut self.read).await?;
        }
    }
}

/// Both streams of a task.
struct Output<O, E> {
    stdout: Stream<O>,
    stderr: Stream<E>,
}

struct Stream<R> {
    pipe: Option<R>,
    capture: Capture,
    buffer: BytesMut,
}

impl<O: AsyncRead + Unpin, E: AsyncRead + Unpin> Output<O, E> {
    fn is_open(&self) -> bool {
        self.stdout.pipe.is_some() || self.stderr.pipe.is_some()
    }

    /// Reads from whichever stream has something. May be dropped and called again.
    async fn read(&mut self, logs: &mut LogWriter, env: &Env) -> io::Result<()> {
        tokio::select! { biased; // any order will do: both get their turn
            read = self.stdout.read() => {
                self.stdout.absorb(read?, logs, env);
                // It may always have more: the other one gets its turn.
                if let Some(read) = self.stderr.read().now_or_never() {
                    self.stderr.absorb(read?, logs, env);
                }
            }
            read = self.stderr.read() => self.stderr.absorb(read?, logs, env),
        }
        Ok(())
    }

    fn finish(&mut self, logs: &mut LogWriter, env: &Env) {
        self.stdout.capture.finish(logs, env.now());
        self.stderr.capture.finish(logs, env.now());
    }
}

impl<R: AsyncRead + Unpin> Stream<R> {
    fn new(pipe: R, source: LogSource) -> Self {
        Self { pipe: Some(pipe), capture: Capture::new(source), buffer: BytesMut::new() }
    }

    async fn read(&mut self) -> io::Result<usize> {
        self.buffer.reserve(READ_BYTES);
        match &mut self.pipe {
            Some(pipe) => pipe.read_buf(&mut self.buffer).await,
            None => std::future::pending().await,
        }
    }

    fn absorb(&mut self, read: usize, logs: &mut LogWriter, env: &Env) {
        if read == 0 {
            self.pipe = None;
        }
        self.capture.absorb(logs, env.now(), &self.buffer);
        self.buffer.clear();
    }
}
