//! The state directory itself.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use rustix::fs::Access;

use super::finding::Finding;

const CHECK: &str = "state directory";
/// Below this a manager is soon without room for its log, in bytes: four segments of it and a snapshot of a large cluster.
const SPACE_SCARCE: u64 = 512 * 1024 * 1024;
/// Below this nothing works any more.
const SPACE_GONE: u64 = 16 * 1024 * 1024;

/// What is there.
#[derive(Debug)]
pub(super) enum Place {
    /// Nothing.
    Missing,
    /// Something that cannot be looked into.
    Closed(io::Error),
    /// Something else.
    NoDirectory,
    /// A directory.
    Directory(Facts),
}

/// What is known of a state directory.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    /// Its mode, the last nine bits.
    pub(super) mode: u32,
    /// Whether this user may write there.
    pub(super) writable: bool,
    /// Whether it belongs to the user that asks.
    pub(super) own: bool,
    /// Bytes that are left for this user.
    pub(super) free: u64,
    /// The process whose node works with it.
    pub(super) used_by: Option<u32>,
}

impl Place {
    /// The process whose node works with the directory.
    pub(super) fn used_by(&self) -> Option<u32> {
        if let Self::Directory(facts) = self { facts.used_by } else { None }
    }
}

/// Looks. Changes nothing, and takes no lock that would be in the way of a node.
pub(super) fn look(path: &Path) -> Place {
    let place = match fs::metadata(path) {
        Ok(place) if place.is_dir() => place,
        Ok(_) => return Place::NoDirectory,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Place::Missing,
        Err(error) => return Place::Closed(error),
    };
    if let Err(error) = fs::read_dir(path) {
        return Place::Closed(error);
    }
    Place::Directory(Facts {
        mode: place.mode() & 0o777,
        writable: rustix::fs::access(path, Access::WRITE_OK).is_ok(),
        own: place.uid() == rustix::process::geteuid().as_raw(),
        free: rustix::fs::statvfs(path).map_or(u64::MAX, |disk| disk.f_bavail.saturating_mul(disk.f_frsize)),
        used_by: holder(path, place.ino()),
    })
}

/// Who has locked a directory, as a node does, by the kernel's list of locks.
fn holder(path: &Path, inode: u64) -> Option<u32> {
    let path = fs::canonicalize(path).ok()?;
    let locks = fs::read_to_string("/proc/locks").ok()?;
    locks.lines().filter_map(|line| lock(line, inode)).find(|process| has_open(*process, &path))
}

/// The process of a line as `1: FLOCK  ADVISORY  WRITE 123 00:2f:4711 0 EOF`, if it is about that inode.
fn lock(line: &str, inode: u64) -> Option<u32> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [_, "FLOCK", _, "WRITE", process, file, ..] = words[..] else { return None };
    (file.rsplit(':').next()?.parse() == Ok(inode)).then(|| process.parse().ok()).flatten()
}

/// Whether a process has a path open; who may not know, believes it.
fn has_open(process: u32, path: &Path) -> bool {
    let Ok(files) = fs::read_dir(format!("/proc/{process}/fd")) else { return true };
    files.flatten().any(|file| fs::read_link(file.path()).is_ok_and(|open: PathBuf| open == path))
}

/// What is to be said.
pub(super) fn judge(path: &Path, place: &Place) -> Vec<Finding> {
    let shown = path.display();
    let facts = match place {
        Place::Missing => {
            return vec![
                Finding::problem(CHECK, format!("{shown} is not there"))
                    .mend("name the state directory of the node: swarmd doctor --state-dir DIR"),
            ];
        }
        Place::NoDirectory => return vec![Finding::problem(CHECK, format!("{shown} is no directory"))],
        Place::Closed(error) => {
            return vec![
                Finding::unknown(CHECK, format!("{shown} cannot be looked into: {error}"))
                    .mend("run swarmd doctor as the user that swarmd runs as"),
            ];
        }
        Place::Directory(facts) => facts,
    };
    let used = match facts.used_by {
        Some(process) => format!("in use by the node of process {process}"),
        None => "no node runs on it".to_owned(),
    };
    let mut findings = vec![Finding::ok(CHECK, format!("{shown}: {used}"))];
    if !facts.writable {
        findings.push(
            Finding::problem(CHECK, format!("{shown} cannot be written to by this user"))
                .mend(format!("chown -R $(id -u) {shown}, or mount its file system for writing")),
        );
    } else if !facts.own {
        findings.push(Finding::warning(CHECK, format!("{shown} belongs to another user than the one that asks")));
    }
    // Passing through is not looking into: tasks of other users have their files below.
    if facts.mode & 0o066 != 0 {
        let text = format!("other users of this machine may look into {shown} (mode {:03o})", facts.mode);
        findings.push(Finding::warning(CHECK, text).mend(format!("chmod 700 {shown}")));
    }
    let left = facts.free / (1024 * 1024);
    let space = || format!("only {left} MiB are left for {shown}");
    if facts.free < SPACE_GONE {
        findings.push(Finding::problem("disk space", space()).mend("make room: a manager that cannot write ends"));
    } else if facts.free < SPACE_SCARCE {
        findings.push(Finding::warning("disk space", space()).mend("make room"));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Verdict;

    const GOOD: Facts = Facts { mode: 0o700, writable: true, own: true, free: u64::MAX, used_by: None };

    fn verdicts(facts: Facts) -> Vec<(Verdict, String)> {
        let findings = judge(Path::new("/d"), &Place::Directory(facts));
        findings.into_iter().map(|finding| (finding.verdict, finding.text)).collect()
    }

    #[test]
    fn a_good_directory_gets_one_line() {
        assert_eq!(verdicts(GOOD), [(Verdict::Ok, "/d: no node runs on it".to_owned())]);
        let used = verdicts(Facts { used_by: Some(7), ..GOOD });
        assert_eq!(used, [(Verdict::Ok, "/d: in use by the node of process 7".to_owned())]);
    }

    #[test]
    fn each_fault_of_a_directory_gets_a_line_of_its_own() {
        let last = |facts| verdicts(facts).pop().unwrap();
        assert_eq!(verdicts(Facts { mode: 0o711, ..GOOD }).len(), 1);
        let open = last(Facts { mode: 0o755, ..GOOD });
        assert_eq!(open, (Verdict::Warning, "other users of this machine may look into /d (mode 755)".to_owned()));
        let closed = last(Facts { writable: false, ..GOOD });
        assert_eq!(closed, (Verdict::Problem, "/d cannot be written to by this user".to_owned()));
        let foreign = last(Facts { own: false, ..GOOD });
        assert_eq!(foreign.0, Verdict::Warning);
        let scarce = last(Facts { free: SPACE_SCARCE - 1, ..GOOD });
        assert_eq!(scarce, (Verdict::Warning, "only 511 MiB are left for /d".to_owned()));
        assert_eq!(last(Facts { free: SPACE_GONE - 1, ..GOOD }).0, Verdict::Problem);
        let kind = |place| judge(Path::new("/d"), &place).pop().unwrap().verdict;
        assert_eq!((kind(Place::Missing), kind(Place::NoDirectory)), (Verdict::Problem, Verdict::Problem));
        assert_eq!(kind(Place::Closed(io::ErrorKind::PermissionDenied.into())), Verdict::Unknown);
    }

    #[test]
    fn only_a_node_s_lock_on_that_directory_counts() {
        let line = "3: FLOCK  ADVISORY  WRITE 123 00:2f:4711 0 EOF";
        assert_eq!(lock(line, 4711), Some(123));
        assert_eq!(lock(line, 711), None);
        assert_eq!(lock(&line.replace("FLOCK", "POSIX"), 4711), None);
        assert_eq!(lock(&line.replace("WRITE", "READ"), 4711), None);
        assert_eq!(lock("", 4711), None);
    }
}
