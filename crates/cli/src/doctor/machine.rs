//! The machine, as far as running tasks takes it.

use std::fs;

use rustix::fs::Access;

use super::finding::Finding;

const CHECK: &str = "machine";
const CGROUPS: &str = "/sys/fs/cgroup";
/// What the limits of a task need.
const CONTROLLERS: [&str; 3] = ["cpu", "memory", "pids"];

/// What is known of it.
#[derive(Debug)]
pub(super) struct Facts {
    kernel: String,
    /// The controllers of the one tree of cgroups; `None` where there is none, or one tree for each.
    controllers: Option<Vec<String>>,
    /// Whether each controller that limits need has a tree of its own (v1) in which this user may make groups.
    own_trees: bool,
    /// Whether groups may be made in the one that this program runs in.
    own_group: bool,
}

/// Looks.
pub(super) fn look() -> Facts {
    let controllers = fs::read_to_string(format!("{CGROUPS}/cgroup.controllers")).ok();
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let own = groups.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/");
    Facts {
        kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
        controllers: controllers.map(|text| text.split_whitespace().map(str::to_owned).collect()),
        own_trees: CONTROLLERS
            .iter()
            .all(|controller| rustix::fs::access(format!("{CGROUPS}/{controller}"), Access::WRITE_OK).is_ok()),
        own_group: rustix::fs::access(format!("{CGROUPS}{own}"), Access::WRITE_OK).is_ok(),
    }
}

/// What is to be said. Without limits tasks run all the same.
pub(super) fn judge(facts: &Facts) -> Finding {
    const UNLIMITED: &str = "tasks run, and those that have limits are not held to them";
    let kernel = &facts.kernel;
    let Some(controllers) = &facts.controllers else {
        if facts.own_trees {
            return Finding::ok(CHECK, format!("Linux {kernel}, cgroups (v1) for cpu, memory and pids"));
        }
        let text = format!("Linux {kernel} has no cgroups at {CGROUPS} that this user may make: {UNLIMITED}");
        return Finding::warning(CHECK, text).mend("run swarmd as root");
    };
    let missing: Vec<&str> =
        CONTROLLERS.into_iter().filter(|wanted| !controllers.iter().any(|found| found == wanted)).collect();
    if !missing.is_empty() {
        let text = format!("Linux {kernel} has no cgroup controllers {}: {UNLIMITED}", missing.join(", "));
        return Finding::warning(CHECK, text);
    }
    if !facts.own_group {
        let text = format!("Linux {kernel}: this user may not make cgroups: {UNLIMITED}");
        return Finding::warning(CHECK, text).mend("run swarmd as root, or in a service with Delegate=yes");
    }
    Finding::ok(CHECK, format!("Linux {kernel}, cgroups for cpu, memory and pids"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Verdict;

    #[test]
    fn a_machine_without_what_limits_need_is_told_and_no_problem() {
        let all = Some(CONTROLLERS.map(str::to_owned).to_vec());
        let judged = |controllers, own_group| {
            let finding = judge(&Facts { kernel: "6.1".into(), controllers, own_trees: false, own_group });
            (finding.verdict, finding.text)
        };
        let good = (Verdict::Ok, "Linux 6.1, cgroups for cpu, memory and pids".to_owned());
        assert_eq!(judged(all.clone(), true), good);
        assert_eq!(judged(all, false).0, Verdict::Warning);
        assert_eq!(judged(None, true).0, Verdict::Warning);
        let (verdict, text) = judged(Some(vec!["cpu".into(), "pids".into()]), true);
        assert!(verdict == Verdict::Warning && text.contains("no cgroup controllers memory:"), "{text}");
    }

    #[test]
    fn a_machine_with_a_tree_for_each_controller_limits_as_well() {
        let facts = Facts { kernel: "6.1".into(), controllers: None, own_trees: true, own_group: false };
        assert_eq!(judge(&facts).verdict, Verdict::Ok);
    }
}
