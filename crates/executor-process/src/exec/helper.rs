//! The helper of a command, at work.

use std::{
    io::{self, Read as _},
    os::{
        fd::{AsFd, AsRawFd as _, OwnedFd},
        unix::{net::UnixStream, process::CommandExt as _},
    },
    process::Command,
    time::Duration,
};

use bytes::{Buf as _, Bytes, BytesMut};
use rustix::{
    event::{PollFd, PollFlags},
    process::{Pid, Signal},
};
use swarmkit_executor::{ExecInput, ExecOutput};
use tokio::{
    io::AsyncWriteExt as _,
    net::unix::pipe,
    signal::unix::{SignalKind, signal},
    time::Instant,
};

use super::{
    LAUNCH, Order,
    frames::{Frame, Frames, PIECE_BYTES},
    launch::{Launch, Report, write_launch},
    stdio::{Sink, Source, Streams, Terminal},
};
use crate::{
    alive::Alive,
    plan::Plan,
    supervisor::{Family, Host, own_program, prepare_process},
    task_dir::TaskDir,
};

/// How long a command may take to end by itself when nobody wants it any more.
const HANGUP_GRACE: Duration = Duration::from_secs(5);
/// How much input may wait for the command, in bytes. Beyond it the client waits.
const WAITING_INPUT: usize = 64 * 1024;
/// How often to look whether the executor is gone, while what it has sent is not read because the command reads nothing.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long to wait for more output after the command has ended, should something that cannot be found hold the pipes open.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// A helper's life.
pub(crate) fn run(dir: &TaskDir) -> i32 {
    let done = prepare_process().and_then(|()| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(serve(dir))
    });
    // There is nobody to tell: whoever reads our output knows from its end.
    i32::from(done.is_err())
}

async fn serve(dir: &TaskDir) -> io::Result<()> {
    let mut frames = Frames::new(pipe::Receiver::from_owned_fd(own(rustix::stdio::stdin())?)?);
    let mut executor = pipe::Sender::from_owned_fd(own(rustix::stdio::stdout())?)?;
    let Some(Frame::Order(order)) = frames.next().await? else { return Ok(()) };
    match begin(dir, &order) {
        Ok((command, alive)) => command.run(frames, executor, alive).await,
        Err(refusal) => executor.write_all(&refusal.encode()).await,
    }
}

/// A standard stream under another number, so that the launcher does not get it.
fn own(stream: impl AsFd) -> io::Result<OwnedFd> {
    Ok(rustix::io::fcntl_dupfd_cloexec(stream, 3)?)
}

/// Starts the command, if its task runs.
fn begin(dir: &TaskDir, order: &[u8]) -> Result<(Running, Alive), Frame> {
    let failed = |what: &str| {
        let what = what.to_owned();
        move |error: io::Error| Frame::Failed(format!("{what}: {error}"))
    };
    let order: Order = serde_json::from_slice(order).map_err(|error| Frame::Failed(error.to_string()))?;
    let alive = Alive::watch(&dir.alive()).map_err(failed("looking for the task"))?;
    let plan = dir.plan().map_err(failed("reading the plan"))?;
    let (Some(alive), Some(plan)) = (alive, plan) else {
        return Err(Frame::Failed("the task does not run".to_owned()));
    };
    let streams = match order.size() {
        Some(size) => Streams::terminal(size, order.stdin).map_err(failed("opening a terminal"))?,
        None => Streams::pipes(order.stdin).map_err(failed("opening pipes"))?,
    };
    let Streams { stdin, stdout, stderr, terminal, theirs } = streams;
    let (ours, connection) = UnixStream::pair().map_err(failed("opening a connection to the launcher"))?;
    let mut command = Command::new(own_program());
    command.arg0("swarmkit-launch").arg(LAUNCH).arg(dir.path()).env_clear();
    command.stdin(OwnedFd::from(connection)).stdout(theirs.stdout).stderr(theirs.stderr);
    let child = command.spawn().map_err(failed("starting a launcher"))?;
    // Our copies of the command's ends, or its streams would never end.
    drop(command);
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("invariant: a child has a process id");
    // From here on it is killed if anything goes wrong.
    let family = Family::new(pid, Host::Own);
    let by_path = |fd: &OwnedFd| format!("/proc/{}/fd/{}", std::process::id(), fd.as_raw_fd());
    let launch = Launch { order, stdin: theirs.stdin.as_ref().map(by_path) };
    write_launch(&ours, &launch).map_err(failed("telling the launcher"))?;
    let mut report = Vec::new();
    (&ours).read_to_end(&mut report).map_err(failed("hearing from the launcher"))?;
    drop(theirs.stdin);
    if !report.is_empty() {
        return Err(match serde_json::from_slice(&report) {
            Ok(Report::NotFound(reason)) => Frame::NoProgram { is_there: false, reason },
            Ok(Report::NotExecutable(reason)) => Frame::NoProgram { is_there: true, reason },
            Ok(Report::Failed(reason)) => Frame::Failed(reason),
            Err(error) => Frame::Failed(error.to_string()),
        });
    }
    // The groups are the task's: what is killed there is the task.
    let plan = Plan { cgroups: Vec::new(), ..plan };
    let output = Output { stdout: Some(stdout), stderr, buffer: vec![0; 2 * PIECE_BYTES], stderr_next: false };
    Ok((Running { family, plan, stdin, waiting: BytesMut::new(), ending: false, terminal, output }, alive))
}

/// A command that runs.
struct Running {
    family: Family,
    /// For killing it, so without the groups of the task.
    plan: Plan,
    stdin: Option<Sink>,
    /// Input that the command has not yet read.
    waiting: BytesMut,
    /// Nothing more comes after that.
    ending: bool,
    terminal: Option<Terminal>,
    output: Output,
}

/// What the command writes.
struct Output {
    stdout: Option<Source>,
    stderr: Option<Source>,
    /// Room for a piece of each.
    buffer: Vec<u8>,
    /// Which one has its turn, if both have something.
    stderr_next: bool,
}

impl Running {
    async fn run(
        mut self,
        mut frames: Frames<pipe::Receiver>,
        mut executor: pipe::Sender,
        alive: Alive,
    ) -> io::Result<()> {
        let mut children = signal(SignalKind::child())?;
        let mut given_up = signal(SignalKind::terminate())?;
        let mut to_executor = Frame::Output(ExecOutput::Started).encode();
        // Whether anybody still wants to know, and when everything is killed.
        let (mut wanted, mut kill_at) = (true, None::<Instant>);
        let mut task_runs = true;
        let mut look = tokio::time::interval(LOOK_EVERY);
        // It may have ended before we were told of such things.
        let mut ended = self.family.has_ended()?;
        while !ended {
            let due = sleep_until(kill_at);
            tokio::select! { biased; // orders before output, or a command that writes without end could not be ended
                _ = children.recv() => ended = self.family.has_ended()?,
                () = due => {
                    self.family.kill(&self.plan);
                    kill_at = None;
                }
                () = alive.gone(), if task_runs => {
                    task_runs = false;
                    self.family.kill(&self.plan);
                }
                _ = given_up.recv(), if wanted => {
                    wanted = false;
                    kill_at = Some(self.hang_up());
                }
                frame = frames.next(), if wanted && self.waiting.len() < WAITING_INPUT => match frame {
                    Ok(Some(Frame::Input(input))) => self.absorb(input),
                    _ => {
                        wanted = false;
                        kill_at = Some(self.hang_up());
                    }
                },
                _ = look.tick(), if wanted && self.waiting.len() >= WAITING_INPUT => if is_hung_up(frames.source()) {
                    wanted = false;
                    kill_at = Some(self.hang_up());
                },
                written = write(self.stdin.as_mut(), &self.waiting), if !self.waiting.is_empty() => match written {
                    Ok(written) => {
                        self.waiting.advance(written);
                        self.close_stdin_if_done();
                    }
                    // It reads no more.
                    Err(_) => self.refuse_input(),
                },
                written = executor.write(&to_executor), if wanted && !to_executor.is_empty() => match written {
                    Ok(written) => to_executor.advance(written),
                    Err(_) => {
                        wanted = false;
                        kill_at = Some(self.hang_up());
                    }
                },
                output = self.output.next(), if self.output.is_open() && (!wanted || to_executor.is_empty()) => {
                    if let Some(output) = output? {
                        to_executor = Frame::Output(output).encode();
                    }
                }
            }
        }
        self.finish(wanted, to_executor, executor, children).await
    }

    /// Tells what is left to tell, and how it ended.
    async fn finish(
        self,
        wanted: bool,
        to_executor: Bytes,
        mut executor: pipe::Sender,
        mut children: tokio::signal::unix::Signal,
    ) -> io::Result<()> {
        let Self { family, plan, mut output, stdin, terminal, .. } = self;
        drop((stdin, terminal));
        let status = family.bury(&plan, &mut children).await?;
        if !wanted {
            return Ok(());
        }
        executor.write_all(&to_executor).await?;
        while output.is_open() {
            // However long the executor takes for what it is given: only waiting for the pipes themselves is bounded.
            let Ok(output) = tokio::time::timeout(LAST_WORDS, output.next()).await else { break };
            if let Some(output) = output? {
                executor.write_all(&Frame::Output(output).encode()).await?;
            }
        }
        let code = status.exit_status().or_else(|| status.terminating_signal().map(|signal| 128 + signal));
        executor.write_all(&Frame::Output(ExecOutput::Exited(code.unwrap_or(-1))).encode()).await
    }

    fn absorb(&mut self, input: ExecInput) {
        match input {
            ExecInput::Stdin(data) if self.stdin.is_some() && !self.ending => self.waiting.extend_from_slice(&data),
            ExecInput::Stdin(_) => {}
            ExecInput::End => {
                self.ending = true;
                self.close_stdin_if_done();
            }
            ExecInput::Resize(size) => {
                if let Some(terminal) = &self.terminal {
                    terminal.resize(size).ok();
                }
            }
            ExecInput::Signal(number) => {
                if let Some(signal) = Signal::from_named_raw(number) {
                    self.family.signal(signal);
                }
            }
        }
    }

    /// A pipe ends when it is closed; a terminal has no end of its own.
    fn close_stdin_if_done(&mut self) {
        if self.ending && self.waiting.is_empty() {
            self.stdin = None;
        }
    }

    fn refuse_input(&mut self) {
        self.waiting.clear();
        self.stdin = None;
    }

    /// Asks the command to end, and tells when it is to be killed.
    fn hang_up(&mut self) -> Instant {
        rustix::process::kill_process_group(self.family.pid(), Signal::HUP).ok();
        self.refuse_input();
        Instant::now() + HANGUP_GRACE
    }
}

impl Output {
    fn is_open(&self) -> bool {
        self.stdout.is_some() || self.stderr.is_some()
    }

    /// The next piece; none when a stream has ended. May be dropped and called again.
    async fn next(&mut self) -> io::Result<Option<ExecOutput>> {
        let Self { stdout, stderr, buffer, stderr_next } = self;
        let (half, other) = buffer.split_at_mut(PIECE_BYTES);
        // Each has its turn, so that one that always has something does not keep the other one waiting.
        let (is_stderr, read) = if *stderr_next {
            tokio::select! { biased; // see above
                read = read(stderr, half) => (true, read),
                read = read(stdout, other) => (false, read),
            }
        } else {
            tokio::select! { biased; // see above
                read = read(stdout, other) => (false, read),
                read = read(stderr, half) => (true, read),
            }
        };
        *stderr_next = !is_stderr;
        let read = read?;
        let piece = |bytes: &[u8]| Bytes::copy_from_slice(&bytes[..read]);
        Ok(match (is_stderr, read) {
            (true, 0) => {
                *stderr = None;
                None
            }
            (false, 0) => {
                *stdout = None;
                None
            }
            (true, _) => Some(ExecOutput::Stderr(piece(half))),
            (false, _) => Some(ExecOutput::Stdout(piece(other))),
        })
    }
}

async fn read(source: &mut Option<Source>, into: &mut [u8]) -> io::Result<usize> {
    match source {
        Some(source) => source.read(into).await,
        None => std::future::pending().await,
    }
}

async fn write(sink: Option<&mut Sink>, bytes: &[u8]) -> io::Result<usize> {
    match sink {
        Some(sink) => sink.write(bytes).await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// Whether nobody holds the other end of a pipe any more, also while there is something in it.
fn is_hung_up(pipe: &pipe::Receiver) -> bool {
    let mut fds = [PollFd::new(pipe, PollFlags::empty())];
    let now = rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 };
    let found = rustix::event::poll(&mut fds, Some(&now));
    found.is_ok() && fds[0].revents().contains(PollFlags::HUP)
}
