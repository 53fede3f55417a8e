//! How a supervisor shows that it is there: a named pipe that it holds open for as long as it lives.
//!
//! The kernel closes the pipe whatever ends the supervisor, so its end is never missed, and no process id has to be
//! trusted for it.

use std::{fs::File, io, path::Path};

use rustix::{fs::Mode, io::Errno};
use tokio::net::unix::pipe::{OpenOptions, Receiver};

/// The supervisor's end.
#[derive(Debug)]
pub(crate) struct ShowAlive {
    _held: File,
}

/// The watcher's end.
#[derive(Debug)]
pub(crate) struct Alive(Receiver);

/// Makes a named pipe, unless it is there.
pub(crate) fn make_pipe(path: &Path) -> io::Result<()> {
    match rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, Mode::RUSR | Mode::WUSR, 0) {
        Err(Errno::EXIST) => Ok(()),
        made => Ok(made?),
    }
}

impl ShowAlive {
    /// Holds the pipe open.
    pub(crate) fn new(path: &Path) -> io::Result<Self> {
        // For reading too, so that opening it does not wait for a watcher.
        Ok(Self { _held: File::options().read(true).write(true).open(path)? })
    }
}

impl Alive {
    /// Begins to watch. `None` if nobody holds the pipe.
    pub(crate) fn watch(path: &Path) -> io::Result<Option<Self>> {
        let receiver = match OpenOptions::new().open_receiver(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let alive = Self(receiver);
        Ok((!alive.is_gone()).then_some(alive))
    }

    /// Asked of the pipe itself: one that nobody has ever held would not wake anybody up.
    fn is_gone(&self) -> bool {
        !matches!(rustix::io::read(&self.0, &mut [0; 1]), Err(Errno::AGAIN))
    }

    /// Returns when the supervisor is gone. May be dropped and called again.
    pub(crate) async fn gone(&self) {
        while !self.is_gone() {
            if self.0.readable().await.is_err() {
                return; // The runtime is ending, and everybody on it.
            }
            // Nobody ever writes, so that it is readable means that it was closed. Should it not be, wait again.
            let _ = self.0.try_read(&mut [0; 1]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_end_of_the_holder_is_seen_by_who_watched_and_by_who_comes_later() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("alive");
        assert!(Alive::watch(&path).unwrap().is_none(), "there is no pipe");
        make_pipe(&path).unwrap();
        make_pipe(&path).unwrap();
        assert!(Alive::watch(&path).unwrap().is_none(), "nobody has ever held it");

        let held = ShowAlive::new(&path).unwrap();
        let alive = Alive::watch(&path).unwrap().expect("it is held");
        let mut gone = std::pin::pin!(alive.gone());
        assert!(futures_util::poll!(&mut gone).is_pending());
        drop(held);
        gone.await;
        assert!(Alive::watch(&path).unwrap().is_none(), "it was held once");
    }
}
