//! This side of a call: the terminal, standard input, and signals.

use std::{
    io::{self, Read as _},
    thread,
};

use swarmkit_api::wire::swarmkit::exec::v1::TerminalSize;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
};

/// How much is read at a time, in bytes.
const READ_BYTES: usize = 32 * 1024;
/// How many such pieces may wait.
const WAITING_PIECES: usize = 2;

/// Everything that is typed goes to the other side, until this is dropped.
pub(super) struct RawMode(());

/// What comes from standard input.
pub(super) struct StandardInput(mpsc::Receiver<Vec<u8>>);

/// The signals that are passed on, and changes of the window's size.
pub(super) struct Signals {
    ending: [(SignalKind, Signal); 6],
    resized: Signal,
}

/// The size of the terminal here. None if there is none.
pub(super) fn size() -> Option<TerminalSize> {
    let (columns, rows) = crossterm::terminal::size().ok()?;
    Some(TerminalSize { rows: rows.into(), columns: columns.into() })
}

impl RawMode {
    pub(super) fn enter() -> io::Result<Self> {
        crossterm::terminal::enable_raw_mode()?;
        Ok(Self(()))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // There is nobody to tell when this fails.
        crossterm::terminal::disable_raw_mode().ok();
    }
}

impl StandardInput {
    /// Begins to read.
    ///
    /// By a thread that nobody waits for: a read from a terminal goes on until something is typed, and must not hold up the
    /// end of the program.
    pub(super) fn open() -> io::Result<Self> {
        let (sender, receiver) = mpsc::channel(WAITING_PIECES);
        let read = move || {
            let mut stdin = io::stdin().lock();
            let mut buffer = vec![0; READ_BYTES];
            // What cannot be read has ended.
            while let Ok(read @ 1..) = stdin.read(&mut buffer) {
                if sender.blocking_send(buffer[..read].to_vec()).is_err() {
                    return;
                }
            }
        };
        thread::Builder::new().name("standard input".to_owned()).spawn(read)?;
        Ok(Self(receiver))
    }

    /// The next piece; none at the end. Never, if there is no standard input. May be dropped and called again.
    pub(super) async fn next(this: &mut Option<Self>) -> Option<Vec<u8>> {
        match this {
            Some(Self(pieces)) => pieces.recv().await,
            None => std::future::pending().await,
        }
    }
}

impl Signals {
    /// From now on these signals do not end the program by themselves.
    pub(super) fn listen() -> io::Result<Self> {
        let one = |kind: SignalKind| Ok::<_, io::Error>((kind, signal(kind)?));
        Ok(Self {
            ending: [
                one(SignalKind::hangup())?,
                one(SignalKind::interrupt())?,
                one(SignalKind::quit())?,
                one(SignalKind::terminate())?,
                one(SignalKind::user_defined1())?,
                one(SignalKind::user_defined2())?,
            ],
            resized: signal(SignalKind::window_change())?,
        })
    }

    /// The number of the next signal; none when the window has another size.
    pub(super) async fn next(&mut self) -> Option<u8> {
        let Self { ending, resized } = self;
        let ending = ending.each_mut().map(|(kind, signal)| {
            let number = kind.as_raw_value();
            Box::pin(async move {
                signal.recv().await;
                number
            })
        });
        tokio::select! { biased; // a signal counts for more than a size
            (number, ..) = futures_util::future::select_all(ending) => u8::try_from(number).ok(),
            _ = resized.recv() => None,
        }
    }
}
