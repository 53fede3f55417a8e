//! Limits on the memory, processor time and number of processes of a task, where the machine lets us set them.
//!
//! Both generations are known: one tree with all controllers (v2), or a tree for each (v1). A task gets groups of its
//! own only if it has limits; below the group that the executor itself runs in where that can be, so that whatever
//! holds the executor also holds its tasks.

mod places;

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::process::{Pid, Signal};
use swarmkit_api::Task;
use swarmkit_executor::container_spec;

pub(crate) use places::Cgroups;

/// The period over which processor time is shared out, in microseconds. As container engines have it.
const CPU_PERIOD: u64 = 100_000;

/// How often, and how long apart, it is tried to remove a group.
const TRIES: usize = 200;
const BETWEEN_TRIES: Duration = Duration::from_millis(10);

/// The limits of one task. `None` is unlimited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) memory_bytes: Option<u64>,
    /// Microseconds of processor time in each [`CPU_PERIOD`].
    pub(crate) cpu_quota: Option<u64>,
    pub(crate) processes: Option<u64>,
}

impl Limits {
    /// What the task's specification says. As upstream, only a number above 0 is a limit.
    pub(crate) fn of(task: &Task) -> Self {
        let limits = task.spec.resources.as_ref().and_then(|resources| resources.limits.as_ref());
        let some = |number: i64| u64::try_from(number).ok().filter(|number| *number > 0);
        Self {
            memory_bytes: limits.and_then(|limits| some(limits.memory_bytes)),
            cpu_quota: limits
                .and_then(|limits| some(limits.nano_cpus))
                .map(|nano_cpus| (nano_cpus.saturating_mul(CPU_PERIOD) / 1_000_000_000).max(1000)),
            processes: container_spec(&task.spec).and_then(|spec| some(spec.pids_limit)),
        }
    }
}

/// Kills everything in the groups.
pub(crate) fn kill(groups: &[PathBuf]) {
    for group in groups {
        if fs::write(group.join("cgroup.kill"), "1").is_ok() {
            continue;
        }
        for pid in fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default().lines() {
            if let Some(pid) = pid.parse().ok().and_then(Pid::from_raw) {
                rustix::process::kill_process(pid, Signal::KILL).ok();
            }
        }
    }
}

/// Whether the kernel has killed anything in the groups for want of memory.
pub(crate) fn ran_out_of_memory(groups: &[PathBuf]) -> bool {
    let kills = |file: PathBuf| {
        let text = fs::read_to_string(file).unwrap_or_default();
        text.lines().any(|line| line.strip_prefix("oom_kill ").is_some_and(|count| count.trim() != "0"))
    };
    groups.iter().any(|group| kills(group.join("memory.events")) || kills(group.join("memory.oom_control")))
}

/// Removes the groups of a task that runs no more. Blocks.
pub(crate) fn remove(groups: &[PathBuf]) -> io::Result<()> {
    groups.iter().try_for_each(|group| remove_one(group))
}

/// What was killed takes a moment to leave its group.
fn remove_one(group: &Path) -> io::Result<()> {
    for _ in 0..TRIES {
        match fs::remove_dir(group) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => std::thread::sleep(BETWEEN_TRIES),
            removed => return removed,
        }
    }
    Err(io::Error::other(format!("processes do not leave {}", group.display())))
}

#[cfg(test)]
mod tests {
    use swarmkit_api::{TaskId, wire};

    use super::*;

    #[test]
    fn only_numbers_above_zero_are_limits() {
        let limits = |nano_cpus, memory_bytes, pids_limit| {
            let container = wire::ContainerSpec { pids_limit, ..Default::default() };
            let resources = wire::Resources { nano_cpus, memory_bytes, ..Default::default() };
            let spec = wire::TaskSpec {
                runtime: Some(wire::task_spec::Runtime::Container(container)),
                resources: Some(wire::ResourceRequirements { limits: Some(resources), ..Default::default() }),
                ..Default::default()
            };
            Limits::of(&Task::new(TaskId::from("t1"), spec))
        };
        assert_eq!(limits(0, 0, 0), Limits::default());
        assert_eq!(limits(-1, -1, -1), Limits::default());
        let some = limits(1_500_000_000, 64 << 20, 10);
        let expected = Limits { memory_bytes: Some(64 << 20), cpu_quota: Some(150_000), processes: Some(10) };
        assert_eq!(some, expected);
        assert_eq!(limits(1, 0, 0).cpu_quota, Some(1000), "the kernel takes no less");
    }

    #[test]
    fn a_kill_for_want_of_memory_is_seen_in_either_generation() {
        let dir = tempfile::tempdir().unwrap();
        let groups = [dir.path().to_owned()];
        assert!(!ran_out_of_memory(&groups));
        fs::write(dir.path().join("memory.events"), "low 0\noom 1\noom_kill 0\n").unwrap();
        assert!(!ran_out_of_memory(&groups));
        fs::write(dir.path().join("memory.oom_control"), "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n").unwrap();
        assert!(ran_out_of_memory(&groups));
    }
}
