//! A place in memory for the files that executors hand to tasks: secrets, and configs that hold some.

use std::{
    fs::{self, Permissions},
    io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

/// A place in memory for the files of tasks, or the next best thing.
///
/// The place belongs to one executor and is kept when its program ends. It holds one directory for each task, which is
/// for the executor to make, fill and remove.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shelf {
    dir: PathBuf,
    owner: u32,
    in_memory: bool,
}

impl Shelf {
    /// Finds a place in memory: below `/run` for root, below `user_dir` (what `XDG_RUNTIME_DIR` says) for others, else
    /// below `/dev/shm`. The state directory is the last resort.
    ///
    /// `name` tells the files of one executor from those of another; `owner` is the user that this program runs as.
    #[must_use]
    pub fn find(name: &str, owner: u32, user_dir: Option<&Path>, state_dir: &Path) -> Self {
        let shared = format!("swarmkit-{owner}");
        let usual = if owner == 0 { Some(Path::new("/run")) } else { user_dir };
        for parent in usual.into_iter().chain([Path::new("/dev/shm")]) {
            if is_in_memory(parent)
                && let Ok(ours) = own_dir(&parent.join(&shared), owner)
            {
                return Self { dir: ours.join(name), owner, in_memory: true };
            }
        }
        Self { dir: state_dir.join("files"), owner, in_memory: is_in_memory(state_dir) }
    }

    /// Makes the place, when it is first needed.
    ///
    /// # Errors
    ///
    /// When it cannot be made, or somebody else could put files there.
    pub fn open(&self) -> io::Result<()> {
        own_dir(&self.dir, self.owner).map(drop)
    }

    /// Takes the place away, unless a task has files there.
    pub fn leave(&self) {
        fs::remove_dir(&self.dir).ok();
    }

    /// The directory of a task, whether it is there or not.
    #[must_use]
    pub fn task(&self, task: &str) -> PathBuf {
        self.dir.join(task)
    }

    /// Whether what is put here stays off the disks, apart from swap.
    #[must_use]
    pub fn is_in_memory(&self) -> bool {
        self.in_memory
    }

    /// The tasks that have a directory here.
    ///
    /// # Errors
    ///
    /// When the place cannot be read.
    pub fn tasks(&self) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(&self.dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }
}

/// A directory of ours that others can only pass through. One of the same name that is not ours is refused.
fn own_dir(dir: &Path, owner: u32) -> io::Result<PathBuf> {
    match fs::DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
        // Whatever our mask is.
        Ok(()) => fs::set_permissions(dir, Permissions::from_mode(0o711))?,
    }
    let metadata = fs::symlink_metadata(dir)?;
    if !metadata.is_dir() || metadata.uid() != owner || metadata.mode() & 0o022 != 0 {
        return Err(io::Error::other(format!("{} is not ours alone", dir.display())));
    }
    Ok(dir.to_owned())
}

/// Whether files in `dir` are kept in memory.
fn is_in_memory(dir: &Path) -> bool {
    const TMPFS: u64 = 0x0102_1994;
    const RAMFS: u64 = 0x8584_58f6;
    rustix::fs::statfs(dir).is_ok_and(|stat| [TMPFS, RAMFS].contains(&u64::try_from(stat.f_type).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shelf_is_ours_alone() {
        let dir = tempfile::tempdir().unwrap();
        let me = rustix::process::getuid().as_raw();
        let ours = own_dir(&dir.path().join("ours"), me).unwrap();
        assert_eq!(own_dir(&ours, me).unwrap(), ours);
        assert!(own_dir(&ours, me + 1).is_err(), "it belongs to somebody else");
        fs::set_permissions(&ours, Permissions::from_mode(0o777)).unwrap();
        assert!(own_dir(&ours, me).is_err(), "others could put files there");
        std::os::unix::fs::symlink(dir.path(), dir.path().join("link")).unwrap();
        assert!(own_dir(&dir.path().join("link"), me).is_err(), "a link may lead anywhere");
    }
}
