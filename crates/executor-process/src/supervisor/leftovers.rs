//! What runs on of a task that has no supervisor any more.

use std::{fs, io, time::Duration};

use rustix::process::{Pid, Signal};

use crate::{cgroups, plan::Plan};

/// How long killed processes may take to disappear. One that hangs in the kernel may take for ever.
const DEATH: Duration = Duration::from_secs(5);
/// How often to look whether they have.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Kills everything that carries the task's id in its environment, and waits until it is gone.
///
/// The kernel has killed the process itself when its supervisor ended, unless that was refused by a change of user.
/// What the process had started is found by what it has inherited: this is for rare cases, since it looks at every
/// process of the machine.
pub(crate) async fn kill_leftovers(task: &str, plan: Option<&Plan>) -> io::Result<()> {
    if let Some(plan) = plan {
        cgroups::kill(&plan.cgroups);
    }
    let mark = format!("SWARMKIT_TASK_ID={task}").into_bytes();
    let clearing = async {
        loop {
            let left = marked(&mark)?;
            if left.is_empty() {
                return Ok(());
            }
            for pid in left {
                rustix::process::kill_process(pid, Signal::KILL).ok();
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    let cleared = tokio::time::timeout(DEATH, clearing).await;
    cleared.unwrap_or_else(|_| Err(io::Error::other(format!("processes of task {task} cannot be killed"))))
}

/// The processes that have `mark` in their environment. What has ended has none.
fn marked(mark: &[u8]) -> io::Result<Vec<Pid>> {
    let mut marked = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw) else { continue };
        // Other users' environments cannot be read: they are not ours.
        let environment = fs::read(format!("/proc/{}/environ", pid.as_raw_nonzero())).unwrap_or_default();
        if environment.split(|byte| *byte == 0).any(|entry| entry == mark) {
            marked.push(pid);
        }
    }
    Ok(marked)
}
