//! Where in the machine's cgroup trees the groups of our tasks can be.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{CPU_PERIOD, Limits};

/// The name of the group that holds all groups of tasks.
const ALL: &str = "swarmkit";

/// The places for groups that this machine offers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cgroups {
    memory: Option<Place>,
    cpu: Option<Place>,
    pids: Option<Place>,
}

/// Where the groups for one controller go.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    dir: PathBuf,
    generation: Generation,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Generation {
    V1,
    V2,
}

/// One line of the machine's list of mounts.
struct Mount<'a> {
    /// Which part of the file system is mounted.
    root: &'a str,
    at: &'a str,
    kind: &'a str,
    options: &'a str,
}

impl Cgroups {
    /// Looks at the machine. `name` tells the groups of one executor from those of another.
    pub(crate) fn find(name: &str) -> io::Result<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        let own = fs::read_to_string("/proc/self/cgroup")?;
        let place = |controller| Place::find(&mounts, &own, controller, name);
        Ok(Self { memory: place("memory"), cpu: place("cpu"), pids: place("pids") })
    }

    /// Takes away what [`Self::find`] has made, unless a task has groups there.
    pub(crate) fn leave(&self) {
        for place in [&self.memory, &self.cpu, &self.pids].into_iter().flatten() {
            // What is not empty stays: groups of tasks here, and those of other executors beside.
            let ours = fs::remove_dir(&place.dir);
            let all = place.dir.parent().map(fs::remove_dir);
            tracing::trace!(dir = %place.dir.display(), ?ours, ?all, "leaving the cgroups");
        }
    }

    /// Which of the limits cannot be kept here.
    pub(crate) fn beyond(&self, limits: &Limits) -> Vec<&'static str> {
        let kinds = [
            ("memory", limits.memory_bytes.is_some(), &self.memory),
            ("cpu", limits.cpu_quota.is_some(), &self.cpu),
            ("pids", limits.processes.is_some(), &self.pids),
        ];
        kinds.into_iter().filter(|(_, wanted, place)| *wanted && place.is_none()).map(|(kind, ..)| kind).collect()
    }

    /// Makes the groups of a task, and tells where they are. Groups that are there already are set again.
    pub(crate) fn create(&self, task: &str, limits: &Limits) -> io::Result<Vec<PathBuf>> {
        let mut groups = Vec::new();
        if let (Some(place), Some(bytes)) = (&self.memory, limits.memory_bytes) {
            let group = place.group(task, &mut groups)?;
            match place.generation {
                Generation::V1 => fs::write(group.join("memory.limit_in_bytes"), bytes.to_string())?,
                Generation::V2 => fs::write(group.join("memory.max"), bytes.to_string())?,
            }
        }
        if let (Some(place), Some(quota)) = (&self.cpu, limits.cpu_quota) {
            let group = place.group(task, &mut groups)?;
            match place.generation {
                Generation::V1 => {
                    fs::write(group.join("cpu.cfs_period_us"), CPU_PERIOD.to_string())?;
                    fs::write(group.join("cpu.cfs_quota_us"), quota.to_string())?;
                }
                Generation::V2 => fs::write(group.join("cpu.max"), format!("{quota} {CPU_PERIOD}"))?,
            }
        }
        if let (Some(place), Some(processes)) = (&self.pids, limits.processes) {
            let group = place.group(task, &mut groups)?;
            fs::write(group.join("pids.max"), processes.to_string())?;
        }
        Ok(groups)
    }
}

impl Place {
    /// The best place for a controller, if there is any that we may write to.
    fn find(mounts: &str, own: &str, controller: &str, name: &str) -> Option<Self> {
        let mounts: Vec<Mount<'_>> = mounts.lines().filter_map(Mount::parse).collect();
        let has = |mount: &&Mount<'_>| mount.options.split(',').any(|option| option == controller);
        if let Some(mount) = mounts.iter().filter(|mount| mount.kind == "cgroup").find(has) {
            let below =
                mount.path_of(group(own, |controllers| controllers.split(',').any(|one| one == controller))?)?;
            return Self::in_any([below.clone(), PathBuf::from(mount.at)], name, Generation::V1, |_| true);
        }
        let mount = mounts.iter().find(|mount| mount.kind == "cgroup2")?;
        let below = mount.path_of(group(own, str::is_empty)?)?;
        Self::in_any([below, PathBuf::from(mount.at)], name, Generation::V2, |dir| offers(dir, controller))
    }

    /// Below the first of the groups in which we can have one.
    fn in_any(
        groups: [PathBuf; 2],
        name: &str,
        generation: Generation,
        offers: impl Fn(&Path) -> bool,
    ) -> Option<Self> {
        groups.into_iter().find_map(|group| {
            let all = group.join(ALL);
            let dir = all.join(name);
            let made = offers(&group) && make(&all).is_ok() && offers(&all) && make(&dir).is_ok() && offers(&dir);
            made.then_some(Self { dir, generation })
        })
    }

    /// The group of a task, made if need be, and listed once.
    fn group(&self, task: &str, groups: &mut Vec<PathBuf>) -> io::Result<PathBuf> {
        let group = self.dir.join(task);
        fs::create_dir_all(&group)?;
        if !groups.contains(&group) {
            groups.push(group.clone());
        }
        Ok(group)
    }
}

impl<'a> Mount<'a> {
    /// Reads `36 35 98:0 /root /at opts … - kind source options`.
    fn parse(line: &'a str) -> Option<Self> {
        let (place, what) = line.split_once(" - ")?;
        let mut place = place.split(' ').skip(3);
        let (root, at) = (place.next()?, place.next()?);
        let mut what = what.split(' ');
        Some(Self { root, at, kind: what.next()?, options: what.nth(1)? })
    }

    /// Where a group of the file system is seen. `None` if it is not in the part that is mounted.
    fn path_of(&self, group: &str) -> Option<PathBuf> {
        let below = Path::new(group).strip_prefix(self.root).ok()?;
        Some(Path::new(self.at).join(below))
    }
}

/// Our own group in the tree whose list of controllers `is_it`: lines are `<number>:<controllers>:<group>`.
fn group(own: &str, is_it: impl Fn(&str) -> bool) -> Option<&str> {
    own.lines().find_map(|line| {
        let (controllers, group) = line.split_once(':')?.1.split_once(':')?;
        is_it(controllers).then_some(group)
    })
}

/// Whether groups below `dir` have the controller, after asking for it. The kernel refuses to give it to a group that
/// has processes of its own, unless that is the root.
fn offers(dir: &Path, controller: &str) -> bool {
    let control = dir.join("cgroup.subtree_control");
    let has = || fs::read_to_string(&control).is_ok_and(|text| text.split_whitespace().any(|one| one == controller));
    has() || (fs::write(&control, format!("+{controller}")).is_ok() && has())
}

fn make(dir: &Path) -> io::Result<()> {
    match fs::create_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { memory_bytes: Some(1 << 20), cpu_quota: Some(50_000), processes: Some(7) };

    fn mount(kind: &str, at: &Path, options: &str) -> String {
        format!("30 23 0:26 / {} rw,nosuid - {kind} {kind} rw,{options}\n", at.display())
    }

    #[test]
    fn in_the_first_generation_every_controller_has_a_tree_and_ours_is_below_our_own_group() {
        let root = tempfile::tempdir().unwrap();
        let (memory, pids) = (root.path().join("memory"), root.path().join("pids"));
        fs::create_dir_all(memory.join("system/me")).unwrap();
        fs::create_dir_all(&pids).unwrap();
        let mounts = mount("cgroup", &memory, "memory") + &mount("cgroup", &pids, "pids");
        let own = "4:memory:/system/me\n8:pids:/\n0::/\n";
        let place = |controller| Place::find(&mounts, own, controller, "n1");
        let cgroups = Cgroups { memory: place("memory"), cpu: place("cpu"), pids: place("pids") };
        assert_eq!(cgroups.beyond(&LIMITS), ["cpu"]);

        let groups = cgroups.create("t1", &LIMITS).unwrap();
        assert_eq!(groups, [memory.join("system/me/swarmkit/n1/t1"), pids.join("swarmkit/n1/t1")]);
        assert_eq!(fs::read_to_string(groups[0].join("memory.limit_in_bytes")).unwrap(), "1048576");
        assert_eq!(fs::read_to_string(groups[1].join("pids.max")).unwrap(), "7");
    }

    #[test]
    fn in_the_second_generation_one_group_has_every_limit_that_is_offered() {
        let root = tempfile::tempdir().unwrap();
        let me = root.path().join("system/me");
        // What the kernel makes by itself in a real tree: lists of the controllers that groups below have.
        for dir in [me.clone(), me.join("swarmkit"), me.join("swarmkit/n1")] {
            fs::create_dir_all(&dir).unwrap();
            fs::write(dir.join("cgroup.subtree_control"), "cpu memory").unwrap();
        }
        let mounts = mount("cgroup2", root.path(), "nsdelegate");
        let has = |controller| Place::find(&mounts, "0::/system/me\n", controller, "n1");
        let cgroups = Cgroups { memory: has("memory"), cpu: has("cpu"), pids: None };
        let groups = cgroups.create("t1", &LIMITS).unwrap();
        assert_eq!(groups, [me.join("swarmkit/n1/t1")]);
        assert_eq!(fs::read_to_string(groups[0].join("memory.max")).unwrap(), "1048576");
        assert_eq!(fs::read_to_string(groups[0].join("cpu.max")).unwrap(), "50000 100000");
        assert_eq!(cgroups.beyond(&LIMITS), ["pids"]);
    }

    #[test]
    fn a_machine_without_cgroups_offers_none() {
        assert_eq!(Place::find("", "", "memory", "n1"), None);
        assert_eq!(Place::find("nonsense\n - \n", "0::/\n", "memory", "n1"), None);
    }
}
