//! The standard streams of a command: pipes, or a terminal.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, OwnedFd},
    process::Stdio,
    sync::Arc,
};

use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
    pipe::PipeFlags,
    pty::OpenptFlags,
    termios::Winsize,
};
use swarmkit_executor::TerminalSize;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, unix::AsyncFd},
    net::unix::pipe,
};

/// Where output comes from.
pub(super) enum Source {
    Pipe(pipe::Receiver),
    Terminal(Terminal),
}

/// Where input goes.
pub(super) enum Sink {
    Pipe(pipe::Sender),
    Terminal(Terminal),
}

/// Our end of a terminal.
#[derive(Clone)]
pub(super) struct Terminal(Arc<AsyncFd<OwnedFd>>);

/// Both ends of the streams of a command.
pub(super) struct Streams {
    pub(super) stdin: Option<Sink>,
    pub(super) stdout: Source,
    pub(super) stderr: Option<Source>,
    pub(super) terminal: Option<Terminal>,
    pub(super) theirs: Theirs,
}

/// The ends of the command.
pub(super) struct Theirs {
    /// To be opened by its path in `/proc`; for a terminal it is the same as the others.
    pub(super) stdin: Option<OwnedFd>,
    pub(super) stdout: Stdio,
    pub(super) stderr: Stdio,
}

impl Streams {
    /// Pipes. Without `stdin`, the command finds nothing on it.
    pub(super) fn pipes(stdin: bool) -> io::Result<Self> {
        let (stdin, theirs_in) = if stdin {
            let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
            (Some(Sink::Pipe(pipe::Sender::from_owned_fd(write)?)), read)
        } else {
            (None, OwnedFd::from(File::open("/dev/null")?))
        };
        let (stdout, theirs_out) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        let (stderr, theirs_err) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        Ok(Self {
            stdin,
            stdout: Source::Pipe(pipe::Receiver::from_owned_fd(stdout)?),
            stderr: Some(Source::Pipe(pipe::Receiver::from_owned_fd(stderr)?)),
            terminal: None,
            theirs: Theirs { stdin: Some(theirs_in), stdout: theirs_out.into(), stderr: theirs_err.into() },
        })
    }

    /// A terminal of its own.
    pub(super) fn terminal(size: TerminalSize, stdin: bool) -> io::Result<Self> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let ours = rustix::pty::openpt(flags)?;
        rustix::pty::grantpt(&ours)?;
        rustix::pty::unlockpt(&ours)?;
        let path = rustix::pty::ptsname(&ours, Vec::new())?;
        let theirs = rustix::fs::open(path, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())?;
        rustix::fs::fcntl_setfl(&ours, OFlags::RDWR | OFlags::NONBLOCK)?;
        let terminal = Terminal(Arc::new(registered(ours)?));
        terminal.resize(size)?;
        Ok(Self {
            stdin: stdin.then(|| Sink::Terminal(terminal.clone())),
            stdout: Source::Terminal(terminal.clone()),
            stderr: None,
            terminal: Some(terminal),
            theirs: Theirs { stdin: None, stdout: theirs.try_clone()?.into(), stderr: theirs.into() },
        })
    }
}

#[expect(unsafe_code, reason = "tokio asks for a promise that the type of the descriptor keeps")]
fn registered(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: what is registered owns its descriptor, which stays the same and open until it is dropped after that.
    Ok(unsafe { AsyncFd::register(fd) }?)
}

impl Terminal {
    pub(super) fn resize(&self, size: TerminalSize) -> io::Result<()> {
        let TerminalSize { rows, columns } = size;
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        Ok(rustix::termios::tcsetwinsize(self.0.get_ref().as_fd(), size)?)
    }
}

impl Source {
    /// Reads what is there; 0 at the end. May be dropped and called again.
    pub(super) async fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Pipe(pipe) => pipe.read(into).await,
            Self::Terminal(Terminal(terminal)) => loop {
                let mut ready = terminal.readable().await?;
                match ready.try_io(|terminal| Ok(rustix::io::read(terminal.get_ref(), &mut *into)?)) {
                    // Nobody has the other end open any more.
                    Ok(Err(error)) if error.raw_os_error() == Some(Errno::IO.raw_os_error()) => return Ok(0),
                    Ok(read) => return read,
                    Err(_) => {}
                }
            },
        }
    }
}

impl Sink {
    /// Writes some of it. May be dropped and called again.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Pipe(pipe) => pipe.write(bytes).await,
            Self::Terminal(Terminal(terminal)) => loop {
                let mut ready = terminal.writable().await?;
                if let Ok(written) = ready.try_io(|terminal| Ok(rustix::io::write(terminal.get_ref(), bytes)?)) {
                    return written;
                }
            },
        }
    }
}
