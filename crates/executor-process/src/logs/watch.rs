//! Waiting for something to change in a directory.

use std::{io, os::fd::OwnedFd, path::Path, time::Duration};

use rustix::{
    fs::inotify::{self, CreateFlags, WatchFlags},
    io::Errno,
};
use tokio::net::unix::pipe::Receiver;

/// How often to look where the machine has no more watches to give.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Tells when files of some directories change, appear or disappear.
#[derive(Debug)]
pub(crate) enum DirWatch {
    Told(Receiver),
    /// The machine's watches are used up (there are few for each user): looks by itself now and then.
    Looking,
}

impl DirWatch {
    /// Begins to watch. What happens after this is not missed.
    pub(crate) fn new(dirs: &[&Path]) -> io::Result<Self> {
        match Self::told(dirs) {
            Err(Errno::MFILE | Errno::NFILE | Errno::NOSPC | Errno::NOMEM) => Ok(Self::Looking),
            Err(error) => Err(error.into()),
            // Read like a pipe, since what exactly happened does not matter.
            Ok(inotify) => Ok(Self::Told(Receiver::from_owned_fd_unchecked(inotify)?)),
        }
    }

    fn told(dirs: &[&Path]) -> Result<OwnedFd, Errno> {
        let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        for dir in dirs {
            let what = WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::DELETE_SELF;
            inotify::add_watch(&inotify, *dir, what)?;
        }
        Ok(inotify)
    }

    /// Waits for the next change, or until it is time to look again.
    pub(crate) async fn changed(&self) -> io::Result<()> {
        let Self::Told(inotify) = self else {
            tokio::time::sleep(LOOK_EVERY).await;
            return Ok(());
        };
        loop {
            inotify.readable().await?;
            let mut read = false;
            while inotify.try_read(&mut [0; 1024]).is_ok() {
                read = true;
            }
            if read {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_change_since_the_beginning_is_not_missed() {
        let dir = tempfile::tempdir().unwrap();
        let watch = DirWatch::new(&[dir.path()]).unwrap();
        std::fs::write(dir.path().join("file"), "text").unwrap();
        watch.changed().await.unwrap();
        let again = tokio::time::timeout(Duration::from_millis(1), watch.changed()).await;
        assert!(again.is_err(), "one change is told once");
    }
}
