//! Files and directories below a root that nothing leads out of, whatever links there are in it.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Component, Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, RawMode, ResolveFlags, Stat, Uid},
    io::Errno,
};

/// How deep directories may be. Deeper ones cannot be named by a path either.
const DEPTH_MAX: usize = 2048;

/// The mode of a directory that nobody has said one of.
const DIRECTORY: RawMode = 0o755;

/// A directory that is the root of everything below it.
#[derive(Debug)]
pub(crate) struct Root(OwnedFd);

impl Root {
    pub(crate) fn open(dir: &Path) -> io::Result<Self> {
        Ok(Self(rustix::fs::openat(CWD, dir, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?))
    }

    /// What is found at a path, links followed within the root. To be used as a place, not to be read.
    pub(crate) fn find(&self, path: &Path) -> rustix::io::Result<OwnedFd> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        rustix::fs::openat2(&self.0, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::IN_ROOT)
    }

    /// The directory at a path, made with those above it if need be.
    pub(crate) fn directory(&self, path: &Path) -> io::Result<OwnedFd> {
        match self.find(path) {
            Err(Errno::NOENT) => {}
            found => return Ok(found?),
        }
        let name = path.file_name().ok_or(Errno::NOENT)?;
        let parent = self.directory(path.parent().unwrap_or(Path::new("")))?;
        match rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(DIRECTORY)) {
            // A link to nothing: what it leads to is not made.
            Err(Errno::EXIST) => return Err(Errno::NOENT.into()),
            made => made?,
        }
        let made = open_directory(parent.as_fd(), Path::new(name))?;
        // Whatever our mask is.
        rustix::fs::fchmod(&made, Mode::from_raw_mode(DIRECTORY))?;
        Ok(made)
    }
}

/// A path as it is below a root. `None` if it leads out of it.
pub(crate) fn below(path: &Path) -> Option<PathBuf> {
    let mut below = PathBuf::new();
    for part in path.components() {
        match part {
            Component::RootDir | Component::CurDir => {}
            Component::Normal(part) => below.push(part),
            Component::ParentDir | Component::Prefix(_) => return None,
        }
    }
    Some(below)
}

/// Removes what has a name in a directory, with everything in it. Links are not followed.
pub(crate) fn remove(dir: BorrowedFd<'_>, name: &Path) -> io::Result<()> {
    remove_within(dir, name, DEPTH_MAX)
}

fn remove_within(dir: BorrowedFd<'_>, name: &Path, depth: usize) -> io::Result<()> {
    match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) if depth > 0 => {}
        Err(error) => return Err(error.into()),
    }
    if !rustix::process::geteuid().is_root() {
        // A plain user may have to open what he owns. It is a directory, as unlinking it has just told.
        rustix::fs::chmodat(dir, name, Mode::RWXU, AtFlags::empty())?;
    }
    clear_within(open_directory(dir, name)?.as_fd(), depth)?;
    Ok(rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR)?)
}

/// Removes everything in a directory.
pub(crate) fn clear(dir: BorrowedFd<'_>) -> io::Result<()> {
    clear_within(open_directory(dir, Path::new("."))?.as_fd(), DEPTH_MAX)
}

fn clear_within(dir: BorrowedFd<'_>, depth: usize) -> io::Result<()> {
    names(dir)?.iter().try_for_each(|name| remove_within(dir, name, depth - 1))
}

/// The names in a directory.
fn names(dir: BorrowedFd<'_>) -> io::Result<Vec<PathBuf>> {
    use std::os::unix::ffi::OsStrExt as _;
    let mut names = Vec::new();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(PathBuf::from(std::ffi::OsStr::from_bytes(name)));
        }
    }
    Ok(names)
}

fn open_directory(dir: BorrowedFd<'_>, name: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(dir, name, flags, Mode::empty())?)
}

/// Fills an empty directory with what another one below a root has, and gives it its owner and mode. What is no
/// directory, or not there, leaves it empty.
pub(crate) fn copy(root: &Root, from: &Path, to: &Path) -> io::Result<()> {
    let Some(from) = below(from) else { return Ok(()) };
    let Ok(place) = root.find(&from) else { return Ok(()) };
    let stat = rustix::fs::fstat(&place)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return Ok(());
    }
    let from = open_directory(place.as_fd(), Path::new("."))?;
    let to = open_directory(CWD, to)?;
    copy_within(from.as_fd(), to.as_fd(), DEPTH_MAX)?;
    settle(to.as_fd(), &stat)
}

fn copy_within(from: BorrowedFd<'_>, to: BorrowedFd<'_>, depth: usize) -> io::Result<()> {
    for name in names(from)? {
        let stat = rustix::fs::statat(from, &name, AtFlags::SYMLINK_NOFOLLOW)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory if depth > 0 => {
                rustix::fs::mkdirat(to, &name, Mode::RWXU)?;
                let (from, to) = (open_directory(from, &name)?, open_directory(to, &name)?);
                copy_within(from.as_fd(), to.as_fd(), depth - 1)?;
                settle(to.as_fd(), &stat)?;
            }
            FileType::RegularFile => {
                let read = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let mut from = File::from(rustix::fs::openat(from, &name, read, Mode::empty())?);
                let mut to = create(to, &name)?;
                io::copy(&mut from, &mut to)?;
                settle(to.as_fd(), &stat)?;
            }
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(from, &name, Vec::new())?;
                rustix::fs::symlinkat(target, to, &name)?;
                own(to, &name, stat.st_uid, stat.st_gid)?;
            }
            // Devices and sockets are nothing without what serves them.
            _ => {}
        }
    }
    Ok(())
}

/// A new file that is open for writing.
pub(crate) fn create(dir: BorrowedFd<'_>, name: &Path) -> io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::openat(dir, name, flags, Mode::RUSR | Mode::WUSR)?))
}

fn settle(file: BorrowedFd<'_>, stat: &Stat) -> io::Result<()> {
    give(file, stat.st_uid, stat.st_gid, stat.st_mode)
}

/// Gives a file its owner, if we may, and its mode. A plain user owns everything, so for him nothing sets user or group.
pub(crate) fn give(file: BorrowedFd<'_>, uid: u32, gid: u32, mode: RawMode) -> io::Result<()> {
    let mode = if rustix::process::geteuid().is_root() {
        rustix::fs::fchown(file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
        mode & 0o7777
    } else {
        let is_directory = FileType::from_raw_mode(rustix::fs::fstat(file)?.st_mode) == FileType::Directory;
        // What he could not enter he could not remove either.
        if is_directory { mode & 0o1777 | 0o700 } else { mode & 0o1777 }
    };
    Ok(rustix::fs::fchmod(file, Mode::from_raw_mode(mode))?)
}

/// Gives a link, or what cannot be opened, its owner, if we may.
pub(crate) fn own(dir: BorrowedFd<'_>, name: &Path, uid: u32, gid: u32) -> io::Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
    Ok(rustix::fs::chownat(dir, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?)
}
