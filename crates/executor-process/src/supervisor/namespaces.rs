//! Namespaces: new ones, and those of a task that runs.

use std::{fs, io, os::fd::AsFd as _};

use rustix::thread::{UnshareFlags, move_into_link_name_space, unshare_unsafe};

use crate::isolation::UserMap;

/// The kinds that an isolated task has of its own, in the order in which they are entered. A user namespace comes first,
/// since it gives the right to the others.
const KINDS: [&str; 4] = ["mnt", "uts", "ipc", "pid"];

/// Makes new ones for this program; that of processes is for those that it starts. To be called by a program with one
/// thread.
#[expect(unsafe_code, reason = "leaving a table of open files can take files from other threads")]
pub(super) fn enter_new(map: Option<UserMap>) -> io::Result<()> {
    let mut kinds = UnshareFlags::NEWNS | UnshareFlags::NEWUTS | UnshareFlags::NEWIPC | UnshareFlags::NEWPID;
    kinds.set(UnshareFlags::NEWUSER, map.is_some());
    // SAFETY: the table of open files is not among what is left.
    unsafe { unshare_unsafe(kinds) }?;
    let Some(map) = map else { return Ok(()) };
    // Without the right to change its groups a process cannot shake off one that keeps it from a file.
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("{} {} 1", map.uid, map.outside_uid))?;
    fs::write("/proc/self/gid_map", format!("{} {} 1", map.gid, map.outside_gid))
}

/// Enters those of a process; that of processes is for those that this program starts.
pub(super) fn enter(pid: i32, map: Option<UserMap>) -> io::Result<()> {
    let kinds = map.map(|_| "user").into_iter().chain(KINDS);
    // All are opened first: the list of processes changes with the mounts.
    let links = kinds.map(|kind| fs::File::open(format!("/proc/{pid}/ns/{kind}"))).collect::<io::Result<Vec<_>>>()?;
    links.iter().try_for_each(|link| Ok(move_into_link_name_space(link.as_fd(), None)?))
}
