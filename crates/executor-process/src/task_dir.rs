//! The directory of one task: what is to be run, what has become of it, and how to reach its supervisor.
//!
//! Records are written to the side and renamed, so they are whole or not there. They are not synced to the disk: they
//! have to outlive programs, not the machine. Everything that runs ends with the machine, and a record names the boot
//! that it belongs to, so one that a crash of the machine has lost or kept misleads nobody.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::plan::Plan;

/// Where the files of one task are.
#[derive(Clone, Debug)]
pub(crate) struct TaskDir(PathBuf);

/// A process was started. Written by its supervisor, as soon as it runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Started {
    /// The process, which leads its process group.
    pub(crate) pid: i32,
    /// When it started, in ticks since the boot, to tell it from a later process with its id.
    pub(crate) ticks: u64,
    /// The supervisor.
    pub(crate) supervisor: u32,
    /// During which run of the machine.
    pub(crate) boot: String,
}

/// How it came out. Written once, and the last word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ended {
    /// It ran and ended with this code.
    Exited {
        /// 128 + n after signal n.
        code: i32,
        reason: Option<String>,
    },
    /// It could not be started.
    NotStarted { reason: String },
    /// It was running when its supervisor was ended.
    Lost { reason: String },
}

/// The exclusive right to run a task, or to decide that it shall not run. Given up when dropped.
///
/// Anybody's child that is just between fork and exec holds it too, for that moment: that nobody gives a claim now does
/// not mean that somebody uses it.
#[derive(Debug)]
pub(crate) struct Claim {
    _lock: File,
}

impl TaskDir {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// The id of the task, which is the name of the directory.
    pub(crate) fn task(&self) -> &str {
        self.0.file_name().and_then(|name| name.to_str()).unwrap_or_default()
    }

    /// The pipe that the supervisor holds open.
    pub(crate) fn alive(&self) -> PathBuf {
        self.0.join("alive")
    }

    /// The pipe that the supervisor takes orders from.
    pub(crate) fn control(&self) -> PathBuf {
        self.0.join("control")
    }

    /// Where the output is kept.
    pub(crate) fn logs(&self) -> PathBuf {
        self.0.join("log")
    }

    /// What the supervisor itself has to say, should it come to grief.
    pub(crate) fn complaints(&self) -> PathBuf {
        self.0.join("supervisor.err")
    }

    /// Makes the directory and everything in it, apart from the plan.
    pub(crate) fn create(&self) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.0)?;
        fs::DirBuilder::new().recursive(true).mode(0o700).create(self.logs())?;
        crate::alive::make_pipe(&self.alive())?;
        crate::alive::make_pipe(&self.control())
    }

    pub(crate) fn plan(&self) -> io::Result<Option<Plan>> {
        self.read("plan.json")
    }

    /// From here on the task can be started.
    pub(crate) fn put_plan(&self, plan: &Plan) -> io::Result<()> {
        self.write("plan.json", plan)
    }

    pub(crate) fn started(&self) -> io::Result<Option<Started>> {
        self.read("started.json")
    }

    pub(crate) fn put_started(&self, started: &Started) -> io::Result<()> {
        self.write("started.json", started)
    }

    pub(crate) fn ended(&self) -> io::Result<Option<Ended>> {
        self.read("ended.json")
    }

    pub(crate) fn put_ended(&self, ended: &Ended) -> io::Result<()> {
        self.write("ended.json", ended)
    }

    /// Claims the task. `None` if somebody else has it, or the directory is gone.
    pub(crate) fn claim(&self) -> io::Result<Option<Claim>> {
        let path = self.0.join("lock");
        let lock = match File::options().write(true).create(true).truncate(false).mode(0o600).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::AGAIN) => return Ok(None),
            locked => locked?,
        }
        // The directory may have been removed between opening and locking: then this locks nothing.
        let (held, there) = (lock.metadata()?, fs::metadata(&path));
        let same = there.is_ok_and(|there| (there.dev(), there.ino()) == (held.dev(), held.ino()));
        Ok(same.then_some(Claim { _lock: lock }))
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> io::Result<Option<T>> {
        match fs::read(self.0.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            // What is not whole was left by a crash of the machine: the same as not there.
            Ok(text) => Ok(serde_json::from_slice(&text).ok()),
            Err(error) => Err(error),
        }
    }

    fn write(&self, name: &str, record: &impl Serialize) -> io::Result<()> {
        let aside = self.0.join(format!(".{name}"));
        let text = serde_json::to_vec(record)?;
        let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
        io::Write::write_all(&mut file, &text)?;
        fs::rename(aside, self.0.join(name))
    }
}

/// Which run of the machine this is.
pub(crate) fn boot() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim_end().to_owned())
}

/// When a process started, in ticks since the boot. `None` if there is none.
pub(crate) fn start_ticks(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything; what follows the last one is numbers. The start time is field 22.
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_whole_or_not_there() {
        let temporary = tempfile::tempdir().unwrap();
        let dir = TaskDir::new(temporary.path().join("t1"));
        assert_eq!(dir.ended().unwrap(), None);
        dir.create().unwrap();
        dir.create().unwrap();
        let ended = Ended::Exited { code: 3, reason: None };
        dir.put_ended(&ended).unwrap();
        assert_eq!(dir.ended().unwrap(), Some(ended));
        fs::write(dir.path().join("ended.json"), "{\"exi").unwrap();
        assert_eq!(dir.ended().unwrap(), None);
    }

    #[test]
    fn a_task_is_claimed_by_one_at_a_time() {
        let temporary = tempfile::tempdir().unwrap();
        let dir = TaskDir::new(temporary.path().join("t1"));
        assert!(dir.claim().unwrap().is_none(), "there is nothing to claim");
        dir.create().unwrap();
        let claim = dir.claim().unwrap();
        assert!(claim.is_some() && dir.claim().unwrap().is_none());
        drop(claim);
        assert!(dir.claim().unwrap().is_some());
    }

    #[test]
    fn a_process_is_told_from_a_later_one_by_its_start() {
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(start_ticks(own).is_some_and(|ticks| ticks > 0));
        assert_eq!(start_ticks(-1), None);
        assert_eq!(boot().unwrap().len(), 36);
    }
}
